import os
from pathlib import Path

import keras
import pytest

from keras_mg.applications import IGCPlain, MgNet
from keras_mg.cli import main
from tests.weights.mxnet_writer import fixture, write_fixture
from tests.weights.small_nets import assert_equal, randomize, values


@pytest.fixture
def run(capsys):
    """Runs the command line; gives the exit code, the output and the errors."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "plain.params"
    write_fixture(path, fixture("plain_igc_d8L8M2"))
    return path


PLAIN = ["--network", "IGCPlain", "--set", "depth=8", "--set", "primary_partitions=8"]
PLAIN += ["--set", "secondary_partitions=2"]


def failed(result):
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("keras-mg: error: ")
    assert err.count("\n") == 1
    return err


def test_list(run):
    code, out, _ = run("weights", "list")
    assert code == 0
    assert "IGC_L100M2 weights='imagenet'" in out
    assert "git:1dee63a039d71a5bbe0ada0343372534538e7bd8" in out
    assert "none stated" in out


def test_list_of_one(run):
    assert "IGC_L4M32" in run("weights", "list", "--network", "IGC_L4M32")[1]
    out = run("weights", "list", "--network", "MgNet")[1]
    assert 'MgNet(filters=32, classes=10, weights="digits")' in out
    assert "keras-mg train mgnet-digits --epochs 20 --seed 0" in out
    assert "accuracy 0.9733" in out
    assert run("weights", "list", "--network", "RMG18") == (0, "", "")
    assert "there is no 'X'" in failed(run("weights", "list", "--network", "X"))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_convert_mxnet(run, tmp_path, checkpoint, suffix):
    target = tmp_path / f"plain{suffix}"
    code, out, _ = run("weights", "convert", checkpoint, target, *PLAIN)
    assert code == 0
    assert str(target) in out
    assert_equal(IGCPlain(8, 8, 2, weights=target), values(IGCPlain(8, 8, 2, weights=checkpoint)))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([checkpoint.name, target.name])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert_mgnet_with_its_own_classes(run, tmp_path, suffix):
    model = randomize(MgNet((1, 2), (4, 6), classes=13))
    source, target = tmp_path / "a.weights.h5", tmp_path / f"b{suffix}"
    model.save_weights(source)
    settings = ["--set", "iterations=1,2", "--set", "filters=(4, 6)"]
    assert run("weights", "convert", source, target, "--network", "MgNet", *settings)[0] == 0
    assert_equal(MgNet((1, 2), (4, 6), classes=13, weights=target), values(model))


def test_convert_refuses(run, tmp_path, checkpoint):
    target = tmp_path / "b.weights.h5"
    convert = ("weights", "convert", checkpoint, target)
    assert "--network" in failed(run(*convert))
    assert "there is no network 'X'" in failed(run(*convert, "--network", "X"))
    assert "another network" in failed(run(*convert, "--network", "IGC_L100M2"))
    assert "NAME=VALUE" in failed(run(*convert, *PLAIN, "--set", "depth"))
    assert "unexpected" in failed(run(*convert, *PLAIN, "--set", "deep=1"))
    assert "must end in" in failed(run("weights", "convert", checkpoint, "x.onnx", *PLAIN))
    assert "cannot be exported" in failed(
        run("weights", "convert", checkpoint, tmp_path / "b.pth", *PLAIN)
    )
    assert "is no file" in failed(run("weights", "convert", tmp_path / "none", target, *PLAIN))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.name]


def test_convert_does_not_overwrite_unasked(run, tmp_path, checkpoint):
    target = tmp_path / "b.weights.h5"
    target.write_text("precious")
    assert "--overwrite" in failed(run("weights", "convert", checkpoint, target, *PLAIN))
    assert target.read_text() == "precious"
    assert run("weights", "convert", checkpoint, target, *PLAIN, "--overwrite")[0] == 0
    IGCPlain(8, 8, 2, weights=target)


def test_verify_the_cache(run, tmp_path):
    code, out, _ = run("weights", "verify", "--cache-dir", tmp_path)
    assert code == 0
    assert out.count("absent") == 5
    folder = tmp_path / "keras_mg" / "weights"
    folder.mkdir(parents=True)
    (folder / "resnet_d18-0095.params").write_text("not it")
    code, out, err = run("weights", "verify", "--cache-dir", tmp_path)
    assert code == 2
    assert "damaged  IGCResNet18_C64 'imagenet'" in out
    assert "1 damaged files" in err


def test_verify_files(run, checkpoint, tmp_path):
    code, out, _ = run("weights", "verify", checkpoint)
    assert code == 0
    assert "good, mxnet, 43 arrays" in out
    cut = tmp_path / "cut.params"
    cut.write_bytes(checkpoint.read_bytes()[:-1])
    folder = tmp_path / "folder"
    folder.mkdir()
    code, out, err = run("weights", "verify", cut, folder, tmp_path / "absent", checkpoint)
    assert code == 2
    lines = out.splitlines()
    assert [line.split(", ")[0].removeprefix(f"{tmp_path}/") for line in lines] == [
        "cut.params: bad",
        "folder: bad",
        "absent: bad",
        "plain.params: good",
    ]
    assert "offset" in lines[0]
    assert err == "keras-mg: error: 3 of 4 files cannot be read\n"


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_a_full_disk_leaves_nothing(run, tmp_path, checkpoint, monkeypatch, suffix, kind):
    def fill(self, path, **_):
        Path(path).write_bytes(b"half")
        raise kind("Can't write data (No space left on device)")

    monkeypatch.setattr(keras.Model, "save_weights", fill)
    monkeypatch.setattr(keras.Model, "save", fill)
    target = tmp_path / f"b{suffix}"
    assert "No space left" in failed(run("weights", "convert", checkpoint, target, *PLAIN))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.name]


@pytest.mark.parametrize("path", ["~nosuch/a.h5", "a\0b"])
def test_paths_that_are_none(run, path):
    code, out, _ = run("weights", "verify", path)
    assert code == 2
    assert ": bad, " in out
    failed(run("weights", "convert", path, "b.weights.h5", *PLAIN))


@pytest.mark.parametrize("setting", ["depth=10000000000", "classes=1000000000000"])
def test_settings_beyond_all_bounds(run, tmp_path, checkpoint, setting):
    words = [*PLAIN, "--set", setting]
    failed(run("weights", "convert", checkpoint, tmp_path / "b.weights.h5", *words))


def test_a_pipe_is_judged_and_not_waited_for(run, tmp_path, checkpoint):
    os.mkfifo(tmp_path / "pipe")
    code, out, _ = run("weights", "verify", tmp_path / "pipe", checkpoint)
    assert code == 2
    assert "pipe: bad, is no file" in out
    assert "good, mxnet" in out


def test_ctrl_c(run, checkpoint, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_mg.weights.read_through", stop)
    assert run("weights", "verify", checkpoint) == (130, "", "")
