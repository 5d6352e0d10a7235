"""A velocity that starts anew, against a torch optimizer that is made anew in each epoch."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.training import CoupledSGD, RestartVelocity

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="compares with torch")

EPOCHS, STEPS, BATCH = 3, 5, 4
RATES = [0.1, 0.05, 0.02]


def data():
    rng = np.random.default_rng(0)
    count = STEPS * BATCH
    return rng.normal(size=(count, 6)).astype("float32"), rng.normal(size=(count, 2))


def model(optimizer, jit_compile=False):
    made = keras_mg.Model(x := keras.Input((6,)), keras.layers.Dense(2)(x))
    rng = np.random.default_rng(1)
    made.set_weights([rng.normal(size=w.shape) for w in made.get_weights()])
    made.torch_backend = "eager"
    made.compile(optimizer, "mse", jit_compile=jit_compile)
    return made


def by_torch(nesterov, anew):
    x, y = (torch.tensor(array).float() for array in data())
    net = torch.nn.Linear(6, 2)
    kernel, bias = model("sgd").get_weights()
    with torch.no_grad():
        net.weight.copy_(torch.tensor(kernel.T))
        net.bias.copy_(torch.tensor(bias))

    def make():
        return torch.optim.SGD(
            net.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.05
        )

    optimizer = make()
    for rate in RATES:
        if anew:
            optimizer = make()
        optimizer.param_groups[0]["lr"] = rate
        for rows in torch.arange(len(x)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net.weight.detach().numpy().T, net.bias.detach().numpy()


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_equals_an_optimizer_of_each_epoch(nesterov, jit_compile):
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([STEPS - 1, 2 * STEPS - 1], RATES)
    trained = model(CoupledSGD(rate, 0.9, nesterov, 0.05), jit_compile)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False, "verbose": 0}
    trained.fit(*data(), callbacks=[RestartVelocity()], **options)
    expected, kept = by_torch(nesterov, anew=True), by_torch(nesterov, anew=False)
    for ours, theirs, other in zip(trained.get_weights(), expected, kept, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
        assert np.abs(theirs - other).max() > 1e-3  # it matters


def test_an_optimizer_without_velocity():
    with pytest.raises(ValueError, match=r"RestartVelocity needs an optimizer with momentum"):
        model("adam").fit(*data(), verbose=0, callbacks=[RestartVelocity()])


def test_under_a_loss_scale():
    inner = CoupledSGD(0.1, 0.9)
    trained = model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=1.0))
    trained.fit(*data(), batch_size=BATCH, verbose=0)
    assert any(keras.ops.convert_to_numpy(v).any() for v in inner.momentums)
    callback = RestartVelocity()
    callback.set_model(trained)
    callback.on_epoch_begin(1)
    assert not any(keras.ops.convert_to_numpy(v).any() for v in inner.momentums)
