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


OF_NCCL = {
    "remote process exited or there was a network error, NCCL version 2.27.3\nncclRemoteError: A "
    "call failed possibly due to a network error or a remote process exiting prematurely.": True,
    "Last error:\nsocketProgress: Connection closed by remote peer a.b<41234>": True,
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3, OpType=ALLREDUCE, "
    "NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600014 milliseconds": True,
    "NCCL communicator was aborted on rank 0.": True,
    "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
    "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 40000": False,
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
    "Cuda failure 2 'out of memory'": False,
    "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device "
    "error.\nLast error:\nError while creating shared memory segment /dev/shm/nccl-a1": False,
}


@pytest.mark.parametrize(("text", "lost"), OF_NCCL.items())
def test_what_nccl_says_of_a_lost_process(text, lost):
    from torch import distributed

    from keras_mg.distribution.collectives import says_lost

    assert says_lost(distributed.DistBackendError(f"NCCL error in: {text}")) == lost


def test_a_kernel_that_times_out_is_no_lost_process():
    import torch

    from keras_mg.distribution.collectives import says_lost

    said = "CUDA error: the launch timed out and was terminated"
    assert not says_lost(torch.AcceleratorError(said))
    assert says_lost(torch.distributed.DistNetworkError("The client socket has failed"))


def test_the_variance_of_parts_is_nearer_the_exact_one():
    """Why two processes are farther from one in float32 than its images in another order are."""
    import torch

    torch.manual_seed(0)
    x = (torch.randn(64, 8, 32, 32) + torch.randn(8, 1, 1)).relu()
    exact = x.double().var((0, 2, 3), correction=0)

    def variance(x):
        x = x.contiguous(memory_format=torch.channels_last)
        mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        return mean.double(), variance.double()

    def furthest(one, other):
        return float((one - other).abs().max())

    whole, reversed_ = variance(x)[1], variance(x.flip(0))[1]
    means, variances = zip(*map(variance, x.chunk(2)), strict=True)
    of_parts = sum(variances) / 2 + (means[0] - means[1]) ** 2 / 4
    assert furthest(whole, exact) > 3 * furthest(whole, reversed_)
    assert furthest(of_parts, exact) < 0.7 * furthest(whole, exact)
