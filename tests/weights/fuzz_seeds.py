"""The files that are mutated: small, of every format that is read, and some that are hostile."""

import collections
import io
import json
import pickle
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
import torch
from keras import layers
from safetensors.numpy import save as save_safetensors

from keras_mg.datasets import Normalizer
from keras_mg.recipes import get_recipe
from keras_mg.training import _checkpoint_files
from keras_mg.weights import register_names, weights_info
from keras_mg.weights._trained import FORMAT
from tests.weights.mxnet_writer import LAYOUTS, file_bytes

NAMES = {
    "conv/kernel": "conv.weight",
    "norm/gamma": "norm.weight",
    "norm/beta": "norm.bias",
    "norm/moving_mean": "norm.running_mean",
    "norm/moving_variance": "norm.running_var",
    "predictions/kernel": "fc.weight",
}
FIRED = []
"""What a payload leaves that was run."""


def fire(*_):
    FIRED.append(1)
    return {}


class Payload:
    def __reduce__(self):
        return fire, ()


def network():
    """A convolution, a batch norm and a head, under names that foreign files have, too."""
    image = keras.Input((2, 2, 2))
    x = layers.Conv2D(2, 2, use_bias=False, name="conv")(image)
    x = layers.Flatten(name="flat")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(
        image, layers.Dense(3, use_bias=False, name="predictions")(x), name="fuzzed"
    )
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def know_names():
    @register_names("the fuzzed network's code", head=("fc.weight",))
    def names(model):
        return {path: [name] for path, name in NAMES.items()} if model.name == "fuzzed" else {}


def arrays(dtype="f4"):
    made = {}
    for variable in network().weights:
        value = keras.ops.convert_to_numpy(variable)
        axes = (3, 2, 0, 1) if value.ndim == 4 else (1, 0) if value.ndim == 2 else (0,)
        made[NAMES[variable.path]] = np.ascontiguousarray(value.transpose(axes)).astype(dtype)
    return made


def params(layout):
    kinds = ("f4", "f8") if layout == "v0" else ("f4", "f2", "f8")
    mixed = arrays()
    mixed["norm.weight"], mixed["norm.bias"] = np.ones(2, "f8"), np.ones(2, "f2")
    named = {f"{'aux' if 'running' in name else 'arg'}:{name}": a for name, a in mixed.items()}
    return [file_bytes(arrays(kind), layout) for kind in kinds] + [file_bytes(named, layout)]


def npz():
    made = []
    for save, content in (
        (np.savez, arrays()),
        (np.savez_compressed, arrays("f8")),
        (np.savez, arrays(">f4")),
        (np.savez, {f"arg:{name}": a for name, a in arrays("f2").items()}),
        (np.savez, {"a": np.array([Payload()], object), **arrays()}),
    ):
        stream = io.BytesIO()
        save(stream, **content)
        made.append(stream.getvalue())
    bfloat16 = [("bfloat16", "<u2")]
    stream = io.BytesIO()
    np.savez(stream, **{n: a.view(bfloat16) for n, a in arrays(ml_dtypes.bfloat16).items()})
    return [*made, stream.getvalue()]


def checkpoints(zipped):
    def saved(content, **options):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped, **options)
        return stream.getvalue()

    state = {name: torch.from_numpy(array) for name, array in arrays().items()}
    odd = {name: torch.from_numpy(array).half() for name, array in arrays().items()}
    odd["fc.weight"] = odd["fc.weight"].T.contiguous().T  # strides of its own
    odd["norm.weight"] = odd["fc.weight"][0]  # a part of another's storage
    odd["norm.num_batches_tracked"] = torch.tensor(3)
    wrapped = {"epoch": 3, "lr": np.float64(0.1), "net": {"state_dict": state}}
    parameters = collections.OrderedDict(
        (f"module._orig_mod.{name}", torch.nn.Parameter(value)) for name, value in state.items()
    )
    return [
        *(saved(state), saved(odd), saved(wrapped), saved(parameters)),
        saved(state, pickle_protocol=4),
        saved({"state_dict": state, "hook": Payload()}),
    ]


