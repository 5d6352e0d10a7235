"""`keras-mg data`."""

import dataclasses

import pytest

from keras_mg.cli import main
from keras_mg.datasets import cluttered_mnist as cm

pytest.importorskip("tensorflow_datasets")


def test_prepare(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(cm.TASKS, "rot", dataclasses.replace(cm.TASKS["rot"], sizes=(9, 4, 3)))
    words = ["data", "prepare", "cluttered_mnist/rot", "--data-dir", str(tmp_path)]
    assert main([*words, "--source", "embedded", "--seed", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Making cluttered_mnist/rot ..."
    assert out[-1].startswith("cluttered_mnist/rot: test 3, train 9, validation 4; ")
    assert main([*words, "--source", "embedded", "--seed", "1"]) == 2
    assert "source=embedded, seed=2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cifar10"], "What can be made here is cluttered_mnist,"),
        (["mnist"], "--source-dir"),
        (["cluttered_mnist/seg", "--source", "web"], "--source"),
        (["cluttered_mnist/seg", "--workers", "0"], "--workers"),
    ],
)
def test_errors(words, message, tmp_path, capsys):
    assert main(["data", "prepare", *words, "--data-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
