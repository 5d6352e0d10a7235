"""Readers under fire: reads seeded mutations and holds what the readers promise against each.

`python -m tests.weights.fuzzing 1000000 --log FILE` reads so many in a process of its own per
chunk, and goes on where the log ends. One mutation is a function of seed, format and number.
"""

import argparse
import contextlib
import functools
import gc
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from keras_mg import weights
from keras_mg.datasets import load_preprocessing
from keras_mg.recipes.opening import recipe_of
from keras_mg.training import _checkpoint_files
from keras_mg.weights import WeightsError, _hdf5, _loading
from keras_mg.weights._assign import assign
from keras_mg.weights._keras_files import variable_paths
from tests.support.mutations import Mutator
from tests.weights.fuzz_seeds import FIRED, SEEDS, SHARES, know_names, network

SECONDS = 1.0
"""Of processor time, of this process and of the one that reads HDF5 together."""
SPARE = 16 << 20
"""Bytes of memory beyond four times the file, in this process."""
HDF5_SPARE = 80 << 20
"""Likewise of the process that reads HDF5, whose own limit counts addresses."""
CHUNK = 6000
FORBIDDEN = ("pickle.find_class", "exec", "os.system", "os.exec", "os.spawn", "os.posix_spawn")
FORBIDDEN += ("socket.connect", "ctypes.dlopen", "os.putenv", "shutil.rmtree")
"""Events of Python's audit that no reading of a file has."""


class Broken(Exception):
    """A promise that was not kept."""


class Target:
    """The readers of one format, and what they promise.

    Args:
        form: a name of `SEEDS`.
        folder: for files.
        seed: of the mutations.
    """

    def __init__(self, form, folder, seed=0):
        self.form, self.seed = form, seed
        self.path = Path(folder) / "x"
        seeds = SEEDS[form](Path(folder))
        self.mutate = Mutator(seeds)
        self.model = None
        read = {
            "index": self._index,
            "result": self._result,
            "checkpoint": self._checkpoint,
            "statistics": self._statistics,
        }
        self.read = read.get(form, self._weights)
        if self.read == self._weights:
            know_names()
            self.model = network()
            # Views: a variable of torch is assigned in its place.
            self.values = [variable.value.detach().numpy() for variable in self.model.weights]
        self.seeds = seeds
        self.warm_up()

    def warm_up(self):
        """Read the files as they are: what is imported or mapped late is there then."""
        for content in self.seeds:
            self.check(content, measured=False)

    def mutation(self, number):
        return self.mutate(random.Random(f"{self.seed} {self.form} {number}"))

    def check(self, content, measured=True):
        """Whether the file is taken.

        Raises:
            Broken: it is refused otherwise than it should, or costs more than it may.
        """
        self.path.write_bytes(content)
        memory = _Memory() if measured else None
        began, there = time.thread_time(), _reader_time()
        taken = self.read()
        if memory is None:
            return taken
        spent = time.thread_time() - began + _reader_time(there)
        if spent > SECONDS:
            raise Broken(f"took {spent:.2f} s of processor time")
        memory.check(len(content))
        events = [each for each in EVENTS if self.form != "result" or "exec" not in each]
        if FIRED or events:
            raise Broken(f"ran {len(FIRED)} payloads; {events}")
        return taken

    def _weights(self):
        before = self._values()
        try:
            weights.load(self.model, self.path, progress=False)
        except WeightsError as error:
            self._is_good(error)
            if self._values() != before:
                raise Broken(f"the model has changed, and the file is refused: {error}") from error
            return False
        first = self._values()
        if not np.isfinite(np.frombuffer(first, "f4")).all():
            raise Broken("numbers that are not finite were loaded")
        if first != before:
            weights.load(self.model, self.path, progress=False)
            if self._values() != first:
                raise Broken("two readings give two models")
        return True

    def _values(self):
        return b"".join(value.tobytes() for value in self.values)

    def _is_good(self, error):
        message = str(error)
        if not message.startswith(f"{self.path}") or not message.isprintable():
            raise Broken(f"a message without the file, or that a terminal obeys: {message!r}")

    def _index(self):
        self.path.replace(self.path.with_name(weights.INDEX))
        try:
            weights.read_index(self.path.parent)
        except WeightsError as error:
            if not str(error).isprintable():
                raise Broken(f"a message that a terminal obeys: {error!r}") from error
            return False
        return True

    def _result(self):
        self.path.replace(self.path.with_name("result.json"))
        try:
            recipe_of(self.path.parent)
        except ValueError:
            return False
        return True

    def _checkpoint(self):
        self.path.replace(_checkpoint_files.path_of(self.path.parent, 1, 0))
        try:
            _checkpoint_files.latest(self.path.parent)
        except _checkpoint_files.CheckpointError:
            return False
        return True

    def _statistics(self):
        try:
            load_preprocessing(self.path)
        except ValueError:
            return False
        return True


def assign_or_read(model, pairs, arrays, *rest, **options):
    """`assign`; where the file is another network's, its arrays are read nevertheless."""
    try:
        assign(model, pairs, arrays, *rest, **options)
    except WeightsError:
        for array in arrays.values():
            with contextlib.suppress(WeightsError):
                assert array.read().shape == array.shape
        raise


@functools.lru_cache(maxsize=1)
def _variable_paths(model):
    """What a model asks of Keras does not depend on the file."""
    return variable_paths(model)


def _readers():
    return [reader for reader in _hdf5._IDLE if reader.alive()]


