"""PyTorch files made to harm: each is refused with the documented error, and costs nothing."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from keras_mg.weights import WeightsError, read_through
from keras_mg.weights._torch_files import open_torch


class Program:
    """Writes a pickle, instruction by instruction."""

    def __init__(self):
        self.code = bytearray(pickle.PROTO + b"\x02")

    def __add__(self, more):
        self.code += more
        return self

    def name(self, module, name):
        return self + (pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def text(self, text):
        content = text.encode()
        return self + (pickle.BINUNICODE + struct.pack("<I", len(content)) + content)

    def number(self, value):
        content = pickle.encode_long(value)
        return self + (pickle.LONG4 + struct.pack("<i", len(content)) + content)

    def tensor(self, key="0", shape=(2,), strides=(1,), count=2, kind="FloatStorage"):
        """torch._utils._rebuild_tensor_v2 of a storage of the archive."""
        self.name("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + pickle.MARK
        self.text("storage").name("torch", kind).text(key).text("cpu")
        self.number(count) + pickle.TUPLE + pickle.BINPERSID
        self + pickle.BININT1 + b"\0"
        for sides in (shape, strides):
            self + pickle.MARK
            for side in sides:
                self.number(side)
            self + pickle.TUPLE
        self + pickle.NEWFALSE
        self.name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        return self + pickle.TUPLE + pickle.REDUCE


LARGE = 1 << 8_000_000


def archive(code, **storages):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("x/data.pkl", bytes(code))
        for key, values in (storages or {"_0": np.ones(2, "f4")}).items():
            made.writestr(f"x/data/{key.removeprefix('_')}", values.tobytes())
    return content.getvalue()


def checkpoint(key, value):
    """A dictionary of one item: functions that write the key and the value."""
    program = Program() + pickle.EMPTY_DICT
    key(program)
    value(program)
    return archive((program + pickle.SETITEM + pickle.STOP).code)


def tuples(count, shared):
    def write(program):
        program + pickle.EMPTY_TUPLE
        for i in range(count):
            if shared:
                put, get = pickle.BINPUT + bytes([i]), pickle.BINGET + bytes([i])
                program + put + get + pickle.TUPLE2
            else:
                program + pickle.TUPLE1

    return write


def named(text):
    return lambda program: program.text(text)


def encoded(codec, times, text):
    def write(program):
        for _ in range(times):
            program.name("_codecs", "encode")
        program.text(text)
        for _ in range(times):
            program.text(codec) + pickle.TUPLE2 + pickle.REDUCE

    return write


def typed_storage(program):
    program.name("torch.storage", "TypedStorage") + pickle.BININT + struct.pack("<i", 4096)
    return program + pickle.TUPLE1 + pickle.REDUCE


def a_tensor(**kwargs):
    return lambda program: program.tensor(**kwargs)


def built(program):
    """An OrderedDict whose attributes replace its methods."""
    program.name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    program + pickle.EMPTY_DICT
    return program.text("get") + pickle.NONE + pickle.SETITEM + pickle.BUILD


def two_pickles():
    """A legacy pickle in front of a zip archive, which Python sees and PyTorch does not."""
    return pickle.dumps(0x1950A86A20F9469CFC6C, 2) + archive(b"\x80\x02}.")


LEGACY_CUT = b"".join(
    [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"little_endian": True}, 2),
        ((Program() + pickle.EMPTY_DICT).text("a").tensor() + pickle.SETITEM + pickle.STOP).code,
        pickle.dumps([], 2),
    ]
)

ATTACKS = {
    "a deep tuple as a key": (checkpoint(tuples(200_000, False), a_tensor()), "is a tuple"),
    "a deeper one": (checkpoint(tuples(1_000_000, False), a_tensor()), "250000 instructions"),
    "shared tuples as a key": (checkpoint(tuples(60, True), a_tensor()), "is a tuple"),
    "punycode": (checkpoint(named("a"), encoded("punycode", 1, "é" * 180_000)), "_codecs.encode"),
    "hex of hex": (checkpoint(named("a"), encoded("hex", 30, "abcdef")), "_codecs.encode"),
    "a storage of its own": (checkpoint(named("a"), typed_storage), "without numbers of its own"),
    "attributes": (archive((built(Program()) + pickle.STOP).code), "holds no arrays"),
    "a pickle before a zip": (two_pickles(), "x: "),
    "no bytes in a legacy file": (LEGACY_CUT, "no bytes follow for storage '0'"),
    "too few bytes": (
        archive(
            (
                (Program() + pickle.EMPTY_DICT).text("a").tensor() + pickle.SETITEM + pickle.STOP
            ).code,
            _0=np.ones(1, "f4"),
        ),
        "states 8 bytes, and the file holds only 4",
    ),
    "no member": (
        archive(
            (
                (Program() + pickle.EMPTY_DICT).text("a").tensor() + pickle.SETITEM + pickle.STOP
            ).code,
            _1=np.ones(2, "f4"),
        ),
        "no member 'x/data/0'",
    ),
    "beyond the storage": (
        checkpoint(named("a"), a_tensor(shape=(2,), strides=(1 << 40,))),
        "reaches beyond",
    ),
    "sides beyond all bounds": (
        checkpoint(named("a"), a_tensor(shape=(0, 2**31 - 1, 2**31 - 1), strides=(1, 1, 1))),
        "which no machine holds",
    ),
    "negative strides": (checkpoint(named("a"), a_tensor(strides=(-1,))), "which is none"),
    "a size of millions of digits": (
        checkpoint(named("a"), a_tensor(count=LARGE)),
        "a storage without type, name or size",
    ),
    "a side of millions of digits": (
        checkpoint(named("a"), a_tensor(shape=(LARGE,))),
        "the shape (Opaque(kind='large number'),), which is none",
    ),
    "a long name": (checkpoint(named("module." * 100_000), a_tensor()), "characters"),
    "a name that a terminal obeys": (
        checkpoint(named("\x1b]0;owned\x07"), a_tensor(shape=(3,))),
        r"\x1b]0;owned\x07",
    ),
}


def read_all(path):
    with open_torch(path, "x") as arrays:
        return {name: array.read() for name, array in arrays.items()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(tmp_path, attack):
    content, words = ATTACKS[attack]
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_all(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith("x: ")
    assert message.isprintable()
    assert len(message) < 3000


def test_a_flipped_attribute_of_a_zip_entry_changes_no_number(tmp_path):
    """PyTorch takes the member for a folder then, and its array is what the memory held."""
    path = tmp_path / "x"
    torch.save({"a": torch.arange(100.0)}, path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"x/data/0") - 46 if b"x/data/0" in content else None
    entry = content.rindex(b"data/0") if entry is None else entry
    directory = content.rindex(b"PK\x01\x02", 0, entry + 46)
    content[directory + 38] |= 0x10  # "is a folder" in the external attributes
    path.write_bytes(content)
    with open_torch(path, "x") as arrays:
        np.testing.assert_array_equal(arrays["a"].read(), np.arange(100, dtype="f4"))


def test_one_storage_under_many_names_is_bounded(tmp_path):
    values = torch.zeros(250_000, dtype=torch.bfloat16)
    state = {f"a{i}": values for i in range(1500)}
    torch.save(state, tmp_path / "x")
    with pytest.raises(WeightsError, match="its arrays have 1500000000 bytes in all"):
        read_through(tmp_path / "x")


TYPES = [
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    *("uint16", "uint32", "uint64", "bool", "int8", "uint8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_pytorchs_numbers(tmp_path, name, zipped):
    dtype = getattr(torch, name)
    raw = torch.arange(48, dtype=torch.uint8) % (2 if name == "bool" else 50)
    values = raw.view(dtype) if name != "bool" else raw.bool()
    values = values.reshape(2, -1).T  # with strides of its own
    torch.save(
        {"a": values, "b": values[:1]}, tmp_path / "x", _use_new_zipfile_serialization=zipped
    )
    expected = values.double() if dtype.is_floating_point else values
    with open_torch(tmp_path / "x", "x") as arrays:
        got = arrays["a"].read()
        assert arrays["a"].dtype == got.dtype
        assert got.dtype.type.__module__ == "numpy"  # which backends know
        np.testing.assert_array_equal(got, expected.numpy())
        np.testing.assert_array_equal(arrays["b"].read(), expected.numpy()[:1])


def test_a_number_of_numpy_and_an_array_of_numpy_do_no_harm(tmp_path):
    content = {"state_dict": {"a": torch.ones(2)}, "best": np.float64(1), "curve": np.ones(3)}
    torch.save(content, tmp_path / "x")
    with open_torch(tmp_path / "x", "x") as arrays:
        assert list(arrays) == ["a"]


def test_a_number_of_numpy_among_the_arrays_is_named(tmp_path):
    torch.save({"a": torch.ones(2), "best": np.float64(1)}, tmp_path / "x")
    with pytest.raises(WeightsError, match="'best' is a numpy.*scalar; expected an array"):
        read_through(tmp_path / "x")
