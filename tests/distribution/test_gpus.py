"""Which GPU a process takes. There is none here: torch's functions say what a machine would."""

import types

import keras
import pytest

from keras_mg import distribution
from keras_mg.distribution import _gpus, processes

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")


class Machine:
    """A machine with GPUs, as torch tells a process of it."""

    def __init__(self, monkeypatch, uuids, keras_device=None):
        import torch

        self.uuids, self.current, self.calls = uuids, 0, []
        self.keras_device = keras_device
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(self.uuids))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.uuids))
        monkeypatch.setattr(torch.cuda, "set_device", self.set_device)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "get_device_properties", self.properties)
        monkeypatch.setattr(_gpus.keras.ops, "zeros", self.zeros)
        for name in ("LOCAL_RANK", "KERAS_TORCH_DEVICE"):
            monkeypatch.delenv(name, raising=False)

    def set_device(self, number):
        self.calls.append("set_device")
        self.current = number

    def zeros(self, shape):
        self.calls.append("zeros")
        index = self.current if self.keras_device is None else self.keras_device
        return types.SimpleNamespace(device=types.SimpleNamespace(type="cuda", index=index))

    def properties(self, index):
        return types.SimpleNamespace(uuid=self.uuids[index])


def test_each_process_takes_its_own_before_anything_is_put_on_one(monkeypatch):
    machine = Machine(monkeypatch, ["a", "b", "c"])
    assert [_gpus.take(local) for local in range(3)] == ["a", "b", "c"]
    assert machine.calls == ["set_device", "zeros"] * 3


def test_a_process_that_sees_one_gpu_takes_it(monkeypatch):
    Machine(monkeypatch, ["f"])  # as Ray and Slurm let it
    assert _gpus.take(5) == "f"


def test_a_gpu_that_was_chosen_is_kept(monkeypatch):
    machine = Machine(monkeypatch, ["a", "b", "c"])
    machine.current = 2
    assert _gpus.take(1, moves=False) == "c"
    machine.current = 0  # what it is where nobody has chosen
    assert _gpus.take(1, moves=False) == "b"


def test_a_gpu_for_all_processes_is_refused(monkeypatch):
    Machine(monkeypatch, ["a", "b"], keras_device=0)
    monkeypatch.setenv("KERAS_TORCH_DEVICE", "cuda:0")
    with pytest.raises(ValueError, match=r"Received: KERAS_TORCH_DEVICE='cuda:0', .* GPU is 1"):
        _gpus.take(1)


def test_where_one_process_is_refused_all_are(monkeypatch):
    Machine(monkeypatch, ["a", "b"])
    said = []

    def of_all(value):  # of two processes: what this one says, and a refusal where one may be
        said.append(value)
        return [value, "process 1 is refused" if len(said) == 2 else value]

    with pytest.raises(ValueError, match="^process 1 is refused$"):
        _gpus.take_each(of_all, 0)
    Machine(monkeypatch, ["a", "b"], keras_device=1)
    said.clear()
    with pytest.raises(ValueError, match="GPU of its own"):
        _gpus.take_each(lambda value: [said.append(value) or value], 0)
    # It has told the others before it raised.
    assert "GPU of its own" in said[1]


def test_keras_may_compute_on_the_cpu(monkeypatch):
    machine = Machine(monkeypatch, ["a", "b"])
    monkeypatch.setenv("KERAS_TORCH_DEVICE", "cpu")
    assert _gpus.take(1) == ""
    assert not machine.calls


def test_processes_count_themselves_where_no_launcher_does(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    machines = ["a", "a", "b", "a", "b"]
    assert [_gpus.local_number(machines, i) for i in range(5)] == [0, 1, 0, 2, 1]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert _gpus.local_number(machines, 0) == 3


@pytest.mark.parametrize(
    ("gpus", "share"),
    [(["", ""], False), (["a 0", "b 0"], False), (["a 0", "a 1"], False), (["a 0", "a 0"], True)],
)
def test_a_gpu_is_shared_where_two_processes_have_it(gpus, share):
    assert _gpus.shared(gpus) == share


def test_gpus_for_some_are_refused():
    with pytest.raises(ValueError, match=r"3 processes, of which these compute on a CPU: \[1\]"):
        _gpus.shared(["a 0", "", "a 1"])


class Group:
    """Two processes that torch says have met, of which this is the second."""

    WORLD = object()

    def __init__(self, monkeypatch, backends):
        from torch import distributed

        self.made = []
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_backend_config", lambda: backends)
        monkeypatch.setattr(distributed, "get_rank", lambda: 1)
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
        monkeypatch.setattr(distributed, "new_group", self.new_group)
        monkeypatch.setattr(distributed, "group", self)
        monkeypatch.setattr(distributed, "all_gather_object", self.all_gather_object)
        monkeypatch.setattr(processes, "_state", processes._State())

    def new_group(self, backend, timeout):
        self.made.append((backend, timeout.total_seconds()))
        return "of gloo"

    def all_gather_object(self, values, value, group=None):
        assert group == ("of gloo" if self.made else None)
        values[:] = [value, value]


def test_a_group_of_nccl_alone_gets_one_for_the_host(monkeypatch):
    machine = Machine(monkeypatch, ["a", "b"])
    group = Group(monkeypatch, "cuda:nccl")
    monkeypatch.setattr(_gpus, "shared", lambda gpus: False)
    for _ in range(2):
        distribution.initialize(timeout=9)
    assert group.made == [("gloo", 9.0)]
    assert processes.group_of("cpu") == "of gloo"
    assert processes.group_of("cuda") is None
    assert machine.current == 1  # Ray leaves it to the program


def test_nccl_on_a_shared_gpu_is_refused(monkeypatch):
    Machine(monkeypatch, ["a"])
    Group(monkeypatch, "cpu:gloo,cuda:nccl")
    with pytest.raises(ValueError, match="NCCL takes no two .* 2 processes on 1 GPUs, group 'cpu:"):
        distribution.initialize()


def test_gloo_on_a_shared_gpu_is_not(monkeypatch):
    Machine(monkeypatch, ["a"])
    group = Group(monkeypatch, "cpu:gloo,cuda:gloo")
    distribution.initialize()
    assert not group.made
    assert processes.group_of("cpu") is None
