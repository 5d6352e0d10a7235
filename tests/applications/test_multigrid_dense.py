import keras
import numpy as np
import pytest

from keras_mg.applications import SegPMG
from keras_mg.layers import MultigridConv
from tests.support.arrays import assert_close, numpy, randomize

torch = pytest.importorskip("torch")


def make(**kwargs):
    return SegPMG(**{"filters": (5, 4, 3), "outputs": 2, **kwargs})


def outputs(model, x):
    with torch.no_grad():
        return numpy(model(keras.ops.convert_to_tensor(x), training=False))


def image(height=16, width=12):
    return np.random.default_rng(0).normal(size=(2, height, width, 1)).astype("float32")


def test_grids_come_and_go_one_by_one():
    with keras.device("meta"):
        model = SegPMG(data_format="channels_last")
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 605_718
    layers = [x for x in model.layers if isinstance(x, MultigridConv)]
    assert [x.filters for x in layers] == [
        (8,), (16, 8), (32, 16, 8), (64, 32, 16, 8),
        (64, 32, 16, 8), (64, 32, 16, 8), (64, 32, 16, 8),
        (64, 32, 16), (64, 32), (10,),
    ]  # fmt: skip
    assert [x.drop_coarsest for x in layers] == [False] * 7 + [True] * 3
    assert {x.epsilon for x in layers} == {1e-3}


def test_maps_have_the_images_size():
    model = make(input_shape=(None, None, 1))
    assert model.output_shape == (None, None, None, 2)
    for sides in ((16, 12), (4, 8)):
        maps = outputs(model, image(*sides))
        assert maps.shape == (2, *sides, 2)
        assert maps.min() > 0
        assert maps.max() < 1


def test_logits_and_maps():
    logits, maps = (make(classifier_activation=a) for a in (None, "sigmoid"))
    randomize(logits)
    maps.set_weights(logits.get_weights())
    z = outputs(logits, image(64, 64))
    assert_close([outputs(maps, image(64, 64))], [1 / (1 + np.exp(-z))], 1e-6)


def test_output_bias_is_the_last_shift():
    model = make(output_bias=-4.0)
    betas = [numpy(v) for v in model.weights if v.name == "beta"]
    assert betas[-1].tolist() == [-4.0, -4.0]
    assert all((b == 0).all() for b in betas[:-1])


def test_without_the_top():
    trunk = make(include_top=False)
    assert trunk.output_shape == (None, None, None, 5)
    assert outputs(trunk, image()).shape == (2, 16, 12, 5)
    assert make(include_top=False, pooling="avg").output_shape == (None, 5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of grids that are then dropped
def test_one_output_map_trains():
    """The transformation tasks have a single map: kernels of one filter."""
    model = make(outputs=1, input_shape=(16, 12, 1))
    model.compile("sgd", "binary_crossentropy")
    targets = (image() > 0).astype("float32")
    assert np.isfinite(model.fit(image(), targets, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"outputs": 0}, "outputs must be a positive integer. Received: outputs=0"),
        ({"depth": 0}, "depth must be a positive integer"),
        ({"filters": ()}, "filters must have one entry per grid"),
        ({"filters": (8, 0)}, "filters must be a positive integer"),
        ({"input_shape": (18, 16, 1)}, "does not divide evenly for 3 grids.*multiples of 4"),
        ({"input_shape": (2, 16, 1)}, "is too small for 3 grids"),
        ({"data_format": "NCHW"}, "data_format must be one of"),
    ],
)
def test_refused_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)
