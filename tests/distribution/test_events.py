"""Refusals, stopping, saving and going on, in two processes: `tests.support.parallel_events`."""

import keras
import pytest

from tests.support import parallel_events, processes

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    started = processes.start(2, ["-m", "tests.support.parallel_events", str(folder)], folder)
    codes = processes.finish(started)
    return codes, processes.printed(folder, 2)


@pytest.mark.parametrize("event", [event.__name__ for event in parallel_events.EVENTS])
def test_what_happens_beside_training(event, printed):
    codes, texts = printed
    for text in texts:
        assert f"{event}: " in text, text
    if event == parallel_events.EVENTS[-1].__name__:
        assert codes == [0, 0]
