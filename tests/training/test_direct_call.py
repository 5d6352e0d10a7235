"""Layers that a graph calls directly do what Keras's own calls make them do."""

from unittest import mock

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg._private import keras as private_keras
from tests.support import compiled as support
from tests.support.compiled import assert_same

torch = pytest.importorskip("torch")
pytestmark = support.MARKS

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 2, 6)


class Halved(keras.layers.Layer):
    """Hands `training` to a sublayer by the call context alone."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x) / 2


class Moody(keras.layers.Layer):
    """Trains unless somebody says otherwise."""

    def call(self, x, training=True):
        return x * 2 if training else x


def layers(**options):
    x = images = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared", **options)
    x = shared(shared(x))
    x = keras_mg.layers.MultigridInput((4, 4), name="grids")(x)
    x = keras_mg.layers.MultigridConv((4, 4), 3, name="multigrid")(x)
    x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x[-1]), x[0]])
    x = keras.layers.BatchNormalization(name="fixed")(x, training=False)
    x = keras.layers.Dropout(0.5, seed=3)(Moody()(Halved()(x)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    inner = keras.Input((8,))
    head = keras.Model(inner, keras.layers.Dense(2)(keras.layers.BatchNormalization()(inner)))
    return images, head(x)


def trained(kind, **options):
    keras.utils.set_random_seed(0)
    model = kind(*layers(**options))
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    history = model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0).history
    outputs = [model(X, training=training) for training in (None, False, True)]
    outputs = [keras.ops.convert_to_numpy(each) for each in (*outputs, model.call(X))]
    return {"history": history, "outputs": outputs, "weights": model.get_weights()}


def calls(monkeypatch, model, x):
    """How many calls Keras prepares."""
    counted = []
    original = keras.layers.Layer.__call__

    def counting(self, *args, **kwargs):
        counted.append(self.name)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Layer, "__call__", counting)
        model(x)
    return counted


@pytest.mark.parametrize("options", [{}, {"activity_regularizer": "l2"}], ids=["plain", "activity"])
def test_training_is_that_of_keras(options):
    assert_same(trained(keras.Model, **options), trained(keras_mg.Model, **options))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_types_are_those_of_keras(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        assert_same(trained(keras.Model), trained(keras_mg.Model))
    finally:
        keras.config.set_dtype_policy(before)


def test_keras_prepares_no_call_of_a_plain_layer(monkeypatch):
    model = keras_mg.Model(*layers())
    names = {layer.name for layer in model.layers}
    left = set(calls(monkeypatch, model, X)) & names
    merged = {name for name in names if name.startswith("concat")}  # they make masks
    assert left == merged | {layer.name for layer in model.layers[-1:]}


def test_keras_prepares_no_call_of_a_deployed_layer(monkeypatch):
    image = keras.Input((8, 8, 3))
    x = keras_mg.layers.ConvNormActivation(4, name="first")(image)
    x = keras_mg.layers.ResidualBlock(4, name="second")(x)
    model = keras_mg.deploy(keras_mg.Model(image, x))
    expected = keras.Model(model.input, model.output)(X)
    np.testing.assert_array_equal(model(X).numpy(), expected.numpy())
    left = calls(monkeypatch, model, X)
    assert {"first", "second"}.isdisjoint(left)

    seen = []
    inside = model.get_layer("first").layer
    inside.register_forward_hook(lambda layer, inputs, outputs: seen.append(layer.name))
    model(X)
    assert seen == [inside.name]
    assert calls(monkeypatch, model, X).count(inside.name) == 1


def test_hooks_run():
    model = keras_mg.Model(*layers())
    seen = []
    handle = model.get_layer("multigrid").register_forward_hook(lambda *given: seen.append("own"))
    model(X)
    assert seen == ["own"]
    handle.remove()
    every = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, outputs: seen.append(getattr(module, "name", ""))
    )
    try:
        model(X)
    finally:
        every.remove()
    assert seen.count("shared") == 2
    before = len(seen)
    model(X)
    assert len(seen) == before


def test_autocast_scopes_of_callers_hold():
    x = keras.ops.convert_to_tensor(X)
    model = keras_mg.Model(*layers())

    class Caller(keras.layers.Layer):
        def __init__(self, called, **options):
            super().__init__(**options)
            self.called = called

        def call(self, x):
            return self.called(x)

    for dtype in ("float32", "mixed_bfloat16"):
        ours = Caller(model, dtype=dtype)(x)
        theirs = Caller(keras.Model(model.inputs, model.outputs), dtype=dtype)(x)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


class OwnError(Exception):
    """Neither Python's nor torch's."""


@pytest.mark.parametrize("error", [ValueError, OwnError])
def test_an_error_says_where_it_was_raised(error):
    class Fails(keras.layers.Layer):
        def call(self, x):
            if keras.ops.is_tensor(x) and not isinstance(x, keras.KerasTensor) and len(x) == 5:
                raise error("five")
            return x

    images = keras.Input((4,))
    messages = []
    for kind in (keras.Model, keras_mg.Model):
        with pytest.raises(error, match=r"Fails\.call\(\)") as caught:
            kind(images, Fails()(images))(np.ones((5, 4), "float32"))
        messages.append(str(caught.value).split("Functional")[0])
    assert messages[0] == messages[1]


def pair(layer, inputs=1, then=lambda x: x):
    """The same graph by Keras and by us."""
    images = [keras.Input((2,)) for _ in range(inputs)]
    outputs = then(layer(images[0] if inputs == 1 else images))
    return [kind(images, outputs) for kind in (keras.Model, keras_mg.Model)]


class Default(keras.layers.Layer):
    def call(self, x, training=True):
        return sum(x)


class Asks(keras.layers.Layer):
    def call(self, x, training=None):
        return x * 10 if training else x * 0


class Masked(keras.layers.Layer):
    def call(self, x, mask=None):
        return x[0] * (7 if mask is None else len(mask))


class Nested(keras.layers.Layer):
    def call(self, x):
        return [x, [x + 1, x + 2]]


class Forward(Moody):
    def forward(self, x, **options):
        return x + 5


CASES = {
    "a default that is handed on": (Default(), 2, Asks()),
    "a default that the graph notes": (Moody(), 1, Asks()),
    "a mask for each tensor": (Masked(), 2, Moody()),
    "nested outputs": (Nested(), 1, lambda x: [x[0], {"p": x[1][1]}]),
    "a forward of its own": (Forward(), 1, Moody()),
}


@pytest.mark.parametrize("name", CASES)
def test_what_only_keras_prepares_is_prepared(name):
    layer, inputs, then = CASES[name]
    x = [np.ones((3, 2), "float32")] * inputs
    theirs, ours = pair(layer, inputs, then)
    for a, b in zip(*(keras.tree.flatten(model(x)) for model in (theirs, ours)), strict=True):
        assert torch.equal(a, b)


def test_a_tensor_of_another_type_is_converted():
    x = keras.Input((2,), dtype="float64")
    y = Moody()(x)
    results = [kind(x, y)(torch.ones(3, 2).double()) for kind in (keras.Model, keras_mg.Model)]
    assert results[0].dtype == results[1].dtype == torch.float32
    assert torch.equal(*results)


def test_a_layer_may_get_another_type_afterwards():
    dense = keras.layers.Dense(2)
    theirs, ours = pair(dense)
    x = [np.ones((3, 2), "float32")]
    ours(x)
    dense.dtype_policy = "mixed_bfloat16"
    assert ours(x).dtype == theirs(x).dtype == torch.bfloat16


class MaskedAlone(keras.layers.Layer):
    supports_masking = True

    def call(self, x, mask=None):
        return x if mask is None else x * keras.ops.cast(mask, x.dtype)


def test_a_mask_goes_through_a_layer_that_does_not_take_it():
    theirs, ours = pair(keras.layers.Activation("relu"), 1, MaskedAlone())  # which hands it on
    results = []
    for model in (theirs, ours):
        x = torch.ones(3, 2)
        private_keras.set_keras_mask(x, torch.tensor([[True, False]] * 3))
        with pytest.warns(UserWarning, match="does not support masking"):  # says the model
            results.append(model([x]))
    assert torch.equal(*results)
    assert results[1][:, 1].sum() == 0


def _in_remat_scope():
    with keras.RematScope(mode="full"):
        return keras.layers.Dense(2)


def _calibrated():
    dense = keras.layers.Dense(2)
    object.__setattr__(dense, "_calibration_capture", mock.MagicMock())  # since Keras 3.16
    return dense


@pytest.mark.parametrize("make", [_in_remat_scope, _calibrated], ids=["remat", "calibrated"])
def test_keras_prepares_what_it_recomputes_or_looks_at(make, monkeypatch):
    dense = make()
    _, ours = pair(dense)
    assert dense.name in calls(monkeypatch, ours, [torch.ones(3, 2)])


def test_a_distribution_is_left_to_keras(monkeypatch):
    dense = keras.layers.Dense(2)
    _, ours = pair(dense)
    x = [torch.ones(3, 2)]
    assert dense.name not in calls(monkeypatch, ours, x)
    monkeypatch.setattr(keras.distribution, "distribution", object)
    assert dense.name in calls(monkeypatch, ours, x)


def _forward(layer):
    layer.forward = lambda x, **options: x + 5


def _activity(layer):
    layer.activity_regularizer = keras.regularizers.L2(1.0)


def _quantised(layer):
    layer.quantize("int8")


@pytest.mark.parametrize("change", [_forward, _activity, _quantised])
def test_a_layer_may_change_afterwards(change):
    dense = keras.layers.Dense(2)
    theirs, ours = pair(dense)
    x = [torch.ones(3, 2)]
    before = ours(x)
    change(dense)
    assert torch.equal(theirs(x), ours(x))
    theirs(x)
    expected = [float(loss.detach()) for loss in theirs.losses]
    ours(x)
    assert [float(loss.detach()) for loss in ours.losses] == expected
    assert expected or not torch.equal(ours(x), before)


def test_a_map_of_policies_may_change_afterwards():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    dense = keras.layers.Dense(2, dtype=policies, name="mapped")
    theirs, ours = pair(dense)
    x = [torch.ones(3, 2)]
    assert ours(x).dtype == torch.float32
    policies[dense.path] = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    assert theirs(x).dtype == ours(x).dtype == torch.bfloat16


@pytest.mark.parametrize("training", [True, False])
def test_training_of_a_call_reaches_each_layer_and_what_it_holds(training):
    theirs, ours = pair(Halved(), 1, lambda x: Asks()(Moody()(x)))
    x = [torch.arange(6.0).reshape(3, 2)]
    assert torch.equal(theirs(x, training=training), ours(x, training=training))


def test_torchs_own_checkpoints_and_errors_pass():
    from torch.utils.checkpoint import checkpoint

    class Once(keras.layers.Layer):
        calls = 0

        def call(self, x):
            if isinstance(x, torch.Tensor) and x.device.type != "meta":
                self.calls += 1
                if self.calls == 1:
                    raise RuntimeError("once")
            return keras.ops.tanh(x)

    once = Once()
    _, ours = pair(keras.layers.Dense(2), 1, once)
    x = torch.ones(3, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="once"):
        ours([x])
    assert once.calls == 1
    checkpoint(ours, [x], use_reentrant=False).sum().backward()
    assert x.grad is not None


def test_inputs_of_another_shape_are_refused_where_keras_refuses_them():
    x = keras.Input((8, 8, 3))
    layer = keras.layers.BatchNormalization()
    ours = keras_mg.Model(x, keras.layers.GlobalAveragePooling2D()(layer(x)))
    theirs = keras.Model(x, ours.output)
    for shape in ((2, 8, 8, 1), (2, 8, 8, 4)):  # one channel would broadcast
        with pytest.raises(ValueError, match="is incompatible with the layer: expected"):
            theirs(np.zeros(shape, "float32"))
        with pytest.raises(ValueError, match=r"takes images of shape \(8, 8, 3\), channels last"):
            ours(np.zeros(shape, "float32"))


class PastCall(keras.layers.Layer):
    """Runs a model's graph without Keras's call of the model."""

    def __init__(self, called, **options):
        super().__init__(**options)
        self.called = called

    def call(self, x):
        return self.called.call(x)


def test_a_graph_that_runs_past_the_call_of_its_model():
    x = keras.Input((8, 8, 3))
    y = keras_mg.layers.ConvNormActivation(4)(keras.layers.Rescaling(2.0)(x))
    theirs, ours = (kind(x, y) for kind in (keras.Model, keras_mg.Model))
    for dtype in ("float32", "mixed_bfloat16"):
        results = [PastCall(model, dtype=dtype)(X) for model in (theirs, ours)]
        assert results[0].dtype == results[1].dtype
        assert torch.equal(*results)
    norm = keras.layers.BatchNormalization()
    past = PastCall(keras_mg.Model(x, norm(x)))
    past(X)  # the first call would look at shapes before it computes
    with pytest.raises(ValueError, match="is incompatible with the layer: expected"):
        past(X[..., :1])  # one channel would broadcast


@pytest.mark.parametrize("step", ["fit", "predict"])
def test_a_captured_step_leaves_the_run_of_its_graph_alone(step):
    a, b = keras.Input((8, 8, 3)), keras.Input((8,))
    inner = keras_mg.Model(b, keras.layers.Dense(2)(b))
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(a))
    model = keras_mg.Model(a, inner(y))
    model.torch_backend = "aot_eager"
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    seen = []
    for _ in range(3):
        model.fit(X, Y, verbose=0) if step == "fit" else model.predict(X, verbose=0)
        seen.append((model._graph_run, inner._graph_run))
    assert all(made is not None for made in seen[0])
    assert all(a is b for later in seen[1:] for a, b in zip(later, seen[0], strict=True))
