"""Signals that stop a run, and those that torchrun repeats."""

import signal

import pytest

from keras_mg.recipes import _signals
from keras_mg.recipes._signals import Signals


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        @classmethod
        def monotonic(cls):
            return cls.now

    monkeypatch.setattr(_signals, "time", Clock)
    return Clock


def test_the_first_asks_and_the_second_ends_at_once(monkeypatch, clock):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    caught, asked = Signals(), []
    with caught.answered_by(lambda: asked.append(1)):
        caught.handle(signal.SIGTERM, None)
        with pytest.raises(KeyboardInterrupt):
            caught.handle(signal.SIGTERM, None)
    assert asked == [1]


def test_what_torchrun_hands_on_is_no_second_one(monkeypatch, clock):
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


def test_where_nothing_can_be_asked_it_ends_at_once_under_torchrun_too(monkeypatch, clock):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(KeyboardInterrupt):
        Signals().handle(signal.SIGTERM, None)
