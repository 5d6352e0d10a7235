"""`compile(remat=True)`: the same training, with less kept for the backward pass."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import layers, ops

slow = pytest.mark.slow
torch_only = pytest.mark.skipif(keras.backend.backend() != "torch", reason="on torch only")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CLASSES = 3


def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 16, 16, 3)).astype("float32")
    return x, generator.integers(CLASSES, size=8)


def pyramid(dropout=0.0, **options):
    image = keras.Input((16, 16, 3))
    grids = layers.MultigridInput((6, 4), **options)(image)
    for _ in range(2):
        grids = layers.MultigridResidual((6, 4), dropout=dropout, **options)(grids)
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(g) for g in grids])
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(x))


def with_batch_norm():
    """A layer of Keras's own between ours: its statistics must move once."""
    image = keras.Input((16, 16, 3))
    x = layers.ConvNormActivation(4)(image)
    x = keras.layers.BatchNormalization()(x)
    x = layers.IGCBlock(4, 2, 2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(x))


def nested():
    trunk = keras_mg.applications.MgNet((2, 1), filters=8, include_top=False, pooling="avg")
    image = keras.Input((16, 16, 3))
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(trunk(image)))


def mgnet(**options):
    image = keras.Input((16, 16, 3))
    x = layers.ConvNormActivation(8, **options)(image)
    u, r = layers.MgNetSmoother(8, **options)(x)
    u, r = layers.MgNetRestriction(8, **options)([u, r])
    u = layers.MgNetSmoother(8, return_residual=False, **options)([u, r])
    x = keras.layers.GlobalAveragePooling2D()(u)
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(x))


def half_frozen():
    model = pyramid()
    model.layers[1].trainable = False
    model.layers[2].trainable = False
    return model


NETWORKS = {
    "pyramid": pyramid,
    "dropout": lambda: pyramid(0.5),
    "bfloat16": lambda: pyramid(dtype="mixed_bfloat16"),
    "MgNet in bfloat16": lambda: mgnet(dtype="mixed_bfloat16"),
    "batch norm of Keras": with_batch_norm,
    "nested": nested,
    "half frozen": half_frozen,
}


def compile_model(build, remat, jit_compile):
    keras.utils.set_random_seed(1)
    model = build()
    model.torch_backend = "aot_eager"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile, remat=remat)
    return model


def train(build, remat, jit_compile):
    model = compile_model(build, remat, jit_compile)
    keras.utils.set_random_seed(2)
    history = model.fit(*data(), batch_size=4, epochs=2, verbose=0, shuffle=False)
    return model, history.history


# Tracing takes seconds, whatever the size of the model.
SCENARIOS = [(name, False) for name in NETWORKS] + [
    (name, True) if name == "dropout" else pytest.param(name, True, marks=slow) for name in NETWORKS
]


@torch_only
@pytest.mark.parametrize(("name", "jit_compile"), SCENARIOS)
def test_training_is_the_same_to_the_last_bit(name, jit_compile):
    kept, kept_history = train(NETWORKS[name], False, jit_compile)
    again, again_history = train(NETWORKS[name], True, jit_compile)
    assert again_history == kept_history
    for a, b in zip(kept.weights, again.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path
        )
    if jit_compile:
        assert not again._compiled_steps.failed
        assert again._compiled_steps.train_step.extent.name == "WHOLE_STEP"


