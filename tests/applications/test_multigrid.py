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


def test_a_training_step_is_the_twins():
    """Loss, every gradient and every statistic; in float64, for depth widens what is rounded."""
    model = RMG18(
        classifier_activation=None,
        input_shape=(64, 48, 3),
        classes=5,
        data_format="channels_last",
        dtype="float64",
    )
    twin = zoo.copy_to_twin(randomize(model), twins.RMG18(classes=5).double()).train()
    # Keras casts what enters a model to float32.
    image = np.random.default_rng(1).normal(size=(4, 64, 48, 3)).astype("float32")
    logits = model(torch.tensor(image), training=True)
    expected = twin(torch.tensor(np.moveaxis(image, 3, 1).astype("float64")))
    for z in (logits, expected):
        torch.nn.functional.cross_entropy(z, torch.tensor([0, 1, 3, 4])).backward()
    assert relative_difference(numpy(logits), expected.detach().numpy()) <= 1e-10

    wanted = []
    for module in twin.modules():
        if isinstance(module, torch.nn.Conv2d):
            wanted += [module.weight.grad.permute(2, 3, 1, 0), module.bias.grad]
        elif isinstance(module, torch.nn.BatchNorm2d):
            wanted += [module.weight.grad, module.bias.grad]
            wanted += [module.running_mean, module.running_var]
        elif isinstance(module, torch.nn.Linear):
            wanted += [module.weight.grad.T, module.bias.grad]
    for variable, reference in zip(model.weights, wanted, strict=True):
        got = numpy(variable.value.grad if variable.trainable else variable)
        # A bias before batch norm has a gradient of zero but for rounding.
        room = 1e-9 * max(reference.abs().max().item(), 1e-3)
        assert np.abs(got - reference.numpy()).max() <= room, variable.path


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
