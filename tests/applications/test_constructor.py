"""The arguments that all constructors share, on the flagships.

Where no number counts, networks are built on torch's meta device, which holds none.
"""

import inspect
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from keras_mg.applications import IGC_L100M2, RMG18, RMG22, RMG34, MgNet, SegPMG
from tests.support.arrays import assert_close, kind_of, numpy, randomize

torch = pytest.importorskip("torch")


class Flagship(NamedTuple):
    make: Any
    image: tuple[int, int, int]
    classes: int
    features: tuple[int, int, int]  # the trunk's output for that image
    levels: dict[int, int]  # channels of the deepest map of each resolution


TABLE = (
    Flagship(RMG18, (224, 224, 3), 1000, (7, 7, 512), {2: 64, 3: 128, 4: 256, 5: 512}),
    Flagship(RMG34, (224, 224, 3), 1000, (7, 7, 512), {2: 64, 3: 128, 4: 256, 5: 512}),
    Flagship(IGC_L100M2, (224, 224, 3), 1000, (7, 7, 1600), {2: 200, 3: 400, 4: 800, 5: 1600}),
    Flagship(MgNet, (32, 32, 3), 100, (4, 4, 256), {0: 256, 1: 256, 2: 256, 3: 256}),
)
flagships = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.make.__name__)

# Three grids of MgNet: the smallest network with the whole signature.
tiny = partial(MgNet, (1, 2, 1), (4, 6, 8), input_shape=(9, 8, 3), classes=5)


@pytest.fixture
def meta():
    with keras.device("meta"):
        yield


