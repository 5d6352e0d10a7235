"""Models with batch norms that show, and the checks of what is deployed of them."""

import keras
import numpy as np

import keras_mg


def array(value):
    return keras.ops.convert_to_numpy(value)


def shake(model, seed=0):
    """Give batch norms and biases values that a forgotten one would show."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        name = variable.path.split("/")[-1]
        if name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.8, 1.2, variable.shape))
        elif name in ("beta", "moving_mean", "bias"):
            variable.assign(generator.normal(0, 0.2, variable.shape))
    return model


def images(model, count=2):
    shape = [s or 16 for s in model.input_shape[1:]]
    return np.random.default_rng(1).normal(size=(count, *shape)).astype("float32")


def difference(one, other):
    """The largest one, relative; of lists of outputs too."""
    one, other = (
        np.concatenate([array(x).astype("float32").ravel() for x in keras.tree.flatten(outputs)])
        for outputs in (one, other)
    )
    return np.abs(one - other).max() / np.abs(one).max()


def check_deployed(model, tmp_path, tolerance=1e-5, **custom_objects):
    """Equal outputs, also of the loaded file and deployed once more, from a model left alone."""
    x = images(model)
    before = model(x)
    deployed = keras_mg.deploy(model)
    deployed.save(tmp_path / "deployed.keras")
    loaded = keras.saving.load_model(tmp_path / "deployed.keras", custom_objects=custom_objects)
    after = deployed(x)
    assert difference(before, after) <= tolerance
    assert difference(after, loaded(x)) <= 1e-6
    assert difference(after, keras_mg.deploy(loaded)(x)) <= 1e-6
    assert difference(before, model(x)) == 0
    assert [layer.name for layer in deployed.layers] == [layer.name for layer in model.layers]
    return deployed


def norms_left(model):
    """The names of the layers that hold a batch norm."""
    return [layer.name for layer in model.layers if any("gamma" in w.name for w in layer.weights)]
