"""Data that come to the device ahead of their use, and constants that come once."""

import threading
import time

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("of torch", allow_module_level=True)

from keras_mg.ops import constant_like  # noqa: E402
from keras_mg.training._device_data import Ahead  # noqa: E402


def batches(count=6):
    return [(np.full((2, 3), i, "float32"), {"y": torch.full((2,), i)}, None) for i in range(count)]


def numbers(found):
    return [int(y["y"][0]) for _, y, _ in found]


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_batches_come_as_they_are_and_in_order(depth):
    found = list(Ahead(batches(), depth))
    assert numbers(found) == list(range(6))
    for i, (x, y, nothing) in enumerate(found):
        assert isinstance(x, torch.Tensor)
        assert torch.equal(x, torch.full((2, 3), float(i)))
        assert torch.equal(y["y"], torch.full((2,), i))
        assert nothing is None


def test_it_can_be_iterated_again_and_be_empty():
    ahead = Ahead(batches(), 2)
    assert numbers(ahead) == numbers(ahead) == list(range(6))
    assert list(Ahead([], 2)) == []


class Recorded:
    """Batches that note who read them, and how many have been read."""

    def __init__(self, count=20, fail_at=None):
        self.count, self.fail_at = count, fail_at
        self.read, self.threads, self.closed = 0, set(), False

    def __iter__(self):
        try:
            for batch in batches(self.count):
                if self.read == self.fail_at:
                    raise ValueError("no such file")
                self.read += 1
                self.threads.add(threading.get_ident())
                yield batch
        finally:
            self.closed = True


def settle(recorded, count):
    deadline = time.monotonic() + 10
    while recorded.read < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    return recorded.read


def test_so_many_are_read_ahead_by_another_thread():
    recorded = Recorded()
    iterator = iter(Ahead(recorded, 3))
    assert recorded.read == 0  # nothing before the first is asked for
    next(iterator)
    # One is taken, three wait in the queue, and the thread holds one.
    assert settle(recorded, 5) == 5
    assert threading.get_ident() not in recorded.threads
    iterator.close()


def test_the_thread_ends_where_the_data_are_dropped():
    before = threading.active_count()
    recorded = Recorded()
    iterator = iter(Ahead(recorded, 2))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before
    for _ in Ahead(Recorded(), 2):
        break
    assert threading.active_count() == before


def test_an_error_is_raised_where_the_batch_is_due():
    iterator = iter(Ahead(Recorded(fail_at=2), 5))
    assert numbers([next(iterator), next(iterator)]) == [0, 1]
    with pytest.raises(ValueError, match="no such file"):
        next(iterator)


def test_keras_choice_of_a_device_holds_in_the_thread():
    class Made:
        def __iter__(self):
            yield (keras.ops.zeros((2,)),)

    with keras.device("cpu"):
        ((made,),) = Ahead(Made(), 1)
    assert made.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("pinned", [False, True])
def test_copies_to_cuda_are_complete_and_wait_for_nobody(pinned):
    count, size = 12, 1 << 20
    host = [torch.full((size,), float(i)) for i in range(count)]
    host = [x.pin_memory() for x in host] if pinned else host
    with keras.device("cuda"):
        total = torch.zeros((), device="cuda")
        busy = torch.zeros((2048, 2048), device="cuda")
        iterator = iter(Ahead(host, 2))
        for i in range(count):
            torch.cuda.set_sync_debug_mode("error" if i else "default")
            try:
                x = next(iterator)
                assert x.device.type == "cuda"
                for _ in range(5):
                    busy = busy @ busy  # the copy of a later batch runs meanwhile
                total += x.sum() * (i + 1)
                del x  # its memory may be taken only once the sum is done
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert float(total) == size * sum(i * (i + 1) for i in range(count))


def test_a_constant_is_copied_once_per_type():
    array = np.array([1.5, 2.0, -3.25], "float32")
    images = torch.zeros((2, 4, 4, 3))
    first = constant_like(array, images)
    assert constant_like(array.copy(), images) is first
    assert torch.equal(first, torch.tensor([1.5, 2.0, -3.25]))
    half = constant_like(array, images.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert constant_like(array[:, None], images).shape == (3, 1)
    assert not torch.equal(constant_like(array + 1, images), first)


def test_a_traced_constant_is_not_kept():
    from torch._subclasses.fake_tensor import FakeTensorMode

    array = np.array([0.125, 7.0], "float32")
    with FakeTensorMode():
        constant_like(array, torch.zeros((2,)))
    kept = constant_like(array, torch.zeros((2,)))
    assert type(kept) is torch.Tensor
    assert kept.tolist() == [0.125, 7.0]
    captured = torch.compile(lambda x: x + constant_like(array, x), backend="eager", fullgraph=True)
    assert captured(torch.ones(2)).tolist() == [1.125, 8.0]
