"""What a `keras_mg.Model` has in common with a `keras.Model`: everything but its steps."""

import pickle

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

OPTIONS = ("auto", True, False)


def make(kind=keras_mg.Model):
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = ConvNormActivation(4, data_format="channels_last")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return kind(images, keras.layers.Dense(2)(x), name="small")


def array(value):
    return keras.ops.convert_to_numpy(value)


def data(count=6):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(count, 8, 8, 3)).astype("float32")
    return x, generator.normal(size=(count, 2)).astype("float32")


def assert_equal_weights(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_eager_training_is_that_of_keras():
    x, y = data()
    models = [make(keras.Model), make()]
    histories = []
    for model in models:
        model.compile(keras.optimizers.AdamW(0.01), "mse", metrics=["mae"], jit_compile=False)
        histories.append(model.fit(x, y, batch_size=4, epochs=3, verbose=0, shuffle=False).history)
    assert histories[0] == histories[1]
    assert_equal_weights(*models)
    np.testing.assert_array_equal(*(m.predict(x, verbose=0) for m in models))
    assert models[0].evaluate(x, y, verbose=0) == models[1].evaluate(x, y, verbose=0)


def test_it_is_a_functional_keras_model():
    model = make()
    assert isinstance(model, keras.Model)
    assert isinstance(model, keras_mg.Model)
    assert [layer.name for layer in model.layers] == [m.name for m in model.layers]
    assert len(model.layers) == 4
    assert model.get_layer(index=1).name.startswith("conv_norm")
    assert model.input_shape == (None, 8, 8, 3)
    assert model.output_shape == (None, 2)
    inner = keras_mg.Model(model.input, model.layers[1].output)
    assert tuple(inner(np.zeros((1, 8, 8, 3), "float32")).shape) == (1, 8, 8, 4)


def test_predict_and_call_without_compile():
    model, (x, _) = make(), data()
    np.testing.assert_allclose(model.predict(x, verbose=0), array(model(x)), rtol=1e-6, atol=1e-6)


def test_subclassing():
    class Own(keras_mg.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(2)

        def call(self, x):
            return self.head(keras.ops.mean(x, (1, 2)))

    x, y = data()
    model = Own()
    model.compile("sgd", "mse")
    first, *_, last = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert last < first
    # Nor does a functional model change what a subclass inherits, or the other way round.
    assert make(type("Functional", (keras_mg.Model,), {})).output_shape == (None, 2)
    Own()
    assert make().output_shape == (None, 2)


def test_clone_model_has_the_class_and_the_outputs():
    model, (x, _) = make(), data()
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(array(clone(x)), array(model(x)))


@pytest.mark.parametrize("jit_compile", OPTIONS)
def test_save_and_load(tmp_path, jit_compile):
    x, y = data()
    model = make()
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], jit_compile=False)
    model.fit(x, y, verbose=0)
    model._jit_compile_request = jit_compile
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.compiled
    assert loaded.get_compile_config()["jit_compile"] == jit_compile
    if keras.backend.backend() == "torch":  # others compile by default
        assert loaded.jit_compile == (jit_compile is True)
    assert_equal_weights(model, loaded)
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(array(a), array(b))
    np.testing.assert_array_equal(array(model(x)), array(loaded(x)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32", "float16"])
def test_the_dtype_policy_is_saved(tmp_path, policy):
    trunk = keras_mg.applications.MgNet(
        (1, 1), filters=4, include_top=False, pooling="avg", input_shape=(8, 8, 3), dtype=policy
    )
    model = keras_mg.Model(trunk.input, keras.layers.Dense(2, dtype=policy)(trunk.output))
    model.dtype_policy = policy
    whole = keras_mg.Model(model.input, model(model.input))  # has it inside
    whole.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("bfloat16")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.dtype_policy == keras.dtype_policies.DTypePolicy("float32")
    loaded = next(layer for layer in loaded.layers if isinstance(layer, keras_mg.Model))
    assert loaded.dtype_policy == model.dtype_policy == keras.dtype_policies.DTypePolicy(policy)
    loaded.compile("sgd", "mse")
    scales = isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales is (policy == "mixed_float16")
    # Trained and saved once more: the optimizer is wrapped once.
    loaded.fit(*data(), verbose=0)
    loaded.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    assert again.dtype_policy == model.dtype_policy
    assert type(again.optimizer) is type(loaded.optimizer)
    assert isinstance(
        getattr(again.optimizer, "inner_optimizer", again.optimizer), keras.optimizers.SGD
    )


def test_a_layer_in_mixed_float16_scales_the_loss():
    """Whatever the model's own policy: a head on a trunk, a clone, a trunk inside."""
    trunk = keras_mg.applications.MgNet(
        (1, 1),
        filters=4,
        include_top=False,
        pooling="avg",
        input_shape=(8, 8, 3),
        dtype="mixed_float16",
    )
    head = keras_mg.Model(trunk.input, keras.layers.Dense(2)(trunk.output))
    image = keras.Input((8, 8, 3))
    inside = keras_mg.Model(image, keras.layers.Dense(2)(trunk(image)))
    for model in (head, inside, keras.models.clone_model(trunk), keras.models.clone_model(head)):
        model.compile("sgd", "mse")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "mse")
        assert isinstance(model.optimizer.inner_optimizer, keras.optimizers.SGD)
        model.compile("sgd", "mse", auto_scale_loss=False)
        assert isinstance(model.optimizer, keras.optimizers.SGD)
    head.compile(None, "mse")
    assert head.optimizer is None
    # Nothing that trains can lose gradients.
    trunk.trainable = False
    inside.compile("sgd", "mse")
    assert isinstance(inside.optimizer, keras.optimizers.SGD)


def test_a_config_from_before_dtype_policies_were_saved_makes_a_model():
    model = make()
    config = model.get_config()
    del config["dtype"]
    kept = dict(config)
    assert keras_mg.Model.from_config(config).dtype_policy == keras.config.dtype_policy()
    assert config == kept


def test_a_class_of_one_s_own_gets_its_arguments_from_its_config():
    class Own(keras_mg.Model):
        def __init__(self, width, dtype=None):
            super().__init__(dtype=dtype)
            self.width = width

        def get_config(self):
            return {"width": self.width, "dtype": self.dtype_policy.name}

    again = Own.from_config(Own(3, dtype="mixed_bfloat16").get_config())
    assert (again.width, again.dtype_policy.name) == (3, "mixed_bfloat16")


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.filterwarnings("ignore:.model.quantize.*were skipped")  # Keras 3.16
def test_a_quantised_model_is_loaded_as_it_was(tmp_path):
    x, _ = data()
    model = make()
    model.quantize("int8")
    expected = array(model(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(loaded(x)), expected, rtol=1e-6, atol=1e-6)
    assert loaded.layers[-1].dtype_policy == model.layers[-1].dtype_policy


def test_resumed_training_is_uninterrupted_training(tmp_path):
    x, y = data()

    def epochs(model, count):
        model.fit(x, y, batch_size=3, epochs=count, verbose=0, shuffle=False)

    straight, stopped = make(), make()
    for model in (straight, stopped):
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
    epochs(straight, 4)
    epochs(stopped, 2)
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    epochs(resumed, 2)
    assert_equal_weights(straight, resumed)


def test_weights_go_to_and_from_a_keras_model(tmp_path):
    ours, theirs = make(), make(keras.Model)
    theirs.set_weights([w + 1.0 for w in theirs.get_weights()])
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    assert_equal_weights(ours, theirs)


def test_pickle():
    model, (x, _) = make(), data()
    copy = pickle.loads(pickle.dumps(model))
    assert type(copy) is type(model)
    np.testing.assert_array_equal(array(copy(x)), array(model(x)))


def test_a_subclass_with_its_own_compile_is_left_to_keras(tmp_path):
    class Own(keras_mg.Model):
        def compile(self, *args, **kwargs):
            super().compile(*args, **kwargs)

    model = make(Own)
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="method is custom"):
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Own": Own})
    assert getattr(loaded, "optimizer", None) is None


def test_auto_is_eager_on_a_cpu(monkeypatch):
    if keras.backend.backend() != "torch":
        pytest.skip("other backends have Keras's own rule")
    eager = make()
    assert not eager._on_cuda()
    eager.compile("sgd", "mse")
    assert not eager.jit_compile
    monkeypatch.setattr(keras_mg.Model, "_on_cuda", lambda self: True)
    eager.compile("sgd", "mse")
    assert eager.jit_compile
    eager.compile("sgd", "mse", run_eagerly=True)
    assert not eager.jit_compile
    eager.compile("sgd", "mse", jit_compile=False)
    assert not eager.jit_compile


def test_slots_of_the_optimizer_have_the_layout_of_their_kernels():
    if keras.backend.backend() != "torch":
        pytest.skip("other backends choose their layouts themselves")
    model = make()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(*data(), verbose=0)
    kernel = model.trainable_variables[0].value
    assert not kernel.is_contiguous()
    slots = [v.value for v in model.optimizer.variables if v.value.shape == kernel.shape]
    assert len(slots) == 1
    assert slots[0].stride() == kernel.stride()
