"""`deploy`: equal outputs without the batch norms that follow convolutions."""

import inspect
import re

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import deployment, layers
from keras_mg.deployment import Deployed
from keras_mg.layers.folding import fold_norm
from keras_mg.training import model as training_model
from tests.support.deployed import array, check_deployed, difference, images, norms_left, shake

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

applications = keras_mg.applications
LOGITS = {"classifier_activation": None}

NETWORKS = {
    "RMG18": lambda: applications.RMG18(input_shape=(32, 32, 3), classes=5, **LOGITS),
    "IGC_L100M2": lambda: applications.IGC_L100M2(input_shape=(32, 32, 3), classes=5, **LOGITS),
    "MgNet": lambda: applications.MgNet(filters=8, classes=5, **LOGITS),
    "SegPMG": lambda: applications.SegPMG(3, filters=(8, 8, 4, 4), **LOGITS),
}


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
    first = deployed._compiled_steps.predict_step.graph
    assert first.options["constant_weights"] is True
    assert difference(model(x), predict()) <= 1e-5
    assert deployed._compiled_steps.predict_step.graph is first

    other = shake(NETWORKS["MgNet"](), seed=7)
    deployed.set_weights(keras_mg.deploy(other).get_weights())
    assert difference(other(x), predict()) <= 1e-5
    second = deployed._compiled_steps.predict_step.graph
    assert second.options["constant_weights"] is False
    deployed.set_weights(keras_mg.deploy(model).get_weights())
    assert difference(model(x), predict()) <= 1e-5
    assert deployed._compiled_steps.predict_step.graph is second


@torch_only
def test_a_model_that_can_be_trained_has_no_constants():
    model = NETWORKS["MgNet"]()
    model.torch_backend = "aot_eager"
    model.compile(jit_compile=True)
    model.predict(images(model), verbose=0)
    assert model._compiled_steps.predict_step.graph.options["constant_weights"] is False


def test_nothing_is_trainable_after_loading_either(tmp_path):
    deployed = keras_mg.deploy(NETWORKS["MgNet"]())
    deployed.save(tmp_path / "deployed.keras")
    assert not keras.saving.load_model(tmp_path / "deployed.keras").trainable_variables


@keras.saving.register_keras_serializable(package="tests")
class Holder(keras.layers.Layer):
    """A layer of the user's that holds one of ours and says nothing of its shape."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.ConvNormActivation(4, data_format="channels_last")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x, training=None):
        return keras.ops.concatenate([self.inner(x, training=training), x], -1)


@pytest.mark.parametrize("name", ["IGC_L100M2", "SegPMG"])
def test_a_deployed_model_is_deployed_to_an_equal_one(name):
    once = keras_mg.deploy(shake(NETWORKS[name]()))
    twice = keras_mg.deploy(once)
    x = images(once)
    assert difference(once(x), twice(x)) == 0
    assert [w.path for w in twice.weights] == [w.path for w in once.weights]
    assert all(type(one) is type(two) for one, two in zip(once.layers, twice.layers, strict=True))
    assert not twice.trainable_variables
    twice.weights[0].assign(twice.weights[0] + 1)
    assert difference(once(x), twice(x)) > 0


class OwnUnit(layers.ConvNormActivation):
    """A unit whose call a user wrote anew: nobody knows what its norm is for."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=training) * 2


def test_layers_of_users_keep_their_norms(tmp_path):
    image = keras.Input((8, 8, 3))
    x = Holder(name="holder")(image)
    x = OwnUnit(4, data_format="channels_last", name="own")(x)
    x = layers.ConvNormActivation(4, data_format="channels_last", name="unit")(x)
    model = shake(keras.Model(image, x))
    deployed = check_deployed(model, tmp_path, OwnUnit=OwnUnit)
    assert norms_left(deployed) == ["holder", "own"]


@keras.saving.register_keras_serializable(package="tests")
class OwnBlock(keras.layers.Layer):
    """A user's layer that is deployed: it holds one of ours, a weight and a norm of its own."""

    folded = False

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.unit = layers.ConvNormActivation(filters, data_format="channels_last", name="unit")

    def build(self, input_shape):
        self.unit.folded = self.folded
        self.unit.build(input_shape)
        shape = (self.filters,)
        self.kernel = self.add_weight(name="kernel", shape=(1, 1, self.filters, self.filters))
        self.bias = self.add_weight(name="bias", shape=shape) if self.folded else None
        if not self.folded:
            self.norm = keras.layers.BatchNormalization()
            self.norm.build((None, None, None, self.filters))

    def fold(self, source):
        self.unit.fold(source.unit)
        fold_norm(self, source, source.norm)

    def call(self, x, training=None):
        x = keras.ops.conv(
            self.unit(x, training=training), self.kernel, data_format="channels_last"
        )
        return x + self.bias if self.folded else self.norm(x, training=training)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class OwnBlockChanged(OwnBlock):
    """It does not say anew that it folds."""

    def call(self, x, training=None):
        return self.norm(super().call(x, training=training), training=training)


@keras.saving.register_keras_serializable(package="tests")
class OwnBlockSaysSo(OwnBlock):
    fold = OwnBlock.fold


def test_a_layer_of_a_user_says_how_it_folds(tmp_path):
    image = keras.Input((8, 8, 3))
    x = OwnBlock(4, name="own")(image)
    x = OwnBlockChanged(5, name="changed")(x)
    x = OwnBlockSaysSo(6, name="again")(x)
    model = shake(keras.Model(image, x))
    deployed = check_deployed(model, tmp_path, OwnBlockChanged=OwnBlockChanged)
    assert norms_left(deployed) == ["changed"]
    paths = [w.path for w in deployed.get_layer("own").weights]
    assert paths == ["own/own/kernel", "own/own/bias", "own/own/unit/kernel", "own/own/unit/bias"]


def test_the_engine_knows_no_layer_by_name():
    public = [name for name, value in vars(layers).items() if isinstance(value, type)]
    assert len(public) > 10
    for module in (deployment, training_model):
        words = set(re.findall(r"\w+", re.sub(r'"""(.|\n)*?"""', "", inspect.getsource(module))))
        assert not words & set(public)


def test_a_wrapper_of_keras_keeps_its_norm(tmp_path):
    frames = keras.Input((2, 8, 8, 3))
    unit = layers.ConvNormActivation(4, data_format="channels_last")
    model = shake(keras.Model(frames, keras.layers.TimeDistributed(unit, name="each")(frames)))
    assert norms_left(check_deployed(model, tmp_path)) == ["each"]


def test_operations_of_keras_between_layers(tmp_path):
    image = keras.Input((8, 8, 3))
    x = layers.ConvNormActivation(4, data_format="channels_last", name="unit")(image / 2)
    model = shake(keras.Model(image, keras.ops.tanh(x) + 1))
    assert norms_left(check_deployed(model, tmp_path)) == []


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(ValueError, match="deploy needs a built model. Received: model=<Sequential"):
        keras_mg.deploy(keras.Sequential([layers.ConvNormActivation(4)]))


def test_a_unit_called_in_training_mode_is_deployed_for_inference():
    image = keras.Input((8, 8, 3))
    unit = layers.ConvNormActivation(4, data_format="channels_last")
    trained = keras.Model(image, unit(image, training=True))
    inferred = shake(keras.Model(image, unit(image)))
    x = images(inferred)
    assert difference(inferred(x), keras_mg.deploy(trained)(x)) <= 1e-5
