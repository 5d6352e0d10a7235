"""HDF5 files, whose structure is read in another process and whose arrays are read here.

A damaged file can make libhdf5 run for ever, and h5py holds a lock of the whole process while it
runs. So the process of `_hdf5_worker` says what lies where, within limits of time and memory, and
nothing of libhdf5 runs here. It is started with the first file, serves the following ones, and
ends when there have been none for a minute or when this process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_mg.weights._arrays import WeightsError
from keras_mg.weights._bounded import BoundedFile

WORKER = Path(__file__).with_name("_hdf5_worker.py")
PATIENCE = 120.0
"""Seconds after which the process is ended in any case: a disk that does not answer."""


class Hdf5Reader:
    """The process, and one conversation with it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        # What it may take is counted: it must not take ahead, as a training does.
        environment.pop("GLIBC_TUNABLES", None)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.fspath(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._send(json.dumps([os.path.abspath(place) for place in sys.path if place]).encode())

    def _send(self, line: bytes, content: bytes = b"") -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; so the answer will say
            self.process.stdin.write(line + b"\n" + content)
            self.process.stdin.flush()

    def ask(self, request: dict[str, Any], content: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The answer to a request.

        Raises:
            EOFError: the process ended instead.
        """
        assert self.process.stdout is not None
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            self._send(json.dumps(request).encode(), content)
            line = self.process.stdout.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            answer = json.loads(line)
            count = answer.get("nbytes", 0)
            got = self.process.stdout.read(count) if count else b""
            if len(got) != count:
                raise EOFError
            return answer, got
        finally:
            watch.cancel()

    def alive(self) -> bool:
        """Whether it can be asked, and by this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self.owner != os.getpid():
            return
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


_IDLE: list[Hdf5Reader] = []


def _close_all() -> None:
    while _IDLE:
        _IDLE.pop().close()


atexit.register(_close_all)


@contextlib.contextmanager
def _reader(file: str) -> Iterator[Hdf5Reader]:
    """A reader that nobody else uses."""
    reader = None
    while _IDLE and reader is None:
        with contextlib.suppress(IndexError):  # another thread was faster
            reader = _IDLE.pop()
            if not reader.alive():
                reader.close()
                reader = None
    try:
        reader = reader or Hdf5Reader()
    except OSError as error:
        raise WeightsError(
            f"{file}: HDF5 files are read in a process of their own, which cannot be started "
            f"({error.strerror or error})."
        ) from error
    good = False
    try:
        yield reader
        good = True
    except WeightsError:
        good = True  # the file's fault; one that ended is found out before it is used again
        raise
    finally:
        if good:
            _IDLE.append(reader)
        else:
            reader.close()


class Hdf5File:
    """An open HDF5 file; `facts` has what `_hdf5_worker` knows of its arrays."""

    def __init__(self, reader: Hdf5Reader, source: BoundedFile):
        self.reader = reader
        self.source = source
        self.file = source.file
        stream = source.stream
        if isinstance(stream, io.BytesIO):
            content = stream.getvalue()
            request: dict[str, Any] = {"inline": len(content)}
        else:
            content = b""
            path = os.path.abspath(stream.name)
            request = {"path": path, "start": source.start, "size": source.size}
        self.facts = self._ask(request, "", content)[0]["arrays"]
        if not content:
            # The process has opened the name anew: it must be the file that is open here.
            there, here = os.stat(path), os.fstat(stream.fileno())
            if (there.st_ino, there.st_mtime_ns) != (here.st_ino, here.st_mtime_ns):
                raise WeightsError(f"{self.file}: the file was replaced while it was read.")

    def read(self, number: int) -> tuple[dict[str, Any], bytes]:
        """The bytes of an array that does not lie in one piece, and their type."""
        return self._ask({"read": number}, f"{self.facts[number]['path']}: ", b"")

    def _ask(
        self, request: dict[str, Any], what: str, content: bytes
    ) -> tuple[dict[str, Any], bytes]:
        try:
            answer, got = self.reader.ask(request, content)
        except (EOFError, OSError, ValueError):
            self.reader.close()
            raise WeightsError(
                f"{self.file}: {what}damaged HDF5 file: its reader crashed, or passed the limits "
                "of time and memory."
            ) from None
        if "error" in answer:
            text = answer["error"]
            if answer["kind"] == "refused":
                raise WeightsError(f"{self.file}: {what}{text}")
            reason = {
                "damaged": f"{what}the array cannot be read" if what else "damaged HDF5 file",
                "unreadable": "not a readable HDF5 file",
            }[answer["kind"]]
            raise WeightsError(f"{self.file}: {reason} ({text}).")
        return answer, got


@contextlib.contextmanager
def open_hdf5(source: BoundedFile) -> Iterator[Hdf5File]:
    """An HDF5 file, readable inside the `with` block."""
    with _reader(source.file) as reader:
        yield Hdf5File(reader, source)
