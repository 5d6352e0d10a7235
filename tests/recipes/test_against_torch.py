"""Twenty steps of each family's recipe against a loop that one would write in plain PyTorch."""

import dataclasses
from functools import partial

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks import twins  # noqa: E402
from keras_mg.applications import MgNet  # noqa: E402
from keras_mg.datasets import SetEpoch  # noqa: E402
from keras_mg.recipes import get_recipe  # noqa: E402
from keras_mg.training import RestartVelocity  # noqa: E402
from tests.support.zoo import copy_to_twin  # noqa: E402

EPOCHS, BATCH, STEPS = 3, 8, 8  # 24 steps over all drops of the rate


def framed_before(mean, std, frame):
    """Framed in a colour, cropped, mirrored, then normalised per channel."""

    def prepare(images, train, down, right, mirrored):
        padded = np.broadcast_to(np.array(frame, "uint8"), (len(images), 40, 40, 3)).copy()
        padded[:, 4:36, 4:36] = images
        return (cut(padded, down, right, mirrored) - np.float32(mean)) / np.float32(std)

    return prepare


def framed_after(images, train, down, right, mirrored):
    """The mean image off, divided by one deviation, then framed in zeros."""
    normal = (images - train.mean(0).astype("float32")) / np.float32(train.std())
    padded = np.pad(normal, ((0, 0), (4, 4), (4, 4), (0, 0)))
    return cut(padded, down, right, mirrored)


def whitened(images, train, down, right, mirrored):
    """Of equal contrast, whitened by the training images, BGR, enlarged to 36, then cropped."""

    def vectors(pixels):
        rows = pixels[..., ::-1].reshape(len(pixels), -1).astype("float64")
        rows -= rows.mean(1, keepdims=True)
        return rows / (np.linalg.norm(rows, axis=1, keepdims=True) / 55)

    rows = vectors(train)
    mean = rows.mean(0)
    # With the singular values s of the rows over sqrt(n): (S + 0.1 I)^(-1/2) x, of which what lies
    # outside of the rows' span is divided by sqrt(0.1) alone.
    _, values, basis = np.linalg.svd((rows - mean) / np.sqrt(len(rows)), full_matrices=False)
    x = vectors(images) - mean
    inside = x @ basis.T
    x = (x - inside @ basis) / np.sqrt(0.1) + inside / np.sqrt(values**2 + 0.1) @ basis
    x = torch.tensor(x.reshape(images.shape)).permute(0, 3, 1, 2)
    large = torch.nn.functional.interpolate(x, 36, mode="bilinear", align_corners=True)
    return cut(large.permute(0, 2, 3, 1).numpy(), down, right, mirrored)


def cut(padded, down, right, mirrored):
    cuts = [x[d : d + 32, r : r + 32] for x, d, r in zip(padded, down, right, strict=True)]
    turned = [x[:, ::-1] if m else x for x, m in zip(cuts, mirrored, strict=True)]
    return np.stack(turned).astype("float32")


