"""Writes MXNet `.params` files in the four layouts, and the weights that MXNet's logits are of."""

import json
import struct
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "mxnet"
LAYOUTS = ("v0", "v1", "v2", "v3")
MAGIC = {"v1": 0xF993FAC8, "v2": 0xF993FAC9, "v3": 0xF993FACA}
KINDS = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4, "i1": 5, "i8": 6}
KINDS |= {"b1": 7, "i2": 8, "u2": 9, "u4": 10, "u8": 11}


def fixture(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def weights(facts):
    """The arrays that MXNet computed the fixture's logits with, from its seed."""
    arrays = {}
    shapes = {**facts["arg_shapes"], **facts["aux_shapes"]}
    for i, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        random = np.random.RandomState(facts["seed"] * 100003 + i)
        if name.endswith("weight"):
            scale = np.sqrt(3.0 * facts.get("gain", 1) / np.prod(shape[1:]))
            values = random.randint(-32, 33, size=shape).astype("f8") / 32 * scale
        elif name.endswith(("gamma", "moving_var")):
            values = random.randint(48, 81, size=shape) / 64.0
        else:
            values = random.randint(-8, 9, size=shape) / 64.0
        arrays[name] = values.astype("f4")
    return arrays


def images(facts):
    """The images (N, C, H, W) that the logits belong to."""
    random = np.random.RandomState(facts["seed"])
    return (random.randint(0, 256, size=facts["input_shape_nchw"]) / 128.0 - 1.0).astype("f4")


def array_bytes(array, layout="v2"):
    dims = array.shape
    if layout == "v0":
        head = struct.pack(f"<I{len(dims)}I", len(dims), *dims)
    elif layout == "v1":
        head = struct.pack(f"<II{len(dims)}q", MAGIC[layout], len(dims), *dims)
    else:
        head = struct.pack(f"<IiI{len(dims)}q", MAGIC[layout], 0, len(dims), *dims)
    kind = KINDS[array.dtype.str[1:]]
    return (
        head
        + struct.pack("<iii", 1, 0, kind)
        + array.astype(array.dtype.newbyteorder("<")).tobytes()
    )


def file_bytes(arrays, layout="v2"):
    """The whole file. The names are as in the file, with `arg:` or `aux:`."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    parts += [array_bytes(a, layout) for a in arrays.values()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name.encode())) + name.encode())
    return b"".join(parts)


def write_fixture(path, facts, layout="v2"):
    arrays = weights(facts)
    named = {f"arg:{n}": arrays[n] for n in facts["arg_shapes"]}
    named |= {f"aux:{n}": arrays[n] for n in facts["aux_shapes"]}
    Path(path).write_bytes(file_bytes(named, layout))
    return arrays