def image(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def outputs(model, x):
    with torch.no_grad():
        return numpy(model(keras.ops.convert_to_tensor(x), training=False))


# --- signature and defaults


@flagships
def test_the_signature_is_that_of_keras_applications(row):
    names = list(inspect.signature(row.make).parameters)
    of_keras = list(inspect.signature(keras.applications.ResNet50).parameters)
    start = names.index("include_top")
    assert names[start : start + len(of_keras)] == of_keras
    defaults = {n: p.default for n, p in inspect.signature(row.make).parameters.items()}
    wanted = {
        "include_top": True,
        "weights": None,
        "input_tensor": None,
        "input_shape": None,
        "pooling": None,
        "classes": row.classes,
        "classifier_activation": "softmax",
        "name": row.make.__name__.lower(),
    }
    assert {n: defaults[n] for n in wanted} == wanted


@flagships
def test_shapes_with_and_without_the_top(row, meta):
    model = row.make(data_format="channels_last")
    assert model.input_shape == (None, *row.image)
    assert model.output_shape == (None, row.classes)
    assert model.name == row.make.__name__.lower()
    channels = row.features[2]
    shapes = {None: (None, None, channels), "avg": (channels,), "max": (channels,)}
    for pooling, shape in shapes.items():
        trunk = row.make(include_top=False, pooling=pooling, data_format="channels_last")
        assert trunk.input_shape == (None, None, None, 3)
        assert trunk.output_shape == (None, *shape)
    trunk = row.make(include_top=False, input_shape=row.image, data_format="channels_last")
    assert trunk.output_shape == (None, *row.features)


@flagships
def test_channels_first(row, meta):
    height, width, channels = row.image
    for settings in ({"data_format": "channels_first"}, {}):
        if not settings:
            keras.config.set_image_data_format("channels_first")
        model = row.make(**settings)
        assert model.input_shape == (None, channels, height, width)
        trunk = row.make(include_top=False, **settings)
        assert trunk.output_shape == (None, row.features[2], None, None)


@flagships
def test_pyramid_outputs(row, meta):
    trunk = row.make(
        include_top=False, pyramid_outputs=True, input_shape=row.image, data_format="channels_last"
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in trunk.output.items()}
    side = row.image[0]
    assert shapes == {
        f"P{level}": (None, side // 2**level, side // 2**level, width)
        for level, width in row.levels.items()
    }


def test_pyramid_outputs_by_name(tmp_path):
    """As the backbones of keras-hub have them, after loading, too."""
    trunk = tiny(include_top=False, pyramid_outputs=True)
    trunk.save(tmp_path / "trunk.keras")
    for model in (trunk, keras.saving.load_model(tmp_path / "trunk.keras")):
        assert sorted(model.pyramid_outputs) == ["P0", "P1", "P2"]
        assert all(map(keras.backend.is_keras_tensor, model.pyramid_outputs.values()))
        head = keras.Model(model.input, model.pyramid_outputs["P1"])
        assert head.output_shape == (None, 5, 4, 6)
    with pytest.raises(AttributeError, match="pyramid_outputs"):
        tiny().pyramid_outputs  # noqa: B018


@flagships
def test_images_of_other_sizes(row):
    """Of odd sides too, but for multigrid networks, whose grids must halve."""
    sides = (48, 80) if row.make in (RMG18, RMG34) else (45, 71)
    if row.make is RMG34:
        pytest.skip("RMG18 with more layers")
    trunk = row.make(include_top=False, pooling="avg", data_format="channels_last")
    assert outputs(trunk, image(2, *sides, 3)).shape == (2, row.features[2])


# --- head


def test_classes_and_activation():
    x = image(2, 9, 8, 3)
    logits = randomize(tiny(classifier_activation=None))
    default, sigmoid = tiny(), tiny(classifier_activation="sigmoid")
    own = tiny(classifier_activation=keras.activations.tanh)
    for model in (default, sigmoid, own):
        model.set_weights(logits.get_weights())
    z = outputs(logits, x)
    assert z.shape == (2, 5)
    e = np.exp(z - z.max(1, keepdims=True))
    assert_close([outputs(default, x)], [e / e.sum(1, keepdims=True)], 1e-6)
    assert_close([outputs(sigmoid, x)], [1 / (1 + np.exp(-z))], 1e-6)
    assert_close([outputs(own, x)], [np.tanh(z)], 1e-6)


def test_pooling_is_that_of_the_features():
    x = image(2, 9, 8, 3)
    models = {p: tiny(include_top=False, pooling=p) for p in (None, "avg", "max")}
    randomize(models[None])
    for pooling in ("avg", "max"):
        models[pooling].set_weights(models[None].get_weights())
    features = outputs(models[None], x)
    assert features.shape == (2, 3, 2, 8)
    assert_close([outputs(models["avg"], x)], [features.mean((1, 2))], 1e-6)
    assert_close([outputs(models["max"], x)], [features.max((1, 2))], 0)


def test_the_head_is_global_average_and_dense():
    x = image(2, 9, 8, 3)
    whole = randomize(tiny(classifier_activation=None))
    trunk = tiny(include_top=False, pooling="avg")
    trunk.set_weights(whole.get_weights()[:-2])
    kernel, bias = whole.get_weights()[-2:]
    assert_close([outputs(whole, x)], [outputs(trunk, x) @ kernel + bias], 1e-6)


# --- input


def test_input_tensor():
    inputs = keras.Input((9, 8, 3), name="pixels")
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    model = randomize(tiny(input_tensor=scaled))
    assert [t.name for t in model.inputs] == ["pixels"]
    plain = tiny()
    plain.set_weights(model.get_weights())
    x = 255 * image(2, 9, 8, 3)
    assert_close([outputs(model, x)], [outputs(plain, x / 255)], 1e-5)


def test_input_tensor_decides_the_shape(meta):
    inputs = keras.Input((20, 24, 4), batch_size=3)
    assert MgNet(input_tensor=inputs).input_shape == (3, 20, 24, 4)


def test_input_tensor_must_be_symbolic():
    with pytest.raises(ValueError, match=r"input_tensor must be a Keras tensor.*type ndarray"):
        tiny(input_tensor=np.zeros((1, 9, 8, 3), "float32"))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((32, 32), "must be a tuple of three, channels_last without the batch axis.*32, 32"),
        ((1, 32, 32, 3), "must be a tuple of three"),
        (32, "must be a tuple of three.*input_shape=32"),
        ((32, 32, None), "must give the number of channels"),
        ((32, 0, 3), "each size in input_shape must be a positive integer"),
        ((32, 32.0, 3), "each size in input_shape must be a positive integer"),
    ],
)
def test_refused_input_shapes(shape, words):
    with pytest.raises(ValueError, match=words):
        MgNet(input_shape=shape)


@pytest.mark.parametrize(
    ("side", "rule"),
    [(8, "is too small for 3 grids"), (40, "does not divide evenly"), (226, "multiples of 16")],
)
@pytest.mark.parametrize("make", [RMG18, RMG34])
def test_image_sides_that_do_not_suit_the_grids(make, side, rule, meta):
    with pytest.raises(ValueError, match=rf"{rule}.*{side}"):
        make(input_shape=(side, side, 3), data_format="channels_last")


# --- other arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pooling": "sum"}, r"pooling must be one of \(None, 'avg', 'max'\).*'sum'"),
        ({"classes": 0}, "classes must be a positive integer. Received: classes=0"),
        ({"classes": "ten"}, "classes must be a positive integer"),
        ({"data_format": "NCHW"}, "data_format must be one of .*'NCHW'"),
        ({"pyramid_outputs": True}, "pyramid_outputs=True needs include_top=False"),
        (
            {"pyramid_outputs": True, "include_top": False, "pooling": "avg"},
            "needs include_top=False and pooling=None.*pooling='avg'",
        ),
        ({"dtype": "float31"}, "float31"),
    ],
)
@pytest.mark.parametrize("make", [RMG18, IGC_L100M2, MgNet])
def test_refused_arguments(make, arguments, words, meta):
    with pytest.raises(ValueError, match=words):
        make(**arguments)


