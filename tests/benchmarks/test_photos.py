import numpy as np
from PIL import Image

from benchmarks.photos import ours


def test_an_epoch_reads_every_photograph(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            pixels = rng.integers(0, 256, (230, 240, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.jpg")
    read = ours(tmp_path)
    assert [read(), read()] == [4, 4]
