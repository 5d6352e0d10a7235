"""The names of `keras.distribution`: what they take, and what they refuse."""

import keras
import pytest

from keras_mg import distribution
from keras_mg.distribution import _plain_models
from keras_mg.distribution.shares import Share, part_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")

PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in PLACE:
        monkeypatch.delenv(name, raising=False)
    yield
    distribution.set_distribution(None)


def test_without_a_launcher_there_is_one_process_and_one_line_says_so(capsys):
    distribution.initialize()
    (line,) = capsys.readouterr().err.splitlines()
    assert "one process" in line
    assert "torchrun --nproc-per-node=2" in line
    assert (distribution.num_processes(), distribution.process_id()) == (1, 0)
    assert distribution.list_devices() == ["cpu:0"] or distribution.list_devices() == ["gpu:0"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_processes": 2}, "process_id, job_addresses must be given"),
        ({"num_processes": 2, "process_id": 1}, "job_addresses must be given"),
        (
            {"job_addresses": "localhost:a", "num_processes": 2, "process_id": 1},
            "must be integers",
        ),
        (
            {"job_addresses": "localhost:1,b:2", "num_processes": 2, "process_id": 2},
            "process_id must be one of 0 to",
        ),
        ({"timeout": 0}, "timeout must be greater than 0"),
    ],
)
def test_a_bad_place_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        distribution.initialize(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_norm": "none"}, "batch_norm must be one of 'synchronized', 'local'. Received: 'n"),
        ({"auto_shard_dataset": False}, "auto_shard_dataset True"),
        ({"devices": ["cpu:0", "cpu:1"]}, "one device per process, 1. Received: .'cpu:0', 'cpu:1'"),
    ],
)
def test_a_bad_distribution_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        distribution.DataParallel(**options)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match="Received: 'data'"):
        distribution.set_distribution("data")


def test_processes_that_have_not_met_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="DataParallel: WORLD_SIZE is 4"):
        distribution.DataParallel()


def test_a_scope_ends():
    outer, inner = distribution.DataParallel(), distribution.DataParallel(batch_norm="local")
    distribution.set_distribution(outer)
    with inner.scope():
        assert distribution.distribution() is inner
    assert distribution.distribution() is outer
    assert repr(inner) == "<DataParallel processes=1, batch_norm='local'>"


@pytest.mark.parametrize(
    ("rows", "of", "parts"),
    [
        (8, 2, [(0, 4), (4, 8)]),
        (7, 3, [(0, 3), (3, 5), (5, 7)]),
        (1, 3, [(0, 1), (1, 1), (1, 1)]),
    ],
)
def test_rows_lie_side_by_side(rows, of, parts):
    assert [part_of(rows, number, of) for number in range(of)] == parts


def test_a_share_weighs_by_its_rows(monkeypatch):
    from keras_mg.distribution import shares

    monkeypatch.setattr(shares, "num_processes", lambda: 2)
    assert Share(4, 8).is_even
    assert (Share(4, 7).weight, Share(3, 7).weight) == (8 / 7, 6 / 7)
    assert not Share(0, 1).is_even


def test_what_others_have_put_on_keras_models_stays(monkeypatch):
    """Some packages log what `fit` does by a method of their own in its place."""

    def foreign(self, *args, **kwargs):
        return "logged"

    inherited = "train_on_batch" in vars(keras.Model)
    monkeypatch.setattr(keras.Model, "fit", foreign)
    _plain_models.refuse(False)
    assert keras.Model.fit is foreign
    _plain_models.refuse(True)
    try:
        with pytest.raises(ValueError, match="under a DataParallel of several processes"):
            keras.Sequential().fit()
    finally:
        _plain_models.refuse(False)
    assert keras.Model.fit is foreign
    assert ("train_on_batch" in vars(keras.Model)) == inherited
