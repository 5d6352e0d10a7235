"""Batch norms that are frozen while the rest of a network trains."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import freeze_batch_norm
from tests.support.tiny import NETWORKS

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def split(model):
    norm = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights if v.name in NORM}
    rest = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights if v.name not in NORM}
    return norm, rest


def moved(before, model):
    after = split(model)
    return [
        sum(not np.array_equal(old[path], new[path]) for path in old)
        for old, new in zip(before, after, strict=True)
    ]


def step(model, jit_compile=False):
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    y = np.random.default_rng(1).normal(size=(4, *model.output_shape[1:])).astype("float32")
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.torch_backend = "aot_eager"
    model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    return model.predict(x, verbose=0)


pytest.importorskip("torch")
FAMILIES = (
    "multigrid_residual",
    "igc_imagenet_m",
    "mgnet_shared",
    "resnet_bn_after_add",
    "seg_unet",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name, tmp_path):
    model = NETWORKS[name]()
    count = freeze_batch_norm(model)
    assert count == sum(v.name == "moving_mean" for v in model.weights) > 0
    before = split(model)
    expected = step(model)
    norms, others = moved(before, model)
    assert norms == 0
    assert others > 0

    # It survives `trainable`, a file and a copy.
    model.trainable = False
    model.trainable = True
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    copy = keras.models.clone_model(model)
    for other in (model, loaded, copy):
        names = {v.name for v in other.trainable_variables}
        assert names
        assert not names & set(NORM)
    before = split(loaded)
    step(loaded)
    assert moved(before, loaded)[0] == 0

    assert freeze_batch_norm(loaded, frozen=False) == count
    before = split(loaded)
    step(loaded)
    assert moved(before, loaded)[0] > 0
    assert expected.shape == (4, *model.output_shape[1:])


def test_compiled_is_eager():
    outputs = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = NETWORKS["resnet_bn_after_add"]()
        freeze_batch_norm(model)
        before = split(model)
        outputs.append(step(model, jit_compile))
        assert moved(before, model)[0] == 0
    np.testing.assert_array_equal(*outputs)


def test_it_is_what_keras_does_with_its_own():
    """Equal to a stock network of equal weights, whose batch norm is not trainable."""
    from keras_mg.layers import ConvNormActivation

    outputs = []
    for ours in (True, False):
        x = keras.Input((6, 6, 2))
        norm = {"momentum": 0.9, "epsilon": 1e-5}
        if ours:
            y = ConvNormActivation(3, 3, **norm)(x)
        else:
            y = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)(x)
            y = keras.layers.ReLU()(keras.layers.BatchNormalization(**norm)(y))
        model = keras_mg.Model(x, keras.layers.Dense(1)(keras.layers.GlobalMaxPooling2D()(y)))
        rng = np.random.default_rng(0)
        model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
        assert freeze_batch_norm(model) == 1
        outputs.append(step(model))
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(TypeError, match="takes a model or a layer. Received: 'resnet'"):
        freeze_batch_norm("resnet")
    with pytest.raises(ValueError, match="takes a built model. Received: 'later'"):
        freeze_batch_norm(keras.Sequential([keras.layers.Dense(1)], name="later"))
