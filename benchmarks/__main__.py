"""`python -m benchmarks NAME ...`: measure, print, and add to the results."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

HERE = Path(__file__).parent


def parser(cases, networks) -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:12} {case.__doc__.splitlines()[0]}" for name, case in cases.items())
    p = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare keras_mg with the same networks hand-written in plain PyTorch.",
        epilog=f"benchmarks:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("names", nargs="+", choices=[*cases, "all"], metavar="NAME", help="what to run")
    p.add_argument("--networks", nargs="+", choices=list(networks), help="default: each its own")
    p.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    p.add_argument("--threads", type=int, default=2, help="of torch on a CPU (default 2)")
    p.add_argument("--rounds", type=int, default=9, help="measured rounds (default 9)")
    p.add_argument("--batch", type=int, help="images per batch (default: each network's own)")
    p.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu counts this process's CPU seconds, for a machine that others use too",
    )
    p.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="bfloat16 is mixed precision (default: bfloat16 on cuda, float32 on a CPU)",
    )
    p.add_argument(
        "--seconds", type=float, help="begin no further network after so many (default: no limit)"
    )
    p.add_argument("--other", type=Path, help="of `against`: the root of another checkout")
    p.add_argument("--output-dir", type=Path, default=HERE, help="default: benchmarks/")
    return p


def main(arguments: list[str] | None = None) -> None:
    import keras
    import torch

    from benchmarks import report
    from benchmarks.cases import CASES, ON_DEMAND
    from benchmarks.networks import NETWORKS
    from benchmarks.settings import Settings

    options = parser(CASES, NETWORKS).parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    settings = Settings(
        device,
        options.threads,
        options.rounds,
        options.batch,
        tuple(options.networks) if options.networks else None,
        options.clock,
        options.dtype or ("bfloat16" if device == "cuda" else "float32"),
        options.other and options.other.resolve(),
    )
    settings.prepare()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    notes = f"{settings.dtype}, {options.rounds} rounds, {options.clock} clock."
    end = time.monotonic() + (options.seconds or float("inf"))
    with keras.device(device):
        everything = [name for name in CASES if name not in ON_DEMAND]
        for name in everything if "all" in options.names else options.names:
            heading = report.heading(name, device, options.threads, notes)
            record = report.Record(options.output_dir / "RESULTS.md", heading)
            try:
                for measured in CASES[name](settings):
                    for result in measured if isinstance(measured, tuple) else (measured,):
                        record.add(result)
                    if time.monotonic() > end:
                        record.remark(
                            f"Ended after {options.seconds:.0f} s; more was to be measured."
                        )
                        return
            finally:
                title = f"{name}: {report.hardware(device, options.threads)}"
                picture = options.output_dir / f"{name}_{device}.png"
                report.draw(picture, title, record.results)


if __name__ == "__main__":
    main()
