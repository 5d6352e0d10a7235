"""Mutated files of every format: the arrays or the documented error, soon, and in little memory."""

import io
import os
import random
import resource
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_safetensors

from keras_mg.weights import WeightsError, load
from keras_mg.weights._opening import open_arrays
from tests.weights.mxnet_writer import LAYOUTS, file_bytes
from tests.weights.small_nets import assert_equal, randomize, small_net, values

QUICK, MANY = 300, 1_000_000
SECONDS = 1.0
"""Of processor time, of this process; the one that reads HDF5 has its own limit."""
SPARE = 64 << 20
"""Bytes of memory beyond four times the file: what the interpreter keeps at hand."""
NUMBERS = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
]


def _arrays():
    values = np.random.default_rng(0)
    return {f"layer{i}.weight": values.normal(size=(3, 4)).astype("f4") for i in range(5)}


def _torch(zipped):
    content = io.BytesIO()
    state = {name: torch.from_numpy(array) for name, array in _arrays().items()}
    checkpoint = {"state_dict": state, "epoch": 3, "lr": np.float64(0.1)}
    torch.save(checkpoint, content, _use_new_zipfile_serialization=zipped)
    return content.getvalue()


def _keras(suffix, folder):
    path = folder / f"seed{suffix}"
    model = randomize(small_net())
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    return path.read_bytes()


def _npz():
    content = io.BytesIO()
    np.savez(content, **_arrays())
    return content.getvalue()


SEEDS = {
    **{f"params {v}": lambda folder, v=v: file_bytes(_arrays(), v) for v in LAYOUTS},
    "npz": lambda folder: _npz(),
    "safetensors": lambda folder: save_safetensors(_arrays()),
    "pth": lambda folder: _torch(True),
    "pth before zip": lambda folder: _torch(False),
    "h5": lambda folder: _keras(".weights.h5", folder),
    "keras": lambda folder: _keras(".keras", folder),
}


def _with_right_checksums(content, chance):
    """Half of the archives get right checksums again, so that damage gets further in."""
    try:
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as target:
            for member in source.infolist():
                source.getinfo(member.filename).CRC = None
                part = source.open(member)
                part._expected_crc = None
                data = part.read()
                if chance.random() < 0.3:
                    data = mutate(data, chance)
                target.writestr(member.filename, data)
        return made.getvalue()
    except Exception:
        return content


def mutate(content, chance):
    """One to four changes: bits, bytes, odd numbers, parts taken out, repeated or moved."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not changed:
            break
        place = chance.randrange(len(changed))
        kind = chance.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + 1] = chance.randbytes(chance.randint(1, 8))
        elif kind == 2:
            form = chance.choice("BHIQ")
            number = chance.choice(NUMBERS) & (256 ** struct.calcsize(form) - 1)
            changed[place : place + struct.calcsize(form)] = struct.pack(f"<{form}", number)
        elif kind == 3:
            del changed[place : place + chance.randint(1, 64)]
        elif kind == 4:
            changed[place:place] = changed[place : place + chance.randint(1, 256)]
        elif kind == 5:
            other = chance.randrange(len(changed))
            changed[place : place + 16] = changed[other : other + 16]
        elif chance.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def read_all(path):
    """Every array of the file, one at a time; whether the file was taken."""
    try:
        with open_arrays(path, "x") as (_, arrays):
            for array in arrays.values():
                assert array.read().shape == array.shape
    except WeightsError as error:
        message = str(error)
    else:
        return True
    assert message.startswith("x")
    assert message.isprintable()
    return False


def fuzz(seed, path, count, number):
    """Read `count` mutations; gives how many were taken. A failure leaves its file at `path`."""
    chance = random.Random(number)
    archive = seed.startswith(b"PK")
    read_all(path) if path.exists() else None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = 0
    for i in range(count):
        content = mutate(seed, chance)
        if archive and i % 2:
            content = _with_right_checksums(seed, chance)
        path.write_bytes(content)
        began = time.thread_time()
        taken += read_all(path)
        spent = time.thread_time() - began
        assert spent < SECONDS, f"mutation {i} took {spent} s"
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (now - peak) * 1024 <= 4 * len(content) + SPARE, f"mutation {i}: {now - peak} kB"
    return taken


@pytest.mark.parametrize("kind", SEEDS)
def test_mutations(tmp_path, kind):
    seed = SEEDS[kind](tmp_path)
    path = tmp_path / "x"
    path.write_bytes(seed)
    assert read_all(path)
    assert fuzz(seed, path, QUICK, kind) < QUICK  # and some are refused


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_a_million_mutations(tmp_path, kind):
    """`KERAS_MG_MUTATIONS` is their number over all formats."""
    count = int(os.environ.get("KERAS_MG_MUTATIONS", MANY)) // len(SEEDS)
    seed = SEEDS[kind](tmp_path)
    path = tmp_path / "x"
    path.write_bytes(seed)
    taken = fuzz(seed, path, count, f"many {kind}")
    print(f"{kind}: {count} mutations, {taken} taken")


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_a_refused_mutation_leaves_the_model(tmp_path, suffix):
    seed = _keras(suffix, tmp_path)
    path = tmp_path / "x"
    chance = random.Random(suffix)
    model = small_net()
    refused = 0
    for _ in range(60):
        path.write_bytes(mutate(seed, chance))
        before = values(model)
        try:
            load(model, path)
        except WeightsError:
            refused += 1
            assert_equal(model, before)
    assert refused
