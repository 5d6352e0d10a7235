import keras
import numpy as np
import pytest

from benchmarks import twins
from keras_mg.applications import RMG18, multigrid_cifar
from keras_mg.layers import MultigridPool, MultigridResidual
from tests.support import zoo
from tests.support.arrays import numpy, randomize, relative_difference

torch = pytest.importorskip("torch")


def test_numbers_of_the_twin_at_the_published_size():
    model = randomize(RMG18(classifier_activation=None, data_format="channels_last"))
    image = np.random.default_rng(1).normal(size=(1, 224, 224, 3)).astype("float32")
    expected = zoo.twin_outputs(zoo.copy_to_twin(model, twins.RMG18()), image)
    assert relative_difference(zoo.outputs(model, image), expected) <= 2e-5


def test_gradients_and_statistics_of_the_twin():
    """In training, and in float64, for depth widens what is rounded.

    Of the features, because Keras averages them in float32 for the classifier.
    """
    model = RMG18(input_shape=(64, 48, 3), data_format="channels_last", dtype="float64")
    twin = zoo.copy_to_twin(randomize(model), twins.RMG18().double()).train()
    trunk = keras.Model(model.input, model.get_layer("block4_layer2").output)
    # Keras casts what enters a model to float32.
    image = np.random.default_rng(1).normal(size=(4, 64, 48, 3)).astype("float32")
    features = trunk(torch.tensor(image), training=True)
    expected = twin.features(torch.tensor(np.moveaxis(image, 3, 1).astype("float64")))
    expected = expected.permute(0, 2, 3, 1)
    assert relative_difference(numpy(features), expected.detach().numpy()) <= 1e-10
    cotangent = torch.cos(torch.arange(features.numel(), dtype=torch.float64))
    for y in (features, expected):
        (y * cotangent.reshape(y.shape)).sum().backward()

    wanted = []
    for module in twin.modules():
        if isinstance(module, torch.nn.Conv2d):
            wanted += [module.weight.grad.permute(2, 3, 1, 0), module.bias.grad]
        elif isinstance(module, torch.nn.BatchNorm2d):
            wanted += [module.weight.grad, module.bias.grad]
            wanted += [module.running_mean, module.running_var]
    for variable, reference in zip(trunk.weights, wanted, strict=True):
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
        model = multigrid_cifar.MG6()
    assert {x.epsilon for x in model.layers if hasattr(x, "epsilon")} == {1e-3}
