"""Training in several processes against torch's own DistributedDataParallel, written by hand.

    python -m benchmarks.parallel                       # two processes, gloo, on this machine's CPU
    python -m benchmarks.parallel --processes 8         # on 8 GPUs: NCCL

Each process runs an epoch of `fit` with a network of ours and the loop of an expert over the same
network in plain PyTorch, in turn, so that a busy machine meets both alike: with local batch norms,
and with synchronized ones, which the twin has by hand. What is written down are the ratios, and the
bytes of gradients that a process sends per step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from benchmarks.networks import Batch, Network
    from benchmarks.timing import Timing

os.environ.setdefault("KERAS_BACKEND", "torch")

RESULTS = Path(__file__).parent / "RESULTS.md"
# Images per process: of the tiny network's steps nearly all is Python and waiting.
CASES = {"ResNet20": 32, "tiny": 8}
STEPS = {"ResNet20": 20, "tiny": 200}  # of an epoch


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.parallel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--processes", type=int, default=2, help="default: 2")
    p.add_argument("--networks", nargs="+", default=list(CASES), help=f"default: {[*CASES]}")
    p.add_argument(
        "--batch", type=int, help="images per process (default: 32 of ResNet20, 8 of tiny)"
    )
    p.add_argument("--rounds", type=int, default=9, help="default: 9")
    p.add_argument("--steps", type=int, help="of an epoch (default: 200 of tiny, 20 of ResNet20)")
    p.add_argument(
        "--modes", nargs="+", choices=("eager", "compiled"), default=["eager", "compiled"]
    )
    p.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: of the threads of all processes, where the machine is busy (default: wall)",
    )
    p.add_argument("--results", type=Path, default=RESULTS, help="file that results are added to")
    return p


def main() -> None:
    options = parser().parse_args()
    if "RANK" not in os.environ:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={options.processes}", "-m", "benchmarks.parallel"]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        sys.exit(subprocess.call(command + sys.argv[1:], env=environment))
    import torch

    from benchmarks import report
    from keras_mg import distribution

    distribution.initialize()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record = None
    if distribution.process_id() == 0:
        notes = (
            f"{distribution.num_processes()} processes of {torch.get_num_threads()} thread each, "
            f"{torch.distributed.get_backend_config()}; {options.rounds} rounds, {options.clock} "
            f"clock; load average at the start {load()}."
        )
        threads = distribution.num_processes() * torch.get_num_threads()
        record = report.Record(options.results, report.heading("parallel", device, threads, notes))
    for name in options.networks:
        for mode in options.modes:
            torch._dynamo.reset()
            timings, bytes_ = measure(name, mode == "compiled", device, options)
            if record is not None:
                for timing in timings:
                    record.add(timing)
                record.remark(f"{name}, {mode}: {bytes_}. Load average {load()}.")


def load() -> str:
    """How busy the machine was within the last minute, and the last five."""
    return " and ".join(f"{each:.1f}" for each in os.getloadavg()[:2])


def measure(
    name: str, compiled: bool, device: str, options: argparse.Namespace
) -> tuple[list[Timing], str]:
    """What an epoch's steps take, one timing per kind of batch norm, and what is sent."""
    import torch

    from benchmarks import steps
    from benchmarks.networks import NETWORKS, Batch, make_batch, make_twin
    from benchmarks.settings import CLOCKS
    from benchmarks.timing import Timing
    from benchmarks.twins.synchronized import synchronized
    from keras_mg import distribution
    from keras_mg.distribution import collectives
    from keras_mg.training._parallel_gradients import Reducer

    count = distribution.num_processes()
    network = NETWORKS[name]
    size = options.batch or CASES.get(name, network.batch)
    number = options.steps or STEPS.get(name, 10)
    own = make_batch(network, size, device)
    images = steps.repeated(own.images, number)
    targets = steps.repeated(own.targets, number)
    arrays = [steps.repeated(t, number * count) for t in (own.images, own.targets)]
    sent: list[int] = []

    def loop_of(step: Callable) -> Callable[[], None]:
        def loop() -> None:
            for i in range(number):
                part = slice(i * size, (i + 1) * size)
                step(Batch(images[part].to(device), targets[part].to(device), own.maps))

        return loop

    variants: dict[str, Callable[[], None]] = {}
    for norm in distribution.data_parallel.BATCH_NORMS:
        twin = make_twin(network, device)
        if norm == "synchronized":
            twin = synchronized(twin)
        variants[f"DDP, {norm}"] = loop_of(expert_step(network, twin, compiled))
        model = steps.compile_keras(network, network.ours(), jit_compile=compiled)

        def fit(model=model, norm=norm) -> None:
            before = Reducer.sent
            with distribution.DataParallel(batch_norm=norm).scope():
                model.fit(*arrays, batch_size=size * count, shuffle=False, verbose=0)
            sent.append(Reducer.sent - before)

        variants[f"keras_mg, {norm}"] = fit
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    clock = CLOCKS[options.clock]
    names = list(variants)
    for i in range(2 + options.rounds):
        start = i % len(names)
        for variant in names[start:] + names[:start]:
            torch.distributed.barrier()
            begun = clock()
            variants[variant]()
            if device == "cuda":
                torch.cuda.synchronize()
            torch.distributed.barrier()
            spent = clock() - begun
            if options.clock == "cpu":
                spent = sum(collectives.of_all(spent))
            if i >= 2:
                seconds[variant].append(spent / number)
    how = "compiled" if compiled else "eager"
    whole = Timing(f"{name}, {size} images per process, {how}", seconds)
    gradients = sum(p.numel() * p.element_size() for p in twin.parameters())
    bytes_ = f"gradients of {gradients:,} bytes, sent per step {sent[-1] / number:,.0f} bytes"
    return [
        whole.part(whole.name, [f"DDP, {norm}", f"keras_mg, {norm}"])
        for norm in distribution.data_parallel.BATCH_NORMS
    ], bytes_


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
