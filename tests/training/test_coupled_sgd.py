"""SGD with weight decay in the gradient, against torch.optim.SGD."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from keras_mg.training import CoupledSGD

ROOT = Path(__file__).parents[2]
SHAPES = [(3, 3, 4, 5), (5,), (5, 2), (2,)]
DROP = 4  # the step from which the rate is a tenth
STEPS = 9
CASES = [(0.0, False), (0.9, False), (0.9, True)]


def arrays(seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype("float32") for shape in SHAPES]


def rate():
    return keras.optimizers.schedules.PiecewiseConstantDecay([DROP - 1], [0.1, 0.01])


def by_torch(momentum, nesterov, weight_decay, clipnorm=None, undecayed=()):
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in arrays(0)]
    groups = [
        {"params": [w], "weight_decay": 0.0 if i in undecayed else weight_decay}
        for i, w in enumerate(weights)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=nesterov)
    for step in range(STEPS):
        if step == DROP:
            for group in optimizer.param_groups:
                group["lr"] = 0.01
        for weight, gradient in zip(weights, arrays(step + 1), strict=True):
            weight.grad = torch.tensor(gradient)
        if clipnorm is not None:
            torch.nn.utils.clip_grad_norm_(weights, clipnorm)
        optimizer.step()
    return [weight.detach().numpy() for weight in weights]


def by_keras(optimizer, variables=None):
    variables = variables or [keras.Variable(w, name=f"w{i}") for i, w in enumerate(arrays(0))]
    for step in range(STEPS):
        gradients = [keras.ops.convert_to_tensor(gradient) for gradient in arrays(step + 1)]
        optimizer.apply(gradients, variables)
        for tensor, gradient in zip(gradients, arrays(step + 1), strict=True):
            # A gradient belongs to its caller.
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(tensor), gradient)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


class OneByOne(CoupledSGD):
    """The update of each variable apart: what other backends than torch run."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        with torch.no_grad():
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                self.update_step(gradient, variable, learning_rate)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize(("momentum", "nesterov"), CASES)
@pytest.mark.parametrize("kind", [CoupledSGD, OneByOne])
def test_equals_torch_over_a_drop_of_the_rate(kind, momentum, nesterov, weight_decay):
    ours = by_keras(kind(rate(), momentum, nesterov, weight_decay))
    assert_equal(ours, by_torch(momentum, nesterov, weight_decay))


@pytest.mark.gpu
@pytest.mark.parametrize(("momentum", "nesterov"), CASES)
def test_equals_torch_on_cuda(momentum, nesterov):
    with keras.device("cuda"):
        variables = [keras.Variable(w) for w in arrays(0)]
        assert variables[0].value.is_cuda
        ours = by_keras(CoupledSGD(rate(), momentum, nesterov, 0.05), variables)
    assert_equal(ours, by_torch(momentum, nesterov, 0.05))


def test_keras_own_sgd_is_another_thing():
    """The reason for this class: if this fails, Keras has changed and the class may go."""
    theirs = by_torch(0.9, True, 0.05)
    stock = by_keras(keras.optimizers.SGD(rate(), 0.9, True, weight_decay=0.05))
    assert max(np.abs(a - b).max() for a, b in zip(stock, theirs, strict=True)) > 1e-2


@pytest.mark.parametrize("kind", [CoupledSGD, OneByOne])
def test_one_step_by_hand(kind):
    w = keras.Variable([2.0, -1.0])
    optimizer = kind(0.5, momentum=0.5, nesterov=True, weight_decay=0.1)
    optimizer.apply([keras.ops.ones((2,))], [w])
    # g = 1 + 0.1 w = 1.2, 0.9; v = g; w -= 0.5 * (g + 0.5 v) = 0.75 g
    np.testing.assert_allclose(keras.ops.convert_to_numpy(w), [1.1, -1.675], rtol=1e-6)
    optimizer.apply([keras.ops.zeros((2,))], [w])
    # g = 0.11, -0.1675; v = 0.5 * 1.2 + 0.11 = 0.71 and 0.5 * 0.9 - 0.1675 = 0.2825
    expected = [1.1 - 0.5 * (0.11 + 0.355), -1.675 - 0.5 * (-0.1675 + 0.14125)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(w), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [CoupledSGD, OneByOne])
