"""The processes that train one model, and how they meet."""

from __future__ import annotations

import atexit
import datetime
import itertools
import os
import sys
from typing import Any

import keras

from keras_mg.distribution import _gpus

TIMEOUT = 600.0  # seconds

# How tensors travel where each process has a GPU.
_BOTH = "cpu:gloo,cuda:nccl"

_HOW = "start it with torchrun: `torchrun --nproc-per-node=2 script.py`"


class _State:
    met = False
    limit: float | None = None
    host: Any = None  # a group for what is on the host, where the processes' own carries none
    extended: Any = None  # the group that it stands beside


_state = _State()


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: float = TIMEOUT,
) -> None:
    """Lets the processes that a launcher has started meet, as `keras.distribution.initialize`.

    Without arguments it reads what torchrun and the launchers like it put into the environment
    (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`). Where there is nothing, it
    says so in one line, and the program goes on in one process. Each process gets a GPU of its own
    and talks by NCCL; without GPUs, by gloo. Where there are fewer GPUs than processes on a machine
    they share them, and gloo carries the gradients. Which GPU it is, `LOCAL_RANK` says, or else
    the processes count themselves per machine; one that sees a single GPU takes that.

    Where the processes have met already, such as under Ray Train, they are taken as they are. If
    they did so by NCCL alone, a group of gloo is made beside it, for what is on the host.

    A process that waits for another longer than `timeout` ends with an error: one that hangs must
    not hold the others for ever. After a restart by torchrun the processes meet in a place of their
    own, since the addresses of those that died are still in the old one.

    Args:
        job_addresses: str, `host:port` of the first process (further addresses, separated by
            commas, are not needed). Defaults to what the launcher says.
        num_processes: int, of all machines. Defaults to what the launcher says.
        process_id: int, of this one, from 0. Defaults to what the launcher says.
        timeout: float, seconds. Defaults to 600.

    Raises:
        ValueError: if an argument is out of its range, or only a part of them is known; if Keras
            puts what it makes on another GPU than the process's, some processes have a GPU and
            others none, or NCCL is to be used by several on one.
        RuntimeError: with another backend than torch.
    """
    if keras.backend.backend() != "torch":
        raise RuntimeError(
            "keras_mg.distribution is for the torch backend; on JAX, keras.distribution does it. "
            f"Received: backend={keras.backend.backend()!r}"
        )
    from torch import distributed

    if not timeout > 0:
        raise ValueError(f"timeout must be greater than 0 seconds. Received: {timeout}")
    limit = datetime.timedelta(seconds=timeout)
    if distributed.is_available() and distributed.is_initialized():
        _take_as_they_are(limit)
        return
    place = _place(job_addresses, num_processes, process_id)
    if place is None:
        _say(f"one process. To train in several, {_HOW}")
        return
    if not distributed.is_available():
        raise RuntimeError("This build of torch has no torch.distributed, which processes need.")
    host, port, count, number = place
    # torchrun's own store is there already, and every process connects to it.
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    meeting = distributed.TCPStore(
        host, port, count, is_master=number == 0 and not served, timeout=limit
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = distributed.PrefixStore(f"keras_mg/{attempt}", meeting)

    questions = itertools.count()

    def of_all(value: str) -> list[str]:
        question = next(questions)
        store.set(f"{question}/{number}", value)
        return [store.get(f"{question}/{other}").decode() for other in range(count)]

    gpus = _gpus.take_each(of_all, number)
    backend, device = "gloo", None
    if _gpus.shared(gpus):
        # NCCL takes no two processes on one GPU.
        if number == 0:
            _say(f"{count} processes share {len(set(gpus))} GPUs, so gloo carries the gradients.")
    elif gpus[number]:
        import torch

        backend, device = _BOTH, torch.device("cuda", torch.cuda.current_device())
    distributed.init_process_group(
        backend, store=store, rank=number, world_size=count, timeout=limit, device_id=device
    )
    _state.met, _state.limit, _state.host = True, timeout, None
    atexit.register(_leave)


def _take_as_they_are(limit: datetime.timedelta) -> None:
    """Take processes that have met already, with what their group cannot do.

    Raises:
        ValueError: if they share a GPU that NCCL is to be used on.
    """
    from torch import distributed

    _state.met = True
    by_device = distributed.get_backend_config()
    if "cpu:" in by_device:
        _state.host = None  # there may be one of a group that is gone
    elif _state.extended is not distributed.group.WORLD:
        # Of NCCL alone, as under Ray Train: what processes tell each other is on the host.
        _state.host = distributed.new_group(backend="gloo", timeout=limit)
        _state.extended = distributed.group.WORLD
    number, count = distributed.get_rank(), distributed.get_world_size()

    def of_all(value: str) -> list[str]:
        values: list[str] = [""] * count
        distributed.all_gather_object(values, value, group=_state.host)
        return values

    gpus = _gpus.take_each(of_all, number, moves=False)
    if _gpus.shared(gpus) and "nccl" in by_device:
        raise ValueError(
            "NCCL takes no two processes on one GPU. Let each see or choose another "
            "(torch.cuda.set_device), or let them meet by gloo. Received: "
            f"{count} processes on {len(set(gpus))} GPUs, group {by_device!r}"
        )


def group_of(device_type: str) -> Any:
    """The group of all processes in which tensors of a kind of device travel; None is torch's."""
    return _state.host if device_type == "cpu" else None


def limit() -> float | None:
    """How many seconds a process waits for another; None where it is not known."""
    return _state.limit


def have_met() -> bool:
    """Whether the processes have met here: Keras, since 3.16, leaves them alone then."""
    return _state.met


def _say(text: str) -> None:
    sys.stderr.write(f"keras_mg.distribution: {text}\n")


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _place(addresses, count, number) -> tuple[str, int, int, int] | None:
    """Host and port of the meeting point, the number of processes, and that of this one."""
    environment = os.environ
    host, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if addresses is not None:
        host, _, port = addresses.split(",")[0].rpartition(":")
    given: dict[str, Any] = {
        "num_processes": count if count is not None else environment.get("WORLD_SIZE"),
        "process_id": number if number is not None else environment.get("RANK"),
        "job_addresses": f"{host}:{port}" if host and port else None,
    }
    if given["num_processes"] is None and given["process_id"] is None and addresses is None:
        return None
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} must be given, or be in the environment: {_HOW}. "
            f"Received: {given}"
        )
    try:
        found = str(host), int(str(port)), int(given["num_processes"]), int(given["process_id"])
    except ValueError:
        raise ValueError(f"Ports and numbers must be integers. Received: {given}") from None
    if not 0 <= found[3] < found[2]:
        raise ValueError(f"process_id must be one of 0 to num_processes - 1. Received: {given}")
    return found


def num_processes() -> int:
    """How many processes have met; 1 before `initialize`."""
    return _ask("get_world_size", 1)


def process_id() -> int:
    """The number of this process, from 0. The first is the one that writes files."""
    return _ask("get_rank", 0)


def list_devices(device_type: str | None = None) -> list[str]:
    """One device per process, as `keras.distribution.list_devices`.

    Args:
        device_type: "cpu", "gpu" or None for what Keras computes on.

    Returns:
        Names such as "gpu:0".
    """
    if device_type is None:
        on_cpu = keras.backend.backend() != "torch" or keras.ops.zeros((1,)).device.type == "cpu"
        device_type = "cpu" if on_cpu else "gpu"
    return [f"{device_type}:{number}" for number in range(num_processes())]


def _ask(name: str, otherwise: int) -> int:
    if keras.backend.backend() != "torch":
        return otherwise
    from torch import distributed

    if not distributed.is_available() or not distributed.is_initialized():
        return otherwise
    return getattr(distributed, name)()
