import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet
from keras_mg.layers import MgNetRestriction, MgNetSmoother


def make(*args, **kwargs):
    with keras.device("meta"):
        return MgNet(*args, data_format="channels_last", **kwargs)


def count(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_published_counts():
    assert count(make()) == 8_301_924
    assert count(make(share_smoother=False)) == 10_661_220
    wide = {"iterations": (3, 4, 6, 3), "filters": (128, 256, 512, 1024), "share_smoother": False}
    assert count(make(**wide, classes=1000)) == 71_255_144
    assert count(make(**wide, classes=1000, stem="imagenet")) == 71_270_504


@pytest.mark.parametrize(
    ("stem", "image", "last"),
    [
        ("cifar", (32, 32, 3), (4, 4)),
        ("mnist", (28, 28, 1), (4, 4)),
        ("imagenet", (224, 224, 3), (7, 7)),
    ],
)
def test_stems(stem, image, last):
    model = make(filters=8, stem=stem)
    assert model.input_shape == (None, *image)
    trunk = make(filters=8, stem=stem, include_top=False, input_shape=image)
    assert trunk.output_shape == (None, *last, 8)
    assert [v.path for v in model.weights if v.name == "bias"] == ["predictions/bias"]


def test_iterations_and_filters_of_each_grid():
    model = make((1, 2, 3), (4, 6, 8), share_smoother=False)
    smoothers = [x for x in model.layers if isinstance(x, MgNetSmoother)]
    assert [(x.filters, x.iterations) for x in smoothers] == [(4, 1), (6, 2), (8, 3)]
    assert not any(x.share_smoother for x in smoothers)
    assert [x.filters for x in model.layers if isinstance(x, MgNetRestriction)] == [6, 8]


def test_one_grid_of_one_iteration_trains():
    """The smallest network that the signature allows; A's gradient is zero but there."""
    model = MgNet((1,), 4, input_shape=(8, 8, 3), classes=3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    history = model.fit(x, np.array([0, 1, 2, 0]), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    assert all(v.value.grad is not None for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"iterations": (2, 2), "filters": (8, 8, 8)},
            r"filters must be one integer or one per grid of `iterations` \(2 grids\).*8, 8, 8",
        ),
        ({"iterations": ()}, "iterations must have one entry per grid"),
        ({"iterations": (2, 0)}, "iterations must be a positive integer"),
        ({"filters": -8}, "filters must be a positive integer. Received: filters=-8"),
        ({"stem": "svhn"}, r"stem must be one of \('cifar', 'mnist', 'imagenet'\).*'svhn'"),
    ],
)
def test_refused_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)
