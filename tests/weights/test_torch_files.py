import argparse
import collections
import datetime
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_mg.applications import IGC_L100M2, MgNet
from keras_mg.weights import WeightsError, load
from keras_mg.weights._torch_files import open_torch
from tests.weights.mxnet_writer import fixture, weights
from tests.weights.small_nets import assert_equal, values
from tests.weights.torch_mgnet import logits, random_mgnet

ARGUMENTS = {"iterations": (2, 1, 2), "filters": (4, 6, 8), "classes": 10}
TOLERANCE = 2e-5


@pytest.fixture(params=[True, False], ids=["B^l", "B^{l,i}"])
def share(request):
    return request.param


def mgnet(share_smoother=True, **kwargs):
    return MgNet(
        **{**ARGUMENTS, **kwargs}, share_smoother=share_smoother, classifier_activation=None
    )


def torch_net(share_smoother=True, classes=10):
    return random_mgnet(ARGUMENTS["iterations"], ARGUMENTS["filters"], share_smoother, classes)


def authors_checkpoint(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.zeros(1, 3, 32, 32)).sum().backward()
    optimizer.step()
    return {
        "epoch": 299,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }


FORMS = {
    "plain": lambda net: net.state_dict(),
    "authors": authors_checkpoint,
    "parallel": lambda net: {f"module.{k}": v for k, v in net.state_dict().items()},
    "compiled": lambda net: {f"_orig_mod.{k}": v for k, v in net.state_dict().items()},
    "wrapped": lambda net: {f"model.module._orig_mod.{k}": v for k, v in net.state_dict().items()},
    "state_dict": lambda net: {"state_dict": dict(net.state_dict()), "best": np.float64(0.8)},
    "nested": lambda net: {"net": {"state_dict": net.state_dict()}, "args": {"lr": 0.1}},
    "in another module": lambda net: {
        f"student.backbone.{k}": v for k, v in net.state_dict().items()
    },
    "AveragedModel": lambda net: torch.optim.swa_utils.AveragedModel(net).state_dict(),
    "settings": lambda net: {
        "state_dict": net.state_dict(),
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("a"), begun=datetime.date(2020, 2, 1)),
        "counts": collections.defaultdict(int, a=1),
        "seen": {3, 4},
    },
    "average": lambda net: {"epoch": 3, "state_dict_ema": net.state_dict()},
}


def assert_same(model, net):
    images = np.random.default_rng(1).normal(size=(3, 32, 32, 3)).astype("f4")
    reference = logits(net, images)
    got = model.predict(images, verbose=0)
    assert np.abs(got - reference).max() / np.abs(reference).max() <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_give_the_same_outputs(tmp_path, form, share):
    net = torch_net(share)
    path = tmp_path / "net.pth"
    torch.save(FORMS[form](net), path)
    assert_same(mgnet(share, weights=str(path)), net.eval())


def test_the_format_before_zip(tmp_path):
    net = torch_net()
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    assert_same(mgnet(weights=path), net)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_element_types(tmp_path, dtype):
    net = torch_net()
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    path = tmp_path / "net.pth"
    torch.save(state, path)
    model = mgnet(weights=path)
    kernel = state["conv1.weight"].permute(2, 3, 1, 0).float().numpy()
    np.testing.assert_array_equal(values(model)[0], kernel)


def test_a_trunk_loads_from_the_whole(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(torch_net().state_dict(), path)
    assert_equal(mgnet(weights=path, include_top=False), values(mgnet(weights=path))[:-2])


def test_the_igc_names_in_a_pytorch_file(tmp_path):
    arrays = weights(fixture("IGC-L100M2_ImageNet"))
    path = tmp_path / "igc.pt"
    torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, path)
    model = IGC_L100M2(weights=path)
    np.testing.assert_array_equal(values(model)[-1], arrays["fc_score_bias"])


def refused(path, **kwargs):
    model = mgnet(**kwargs)
    before = values(model)
    with pytest.raises(WeightsError) as caught:
        load(model, path)
    assert_equal(model, before)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


def save(path, content):
    torch.save(content, path)
    return path


def test_shared_convolutions_must_agree(tmp_path):
    state = dict(torch_net().state_dict())
    state["layer1.0.A_old.weight"] = state["layer1.0.A_old.weight"] + 1e-6
    message = refused(save(tmp_path / "x.pth", state))
    assert "'layer0.0.A.weight' and 'layer1.0.A_old.weight' are the same shared array" in message


def test_a_shared_name_may_not_be_missing(tmp_path):
    state = dict(torch_net().state_dict())
    del state["layer1.0.A_old.weight"]
    assert "no array 'layer1.0.A_old.weight'" in refused(save(tmp_path / "x.pth", state))


def test_an_array_left_over(tmp_path):
    state = {**torch_net().state_dict(), "extra.weight": torch.ones(3)}
    assert "'extra.weight', shape (3,)" in refused(save(tmp_path / "x.pth", state))


