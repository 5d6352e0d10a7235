import time

import pytest

pytest.importorskip("sklearn")

from benchmarks.whole_epoch import BARE, WHOLE, compare
from keras_mg.recipes import get_recipe

RECIPE = get_recipe("mgnet-digits").changed(
    {"network.filters": 2, "network.iterations": (1, 1), "batch_size": 600}
)


def test_the_epochs_between_the_first_and_the_last_are_timed():
    timing = compare(RECIPE, epochs=4, rounds=2, clock=time.process_time)
    assert list(timing.seconds) == [BARE, WHOLE]
    assert all(len(each) == 2 * 2 and min(each) > 0 for each in timing.seconds.values())


def test_too_few_epochs():
    with pytest.raises(ValueError, match="at least 3: two are not timed. Received: 2"):
        compare(RECIPE, epochs=2, rounds=1, clock=time.process_time)
