"""PyTorch's pickles as data: a machine that builds containers and notes arrays, and runs nothing.

A pickle is a program that may name and call anything. Here a name is a text that is compared with a
list, and "calling" one of the list makes a container, a note of an array, or an `Opaque`: nothing
of Python or PyTorch is looked up. Every instruction is done in one pass, without recursion, and
makes no more than it reads; keys are texts and small numbers, because the hash of a nested tuple
can take for ever.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from keras_mg.weights._arrays import WeightsError

MAX_KEY = 1 << 40
"""Of a number that is a key: larger ones can be chosen so that a dictionary gets slow."""

MAX_BITS = 128
"""Of a number: no size needs more, and to print megabytes of digits takes for ever."""

MAX_COPIED = 1_000_000
"""Pairs that dictionaries may be made of in one call (older picklers did)."""

MAX_INSTRUCTIONS = 250_000
"""In one pickle: some 30 per array, and about a second where each makes an object."""

CONTAINERS = re.compile(r"collections\.(OrderedDict|defaultdict|Counter)")
STORAGE = re.compile(r"torch\.(?:storage\.)?(\w+)Storage")
DTYPE = re.compile(
    r"torch\.(float|double|half|bfloat16|float8_\w+|float(16|32|64)|complex(32|64|128)"
    r"|u?int(8|16|32|64)?|long|short|bool|q\w+)"
)
HARMLESS = re.compile(
    r"torch\.(Size|device|serialization\._get_layout|nn\.parameter\.Parameter"
    r"|_utils\._rebuild_(sparse_tensor|meta_tensor_no_storage|qtensor|nested_tensor))"
    r"|numpy\.(dtype|ndarray|_?core\.multiarray\.(scalar|_reconstruct))|numpy\.dtypes\.\w+"
    r"|_codecs\.encode|torch\.per_(tensor|channel)_(affine|symmetric|affine_float_qparams)"
    r"|argparse\.Namespace|types\.SimpleNamespace|datetime\.\w+"
    r"|pathlib(\._local)?\.\w*Path"
    r"|(__builtin__|builtins)\.(bool|complex|float|frozenset|int|list|long|object|range"
    r"|set|slice|str|tuple)"
)
"""What may be named beside storages, element types and what `_CALLS` makes.