def _reader_time(before=None):
    """Processor time of the process that reads HDF5, or what it took since."""
    now = {}
    for reader in _readers():
        with contextlib.suppress(OSError):  # it ends while it is asked
            now[reader.process.pid] = time.clock_gettime(~reader.process.pid << 3 | 2)
    if before is None:
        return now
    # The imports of a new one are not the file's.
    return sum(value - before[pid] for pid, value in now.items() if pid in before)


class _Memory:
    """The peak of memory from here on, beyond what there is now."""

    def __init__(self):
        self.before = {pid: _reset(pid) for pid in ("self", *_pids())}

    def check(self, size):
        for pid, before in self.before.items():
            spare = SPARE if pid == "self" else HDF5_SPARE
            peak = _peak(pid)
            if peak is not None and before is not None and peak - before > 4 * size + spare:
                raise Broken(f"{peak - before} bytes of memory for {size} bytes of file ({pid})")


def _pids():
    return [reader.process.pid for reader in _readers()]


def _reset(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/clear_refs", "wb", buffering=0) as file:
            file.write(b"5")  # the peak is what is resident now
        return _peak(pid)


def _peak(pid):
    if pid == "self":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with contextlib.suppress(OSError, StopIteration):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


EVENTS = []
_watch = {"added": False, "on": False}


@contextlib.contextmanager
def watching():
    """In the block, note what no reading of a file does."""
    if not _watch["added"]:  # it cannot be taken away again
        sys.addaudithook(_note_event)
    _watch.update(added=True, on=True)
    try:
        yield
    finally:
        _watch["on"] = False


def _note_event(event, arguments):
    if not _watch["on"] or not event.startswith(FORBIDDEN) or len(EVENTS) > 8:
        return
    # A module that is imported late is executed, and is a file; a payload is none.
    if event != "exec" or not os.path.isfile(getattr(arguments[0], "co_filename", "")):
        EVENTS.append(f"{event} {arguments!r:.200}")


def failure(target, number):
    """Why a mutation breaks a promise, and whether it is taken: `(text or None, taken)`."""
    try:
        return None, target.check(target.mutation(number))
    except Broken as error:
        return str(error), False
    except Exception:
        return traceback.format_exc(limit=-4), False
    finally:
        FIRED.clear()
        EVENTS.clear()


def _work(target, begin, end, progress):
    """In a child: read mutations, and note how far it has come; a hang or a crash ends it."""
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit + (2 << 30), resource.RLIM_INFINITY))
    target.warm_up()
    with watching():
        for number in range(begin, end):
            struct.pack_into("<q", progress, 0, number)
            signal.setitimer(signal.ITIMER_PROF, 5)
            signal.alarm(150)
            text, taken = failure(target, number)
            count = struct.unpack_from("<q", progress, 8)[0]
            struct.pack_into("<q", progress, 8, count + taken)
            if text is not None:
                yield number, text


def run_chunk(target, begin, end):
    """Mutations `begin` to `end` in children: how many are taken, and what broke."""
    found, taken = [], 0
    progress = mmap.mmap(-1, 16)
    while begin < end:
        struct.pack_into("<qq", progress, 0, begin, 0)
        readable, writable = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.close(readable)
                with os.fdopen(writable, "w") as answers:
                    for finding in _work(target, begin, end, progress):
                        answers.write(json.dumps(finding) + "\n")
                        answers.flush()
                status = 0
            finally:
                _hdf5._close_all()
                os._exit(status)
        os.close(writable)
        with os.fdopen(readable) as answers:
            found += [tuple(json.loads(line)) for line in answers]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        number, count = struct.unpack("<qq", progress)
        taken += count
        if status:
            found.append((number, f"the process ended with status {status}"))
        begin = number + 1 if status else end
    return taken, found


def _done(log):
    """Of each format, how far earlier runs have come."""
    done = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "end" in row:
                done[row["format"]] = max(done.get(row["format"], 0), row["end"])
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("total", type=int)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for files; best in memory")
    parser.add_argument("--seed", type=int, default=0, help="a log is of one (default: 0)")
    parser.add_argument("--only", nargs="*", choices=SEEDS, default=list(SEEDS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    keep = options.log.with_suffix(".files")
    keep.mkdir(exist_ok=True)
    done = _done(options.log)
    _loading.assign, _loading.variable_paths = assign_or_read, _variable_paths
    targets = {}
    for form in options.only:
        (options.folder / form).mkdir(exist_ok=True)
        targets[form] = Target(form, options.folder / form, options.seed)
    _hdf5._close_all()
    gc.freeze()
    # All formats come on together, so that whatever was read when a run is broken off is a sample.
    for part in range(options.total * max(SHARES.values()) // 100 // CHUNK + 1):
        for form, target in targets.items():
            count = options.total * SHARES[form] // 100
            begin = max(part * CHUNK * SHARES[form] // max(SHARES.values()), done.get(form, 0))
            end = min((part + 1) * CHUNK * SHARES[form] // max(SHARES.values()), count)
            if begin >= end:
                continue
            clock = time.monotonic()
            taken, found = run_chunk(target, begin, end)
            row = {"format": form, "begin": begin, "end": end, "taken": taken}
            row["seconds"] = round(time.monotonic() - clock, 2)
            with options.log.open("a", encoding="utf-8") as log:
                for number, text in found:
                    (keep / f"{form}-{number}").write_bytes(target.mutation(number))
                    finding = {"format": form, "number": number, "found": text}
                    log.write(json.dumps(finding) + "\n")
                log.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
