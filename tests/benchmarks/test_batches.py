import time

import pytest

pytest.importorskip("sklearn")

from benchmarks.batches import STEP, compare
from keras_mg.recipes import get_recipe


def test_a_step_and_its_batches_are_timed():
    recipe = get_recipe("igc-resnet-digits").changed(
        {
            "network.depth": 8,
            "network.primary_partitions": 2,
            "network.secondary_partitions": 2,
            "batch_size": 4,
        }
    )
    timing = compare(recipe, None, rounds=2, clock=time.process_time, compiled=False)
    assert list(timing.seconds) == [STEP, "batch on the host", "batch on the device"]
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in timing.seconds.values())
    assert timing.ratio(STEP) == 1
