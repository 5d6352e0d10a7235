"""The example for many processes, in one and in two."""

from pathlib import Path

import keras
import pytest

from tests.support import processes

pytest.importorskip("sklearn")
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch"),
    pytest.mark.slow,
]

SCRIPT = str(Path(__file__).parents[2] / "examples" / "train_multi_gpu.py")


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_process_reports(count, tmp_path):
    arguments = [SCRIPT, "--epochs", "1", "--checkpoints", str(tmp_path / "checkpoints")]
    codes = processes.finish(processes.start(count, arguments, tmp_path))
    texts = processes.printed(tmp_path, count)
    assert codes == [0] * count, texts
    assert f"{count} processes: accuracy 0." in texts[0]
    assert not any("accuracy" in text for text in texts[1:])
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
