import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from keras_mg.applications import IGC_L100M2, MgNet
from keras_mg.weights import WeightsError, export
from tests.weights.small_nets import assert_equal, randomize, values
from tests.weights.torch_mgnet import TorchMgNet, logits

SETTINGS = [
    ((2, 2, 2, 2), (6, 6, 6, 6), True),
    ((2, 1, 3), (4, 6, 8), False),
    ((1,), (5,), True),
]


def build(iterations, widths, share, **kwargs):
    return MgNet(iterations, widths, share, classes=7, classifier_activation=None, **kwargs)


def into_torch(path, iterations, widths, share):
    net = TorchMgNet(iterations, widths, share, 7)
    if path.suffix == ".safetensors":
        state = {k: torch.from_numpy(v) for k, v in load_file(path).items()}
    else:
        state = torch.load(path, weights_only=True)
    net.load_state_dict(state.get("model_state_dict", state), strict=True)
    return net.eval()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_an_independent_mgnet_gives_the_same(tmp_path, setting, suffix):
    model = randomize(build(*setting))
    path = export(model, tmp_path / f"net{suffix}")
    images = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype("f4")
    reference = logits(into_torch(path, *setting), images)
    got = model.predict(images, verbose=0)
    assert np.abs(got - reference).max() / np.abs(reference).max() <= 2e-5


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_there_and_back(tmp_path, suffix):
    model = randomize(build(*SETTINGS[1]))
    path = export(model, str(tmp_path / f"net{suffix}"))
    assert_equal(build(*SETTINGS[1], weights=path), values(model))


def test_the_authors_checkpoint(tmp_path):
    model = randomize(build(*SETTINGS[0]))
    path = export(model, tmp_path / "net.pth", epoch=300)
    content = torch.load(path, weights_only=True)
    assert list(content) == ["epoch", "model_state_dict", "optimizer_state_dict"]
    assert content["epoch"] == 300
    into_torch(path, *SETTINGS[0])
    assert_equal(build(*SETTINGS[0], weights=path), values(model))


def test_shared_convolutions_are_stored_once(tmp_path):
    state = torch.load(export(build(*SETTINGS[0]), tmp_path / "x.pth"), weights_only=True)
    shared = [state[n] for n in ("layer0.0.A.weight", "layer0.1.A.weight", "layer1.0.A_old.weight")]
    assert len({tensor.untyped_storage().data_ptr() for tensor in shared}) == 1


def test_a_trunk_has_no_head(tmp_path):
    model = MgNet((1, 1), 4, include_top=False)
    assert not [k for k in load_file(export(model, tmp_path / "x.safetensors")) if "fc" in k]


def test_other_networks(tmp_path):
    with pytest.raises(
        WeightsError,
        match="cannot be exported: the variable .*/kernel. has no name in PyTorch MgNet",
    ):
        export(IGC_L100M2(include_top=False), tmp_path / "x.pth")
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes(tmp_path):
    with pytest.raises(WeightsError, match="must end in .pth"):
        export(MgNet((1,), 4), tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match="epoch needs .pth"):
        export(MgNet((1,), 4), tmp_path / "x.safetensors", epoch=1)


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.safetensors"])
@pytest.mark.parametrize("limit", [0, 4096])
def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(tmp_path, name, limit):
    """A limit of the size of files ends a write where a full disk would."""
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    path.write_text("old")
    model = MgNet((1,), 64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OSError, match="File too large") as raised:
            export(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
