import keras
import numpy as np
import pytest

from benchmarks import twins
from keras_mg.applications import RMG18, multigrid
from keras_mg.layers import MultigridPool, MultigridResidual
from tests.support import zoo
from tests.support.arrays import numpy, randomize, relative_difference

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def published():
    """RMG18 at its own size, and its twin with the same weights."""
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        model = RMG18(
            classifier_activation=None, input_shape=(None, None, 3), data_format="channels_last"
        )
        randomize(model)
    return model, zoo.copy_to_twin(model, twins.RMG18())


def test_numbers_of_the_twin_at_the_published_size(published):
    model, twin = published
    image = np.random.default_rng(1).normal(size=(1, 224, 224, 3)).astype("float32")
    expected = zoo.twin_outputs(twin, image)
    assert relative_difference(zoo.outputs(model, image), expected) <= 2e-5


def test_a_training_step_is_the_twins(published):
    """Loss, every gradient and every statistic, as one step of training sees them."""
    model, twin = published
    image = np.random.default_rng(1).normal(size=(4, 96, 96, 3)).astype("float32")
    labels = torch.tensor([1, 10, 100, 999])
    logits = model(torch.tensor(image), training=True)
    expected = twin.train()(torch.tensor(np.moveaxis(image, 3, 1).copy()))
    losses = [torch.nn.functional.cross_entropy(z, labels) for z in (logits, expected)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=2e-5)
    expected = {"kernel": [], "gamma": [], "moving_mean": [], "moving_variance": []}
    for module in twin.modules():
        if isinstance(module, torch.nn.Conv2d):
            expected["kernel"].append(module.weight.grad.permute(2, 3, 1, 0).numpy())
        elif isinstance(module, torch.nn.BatchNorm2d):
            expected["gamma"].append(module.weight.grad.numpy())
            expected["moving_mean"].append(module.running_mean.numpy())
            expected["moving_variance"].append(module.running_var.numpy())
    got = {kind: [] for kind in expected}
    for variable in model.weights:
        if variable.name in got and not variable.path.startswith("predictions"):
            of_step = variable.value.grad if variable.trainable else variable.value
            got[variable.name].append(numpy(of_step))
    for kind, references in expected.items():
        for value, reference in zip(got[kind], references, strict=True):
            # Rounding that crosses a ReLU's zero moves single gradients, so their norm counts.
            gap = np.linalg.norm(value - reference) / np.linalg.norm(reference)
            assert gap <= 1e-3, kind
    model.zero_grad()


def test_grids_and_widths_of_the_stages():
    with keras.device("meta"):
        model = RMG18(data_format="channels_last")
    widths = [x.filters for x in model.layers if isinstance(x, MultigridResidual)]
    assert widths == [(64, 32, 16)] * 2 + [(128, 64, 32)] * 2 + [(256, 128)] * 2 + [(512,)] * 2
    assert [x.merge for x in model.layers if isinstance(x, MultigridPool)] == [False, True, True]
    assert {x.shortcut for x in model.layers if isinstance(x, MultigridResidual)} == {"A"}
    assert {x.epsilon for x in model.layers if hasattr(x, "epsilon")} == {1e-5}


def test_plain_networks_have_their_own_epsilon():
    with keras.device("meta"):
        model = multigrid.MG6()
    assert {x.epsilon for x in model.layers if hasattr(x, "epsilon")} == {1e-3}