def safetensors():
    mixed = {**arrays(), "norm.weight": np.ones(2, "f8"), "norm.bias": np.ones(2, "f2")}
    wrapped = {f"module.{name}": a for name, a in arrays(ml_dtypes.bfloat16).items()}
    return [
        save_safetensors(arrays(), {"format": "pt"}),
        *(save_safetensors(mixed), save_safetensors(wrapped)),
    ]


def _written(folder, name, write):
    path = folder / name
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _chunked(folder):
    """The weights in compressed chunks, in the order of another machine and as bfloat16."""
    path = folder / "chunked.weights.h5"
    network().save_weights(path)
    with h5py.File(path, "r+") as root:
        found = []
        root.visititems(lambda name, thing: found.append(name) if "vars/" in name else None)
        for i, name in enumerate(found):
            value = root[name][()]
            del root[name]
            if i == 2:
                root[name] = value.astype(ml_dtypes.bfloat16)
                root[name].attrs["dtype"] = "bfloat16"
            elif i % 2:
                root.create_dataset(name, data=value, compression="gzip", shuffle=True)
            else:
                root[name] = value.astype(">f4")
    content = path.read_bytes()
    path.unlink()
    return content


def h5(folder):
    return [_written(folder, "a.weights.h5", network().save_weights), _chunked(folder)]


def h5_of_models(folder):
    return [_written(folder, "a.h5", network().save)]


def keras_files(folder):
    whole = _written(folder, "a.keras", network().save)
    trained = network()
    trained.compile("sgd", "mse")
    trained.fit(np.zeros((2, 2, 2, 2)), np.zeros((2, 3)), verbose=0)
    hostile = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(hostile, "w", 8) as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == "config.json":
                called = {"module": __name__, "class_name": "fire", "config": {}}
                content = json.dumps({**called, "registered_name": None}).encode()
            target.writestr(member.filename, content)
        target.writestr("assets/a.pkl", pickle.dumps(Payload()))
    return [whole, _written(folder, "b.keras", trained.save), hostile.getvalue()]


def indices():
    records = [each.record() for each in weights_info("SegPMG")[:1]]
    two = [each.record() for each in weights_info("ResNet20")] + records
    return [json.dumps({"format": FORMAT, "weights": each}).encode() for each in (records, two)]


def results():
    made = []
    for name in ("mgnet-digits", "igc-resnet-digits"):
        record = json.loads(json.dumps(get_recipe(name).record()))
        more = {"test": {"loss": 1.0}, "validation": None, "seed": 0, "sha256": {}}
        rows = [{"epoch": 0, "loss": 1.0}]
        made.append(json.dumps({"recipe": record, "history": rows, **more}).encode())
    return made


def trainings(folder):
    state = {"epoch": 1, "step": 0, "history": [], "settings": {}, "keras": "3"}
    path = _checkpoint_files.path_of(folder, 1, 0)
    held = {f"model/{i:05d}/{name}": a for i, (name, a) in enumerate(arrays().items())}
    return [_written(folder, path.name, lambda path: _checkpoint_files.write(path, state, held))]


def statistics():
    made = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **Normalizer(np.ones((2, 2, 1)), 2.0).arrays)
        made.append(stream.getvalue())
    return made


SEEDS = {
    **{f"params {layout}": lambda _, layout=layout: params(layout) for layout in LAYOUTS},
    "npz": lambda _: npz(),
    "pth": lambda _: checkpoints(True),
    "pth before zip": lambda _: checkpoints(False),
    "safetensors": lambda _: safetensors(),
    "weights.h5": h5,
    "h5 of a model": h5_of_models,
    "keras": keras_files,
    "index": lambda _: indices(),
    "result": lambda _: results(),
    "checkpoint": trainings,
    "statistics": lambda _: statistics(),
}
SHARES = {
    **{f"params {layout}": 7 for layout in LAYOUTS},
    "npz": 10,
    "pth": 14,
    "pth before zip": 18,
    "safetensors": 16,
    "weights.h5": 2,
    "h5 of a model": 1,
    "keras": 2,
    "index": 5,
    "result": 1,
    "checkpoint": 2,
    "statistics": 1,
}
"""Of a hundred mutations. Those of HDF5 take twenty times as long as others."""
assert sum(SHARES.values()) == 100