IGC_MEAN = (125.307, 122.950, 113.865)
MGNET_MEAN, MGNET_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
# At a tenth of the published rate and less: at 0.1 the networks make large differences of
# roundings in twenty steps.
MULTIGRID = (
    {"iterations": (1, 1), "filters": 4},
    partial(twins.MgNet, (1, 1), 4, classes=100),
    whitened,
    {"nesterov": False, "weight_decay": 5e-4},
)
CASES = {
    # A small MgNet stands in for the wide networks: what is compared is how they are trained.
    "multigrid": (
        "mg6-cifar100",
        *MULTIGRID,
        [0.01, 0.01 * 0.1**0.5, 0.001],
        {"schedule.first": 0.01, "schedule.last": 0.001},
    ),
    "multigrid residual": (
        "rmg12-cifar100",
        *MULTIGRID,
        [0.01, 0.002, 0.002],
        {"schedule.drops": (1,), "schedule.learning_rate": 0.01},
    ),
    # recipe, its small network, the twin, how images come, settings of SGD, rate of each epoch
    "igc": (
        "igc-resnet-cifar10",
        {"depth": 8, "primary_partitions": 2, "secondary_partitions": 2},
        partial(twins.resnet_igc, 8, 2, 2),
        framed_before(IGC_MEAN, (62.993, 62.089, 66.705), (125, 123, 114)),
        {"nesterov": True, "weight_decay": 1e-4},
        [0.01, 0.01, 0.001],
        {"schedule.drops": (2,), "schedule.learning_rate": 0.01},
    ),
    "mgnet": (
        "mgnet-cifar10",
        {"iterations": (1, 1), "filters": 4},
        partial(twins.MgNet, (1, 1), 4, classes=10),
        framed_before([255 * x for x in MGNET_MEAN], [255 * x for x in MGNET_STD], (0, 0, 0)),
        {"nesterov": False, "weight_decay": 5e-4},
        [0.01, 0.001, 0.001],
        {"schedule.drops": (1,), "schedule.learning_rate": 0.01},
    ),
    "resnet": (
        "resnet20-cifar10",
        {},
        partial(twins.TorchResNet, 3),
        framed_after,
        {"nesterov": True, "weight_decay": 1e-4},
        [1e-3, 1e-4, 1e-5],
        {"schedule.drops": (1, 2), "schedule.learning_rate": 1e-3},
    ),
}


def settings(name):
    recipe, network, *rest, changes = CASES[name]
    recipe = get_recipe(recipe).shortened(EPOCHS)
    if name.startswith("multigrid"):
        recipe = dataclasses.replace(
            recipe.changed({"data.steps_per_epoch": STEPS}),
            network=partial(MgNet, classes=100, classifier_activation=None),
        )
    network = {f"network.{key}": value for key, value in network.items()}
    recipe = recipe.changed(network | {"data.dataset": "digits", "batch_size": BATCH} | changes)
    return recipe, *rest


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_twenty_steps(name):
    recipe, make_twin, prepare, sgd, rates = settings(name)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    data = recipe.data.open(BATCH, seed=4, validation_fraction=0.953)
    assert len(data.train) == STEPS
    images, labels = data.train._images, data.train._labels
    model = recipe.network()
    twin = copy_to_twin(model, make_twin().double())

    model.compile(recipe.optimizer(recipe.schedule.rate(STEPS, EPOCHS)), recipe.loss())
    callbacks = [SetEpoch(data.train)]
    callbacks += [RestartVelocity()] if recipe.restarts_velocity else []
    losses = model.fit(
        data.train, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks
    ).history["loss"]

    twin.train()
    accumulated = recipe.optimizer.keywords.get("gradient_accumulation_steps", 1)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, **sgd)
    for epoch, rate in enumerate(rates):
        if recipe.restarts_velocity:
            optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, **sgd)
        optimizer.param_groups[0]["lr"] = float(np.float32(rate))
        data.train.epoch = epoch
        total, seen = 0.0, 0
        for i in range(STEPS):
            places = slice(i * BATCH, (i + 1) * BATCH)
            rows, *drawn = (each[places] for each in (data.train._rows, *data.train._drawn))
            x, _ = data.train[i]
            # Of the size of 1; a product with 3,072 single-precision numbers rounds.
            np.testing.assert_allclose(x, prepare(images[rows], images, *drawn), atol=1e-4)
            x = torch.tensor(np.moveaxis(x, 3, 1).copy()).double()
            loss = torch.nn.functional.cross_entropy(twin(x), torch.tensor(labels[rows]))
            (loss / accumulated).backward()
            if (i + 1) % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad()
            total, seen = total + loss.item() * len(rows), seen + len(rows)
        assert losses[epoch] == pytest.approx(total / seen, rel=1e-5)
    theirs = copy_to_twin(model, make_twin().double())
    for ours, expected in zip(theirs.parameters(), twin.parameters(), strict=True):
        # A bias in front of a batch norm is rounding noise around 0.
        difference = (ours - expected).detach().abs().max()
        assert difference < 1e-7 + 1e-5 * expected.detach().abs().max()
