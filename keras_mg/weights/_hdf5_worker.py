"""The process that reads the structure of HDF5 files for `_hdf5`; it is run, never imported.

libhdf5 trusts what it reads: a damaged file can make it run for ever, ask for any memory, or crash.
Here each request has a limit of processor time and of memory, and the system ends the process that
passes one. It needs h5py alone; Keras is not imported.

A request is a line of JSON, and so is its answer. `{"path", "start", "size"}` (or `{"inline": n}`
and n bytes) opens a file and answers `{"arrays": [...]}`; `{"read": i}` answers `{"nbytes": n}` and
the bytes of array i. `{"error": text, "kind": ...}` answers what cannot be done.
"""

import itertools
import json
import os
import signal
import sys
from typing import Any

SECONDS = 0.6
"""Of processor time, for each object of a file."""
SPARE = 64 << 20
"""Bytes of memory beyond a multiple of the file's."""
OBJECTS = 50_000
"""In a file: groups and arrays."""
IDLE = 60
"""Seconds without a request after which the process ends."""


class Refused(Exception):
    """What a weights file must not hold."""


def limit_time(seconds):
    if hasattr(signal, "setitimer"):
        # The signal's default action ends the process, also in the midst of a library's loop.
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def limit_memory(size):
    try:
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return  # no Unix, or one that does not tell
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (now + SPARE + 3 * size, hard))


class Part:
    """A part of a file, as the stream that h5py reads from."""

    def __init__(self, stream, start, size):
        self.stream, self.start, self.size, self.place = stream, start, size, 0

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = base + offset
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        count = max(0, min(len(buffer), self.size - self.place))
        self.stream.seek(self.start + self.place)
        got = self.stream.readinto(memoryview(buffer)[:count])
        self.place += got
        return got

    def read(self, count=-1):
        content = bytearray(max(0, self.size - self.place) if count < 0 else count)
        return bytes(content[: self.readinto(content)])


def array_facts(h5py, np, dataset, layer, path):
    """What is known of an array, and where its bytes are if they lie in one piece."""
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{path}: expected an array, found a {type(dataset).__name__}.")
    if dataset.external or dataset.is_virtual:
        raise Refused(
            f"{path}: its data lie in another file; a weights file must hold its own data."
        )
    if dataset.shape is None:
        raise Refused(f"{path}: the array has no shape.")
    dtype = dataset.dtype
    stored = dataset.id.get_storage_size()
    note = dataset.attrs.get("dtype")
    facts = {
        "path": path,
        "layer": layer,
        "shape": [int(side) for side in dataset.shape],
        "dtype": dtype.str,
        "type": str(dtype),
        "bfloat16": (isinstance(note, str) and note == "bfloat16") or str(dtype) == "bfloat16",
        "stored": stored,
    }
    plain = dtype.kind in "fiu" and h5py.h5t.py_create(dtype).equal(dataset.id.get_type())
    if plain and dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS:
        facts["offset"] = dataset.id.get_offset()
    elif dataset.chunks is not None:
        facts["expands"] = check_chunks(np, dataset, path)
    return facts


