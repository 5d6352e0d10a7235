"""The processes that train one model, and how they meet."""

from __future__ import annotations

import atexit
import datetime
import os
import sys
from typing import Any

import keras

TIMEOUT = 600.0  # seconds

_met = False

_HOW = "start it with torchrun: `torchrun --nproc-per-node=2 script.py`"


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
    they share them, and gloo carries the gradients.

    Where the processes have met already, such as under Ray Train, they are taken as they are.

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
        ValueError: if an argument is out of its range, or only a part of them is known.
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
    global _met
    if distributed.is_available() and distributed.is_initialized():
        _met = True
        return
    place = _place(job_addresses, num_processes, process_id)
    if place is None:
        _say(f"one process. To train in several, {_HOW}")
        return
    if not distributed.is_available():
        raise RuntimeError("This build of torch has no torch.distributed, which processes need.")
    host, port, count, number = place
    limit = datetime.timedelta(seconds=timeout)
    backend, device = _backend_and_device()
    # torchrun's own store is there already, and every process connects to it.
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = distributed.TCPStore(
        host, port, count, is_master=number == 0 and not served, timeout=limit
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        backend,
        store=distributed.PrefixStore(f"keras_mg/{attempt}", store),
        rank=number,
        world_size=count,
        timeout=limit,
        device_id=device,
    )
    _met = True
    atexit.register(_leave)


def have_met() -> bool:
    """Whether the processes have met here: Keras, since 3.16, leaves them alone then."""
    return _met


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


def _backend_and_device():
    """How tensors travel, and the GPU of this process; None on a CPU."""
    import torch

    if keras.ops.zeros((1,)).device.type != "cuda":
        return "gloo", None
    number = int(os.environ.get("LOCAL_RANK", "0"))
    there = torch.cuda.device_count()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.cuda.set_device(number % there)
    if processes > there:
        # NCCL takes no two processes on one GPU.
        _say(f"{processes} processes share {there} GPUs, so gloo carries the gradients.")
        return "gloo", None
    return "cpu:gloo,cuda:nccl", torch.device("cuda", number)


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
