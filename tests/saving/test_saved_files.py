"""What earlier states of the library saved loads, with the outputs that it had then."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import keras_mg
from tests.support import saved, tiny

TOLERANCE = 2e-5
WEIGHTS = (*saved.NAMES, saved.TRAINED)
MODELS = (*WEIGHTS, "deployed")


def stored(name):
    with np.load(saved.FOLDER / f"{name}.npz") as file:
        return file["image"], file["output"]


def test_the_files_are_there_and_small():
    expected = {f"{n}.weights.h5" for n in WEIGHTS}
    expected |= {f"{n}{suffix}" for n in MODELS for suffix in (".keras", ".npz")}
    assert {file.name for file in saved.FOLDER.iterdir()} == expected
    assert sum(file.stat().st_size for file in saved.FOLDER.iterdir()) < 3_200_000


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_loads(name):
    image, output = stored(name)
    model = keras.saving.load_model(saved.FOLDER / f"{name}.keras")
    assert isinstance(model, keras_mg.Model)
    assert tiny.difference(model.predict_on_batch(image), output) <= TOLERANCE


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_saved_weights_load_into_the_network_of_today(name, suffix):
    image, output = stored(name)
    model = tiny.NETWORKS[name]()
    before = model.predict_on_batch(image)
    keras_mg.weights.load(model, saved.FOLDER / f"{name}{suffix}")
    after = model.predict_on_batch(image)
    assert tiny.difference(after, output) <= TOLERANCE
    assert tiny.difference(before, output) > 100 * TOLERANCE


@pytest.mark.parametrize("name", WEIGHTS)
def test_keras_loads_the_weights_by_itself(name):
    image, output = stored(name)
    model = tiny.NETWORKS[name]()
    model.load_weights(saved.FOLDER / f"{name}.weights.h5")
    assert tiny.difference(model.predict_on_batch(image), output) <= TOLERANCE


def test_a_trained_model_loads_with_its_optimizer():
    model = keras.saving.load_model(saved.FOLDER / f"{saved.TRAINED}.keras")
    optimizer = model.optimizer
    assert type(optimizer).__name__ == "CoupledSGD"
    assert (float(optimizer.learning_rate), optimizer.momentum, optimizer.nesterov) == (
        0.25, 0.5, True
    )  # fmt: skip
    assert optimizer.weight_decay == 0.125
    assert int(optimizer.iterations) == 1
    velocities = [np.abs(keras.ops.convert_to_numpy(v)).max() for v in optimizer.momentums]
    assert len(velocities) == len(model.trainable_variables)
    assert min(velocities) > 0


@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("name", WEIGHTS)
def test_the_hdf5_format_of_old_keeps_a_model(name, tmp_path):
    model = tiny.NETWORKS[name]()
    keras_mg.weights.load(model, saved.FOLDER / f"{name}.weights.h5")
    model.save(tmp_path / "m.h5")
    loaded = keras.saving.load_model(tmp_path / "m.h5")
    assert type(loaded) is type(model)
    image, _ = stored(name)
    outputs = (each.predict_on_batch(image) for each in (model, loaded))
    assert tiny.difference(*outputs) == 0
    with pytest.raises(keras_mg.weights.WeightsError, match="keras.saving.load_model"):
        keras_mg.weights.load(model, tmp_path / "m.h5")


def test_who_has_not_imported_the_package_is_told_to(tmp_path, monkeypatch):
    model = tiny.NETWORKS["mgnet_shared"]()
    model.save(tmp_path / "m.keras")
    objects = keras.saving.get_custom_objects()
    monkeypatch.delitem(objects, keras.saving.get_registered_name(type(model)))
    with pytest.raises(TypeError, match=r"'requires': 'import keras_mg'"):
        keras.saving.load_model(tmp_path / "m.keras")
    monkeypatch.undo()
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again) is type(model)
    assert again.count_params() == model.count_params()


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_hdf5_files_of_old_name_the_package(tmp_path, monkeypatch):
    model = tiny.NETWORKS["mgnet_shared"]()
    model.save(tmp_path / "m.h5")
    objects = keras.saving.get_custom_objects()
    for name in ("FunctionalModel", keras.saving.get_registered_name(type(model))):
        monkeypatch.delitem(objects, name)
    with pytest.raises(ValueError, match="Unknown layer: 'keras_mg>Functional'"):
        keras.saving.load_model(tmp_path / "m.h5")


@pytest.mark.parametrize("content", [b"no HDF5", b""])
def test_what_is_not_to_be_overwritten_is_left_as_it_is(tmp_path, monkeypatch, content):
    path = tmp_path / "m.h5"
    if content:
        path.write_bytes(content)
    else:
        with h5py.File(path, "w") as file:
            file["a"] = 1
    before = path.read_bytes()
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    tiny.NETWORKS["mgnet_shared"]().save(path, overwrite=False)
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_hdf5_files_that_keras_saves_by_itself_load(tmp_path):
    """They name the class by its own name."""
    model = tiny.NETWORKS["mgnet_shared"]()
    keras.Model.save(model, tmp_path / "m.h5")
    assert type(keras.saving.load_model(tmp_path / "m.h5")) is type(model)


def test_importing_the_package_is_enough_to_load_models():
    code = (
        "import sys, keras_mg, keras\n"
        "for name in sys.argv[1:]: print(type(keras.saving.load_model(name)).__name__)"
    )
    files = [str(saved.FOLDER / f"{name}.keras") for name in MODELS]
    root = str(Path(__file__).resolve().parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code, *files],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) == {"FunctionalModel"}
