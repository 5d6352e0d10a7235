"""What a PyTorch checkpoint's pickles name, found without running them.

`torch.load(weights_only=True)` runs no code, but among what it allows are `bytearray` and
`torch.Tensor`, which a hundred bytes can ask for gigabytes of. A checkpoint of arrays needs far
less, so anything else is refused before PyTorch sees the file.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from typing import IO

from keras_mg.weights._arrays import PathLike, WeightsError

NEEDED = re.compile(
    r"collections\.(OrderedDict|defaultdict)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state|"
    r"sparse_tensor|meta_tensor_no_storage)"
    r"|torch\.(storage\.)?(\w*Storage)"
    r"|torch\.(Size|device|serialization\._get_layout|nn\.parameter\.Parameter)"
    r"|torch\.(float|double|half|bfloat16|float8_\w+|float(16|32|64)|u?int(8|16|32|64)?|long|short|bool)"
    r"|numpy\.(dtype|_?core\.multiarray\.scalar)|numpy\.dtypes\.\w+|_codecs\.encode"
)
"""The names that checkpoints of arrays, counters and optimizer settings hold."""

# Python's pickler writes none of these for containers and arrays. They would let a name be taken
# from the stack that is not the last one written.
UNNEEDED = ("DUP", "POP", "POP_MARK", "INST", "OBJ", "EXT1", "EXT2", "EXT4")

# A legacy file begins with several pickles: magic number, version, system, content, storages.
LEGACY_PICKLES = 5


def check_names(path: PathLike, file: str) -> None:
    """Raise for a checkpoint that names more than arrays and plain containers.

    Raises:
        WeightsError: it does, or its pickle cannot be read.
    """
    for name in _names(path, file):
        if NEEDED.fullmatch(name) is None:
            raise WeightsError(
                f"{file}: holds {name!r}, which no checkpoint of arrays needs: it may be code. "
                "Nothing in the file was run. Save a plain state dict and load that."
            )


def _names(path: PathLike, file: str) -> Iterator[str]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith(".pkl"):
                        with archive.open(member) as stream:
                            yield from _pickle_names(stream)
        else:
            with open(path, "rb") as stream:
                for _ in range(LEGACY_PICKLES):
                    yield from _pickle_names(stream)
    except WeightsError:
        raise
    except Exception as error:
        # pickletools raises ValueError, UnicodeDecodeError, struct.error and more.
        raise WeightsError(f"{file}: damaged, its pickle cannot be read ({error}).") from error


def _pickle_names(stream: IO[bytes]) -> Iterator[str]:
    """`module.name` of every object that the pickle at the stream's place asks for."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    last = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in UNNEEDED:
            yield f"pickle instruction {opcode.name}"
        elif opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            # Its module and name are the last two texts, which may come from the memo.
            yield ".".join(texts[-2:])
        elif opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else int(argument)] = last
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(argument or 0), ""))
        elif isinstance(argument, str):
            texts.append(argument)
        last = texts[-1] if texts and isinstance(argument, str) else ""
