"""`keras-mg train --devices`: several processes by one command."""

import json
import subprocess
import sys

import keras
import pytest

from keras_mg import cli
from keras_mg.cli import _processes
from tests.support import processes

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")


@pytest.fixture
def launched(monkeypatch):
    """The command that the process becomes."""
    commands = []

    def become(path, command):
        commands.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(_processes.os, "execv", become)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return commands


def test_the_command_becomes_torchrun(launched):
    words = ["train", "mgnet-digits", "--devices", "2", "--seed=3", "--max-restarts=1", "--scale=1"]
    with pytest.raises(SystemExit):
        cli.main(words)
    (command,) = launched
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert command[:4] == start
    assert command[4:6] == ["--nproc-per-node=2", "--max-restarts=1"]
    assert command[6:] == ["-m", "keras_mg", "train", "mgnet-digits", "--seed=3", "--scale=1"]


def test_restarts_need_devices(capsys):
    assert cli.main(["train", "mgnet-digits", "--max-restarts", "2"]) == 2
    assert "--max-restarts needs --devices" in capsys.readouterr().err


def test_what_torchrun_started_starts_no_others(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["train", "mgnet-digits", "--devices", "2"]) == 2
    assert "torchrun has started 2 already" in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipe_in_two_processes(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, "-m", "keras_mg", "train", "mgnet-digits", "--devices", "2"]
    command += ["--epochs", "1", "--set", "network.filters=4", "--output-dir", str(tmp_path)]
    for said in ("Written to", "finished"):  # the second time, there is nothing to do
        done = subprocess.run(
            command,
            env=processes.environment(),
            cwd=processes.ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(said) == 1, done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["processes"], result["batch_norm"]) == (2, "synchronized")
    assert not (tmp_path / "checkpoints").exists()
