"""Signals that stop a run, and those that torchrun repeats."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_mg.recipes import _signals
from keras_mg.recipes._signals import Signals
from tests.support import processes


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        @classmethod
        def monotonic(cls):
            return cls.now

    monkeypatch.setattr(_signals, "time", Clock)
    return Clock


def test_the_first_asks_and_the_second_ends_at_once(monkeypatch, clock, capfd):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    caught, asked = Signals(), []
    with caught.answered_by(lambda: asked.append(1)):
        caught.handle(signal.SIGTERM, None)
        assert capfd.readouterr().err == "\nStopping after this step; once more stops at once.\n"
        with pytest.raises(KeyboardInterrupt):
            caught.handle(signal.SIGTERM, None)
    assert asked == [1]


def test_what_torchrun_hands_on_is_no_second_one(monkeypatch, clock, capfd):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    caught, asked = Signals(), []
    with caught.answered_by(lambda: asked.append(1)):
        caught.handle(signal.SIGTERM, None)
        for _ in range(2):
            clock.now += 2.0
            caught.handle(signal.SIGTERM, None)
        clock.now += 2.0  # six seconds after the first: someone means it
        with pytest.raises(KeyboardInterrupt):
            caught.handle(signal.SIGINT, None)
    assert asked == [1]
    assert caught.number == signal.SIGINT
    said = "Stopping after this step; once more, 5 seconds from now or later, stops at once."
    assert capfd.readouterr().err.strip() == said


def test_where_nothing_can_be_asked_it_ends_at_once_under_torchrun_too(monkeypatch, clock):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(KeyboardInterrupt):
        Signals().handle(signal.SIGTERM, None)


class Torchrun:
    """torchrun with two processes that take long steps, `tests.support.signalled`."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node=2", "-m", "tests.support.signalled", str(folder)]
        self.folder = folder
        with open(folder / "printed", "w", encoding="utf-8") as printed:
            self.process = subprocess.Popen(
                command,
                env=processes.environment(),
                cwd=processes.ROOT,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        self.pids = [int(self.left("pid", number)) for number in range(2)]
        return self

    def __exit__(self, *_):
        self.process.kill()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self, name, number, seconds=240.0):
        """What a process has written into a file."""
        path = self.folder / f"{name} {number}"
        end = time.monotonic() + seconds
        while not path.exists():
            assert time.monotonic() < end, (self.folder / "printed").read_text(encoding="utf-8")
            time.sleep(0.05)
        return path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_torchrun_hands_a_signal_on_and_all_stop_after_the_step(tmp_path):
    with Torchrun(tmp_path) as torchrun:
        # As Slurm does: to all processes.
        for pid in torchrun.pids:
            os.kill(pid, signal.SIGTERM)
        torchrun.process.send_signal(signal.SIGTERM)
        for rank in range(2):
            assert int(torchrun.left("asked", rank)) == 1
        (tmp_path / "the step is over").touch()
        for rank in range(2):
            assert torchrun.left("end", rank) == f"after the step, {signal.SIGTERM}"
        assert torchrun.process.wait(60) != 0
    assert (tmp_path / "printed").read_text(encoding="utf-8").count("Stopping after this step") == 2


@pytest.mark.slow
def test_a_second_signal_to_torchrun_stops_at_once(tmp_path):
    with Torchrun(tmp_path) as torchrun:
        torchrun.process.send_signal(signal.SIGINT)
        for rank in range(2):
            assert int(torchrun.left("asked", rank)) == 1
        time.sleep(_signals._ECHO + 1)
        begun = time.monotonic()
        torchrun.process.send_signal(signal.SIGINT)
        for rank in range(2):
            assert torchrun.left("end", rank) == f"at once, {signal.SIGTERM}"
        assert time.monotonic() - begun < 10
        assert torchrun.process.wait(60) != 0