def bytes_kept(model):
    """What a forward pass in training keeps for the backward pass."""
    import torch

    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {w.value.untyped_storage().data_ptr() for w in model.weights}
    x = torch.as_tensor(data()[0], device=model.weights[0].value.device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        outputs = model(x, training=True)
    outputs.sum().backward()
    return sum(size for pointer, size in kept.items() if pointer not in weights)


@torch_only
@pytest.mark.parametrize("name", ["pyramid", "nested"])
def test_less_is_kept(name):
    build = NETWORKS[name]
    kept, again = (bytes_kept(compile_model(build, remat, False)) for remat in (False, True))
    assert again <= kept / 3


@torch_only
def test_compile_without_it_takes_it_back():
    model = compile_model(nested, True, False)
    assert model._recomputed_layers or any(x._recomputed_layers for x in model.layers[1:2])
    model.compile("sgd", "mse")
    assert not model._recomputed_layers
    assert not model.layers[1]._recomputed_layers


@torch_only
def test_saved_and_loaded(tmp_path):
    model, _ = train(pyramid, True, False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded._recomputed_layers
    assert loaded.get_compile_config()["remat"] is True
    assert "remat" not in train(pyramid, False, False)[0].get_compile_config()


def test_only_a_boolean_is_taken():
    with pytest.raises(ValueError, match="remat must be a boolean. Received: remat='yes'"):
        pyramid().compile("sgd", "mse", remat="yes")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="of the other backends")
def test_other_backends_say_what_to_use():
    with pytest.raises(ValueError, match="RematScope"):
        pyramid().compile("sgd", "mse", remat=True)


@torch_only
def test_a_model_in_which_nothing_can_be_recomputed_says_so():
    image = keras.Input((4,))
    model = keras_mg.Model(image, keras.layers.Dense(2)(image), name="plain")
    with pytest.warns(UserWarning, match="remat=True: model 'plain' has no layer"):
        model.compile("sgd", "mse", remat=True)


@torch_only
def test_what_a_second_call_might_change_is_not_recomputed():
    class Counting(layers.ConvNormActivation):
        calls = 0

    image = keras.Input((8, 8, 3))
    seeded = layers.MultigridConv((4,), dropout=0.5)
    x = seeded([layers.ConvNormActivation(4)(Counting(4)(image))])[0]
    model = keras_mg.Model(image, x)
    seeded.dropouts[0].seed = 3
    model.compile("sgd", "mse", remat=True)
    assert model._recomputed_layers == {id(model.layers[2])}


class Own(keras.layers.Layer):
    """A user's layer of ours and of Keras's, which says that it may be recomputed."""

    remat = "whole"
    calls = 0

    def __init__(self, *parts, **kwargs):
        super().__init__(**kwargs)
        self.unit = layers.ConvNormActivation(4)
        self.parts = [keras.layers.Conv2D(4, 3, padding="same"), *parts]

    def build(self, input_shape):
        self.unit.build(input_shape)
        for part in self.parts:
            part.build((None, 16, 16, 4))

    def call(self, x, training=None):
        self.calls += 1
        x = self.unit(x, training=training)
        for part in self.parts:
            x = part(x, training=training)
        return x


class OwnInParts(Own):
    remat = "parts"
    recomputes = False

    def call(self, x, training=None):
        call = super().call
        return (ops.recomputed(call) if self.recomputes else call)(x, training)


class OwnSilent(Own):
    """It does not say anew that it may be recomputed."""


def with_own(*parts, cls=Own):
    image = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(cls(*parts, name="own")(image))
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(x))


@torch_only
@pytest.mark.parametrize("cls", [Own, OwnInParts])
def test_a_layer_of_a_user_says_that_it_may_be_recomputed(cls):
    def build():
        return with_own(keras.layers.Dropout(0.5), cls=cls)

    kept, _ = train(build, False, False)
    again, _ = train(build, True, False)
    for a, b in zip(kept.weights, again.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path
        )
    # Once more in each of four steps.
    assert again.get_layer("own").calls == kept.get_layer("own").calls + 4
    assert bytes_kept(again) < bytes_kept(kept) / 3


@torch_only
@pytest.mark.parametrize(
    "part",
    [
        lambda: keras.layers.Dropout(0.5, seed=1),
        lambda: keras.layers.GaussianNoise(0.5),
        lambda: keras.layers.BatchNormalization(),
        lambda: keras.layers.Conv2D(4, 3, padding="same", activity_regularizer="l2"),
    ],
)
def test_what_a_layer_of_a_user_holds_may_forbid_it(part):
    model = with_own(part())
    with pytest.warns(UserWarning, match="has no layer that can be recomputed"):
        model.compile("sgd", "mse", remat=True)
    assert not model._recomputed_layers


@torch_only
def test_a_subclass_says_anew_that_it_may_be_recomputed():
    with pytest.warns(UserWarning, match="has no layer that can be recomputed"):
        with_own(cls=OwnSilent).compile("sgd", "mse", remat=True)