Settings of a training stand beside its weights in many checkpoints. Nothing named here is made.
"""


@dataclass(frozen=True)
class Named:
    """Something that the pickle names."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """Something that is no weight: a setting, a number of NumPy, a sparse array."""

    kind: str


@dataclass(frozen=True)
class Storage:
    """The bytes of one or several arrays.

    Args:
        kind: PyTorch's name of its element type, such as "Float"; "Untyped" counts bytes.
        key: its name in the file.
        count: how many elements it is said to have.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """An array that is not read yet: a storage and where the array lies in it."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple
    dtype: str | None = None
    negated: bool = False


_MARK = object()
_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    "BINUNICODE8",
}
"""Instructions that push their argument, a number or a text."""
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}


def read_pickle(stream: IO[bytes], file: str, kinds: dict[str, str] | None = None) -> Any:
    """The content of the pickle at the stream's place: containers, texts, numbers, `Tensor`s.

    Args:
        stream: where the pickle is.
        file: its name for messages.
        kinds: filled with the element types of all storages by their names.

    Raises:
        WeightsError: it is damaged, or names what no checkpoint of arrays needs.
    """
    try:
        return _Machine(file, {} if kinds is None else kinds).run(stream)
    except WeightsError:
        raise
    except Exception as error:
        # pickletools raises ValueError, UnicodeDecodeError, struct.error and more.
        raise WeightsError(f"{file}: damaged, its pickle cannot be read ({error}).") from error


class _Machine:
    def __init__(self, file: str, kinds: dict[str, str]) -> None:
        self.file = file
        self.kinds = kinds
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self, stream: IO[bytes]) -> Any:
        push = self.stack.append
        left = MAX_INSTRUCTIONS
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _PUSHED:
                large = type(argument) is int and argument.bit_length() > MAX_BITS
                push(Opaque("large number") if large else argument)
            elif name in _METHODS:
                _METHODS[name](self, argument)
            elif name in _BYTES:
                push(Opaque("bytes"))
            else:
                raise self._refuse(f"pickle instruction {name}")
            left -= 1
            if not left:
                raise ValueError(f"more than {MAX_INSTRUCTIONS} instructions")
        if len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} objects at its end")
        return self.stack[0]

    def _refuse(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.file}: holds {what!r}, which no checkpoint of arrays needs: it may be code. "
            "Nothing in the file was run. Save a plain state dict and load that."
        )

    def _top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("an instruction without its object")
        return self.stack[-1]

    def _take(self, count: int) -> list[Any]:
        """The last `count` objects, taken from the stack."""
        if count > len(self.stack):
            raise ValueError("an instruction without its objects")
        taken = self.stack[len(self.stack) - count :]
        if any(x is _MARK for x in taken):
            raise ValueError("an instruction without its objects")
        del self.stack[len(self.stack) - count :]
        return taken

    def _to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise ValueError("an instruction without its mark")
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def _store(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key without a value")
        keys = items[::2]
        for key in keys:
            small = type(key) is int and abs(key) < MAX_KEY
            if not (isinstance(key, str) or small or key is None or isinstance(key, bool)):
                kind = key.kind if isinstance(key, Opaque) else type(key).__name__
                raise WeightsError(
                    f"{self.file}: a key of the checkpoint is a {kind}; expected texts and whole "
                    "numbers."
                )
        if isinstance(target, dict):
            target.update(zip(keys, items[1::2], strict=True))
        elif not isinstance(target, Opaque):
            raise ValueError(f"items of a {type(target).__name__}")

    def _extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise ValueError(f"elements of a {type(target).__name__}")

    # One method per instruction, of its name in pickletools. Python's pickler writes no others for
    # containers and arrays.

    def _proto(self, _: Any) -> None:
        pass

    _frame = _stop = _proto

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    _empty_set = _empty_list  # nothing is asked of a set here, and its elements are not hashed

    def _none(self, _: Any) -> None:
        self.stack.append(None)

    def _newtrue(self, _: Any) -> None:
        self.stack.append(True)

    def _newfalse(self, _: Any) -> None:
        self.stack.append(False)

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _tuple1(self, _: Any) -> None:
        self.stack.append(tuple(self._take(1)))

    def _tuple2(self, _: Any) -> None:
        self.stack.append(tuple(self._take(2)))

    def _tuple3(self, _: Any) -> None:
        self.stack.append(tuple(self._take(3)))

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._to_mark())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        items = self._to_mark()
        made: dict = {}
        self._store(made, items)
        self.stack.append(made)

    def _append(self, _: Any) -> None:
        items = self._take(1)
        self._extend(self._top(), items)

    def _appends(self, _: Any) -> None:
        items = self._to_mark()
        self._extend(self._top(), items)

    _additems = _appends

    def _setitem(self, _: Any) -> None:
        items = self._take(2)
        self._store(self._top(), items)

    def _setitems(self, _: Any) -> None:
        items = self._to_mark()
        self._store(self._top(), items)

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self._top()

    def _put(self, number: Any) -> None:
        self.memo[int(number)] = self._top()

    _binput = _long_binput = _put

    def _get(self, number: Any) -> None:
        self.stack.append(self.memo[int(number)])

    _binget = _long_binget = _get

    def _global(self, names: str) -> None:
        self._name(names.replace(" ", ".", 1))

    def _stack_global(self, _: Any) -> None:
        module, name = self._take(2)
        self._name(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?")

    def _name(self, name: str) -> None:
        known = name in _CALLS or any(
            pattern.fullmatch(name) for pattern in (CONTAINERS, STORAGE, DTYPE, HARMLESS)
        )
        if not known:
            raise self._refuse(name)
        self.stack.append(Named(name))

    def _reduce(self, _: Any) -> None:
        called, arguments = self._take(2)
        if not isinstance(called, Named) or not isinstance(arguments, tuple):
            raise ValueError(f"a call of a {type(called).__name__}")
        if STORAGE.fullmatch(called.name):
            raise WeightsError(
                f"{self.file}: makes a {called.name} without numbers of its own; its arrays would "
                "hold whatever the memory held."
            )
        if called.name == "_codecs.encode" and arguments[1:] != ("latin1",):
            raise self._refuse("_codecs.encode to something else than latin1")
        if CONTAINERS.fullmatch(called.name):
            self.stack.append(self._container(arguments))
            return
        make = _CALLS.get(called.name)
        self.stack.append(Opaque(called.name) if make is None else make(*arguments))

    def _container(self, arguments: tuple) -> dict:
        """A dictionary, filled where the pickler gave pairs to its class."""
        made: dict = {}
        for pairs in arguments:
            if isinstance(pairs, list):
                self.copied += len(pairs)  # the same list may be given again and again
                if self.copied > MAX_COPIED or any(len(pair) != 2 for pair in pairs):
                    raise ValueError("a dictionary of something else than pairs")
                self._store(made, [item for pair in pairs for item in pair])
        return made

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self._take(1)  # arguments by name: nothing here takes any
        self._reduce(_)

    def _build(self, _: Any) -> None:
        self._take(1)  # attributes, such as the version numbers that a state dict carries
        self._top()

    def _binpersid(self, _: Any) -> None:
        (pid,) = self._take(1)
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise ValueError("a reference to something that is no storage")
        _, kind, key, _, count = pid[:5]
        found = STORAGE.fullmatch(kind.name) if isinstance(kind, Named) else None
        if found is None or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError("a reference to a storage without type, name or size")
        if pid[5:] not in ((), (None,)):
            raise ValueError("a storage that is a part of another")
        if self.kinds.setdefault(key, found[1]) != found[1]:
            raise ValueError("a storage of two types")
        self.stack.append(Storage(found[1], key, count))


_METHODS: dict[str, Callable[[_Machine, Any], None]] = {
    opcode.name: getattr(_Machine, f"_{opcode.name.lower()}")
    for opcode in pickletools.opcodes
    if hasattr(_Machine, f"_{opcode.name.lower()}")
}


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = None,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor | Opaque:
    return _tensor_of_type(
        storage, offset, shape, strides, requires_grad, hooks, Named(""), metadata
    )


def _tensor_of_type(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor | Opaque:
    if not isinstance(storage, Storage) or type(offset) is not int or not isinstance(dtype, Named):
        raise ValueError("an array without storage, place or type")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("an array without shape or strides")
    # Metadata say that the numbers are stored negated or conjugated.
    changed = isinstance(metadata, dict) and any(metadata.values())
    return Tensor(storage, offset, shape, strides, dtype.name or None, changed)


def _parameter(data: Any, *_: Any) -> Any:
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
