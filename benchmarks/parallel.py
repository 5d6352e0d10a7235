"""Training in several processes against torch's own DistributedDataParallel, written by hand.

    python -m benchmarks.parallel                       # two processes, gloo, on this machine's CPU
    python -m benchmarks.parallel --processes 8         # on 8 GPUs: NCCL

Each process runs an epoch of `fit` with a network of ours and the loop of an expert over the same
network in plain PyTorch, in turn, so that a busy machine meets both alike. What is printed is the
median over the rounds of the ratio, and the bytes of gradients that a process sends per step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from benchmarks.networks import Batch, Network

os.environ.setdefault("KERAS_BACKEND", "torch")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.parallel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--processes", type=int, default=2, help="default: 2")
    p.add_argument("--networks", nargs="+", default=["MgNet"], help="default: MgNet")
    p.add_argument("--batch", type=int, default=16, help="images per process (default: 16)")
    p.add_argument("--rounds", type=int, default=9, help="default: 9")
    p.add_argument("--steps", type=int, default=20, help="of an epoch (default: 20)")
    p.add_argument("--compile", action="store_true", help="both compiled")
    return p


def main() -> None:
    options = parser().parse_args()
    if "RANK" not in os.environ:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={options.processes}", "-m", "benchmarks.parallel"]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        sys.exit(subprocess.call(command + sys.argv[1:], env=environment))
    for name in options.networks:
        measure(name, options)


def measure(name: str, options: argparse.Namespace) -> None:
    import torch

    from benchmarks import steps
    from benchmarks.networks import NETWORKS, Batch, make_batch, make_twin
    from keras_mg import distribution

    distribution.initialize()
    count, number = distribution.num_processes(), distribution.process_id()
    network = NETWORKS[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    own = make_batch(network, options.batch, device)
    twin = make_twin(network, device)
    step = expert_step(network, twin, options.compile)
    images = steps.repeated(own.images, options.steps)
    targets = steps.repeated(own.targets, options.steps)

    def loop() -> None:
        for i in range(options.steps):
            part = slice(i * options.batch, (i + 1) * options.batch)
            step(Batch(images[part].to(device), targets[part].to(device), own.maps))

    variants = {"DDP": loop}
    arrays = [steps.repeated(t, options.steps * count) for t in (own.images, own.targets)]
    for norm in distribution.data_parallel.BATCH_NORMS:
        model = steps.compile_keras(network, network.ours(), jit_compile=options.compile)

        def fit(model=model, norm=norm) -> None:
            with distribution.DataParallel(batch_norm=norm).scope():
                model.fit(*arrays, batch_size=options.batch * count, shuffle=False, verbose=0)

        variants[f"fit, {norm} batch norm"] = fit
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for i in range(1 + options.rounds):
        for variant, run in variants.items():
            torch.distributed.barrier()
            begun = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            torch.distributed.barrier()
            if i:
                seconds[variant].append((time.perf_counter() - begun) / options.steps)
    if number:
        return
    how = "compiled" if options.compile else "eager"
    print(f"{name}, {how}, {count} processes, {options.batch} images each, {device}")
    for variant, each in seconds.items():
        ratios = [a / b for a, b in zip(each, seconds["DDP"], strict=True)]
        milliseconds = statistics.median(each) * 1e3
        print(f"  {variant:30} {milliseconds:8.1f} ms per step  {statistics.median(ratios):5.2f}")
    gradients = sum(p.numel() * p.element_size() for p in twin.parameters())
    print(f"  gradients: {gradients:,} bytes", flush=True)


def expert_step(network: Network, twin: torch.nn.Module, compiled: bool) -> Callable:
    """A training step by DistributedDataParallel, which `torch.compile` does not take whole."""
    import torch

    from benchmarks.networks import twin_loss
    from benchmarks.steps import LEARNING_RATE, MOMENTUM

    module: Any = torch.compile(twin, fullgraph=True, dynamic=False) if compiled else twin
    model = torch.nn.parallel.DistributedDataParallel(module, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM, foreach=True)
    update = torch.compile(lambda: optimizer.step()) if compiled else optimizer.step
    loss_of = twin_loss(network)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=not compiled)
        loss_of(model(batch.nchw), batch.twin_targets).backward()
        update()

    return step


if __name__ == "__main__":
    main()
