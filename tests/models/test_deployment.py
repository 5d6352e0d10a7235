"""`deploy`: equal outputs without the batch norms that follow convolutions."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import layers
from keras_mg.models import Deployed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

applications = keras_mg.applications
LOGITS = {"classifier_activation": None}

NETWORKS = {
    "RMG18": lambda: applications.RMG18(input_shape=(32, 32, 3), classes=5, **LOGITS),
    "IGC_L100M2": lambda: applications.IGC_L100M2(input_shape=(32, 32, 3), classes=5, **LOGITS),
    "MgNet": lambda: applications.MgNet(filters=8, classes=5, **LOGITS),
    "SegPMG": lambda: applications.SegPMG(3, filters=(8, 8, 4, 4), **LOGITS),
}


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
    one, other = array(one), array(other)
    return np.abs(one - other).max() / np.abs(one).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal(name):
    model = shake(NETWORKS[name]())
    deployed = keras_mg.deploy(model)
    x = images(model)
    before = array(model(x))
    assert difference(before, deployed(x)) <= 1e-5
    assert difference(before, model(x)) == 0
    assert deployed.count_params() < model.count_params()
    assert deployed.name == model.name
    assert [layer.name for layer in deployed.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", ["IGC_L100M2", "SegPMG"])
def test_save_and_load(tmp_path, name):
    deployed = keras_mg.deploy(shake(NETWORKS[name]()))
    deployed.save(tmp_path / "deployed.keras")
    loaded = keras.saving.load_model(tmp_path / "deployed.keras")
    x = images(deployed)
    assert difference(deployed(x), loaded(x)) == 0
    assert loaded.count_params() == deployed.count_params()


def test_no_batch_norm_is_left_in_units():
    model = keras_mg.deploy(NETWORKS["RMG18"]())
    assert {w.name for w in model.weights} == {"kernel", "bias"}


def test_both_data_formats():
    def build(data_format, shape):
        image = keras.Input(shape)
        x = layers.ConvNormActivation(8, use_bias=True, data_format=data_format)(image)
        x = layers.IGCBlock(12, 4, 2, data_format=data_format)(x)
        x = layers.TransposedConvNormActivation(6, data_format=data_format)(x)
        return shake(keras_mg.Model(image, x))

    for data_format, shape in (("channels_last", (8, 8, 4)), ("channels_first", (4, 8, 8))):
        model = build(data_format, shape)
        deployed = keras_mg.deploy(model)
        assert difference(model(images(model)), deployed(images(model))) <= 1e-5
        assert not any("gamma" in w.name for w in deployed.weights)


def test_a_trunk_inside_a_model_and_foreign_layers():
    trunk = applications.MgNet((1, 1), filters=8, include_top=False, pooling="avg")
    image = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(0.5)(image)
    x = keras.layers.BatchNormalization()(trunk(x))
    model = shake(keras_mg.Model(image, keras.layers.Dense(3)(x)))
    deployed = keras_mg.deploy(model)
    x = images(model)
    assert difference(model(x), deployed(x)) <= 1e-5
    assert deployed.count_params() < model.count_params()


def test_it_predicts_the_same_in_training_mode():
    model = keras_mg.deploy(shake(NETWORKS["MgNet"]()))
    weights = model.get_weights()
    x = images(model)
    assert difference(model(x, training=False), model(x, training=True)) == 0
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_only_a_functional_model_can_be_deployed():
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="deploy needs a functional model. Received: model=<Own"):
        keras_mg.deploy(Own())


def test_a_built_layer_is_refused():
    layer = layers.ConvNormActivation(4)
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="must not be built. Received: layer='conv_norm"):
        Deployed(layer)


torch_only = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the steps are captured on torch only"
)


@torch_only
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_with_constant_weights_and_then_with_others(backend):
    model = shake(NETWORKS["MgNet"]())
    deployed = keras_mg.deploy(model)
    deployed.torch_backend = backend
    deployed.compile(jit_compile=True)
    x = images(model)

    def predict():
        return deployed.predict(x, batch_size=1, verbose=0)

    assert difference(model(x), predict()) <= 1e-5
    first = deployed._compiled_steps.predict_graph
    assert first.options["constant_weights"] is True
    assert difference(model(x), predict()) <= 1e-5
    assert deployed._compiled_steps.predict_graph is first

    other = shake(NETWORKS["MgNet"](), seed=7)
    deployed.set_weights(keras_mg.deploy(other).get_weights())
    assert difference(other(x), predict()) <= 1e-5
    second = deployed._compiled_steps.predict_graph
    assert second.options["constant_weights"] is False
    deployed.set_weights(keras_mg.deploy(model).get_weights())
    assert difference(model(x), predict()) <= 1e-5
    assert deployed._compiled_steps.predict_graph is second


@torch_only
def test_a_model_that_can_be_trained_has_no_constants():
    model = NETWORKS["MgNet"]()
    model.torch_backend = "aot_eager"
    model.compile(jit_compile=True)
    model.predict(images(model), verbose=0)
    assert model._compiled_steps.predict_graph.options["constant_weights"] is False


def test_nothing_is_trainable_after_loading_either(tmp_path):
    deployed = keras_mg.deploy(NETWORKS["MgNet"]())
    deployed.save(tmp_path / "deployed.keras")
    assert not keras.saving.load_model(tmp_path / "deployed.keras").trainable_variables