@flagships
def test_an_unknown_argument_is_refused(row):
    name = row.make.__name__
    with pytest.raises(TypeError, match=rf"^{name}\(\) got .* 'clases'. Did you mean 'classes'\?$"):
        row.make(clases=10)
    with pytest.raises(
        TypeError, match=rf"^{name}\(\) got .* 'zzz'. It takes .*include_top, .*dtype"
    ):
        row.make(zzz=10)


@flagships
def test_mixed_precision(row, meta):
    """The trunk computes in bfloat16, the classifier in float32; all variables are float32."""
    by_argument = row.make(dtype="mixed_bfloat16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    for model in (by_argument, row.make()):
        assert {v.dtype for v in model.weights} == {"float32"}
        assert model.output.dtype == "float32"
        head = model.get_layer("predictions")
        assert head.compute_dtype == "float32"
        others = {x.compute_dtype for x in model.layers if x.weights and x is not head}
        assert others == {"bfloat16"}


def test_mixed_precision_numbers():
    exact, mixed = randomize(tiny()), tiny(dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    x = image(4, 9, 8, 3)
    assert_close([outputs(mixed, x)], [outputs(exact, x)], 0.05)


def test_the_model_has_the_policy_that_scales_the_loss(meta):
    for arguments in ({"dtype": "mixed_float16"}, {"dtype": keras.DTypePolicy("mixed_float16")}):
        model = tiny(**arguments)
        assert model.dtype_policy.name == "mixed_float16"
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model = SegPMG(dtype="mixed_float16")
    assert model.dtype_policy.name == "mixed_float16"
    assert tiny().dtype_policy.name == "float32"


def test_a_policy_map_reaches_every_layer():
    policies = keras.dtype_policies.DTypePolicyMap("mixed_bfloat16")
    policies["predictions"] = keras.DTypePolicy("float64")
    policies["grid1_smoother.*"] = keras.DTypePolicy("float32")
    model = tiny(dtype=policies)
    kinds = {x.name: (x.compute_dtype, x.variable_dtype) for x in model.layers if x.weights}
    assert kinds.pop("predictions") == ("float64", "float64")
    assert kinds.pop("grid1_smoother") == ("float32", "float32")
    assert set(kinds.values()) == {("bfloat16", "float32")}
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert {v.dtype for v in model.get_layer("predictions").weights} == {"float64"}
    assert model.predict(image(2, 9, 8, 3), verbose=0).shape == (2, 5)
    # Without an entry of its own, the classifier computes in the variables' dtype.
    plain = tiny(dtype=keras.dtype_policies.DTypePolicyMap("mixed_bfloat16"))
    assert plain.get_layer("predictions").compute_dtype == "float32"


def test_name(meta):
    assert MgNet(name="mine").name == "mine"


# --- weights


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("as_text", [True, False])
def test_weights_from_a_file(suffix, as_text, tmp_path):
    model = randomize(tiny())
    path = tmp_path / f"mine{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    again = tiny(weights=str(path) if as_text else path)
    for got, wanted in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)
    trunk = tiny(include_top=False, weights=path)
    for got, wanted in zip(trunk.get_weights(), model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(got, wanted)
    first = tiny(weights=path, data_format="channels_first", input_shape=(3, 9, 8))
    x = image(2, 9, 8, 3)
    assert_close([outputs(first, np.moveaxis(x, 3, 1).copy())], [outputs(model, x)], 1e-6)


@pytest.mark.parametrize("make", [RMG18, IGC_L100M2, MgNet, SegPMG])
def test_unknown_weights_are_told_from_those_that_exist(make, meta):
    with pytest.raises(ValueError, match="no_such_weights") as caught:
        make(weights="no_such_weights")
    assert make.__name__ in str(caught.value)
    assert make is not IGC_L100M2 or "'imagenet'" in str(caught.value)


def test_other_classes_than_those_of_the_file(tmp_path):
    tiny().save_weights(tmp_path / "five.weights.h5")
    with pytest.raises(ValueError, match="classes=7 was asked for.*for 5 classes"):
        tiny(classes=7, weights=tmp_path / "five.weights.h5")
    with pytest.warns(UserWarning, match="predictions"):
        model = tiny(classes=7, weights=tmp_path / "five.weights.h5", skip_mismatch=True)
    assert model.output_shape == (None, 7)


def test_weights_of_another_architecture(tmp_path):
    model = tiny()
    path = tmp_path / "other.weights.h5"
    model.save_weights(path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="another network.*shape.*in the file"):
        MgNet((1, 2, 1), (4, 7, 8), input_shape=(9, 8, 3), classes=5, weights=path)
    with pytest.raises(ValueError, match="another network|no array"):
        MgNet((1, 2, 2), (4, 6, 8), input_shape=(9, 8, 3), classes=5, weights=path)
    assert path.read_bytes() == content


# --- initial values


# The standard deviation of a kernel of that shape.
DEVIATIONS = {
    "he_fan_out": lambda shape: np.sqrt(2 / (shape[0] * shape[1] * shape[3])),
    "he_fan_in": lambda shape: np.sqrt(2 / np.prod(shape[:3])),
    "torch_uniform": lambda shape: 1 / np.sqrt(3 * np.prod(shape[:-1])),
}


@pytest.mark.parametrize(
    ("make", "deviation", "zero_bias"),
    [
        (RMG18, "he_fan_out", True),
        (IGC_L100M2, "he_fan_in", True),
        (MgNet, "torch_uniform", False),
        (SegPMG, "he_fan_out", None),
    ],
)
def test_initial_values(make, deviation, zero_bias):
    model = make()
    start = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    kernels = 0
    for variable in model.weights:
        values = numpy(variable)
        if zero_bias is not None and variable.path.startswith("predictions"):
            continue
        if make is SegPMG and kind_of(variable) == "gamma":
            assert (values >= 0).all()
            assert (values < 1).all()
            continue
        if kind_of(variable) != "kernel":
            assert (values == start[kind_of(variable)]).all(), variable.path
            continue
        kernels += 1
        room = 6 / np.sqrt(2 * values.size)
        wanted = DEVIATIONS[deviation](values.shape)
        assert values.std() == pytest.approx(wanted, rel=room), variable.path
    assert kernels > 10
    if zero_bias is None:
        return
    kernel, bias = map(numpy, model.get_layer("predictions").weights)
    bound = kernel.shape[0] ** -0.5
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    if zero_bias:
        assert (bias == 0).all()
    else:
        assert bias.std() == pytest.approx(bound / np.sqrt(3), rel=0.3)
        assert np.abs(bias).max() <= bound


@pytest.mark.parametrize(
    ("make", "shape", "smallest"),
    [
        (partial(MgNet, filters=8), (4, 8, 3), 8),
        (partial(MgNet, filters=8, stem="imagenet"), (31, 64, 3), 32),
        (partial(IGC_L100M2, include_top=False), (31, 64, 3), 32),
    ],
)
def test_an_image_too_small_is_refused(make, shape, smallest, meta):
    with pytest.raises(ValueError, match=f"too small.*at least {smallest} pixels. Received: inp"):
        make(input_shape=shape, data_format="channels_last")
    make(input_shape=(smallest, smallest, 3), data_format="channels_last")


@pytest.mark.parametrize("make", [IGC_L100M2, RMG18, RMG22, MgNet, SegPMG])
def test_the_other_data_format_is_noticed(make, meta):
    channels = 1 if make is SegPMG else 3
    for shape, asked, meant in (
        ((channels, 64, 64), "channels_last", "channels_first"),
        ((64, 64, channels), "channels_first", "channels_last"),
    ):
        words = f"looks like {meant}, but data_format is '{asked}'. Pass data_format='{meant}'"
        with pytest.raises(ValueError, match=words):
            make(input_shape=shape, data_format=asked)
        assert make(input_shape=shape, data_format=meant)


def test_other_refusals_say_what_they_said():
    with pytest.raises(ValueError, match="does not divide evenly"):
        RMG22(input_shape=(30, 30, 3), data_format="channels_last")
    with pytest.raises(ValueError, match="must be a tuple of three"):
        RMG22(input_shape=32)


def test_input_shape_and_input_tensor_must_agree():
    image = keras.Input((32, 32, 3))
    with pytest.raises(ValueError, match="must agree. Received: input_shape=\\(64, 64, 1\\)"):
        tiny(input_tensor=image, input_shape=(64, 64, 1))
    assert tiny(input_tensor=image, input_shape=(None, 32, 3)).input_shape == (None, 32, 32, 3)


def test_a_clone_starts_with_the_output_bias():
    model = SegPMG(filters=(2, 2), output_bias=-4.0, input_shape=(4, 4, 1))
    for m in (model, keras.models.clone_model(model)):
        np.testing.assert_array_equal(numpy(m.get_layer("predictions").units[0].beta), -4.0)
