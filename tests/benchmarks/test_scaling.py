"""The estimate on paper, against sums by hand."""

import keras
import pytest

from benchmarks.scaling import Links, Traffic, lines, measured_ms, traffic_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")

# 2 GPUs: a byte travels once, and each of two hops takes a second.
TWO = Links(gpus=2, machines=1, latency=1.0, bandwidth=10.0, far_latency=5.0, far_bandwidth=1.0)


def test_a_ring():
    assert TWO.seconds(40) == 2 * 1 + 40 / 10
    four = Links(4, 2, latency=1.0, bandwidth=10.0, far_latency=5.0, far_bandwidth=2.0)
    # A ring of 4 takes 6 hops and 1.5 times the bytes; a tree 4 hops, and twice the bytes.
    assert four.seconds(80) == pytest.approx(6 * 1 + 1.5 * 8 + 2 * 5 + 1 * 40)
    assert four.seconds(0) == pytest.approx(4 * 1 + 2 * 5)


def test_buckets_leave_during_the_backward_pass():
    traffic = Traffic(buckets=[40, 40], channels=[])
    # Ready at 10 + 10 and 10 + 20; each takes 6 s. The first is over before the second is there.
    assert traffic.eager(30.0, TWO) == pytest.approx(36)
    # A step of 3 s: ready at 2 and 3, so the second waits for the first.
    assert traffic.eager(3.0, TWO) == pytest.approx(2 + 6 + 6)
    assert traffic.captured(30.0, TWO) == pytest.approx(30 + 2 * 6)


def test_batch_norms_wait_twice():
    assert Traffic([1], channels=[2, 2]).waits(TWO) == pytest.approx(2 * ((2 + 4) + (2 + 1.6)))


def test_what_a_network_sends_is_read_from_it():
    from keras_mg.applications import ResNet20

    model = ResNet20(classifier_activation=None)
    traffic = traffic_of("ResNet20")
    assert sum(traffic.buckets) == 4 * sum(v.value.numel() for v in model.trainable_variables)
    assert len(traffic.buckets) == 2
    assert traffic.buckets[0] < 2**20  # the first is small
    offsets = [v.shape[0] for v in model.trainable_variables if v.name == "beta"]
    assert list(traffic.channels) == offsets
    (row,) = lines("ResNet20", traffic, [10.0], Links())
    assert row.startswith("| ResNet20 | 1 x 8 | 10, assumed | ")
    assert row.count("%") == 4
    (row,) = lines("ResNet20", traffic, [10.0], Links.of_cpus(2))
    assert row.startswith("| ResNet20 | 2 | 10, assumed | ")


def test_machines_of_one_process_wait_for_each_other_alone():
    # Two machines: there and back, each byte once over 1e9 bytes per second.
    assert Links.of_cpus(2).seconds(4e6) == pytest.approx(2 * 50e-6 + 4e-3)
    assert Links.of_cpus(1).seconds(4e6) == 0


RESULTS = """# Results

## fit, 2030-01-01 00:00 UTC

NVIDIA H100; Python 3. bfloat16, 9 rounds, wall clock.

| | variant | median ms | best ms | ratio of medians | ratio of bests |
|---|---|---:|---:|---:|---:|
| MgNet, batch 256 | PyTorch | 41.00 | 40.00 | 1.000 | 1.000 |
| MgNet, batch 256 | keras_mg | 1,031.50 | 30.00 | 0.760 | 0.750 |

## predict, 2030-01-02 00:00 UTC

NVIDIA H100; Python 3.

| MgNet, batch 256 | keras_mg | 5.00 | 4.00 | 0.760 | 0.750 |

## fit, 2030-01-03 00:00 UTC

Some, 2 of 2 CPUs; Python 3.

| MgNet, batch 8 | keras_mg | 700.00 | 600.00 | 0.760 | 0.750 |
"""


def test_the_time_of_a_step_is_the_last_one_of_training_there():
    assert measured_ms("MgNet", RESULTS) == 1031.5
    assert measured_ms("MgNet", RESULTS, "cpu") == 700
    assert measured_ms("RMG34", RESULTS) is None