def test_excluded_variables_do_not_decay(kind):
    optimizer = kind(rate(), 0.9, True, 0.05)
    optimizer.exclude_from_weight_decay(var_names=["w1", "w3"])
    assert_equal(by_keras(optimizer), by_torch(0.9, True, 0.05, undecayed=(1, 3)))


def test_gradients_are_clipped_before_the_decay():
    optimizer = CoupledSGD(rate(), 0.9, True, 0.05, global_clipnorm=1.0)
    assert_equal(by_keras(optimizer), by_torch(0.9, True, 0.05, clipnorm=1.0))


def test_accumulated_gradients_decay_once():
    variables = [keras.Variable(w) for w in arrays(0)]
    optimizer = CoupledSGD(0.1, 0.9, weight_decay=0.05, gradient_accumulation_steps=3)
    plain = [keras.Variable(w) for w in arrays(0)]
    once = CoupledSGD(0.1, 0.9, weight_decay=0.05)
    for step in range(6):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in arrays(step)], variables)
    for step in (0, 3):
        mean = [np.mean(g, axis=0) for g in zip(*(arrays(step + i) for i in range(3)), strict=True)]
        once.apply([keras.ops.convert_to_tensor(g) for g in mean], plain)
    for a, b in zip(variables, plain, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (a, b)), atol=1e-6)


def model(optimizer=None):
    made = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5), keras.layers.BatchNormalization()]
    )
    made.compile(optimizer or CoupledSGD(0.1, 0.9, True, 0.01), "mse")
    return made


def test_decays_all_trainable_variables_and_no_moving_statistics():
    trained = model(CoupledSGD(0.1, weight_decay=0.5))
    trained.layers[-1].moving_mean.assign(np.ones(5))
    trained.layers[-1].trainable_weights[1].assign(np.ones(5))
    before = [keras.ops.convert_to_numpy(w) for w in trained.trainable_weights]
    optimizer = trained.optimizer
    optimizer.apply(
        [keras.ops.zeros(w.shape) for w in trained.trainable_weights], trained.trainable_weights
    )
    assert len(before) == 4  # kernel, bias, gamma, beta
    for weight, old in zip(trained.trainable_weights, before, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), 0.95 * old, rtol=1e-6)
    mean = keras.ops.convert_to_numpy(trained.layers[-1].moving_mean)
    np.testing.assert_array_equal(mean, np.ones(5))


def test_a_saved_model_trains_on_as_if_it_had_not_been_saved(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 6)), rng.standard_normal((32, 5))
    trained = model()
    trained.fit(x, y, epochs=2, verbose=0, shuffle=False)
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is CoupledSGD
    config = loaded.optimizer.get_config()
    assert [config[k] for k in ("momentum", "nesterov", "weight_decay")] == [0.9, True, 0.01]
    for each in (trained, loaded):
        each.fit(x, y, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_works_under_a_loss_scale():
    """Mixed float16 wraps the optimizer: the gradient is unscaled before the decay is added."""
    wrapped = keras.optimizers.LossScaleOptimizer(
        CoupledSGD(rate(), 0.9, True, 0.05), initial_scale=8.0, dynamic_growth_steps=1000
    )
    variables = [keras.Variable(w) for w in arrays(0)]
    for step in range(STEPS):
        wrapped.apply([keras.ops.convert_to_tensor(8 * g) for g in arrays(step + 1)], variables)
    ours = [keras.ops.convert_to_numpy(variable) for variable in variables]
    assert_equal(ours, by_torch(0.9, True, 0.05))


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_bad_weight_decay(value):
    with pytest.raises(ValueError, match="`weight_decay` must be None or a number of at least 0"):
        CoupledSGD(weight_decay=value)


JAX = """
import json
import keras
from keras_mg.training import CoupledSGD
from tests.training.test_coupled_sgd import CASES, by_keras, rate
assert keras.backend.backend() == "jax"
results = [by_keras(CoupledSGD(rate(), m, n, 0.05)) for m, n in CASES]
print(json.dumps([[w.tolist() for w in weights] for weights in results]))
"""


def test_equals_torch_on_jax():
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", JAX],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    for (momentum, nesterov), ours in zip(CASES, results, strict=True):
        assert_equal([np.array(w) for w in ours], by_torch(momentum, nesterov, 0.05))