def check_chunks(np, dataset, path):
    """Raise for compression that could make much of little; the largest chunk's bytes."""
    filters = dataset.id.get_create_plist()
    kinds = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if len(set(kinds)) < len(kinds) or not set(kinds) <= {1, 2, 3}:  # deflate, shuffle, checksum
        raise Refused(f"{path}: compressed twice, or by an unknown method.")
    grid = [-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    if 0 < dataset.id.get_num_chunks() < int(np.prod(grid, dtype=object)):
        raise Refused(f"{path}: some of its chunks are not in the file.")
    return int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize


def collect(h5py, np, root):
    found, datasets, seen = [], [], set()
    numbers = itertools.count(1)

    def layer_name(group):
        """The name of a top-level layer: Keras notes it on the layer's own `vars` group."""
        own = group.get("vars", getlink=True)
        name = group["vars"].attrs.get("name") if isinstance(own, h5py.HardLink) else None
        return name if isinstance(name, str) else None

    def visit(group, layer):
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise Refused(f"{group.name}: the group contains itself.")
        seen.add(address)
        for name in group:
            limit_time(SECONDS)
            if next(numbers) > OBJECTS:
                raise Refused(f"it holds more than {OBJECTS} groups and arrays.")
            link = group.id.links.get_info(name.encode("utf-8", "surrogateescape"))
            if link.type != h5py.h5l.TYPE_HARD:
                raise Refused(
                    f"{group.name}/{name}: a link to another place; a weights file must "
                    "hold its own data."
                )
            path = f"{group.name}/{name}".strip("/")
            thing = group[name]
            if isinstance(thing, h5py.Group):
                visit(thing, layer_name(thing) if group.name == "/layers" else layer)
            elif path.startswith("layers/") and "/seed_generator" not in path:
                # A `.keras` file holds optimizer, metrics and random state, too.
                found.append(array_facts(h5py, np, thing, layer, path))
                datasets.append(thing)

    visit(root, None)
    return found, datasets


def inflate(np, dataset, bound):
    """The chunks' deflated bytes may not come to more than the chunk; libhdf5 does not ask."""
    import zlib

    filters = dataset.id.get_create_plist()
    kinds = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if 1 not in kinds:
        return
    trailer = 4 if kinds.index(1) < len(kinds) - 1 and kinds[-1] == 3 else 0
    for i in range(dataset.id.get_num_chunks()):
        limit_time(SECONDS)
        info = dataset.id.get_chunk_info(i)
        if info.filter_mask:
            raise Refused("a chunk that leaves out a method.")
        content = dataset.id.read_direct_chunk(info.chunk_offset)[1]
        stream = zlib.decompressobj()
        stream.decompress(content[: len(content) - trailer], bound + 5)
        if stream.unconsumed_tail:
            raise Refused("a chunk unpacks to more than it states.")


class Server:
    def __init__(self):
        import h5py
        import numpy as np

        self.h5py, self.np = h5py, np
        self.root, self.stream, self.datasets, self.facts = None, None, [], []

    def close(self):
        for thing in (self.root, self.stream):
            if thing is not None:
                thing.close()
        self.root, self.stream, self.datasets, self.facts = None, None, [], []

    def open(self, request):
        self.close()
        if "inline" in request:
            import io

            content = sys.stdin.buffer.read(request["inline"])
            limit_memory(request["inline"])
            source: Any = io.BytesIO(content)
        else:
            limit_memory(request["size"])
            self.stream = open(request["path"], "rb")  # noqa: SIM115 (until the next request)
            source = Part(self.stream, request["start"], request["size"])
        limit_time(SECONDS)
        self.root = self.h5py.File(source, "r")
        limit_time(SECONDS)
        if "layer_names" in self.root.attrs or "model_weights" in self.root:
            raise Refused(
                "a model in the HDF5 format of Keras 2. If Keras 3 saved it as `.h5`, "
                "`keras.saving.load_model` reads it; if Keras 2 did, load it there or with "
                "`tf_keras`. Then save it as `.weights.h5` or `.keras`."
            )
        self.facts, self.datasets = collect(self.h5py, self.np, self.root)
        if not self.facts:
            raise Refused(
                "holds no Keras weights (no array under `layers/`); its top groups are "
                f"{sorted(self.root)[:8]}."
            )
        return {"arrays": self.facts}, b""

    def read(self, request):
        number = request["read"]
        limit_time(SECONDS + self.facts[number]["stored"] / 2e7)
        if "expands" in self.facts[number]:
            inflate(self.np, self.datasets[number], self.facts[number]["expands"])
            limit_time(SECONDS + self.facts[number]["stored"] / 2e7)
        values = self.np.ascontiguousarray(self.datasets[number][()])
        return {"nbytes": values.nbytes, "dtype": values.dtype.str}, values.tobytes()

    def answer(self, request):
        try:
            return self.read(request) if "read" in request else self.open(request)
        except Refused as error:
            return {"error": str(error), "kind": "refused"}, b""
        except Exception as error:  # h5py raises a dozen kinds for damaged structures
            kind = "damaged" if self.root is not None else "unreadable"
            return {"error": f"{type(error).__name__}: {error}", "kind": kind}, b""
        finally:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.path[:] = json.loads(source.readline())
    server = Server()
    while True:
        if hasattr(signal, "alarm"):
            signal.alarm(IDLE)  # whose default action ends the process
        line = source.readline()
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        if not line:
            return
        answer, content = server.answer(json.loads(line))
        target.write(json.dumps(answer).encode() + b"\n" + content)
        target.flush()


if __name__ == "__main__":
    main()
