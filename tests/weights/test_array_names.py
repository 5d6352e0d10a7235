"""A network of the user's own, with names that he registers."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

from keras_mg import weights
from keras_mg.weights._array_names import TABLES, from_foreign, to_foreign
from tests.weights.mxnet_writer import file_bytes
from tests.weights.small_nets import assert_equal, randomize, small_net, values


@pytest.fixture(autouse=True)
def tables():
    """What a test registers is forgotten after it."""
    before = dict(TABLES)
    yield TABLES
    TABLES.clear()
    TABLES.update(before)


class TorchNet(nn.Module):
    """The user's PyTorch network; `twin` is the same convolution under another name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (3, 5), padding="same")
        self.twin = self.conv
        self.bn = nn.BatchNorm2d(4, eps=1e-3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


def network(include_top=True, name="mine"):
    image = keras.Input((6, 7, 3))
    x = keras.layers.Conv2D(4, (3, 5), padding="same", name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    if include_top:
        x = keras.layers.Dense(5, name="predictions")(x)
    return keras.Model(image, x, name=name)


PLACES = {
    "conv/kernel": ["conv.weight", "twin.weight"],
    "conv/bias": ["conv.bias", "twin.bias"],
    "norm/gamma": ["bn.weight"],
    "norm/beta": ["bn.bias"],
    "norm/moving_mean": ["bn.running_mean"],
    "norm/moving_variance": ["bn.running_var"],
    "predictions/kernel": ["fc.weight"],
    "predictions/bias": ["fc.bias"],
}


def names(model):
    return {v.path: PLACES[v.path] for v in model.weights} if model.name == "mine" else {}


def register(function=names, origin="my code", **kwargs):
    weights.register_names(origin, head=("fc.weight", "fc.bias"), **kwargs)(function)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = TorchNet()
    for value in (net.bn.running_mean, net.bn.running_var, net.bn.weight.data, net.bn.bias.data):
        value.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture
def checkpoint(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_the_outputs_are_torchs(net, checkpoint):
    register()
    model = weights.load(network(), checkpoint)
    images = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype("f4")
    with torch.no_grad():
        expected = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)
    trunk = weights.load(network(include_top=False), checkpoint)
    assert_equal(trunk, values(model)[:-2])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torch_takes_what_is_exported(net, tmp_path, suffix):
    register()
    model = randomize(network())
    path = weights.export(model, tmp_path / f"out{suffix}")
    if suffix == ".pth":
        net.load_state_dict(torch.load(path, weights_only=True), strict=True)
        images = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype("f4")
        with torch.no_grad():
            got = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
        expected = model.predict(images, verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert_equal(weights.load(network(), path), values(model))


def test_shared_arrays_must_be_there_and_equal(net, tmp_path):
    register()
    state = dict(net.state_dict())
    state["twin.weight"] = state["twin.weight"] + 1
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(weights.WeightsError, match="'conv.weight' and 'twin.weight' are the same"):
        weights.load(network(), tmp_path / "a.pth")
    del state["twin.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(weights.WeightsError, match="the file has no array 'twin.weight'"):
        weights.load(network(), tmp_path / "a.pth")


def test_of_alternatives_one_is_there(tmp_path):
    register(alternatives=True)
    model = randomize(network())
    arrays = {
        PLACES[v.path][-1]: to_foreign(a) for v, a in zip(model.weights, values(model), strict=True)
    }
    (tmp_path / "a.params").write_bytes(file_bytes(arrays))
    assert_equal(weights.load(network(), tmp_path / "a.params"), values(model))
    with pytest.raises(weights.WeightsError, match="'mine' cannot be exported"):
        weights.export(model, tmp_path / "a.pth")


def test_the_number_of_classes(checkpoint):
    register()
    assert weights.head_classes(checkpoint, network="mine") == 5


def test_the_table_that_names_most_of_the_arrays_is_taken(checkpoint):
    register()
    register(lambda m: {p: [f"other.{p}"] for p in names(m)}, origin="other code")
    assert np.ptp(values(weights.load(network(), checkpoint))[2]) > 0


def test_registered_again_is_replaced(checkpoint, tables):
    register(lambda m: {p: [p] for p in names(m)})
    before = len(tables)
    register()
    weights.load(network(), checkpoint)
    assert len(tables) == before


def test_a_network_without_names(checkpoint, tmp_path):
    register()
    with pytest.raises(
        weights.WeightsError, match="no table from this format.*my code.*register_names"
    ):
        weights.load(network(name="other"), checkpoint)
    with pytest.raises(weights.WeightsError, match="'small' cannot be exported.*register_names"):
        weights.export(small_net(), tmp_path / "a.pth")


def test_a_variable_without_a_name(checkpoint, tmp_path):
    register(lambda m: {p: k for p, k in names(m).items() if p != "norm/beta"})
    with pytest.raises(weights.WeightsError, match="'norm/beta' has no name in my code"):
        weights.load(network(), checkpoint)
    with pytest.raises(weights.WeightsError, match="'norm/beta' has no name"):
        weights.export(network(), tmp_path / "a.pth")


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_the_orders_of_axes_are_inverse(shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    there = from_foreign(array)
    assert there.shape == (*shape[2:], *shape[:2][::-1])
    np.testing.assert_array_equal(to_foreign(there), array)


def test_a_kernels_axes():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert from_foreign(kernel)[1, 2, 0, 1] == kernel[1, 0, 1, 2]