def test_the_other_kind_of_smoother(tmp_path):
    """B^{l,i} weights in a B^l network differ, though every name and shape fits."""
    path = save(tmp_path / "x.pth", torch_net(False).state_dict())
    assert "shared array" in refused(path)


def test_other_widths(tmp_path):
    path = save(tmp_path / "x.pth", torch_net().state_dict())
    message = refused(path, filters=(4, 6, 10))
    assert "'layer2.0.Pi_conv.weight' has the shape (8, 6, 3, 3) in the file" in message
    assert "(3, 3, 6, 10) in the model" in message


def test_other_classes(tmp_path):
    path = save(tmp_path / "x.pth", torch_net(classes=100).state_dict())
    assert "classes=10 was asked for, and the file's head is for 100 classes" in refused(path)


class Bomb:
    """Unpickling it runs a command."""

    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return os.system, (f"touch {self.trap}",)


@pytest.mark.parametrize("form", ["pickle", "torch", "torch before zip", "inside"])
def test_a_pickle_bomb_is_not_run(tmp_path, form):
    trap, path = tmp_path / "sprung", tmp_path / "net.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb(trap)))
    elif form == "inside":
        state = torch_net().state_dict()
        torch.save({"model_state_dict": state, "args": Bomb(trap)}, path)
    else:
        torch.save(Bomb(trap), path, _use_new_zipfile_serialization=form == "torch")
    message = refused(path)
    assert f"holds '{os.system.__module__}.system'" in message
    assert "Nothing in the file was run" in message
    assert "weights_only" not in message  # no advice to switch the safety off
    assert not trap.exists()


class Hoard:
    """Unpickling it asks for gigabytes, with what `weights_only=True` allows."""

    def __init__(self, make):
        self.make = make

    def __reduce__(self):
        return self.make, (3_000_000_000,)


@pytest.mark.parametrize("make", [bytearray, torch.Tensor])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hoard_is_refused_before_pytorch_sees_it(tmp_path, monkeypatch, make, zipped):
    path = tmp_path / "net.pth"
    torch.save({"a": Hoard(make)}, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(torch, "load", None)
    assert f".{make.__name__}', which no checkpoint of arrays needs" in refused(path)


def test_names_that_come_from_the_memo_are_seen(tmp_path):
    """`system` is written once and fetched twice."""
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps([os.system, {"system": os.system}, "system"], protocol=4))
    assert "system', which no checkpoint" in refused(path)


def test_a_name_hidden_under_others_is_not_missed(tmp_path):
    """Two harmless names are written last and taken away again."""
    hidden = [b"builtins", b"bytearray", b"collections", b"OrderedDict"]
    written = b"".join(pickle.SHORT_BINUNICODE + bytes([len(t)]) + t for t in hidden)
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.PROTO + b"\x04" + written + 2 * pickle.POP + b"\x93.")
    assert "pickle instruction POP" in refused(path)


def test_the_checksums_of_a_zip_are_checked(tmp_path):
    path = save(tmp_path / "net.pth", torch_net().state_dict())
    content = bytearray(path.read_bytes())
    at = len(content) // 2  # amid the arrays
    content[at] ^= 0xFF
    path.write_bytes(content)
    assert "checksum" in refused(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds a list"),
        (torch.ones(3), "holds a Tensor"),
        ({}, "no arrays"),
        ({"a": 3}, "'a' is a int"),
        ({"a": torch.ones(2).to_sparse()}, "'a' is not a dense array"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
        ({"a": torch.ones(1).expand(1 << 40)}, "states the shape (1099511627776,)"),
        ({"a": torch.ones(1, device="meta")}, "device meta"),
        ({"model": {"model": {"model": {"model": {"model": 1}}}}}, "expected a state dict"),
        (
            {"theirs": {"a": torch.ones(1)}, "epoch": 1},
            "the checkpoint's keys are 'theirs', 'epoch'",
        ),
    ],
)
def test_what_is_no_state_dict(tmp_path, content, words):
    assert words in refused(save(tmp_path / "x.pth", content))


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(1 << 26))
    assert "states 67108864 bytes of content" in refused(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_mutated_files_load_or_raise(tmp_path, zipped):
    path = tmp_path / "x.pth"
    state = collections.OrderedDict(a=torch.ones(3, 2), b=torch.zeros(5))
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def check(data):
        changed = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(changed) - 1))
            patch = data.draw(st.binary(min_size=1, max_size=8))
            changed[place : place + len(patch)] = patch
        path.write_bytes(bytes(changed[: data.draw(st.integers(1, len(changed)))]))
        message = "x.pth: "
        try:
            with open_torch(path, "x.pth") as arrays:
                assert sum(a.read().nbytes for a in arrays.values()) <= len(content)
        except WeightsError as error:
            message = str(error)
        assert message.startswith("x.pth: ")

    check()


def test_a_prefix_of_some_names_is_part_of_them(tmp_path):
    torch.save({"model.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "x.pth")
    with open_torch(tmp_path / "x.pth", "x") as arrays:
        assert set(arrays) == {"model.a", "b"}
