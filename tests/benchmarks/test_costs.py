"""What the limits of a machine are compared with."""

from dataclasses import asdict

import keras
import pytest

torch = pytest.importorskip("torch")

from benchmarks import costs  # noqa: E402
from benchmarks.networks import Network  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402
from keras_mg import ops  # noqa: E402
from keras_mg.layers import Convolution  # noqa: E402

FILTERS = 64


def one_convolution(groups=1):
    images = keras.Input((5, 6, FILTERS))
    return keras.Model(images, Convolution(FILTERS, 3, groups=groups, use_bias=False)(images))


def test_work_by_hand():
    twin = torch.nn.Sequential(torch.nn.Conv2d(FILTERS, FILTERS, 3, padding=1, bias=False))
    network = Network("x", one_convolution, lambda: twin, (5, 6, FILTERS), 1, 1, 1)
    moved = 2 * 30 * FILTERS + 9 * FILTERS**2
    useful = 30 * 9 * FILTERS**2
    assert costs._work(network, torch.float32) == (useful, 4 * moved)
    assert costs._work(network, torch.bfloat16) == (useful, 2 * moved)
    assert costs._executed(one_convolution(), torch.randn(3, 5, 6, FILTERS)) == 3 * useful


def test_merged_groups_execute_more_than_is_useful():
    make = lambda: one_convolution(FILTERS // 2)  # noqa: E731
    assert (
        costs._executed(make(), torch.randn(1, 5, 6, FILTERS)) > ops.multiply_accumulates(make)[1]
    )


def test_the_work_of_what_the_ceiling_times():
    like = torch.empty(0)
    call, work = costs._convolution(2, 8, 6, 3, like)
    assert call().shape == (2, 8, 6, 6)
    assert work == 2 * 36 * 8 * 8 * 9
    call, work = costs._product(5, like)
    assert call().shape == (5, 5)
    assert work == 125


@pytest.mark.parametrize("variant", costs.TRAINING)
def test_the_tensors_of_training_take_memory(variant, monkeypatch):
    monkeypatch.setattr(Settings, "prepare", lambda self: None)
    peak = costs.peak_of_training("tensors", variant, "tiny", False, asdict(Settings()))
    assert 0 < peak < 100
