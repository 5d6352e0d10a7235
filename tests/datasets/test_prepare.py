"""Data sets made here: what lies on disk, that it is read as it was drawn, and never half of it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_mg.datasets import cluttered_mnist as cm
from keras_mg.datasets.canvas_batches import CanvasBatches
from keras_mg.datasets.mnist_digits import load_mnist_digits
from keras_mg.datasets.prepare import PREPARABLE, prepare_dataset
from tests.datasets.test_mnist_digits import write_all

tfds = pytest.importorskip("tensorflow_datasets")

ROOT = Path(__file__).resolve().parents[2]
SIZES = (30, 6, 5)


@pytest.fixture
def small(monkeypatch):
    for name, task in cm.TASKS.items():
        monkeypatch.setitem(cm.TASKS, name, dataclasses.replace(task, sizes=SIZES))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_all_six_tasks_are_read_as_they_were_drawn(small, tmp_path):
    said = []
    paths = prepare_dataset("cluttered_mnist", tmp_path, "embedded", seed=3, report=said.append)
    assert [path.parent.name for path in paths] == list(cm.TASKS)
    assert any("rot, train: 0 of 30" in line for line in said)
    digits = load_mnist_digits("embedded")
    for task in cm.TASKS:
        for split, size in zip(cm.SPLITS, SIZES, strict=True):
            source = tfds.data_source(
                f"cluttered_mnist/{task}", split=split, data_dir=tmp_path, download=False
            )
            canvases = cm.Canvases(task, digits[split], split, seed=3)
            assert len(source) == size
            for i in (0, size - 1):
                image, target = canvases[i]
                assert source[i]["image"].dtype == np.float32
                np.testing.assert_array_equal(source[i]["image"], image)
                np.testing.assert_array_equal(source[i]["target"], target)
    joined = tfds.data_source("cluttered_mnist/rot", split="train+validation", data_dir=tmp_path)
    assert len(joined) == 36
    x, y = CanvasBatches(joined, 8, shuffle=False, data_format="channels_last")[4]
    assert (x.shape, y.shape) == ((4, 64, 64, 1), (4, 64, 64, 1))
    np.testing.assert_array_equal(y[3], joined[35]["target"])


def test_the_features_of_a_record_stand_in_one_order(small, tmp_path):
    """So the bytes are the same in every process; protocol buffers do not care by themselves."""
    from array_record.python.array_record_module import ArrayRecordReader

    (folder,) = prepare_dataset("cluttered_mnist/tra", tmp_path, "embedded")
    records = [
        record
        for path in folder.glob("*.array_record*")
        for record in ArrayRecordReader(str(path)).read_all()
    ]
    assert len(records) == sum(SIZES)
    assert all(0 < record.index(b"image") < record.index(b"target") for record in records)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_process_or_workers(tmp_path):
    code = """
import dataclasses, sys
from keras_mg.datasets import cluttered_mnist as cm
from keras_mg.datasets.prepare import prepare_dataset
if __name__ == "__main__":
    for name, task in cm.TASKS.items():
        cm.TASKS[name] = dataclasses.replace(task, sizes=(600, 260, 20))
    prepare_dataset("cluttered_mnist/seg", sys.argv[1], "embedded", workers=int(sys.argv[2]))
"""
    script = tmp_path / "make.py"
    script.write_text(code)
    for workers in ("1", "2"):
        subprocess.run(
            [sys.executable, script, tmp_path / workers, workers],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
    one = contents(tmp_path / "1")
    assert sum(len(content) for content in one.values()) > 5e5
    assert contents(tmp_path / "2") == one


def test_what_is_there_stays_and_another_seed_is_refused(small, tmp_path):
    (folder,) = prepare_dataset("cluttered_mnist/sca", tmp_path, "embedded")
    before = contents(tmp_path)
    said = []
    assert prepare_dataset("cluttered_mnist/sca", tmp_path, "embedded", report=said.append) == [
        folder
    ]
    assert said == [f"cluttered_mnist/sca is there: {folder}"]
    with pytest.raises(ValueError, match="source=embedded, seed=0.*Received: .*seed=1"):
        prepare_dataset("cluttered_mnist/sca", tmp_path, "embedded", seed=1)
    assert contents(tmp_path) == before


def test_an_interruption_leaves_nothing_half(small, tmp_path, monkeypatch):
    real = cm.Canvases.__getitem__

    def interrupted(self, index):
        if index == 20:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(cm.Canvases, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset("cluttered_mnist/aff", tmp_path, "embedded")
    assert not list(tmp_path.rglob("*.array_record*"))
    monkeypatch.undo()


def test_what_a_killed_process_left_is_removed(small, tmp_path):
    left = tmp_path / "cluttered_mnist" / "aff" / "incomplete.A1B2C3_1.0.0"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    (folder,) = prepare_dataset("cluttered_mnist/aff", tmp_path, "embedded")
    assert folder.is_dir()
    assert not left.exists()


def test_two_at_once_are_refused(tmp_path):
    import filelock

    with (
        filelock.FileLock(tmp_path / ".keras_mg_prepare.lock"),
        pytest.raises(OSError, match="Another process prepares data in"),
    ):
        prepare_dataset("cluttered_mnist/aff", tmp_path, "embedded")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_become_a_prepared_data_set(name, tmp_path):
    (tmp_path / "files").mkdir()
    arrays = write_all(tmp_path / "files", train=12)
    (folder,) = prepare_dataset(name, tmp_path / "data", source_dir=tmp_path / "files")
    assert folder.parent.name == name
    for split, part in (("train", "train"), ("test", "t10k")):
        source = tfds.data_source(name, split=split, data_dir=tmp_path / "data", download=False)
        records = [source[i] for i in range(len(source))]
        images, labels = arrays[part]
        found = {r["image"][..., 0].tobytes(): r["label"] for r in records}
        expected = {
            image.astype("uint8").tobytes(): label
            for image, label in zip(images, labels, strict=True)
        }
        assert found == expected
    prepare_dataset(name, tmp_path / "data", source_dir=tmp_path / "files")


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="What can be made here is cluttered_mnist.*'cifar10'"):
        prepare_dataset("cifar10", tmp_path)
    with pytest.raises(ValueError, match="Say in which folder they are: source_dir"):
        prepare_dataset("mnist", tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no train-images"):
        prepare_dataset("mnist", tmp_path, source_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="mnist .*is not prepared in"):
        prepare_dataset("cluttered_mnist/rot", tmp_path)
    assert not list(tmp_path.rglob("*.array_record*"))
    assert len(PREPARABLE) == 10
