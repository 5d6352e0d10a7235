"""Which GPU a process computes on, and whether it has it for itself."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence

import keras


def machine() -> str:
    """What tells machines, and containers on one machine, apart."""
    kernel = ""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        kernel = file.read().strip()  # names alone may be the same, such as localhost
    return f"{socket.gethostname()} {kernel}".strip()


def local_number(machines: Sequence[str], number: int) -> int:
    """The number of a process among those of its machine.

    Args:
        machines: of all processes.
        number: of the process.

    Example:
        >>> from keras_mg.distribution._gpus import local_number
        >>> local_number(["a", "b", "a", "b"], 3)
        1
    """
    said = os.environ.get("LOCAL_RANK", "")
    return int(said) if said.isdecimal() else machines[:number].count(machines[number])


def take(local: int, moves: bool = True) -> str:
    """Take a GPU of this machine, before anything is put on one.

    Args:
        local: the number of this process among those of its machine. A process that sees one GPU
            alone, as some launchers have it, takes that.
        moves: False where the process may have chosen one already, which it keeps. Defaults to
            True.

    Returns:
        What tells this GPU from all others, on other machines, too; "" where Keras computes on a
        CPU.

    Raises:
        ValueError: if Keras computes on another one.
    """
    import torch

    wanted = os.environ.get("KERAS_TORCH_DEVICE", "cuda").replace("gpu", "cuda")
    if not torch.cuda.is_available() or not wanted.startswith("cuda"):
        return ""
    if moves or torch.cuda.current_device() == 0:
        # First of all: whatever is done on a GPU before takes memory of the first one.
        torch.cuda.set_device(local % torch.cuda.device_count())
    device = keras.ops.zeros((1,)).device
    if device.type != "cuda":
        return ""
    if device.index != torch.cuda.current_device():
        raise ValueError(
            "Each process must compute on a GPU of its own, and Keras puts what it makes on "
            "another one: leave out the number of the device. Received: KERAS_TORCH_DEVICE="
            f"{os.environ.get('KERAS_TORCH_DEVICE')!r}, this process's GPU is "
            f"{torch.cuda.current_device()}"
        )
    # Of the whole world: containers on one machine may share it under other names.
    return str(torch.cuda.get_device_properties(device.index).uuid)


def take_each(of_all: Callable[[str], list[str]], number: int, moves: bool = True) -> list[str]:
    """`take` in each process; where it fails in one, all say so, and none waits for it.

    Args:
        of_all: gives what every process says; all call it equally often.
        number: of this process.
        moves: of `take`.

    Raises:
        ValueError: what `take` raised in the first process that it did in.
    """
    machines = of_all(machine())
    gpu = refusal = ""
    try:
        gpu = take(local_number(machines, number), moves)
    except ValueError as error:
        refusal = str(error)
    for text in of_all(refusal):
        if text:
            raise ValueError(text)
    return of_all(gpu)


def shared(gpus: Sequence[str]) -> bool:
    """Whether processes share a GPU.

    Args:
        gpus: what `take` gave in each process.

    Raises:
        ValueError: if some of them compute on GPUs and others do not.
    """
    on_cpu = [number for number, gpu in enumerate(gpus) if not gpu]
    if on_cpu and len(on_cpu) < len(gpus):
        raise ValueError(
            f"All processes must compute on GPUs, or none. Received: {len(gpus)} processes, of "
            f"which these compute on a CPU: {on_cpu}"
        )
    return not on_cpu and len(set(gpus)) < len(gpus)
