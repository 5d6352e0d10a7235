"""`python -m benchmarks.exports`: every network as other runtimes take it, and docs/export.md.

    python -m benchmarks.exports                         # all that is not in the store yet
    python -m benchmarks.exports --networks MgNet RMG18  # some
    python -m benchmarks.exports --networks "ResNet20(corrected=True)" --targets LiteRT
    python -m benchmarks.exports --table                 # measure nothing, write the page anew

Each network is exported as it trains and as `keras_mg.deploy` makes it, at a small image and with
random weights and statistics. What other runtimes compute of it is compared with torch, and its
time, on one thread, with that of eager torch. What is measured goes into a store
(`benchmarks/exports.json`), so a run can be cut off and go on, and runs in different environments
add to one table: some packages (litert-torch) cannot be installed beside the others.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import re
import statistics
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_mg

# isort: split
import keras
import numpy as np
import torch

from benchmarks.export_targets import FORMS, ROUNDS, TARGETS, Target

ROOT = Path(__file__).parents[1]
STORE, PAGE = ROOT / "benchmarks" / "exports.json", ROOT / "docs" / "export.md"
BATCH = 4


# Beside the forms of the networks' records: layers have paths of their own for this.
FURTHER = tuple(
    (name, {"data_format": "channels_first"}) for name in ("ResNet20", "SegPMG", "IGCResNet")
)


class Form(NamedTuple):
    """A row of the table: a family, what makes the network and with what, and its image."""

    family: str
    construct: Callable[..., keras.Model]
    arguments: dict[str, Any]
    image: tuple[int, int, int]


@functools.cache
def networks() -> dict[str, Form]:
    """All networks by what the table calls them, the first form of each before all others."""
    records = [keras_mg.applications.network_record(n) for n in keras_mg.applications.list_models()]
    made = {
        r.name: Form(r.family, r.construct, dict(r.forms[0].arguments), r.forms[0].image)
        for r in records
    }
    others = [(r.name, f.arguments, f.image) for r in records for f in r.forms[1:]]
    for name, arguments, image in (*others, *((*each, None) for each in FURTHER)):
        first = made[name]
        words = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        made[f"{name}({words})"] = first._replace(
            arguments={**first.arguments, **arguments}, image=image or first.image
        )
    return made


def make(name: str) -> keras.Model:
    """A network of the table, at a small image, with weights and statistics of no symmetry."""
    form = networks()[name]
    height, _, channels = form.image
    side = min(height, 64) if height != 64 else 32
    order = form.arguments.get("data_format", "channels_last")
    shape = (side, side, channels) if order == "channels_last" else (channels, side, side)
    settings = {"classifier_activation": None, "data_format": order, "input_shape": shape}
    keras.utils.set_random_seed(0)
    model = form.construct(**{**settings, **form.arguments})
    generator = np.random.default_rng(0)
    for variable in model.weights:
        values = keras.ops.convert_to_numpy(variable)
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.7, 1.3, values.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(values + generator.normal(0, 0.1, values.shape))
    return model


def timed(run: Callable[[], object]) -> float:
    """Median CPU seconds of a call."""
    run()
    seconds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


@functools.cache
def distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of what a row is made with, by the names under which it is installed."""
    names = [distributions()[package][0] for package in ("keras", "torch", *packages)]
    return {name: importlib.metadata.version(name) for name in names}


def measure(names: list[str], forms: list[str], targets: list[Target], store: Store) -> None:
    for name in names:
        for form in forms:
            wanted = [t for t in targets if not store.has(name, form, t.name)]
            if not wanted:
                continue
            model = make(name)
            model = keras_mg.deploy(model) if form == "deployed" else model
            shape = (BATCH, *model.input_shape[1:])
            x = np.random.default_rng(1).normal(size=shape).astype("float32")
            with torch.no_grad():
                given = torch.from_numpy(x)
                expected = model(given, training=False).numpy()
                base = timed(lambda model=model, given=given: model(given, training=False))
            for target in wanted:
                row = {"network": name, "form": form, "target": target.name}
                row["date"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
                row["versions"] = versions(target.packages)
                row |= {"hardware": hardware(), "load": os.getloadavg()[0]}
                with tempfile.TemporaryDirectory() as folder, _quiet():
                    try:
                        y, seconds = target.run(model, x, Path(folder))
                    except Exception as error:
                        lines = " ".join(str(error).strip().splitlines()[:3])
                        said = re.sub(r"/\S*/site-packages/", "", lines)
                        row["error"] = f"{type(error).__name__}: {said}"[:200]
                    else:
                        difference = np.abs(y - expected).max() / np.abs(expected).max()
                        row |= {"difference": float(difference), "ratio": seconds / base}
                        row["ms"] = 1e3 * base
                store.add(row)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the exporters about themselves stay out of a long run's output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


class Store:
    """The file of all rows."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict] = json.loads(path.read_text("utf-8")) if path.exists() else []

    def has(self, *key: str) -> bool:
        return any(self._key(row) == key and "error" not in row for row in self.rows)

    @staticmethod
    def _key(row: dict) -> tuple[str, str, str]:
        return row["network"], row["form"], row["target"]

    def add(self, row: dict) -> None:
        """Keep a row, in the place of an earlier one of the same cell."""
        self.rows = [each for each in self.rows if self._key(each) != self._key(row)] + [row]
        said = row.get("error") or f"{row['difference']:.1e}, {row['ratio']:.2f} times the time"
        print(f"{row['network']}, {row['form']}, {row['target']}: {said}", flush=True)
        lines = ",\n".join(json.dumps(row) for row in self.rows)
        self.path.write_text(f"[\n{lines}\n]\n", "utf-8")


INTRODUCTION = """\
# Exports that stand alone

What `model.export` and torch's own exporters make of a network here runs where neither keras_mg nor
Keras is installed: while something is exported, no operation of this package's own is used, and
nothing looks at the batch. Kernels lie in memory as torch's convolutions read them; for a tool
that takes no other strides than the shape's (safetensors, LBFGS, and litert-torch, which would make
wrong files of them and is refused), `with keras_mg.training.stored_in_order(model):` turns them.
`keras_mg.Model.export` does so by itself, a `keras.Model` of layers of ours needs the `with`.
`pip install "keras-mg[export]"` brings what ONNX needs.

```python needs=onnxruntime
import keras_mg
import numpy as np
import onnxruntime
import torch

model = keras_mg.deploy(keras_mg.applications.ResNet20(weights="cifar10"))
batch = torch.export.Dim("batch", min=1, max=1024)
x = torch.rand(3, 32, 32, 3)
program = torch.export.export(model, (x,), dynamic_shapes={"args": ({0: batch},)})
torch.onnx.export(program, dynamo=True).save("resnet20.onnx")

session = onnxruntime.InferenceSession("resnet20.onnx")
image = keras_mg.applications.weights_info("ResNet20", "cifar10").preprocess(
    keras_mg.datasets.example_image()
)
(made,) = session.run(None, {session.get_inputs()[0].name: image[None]})
assert np.allclose(made, model.predict(image[None], verbose=0), atol=1e-5)
```

- `model.export("m.pt2", format="torch", dynamic_shapes={0: batch})` is Keras's way to the same
  program. `torch.export.save(program, "resnet20.pt2")` keeps the one above; it warns of the
  kernels' strides ("No complete tensor found"), and the file is whole.
- A model is exported in the mode that it is in: call `model.eval()` first, unless it is deployed.
- `model.export(format="onnx")` makes a file for one batch size; for one image where none is given.
- LiteRT needs `litert-torch`, whose requirements are at odds with others here: give it an
  environment of its own, and each network a process of its own. Behind another network `SegPRMG`
  and `MG6` ended in litert-torch's "Verification failed"; alone they were made, and are right.
- A TensorFlow SavedModel is not made from torch: Keras takes the way over `torch_xla`, whose newest
  release, 2.9, is for an older torch. In a process with `KERAS_BACKEND=tensorflow` the saved file
  of the same network makes one.
- `model.quantize("int8")` finds Keras's own `Dense` alone, of a network here its classifier; the
  convolutions stay in float32. A network without one (`SegPMG` and its kind, `AttributeNet`) stays
  as it was, and Keras warns of each layer. Runtimes quantize all of a file themselves, such as
  `onnxruntime.quantization`.
"""

MEASURED = """\
## Measured

By `python -m benchmarks.exports`: the largest difference from torch, relative to the largest
output, and the time of a batch of {batch} on one thread as a multiple of that of eager torch in the
same form (CPU seconds, median of {rounds}), on {hardware}{load}, {dates}. Images are small (32 or
64 pixels a side), weights and statistics random. What torch.export and SavedModel made ran in a
process that can import neither keras_mg nor Keras; the tests run every format in such a one. A
network or cell that is not here has not been measured yet; networks whose names differ in a number
are one builder's at other sizes.
"""


# The sections of the table: what a network's record calls its family, and a heading.
FAMILIES = {
    "multigrid": "Multigrid networks",
    "dense multigrid": "Segmentation of cluttered digits",
    "multigrid baseline": "What the multigrid networks are compared with",
    "interleaved group convolutions": "Interleaved group convolutions",
    "MgNet": "MgNet",
    "Torch residual network": "Residual networks of the Torch study",
    "attribute network": "Attributes",
}


def cell(row: dict | None) -> str:
    if row is None:
        return ""
    if "NotImplementedError" in row.get("error", ""):
        return "none"
    if "error" in row:
        return "not made"
    difference = f"{row['difference']:.0e}" if row["difference"] else "0"
    return f"{difference}, {row['ratio']:.2f}"


def page(rows: list[dict]) -> str:
    """docs/export.md."""
    found = {(r["network"], r["form"], r["target"]): r for r in rows}
    targets = [t for t in TARGETS if any(r["target"] == t.name for r in rows)]
    dates = sorted({r["date"] for r in rows})
    lines = [INTRODUCTION]
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    processors = ", ".join(sorted({r["hardware"] for r in rows}))
    loads = [r["load"] for r in rows if "load" in r]
    load = f" with {min(loads):.0f} to {max(loads):.0f} processes at work" if loads else ""
    values = {"batch": BATCH, "rounds": ROUNDS, "hardware": processors, "dates": span, "load": load}
    heading, _, text = MEASURED.format_map(values).partition("\n\n")
    lines += [heading, "", textwrap.fill(" ".join(text.split()), 100), ""]
    for target in targets:
        used = {k: v for r in rows if r["target"] == target.name for k, v in r["versions"].items()}
        said = ", ".join(f"{k} {v}" for k, v in used.items())
        lines.append(f"- {target.name}: {target.how} ({said}).")
    head = [f"| network | form | {' | '.join(t.name for t in targets)} |"]
    head.append(f"|---|---|{'---:|' * len(targets)}")
    for family, heading in FAMILIES.items():
        body = []
        for name in (n for n, form in networks().items() if form.family == family):
            for form in FORMS:
                cells = [cell(found.get((name, form, target.name))) for target in targets]
                if any(cells):
                    body.append(f"| `{name}` | {form} | {' | '.join(cells)} |")
        if body:
            lines += ["", f"### {heading}", "", *head, *body]
    if any(cell(row) == "none" for row in rows):
        lines += ["", "none: the network has no `Dense`, the one layer here that Keras quantizes."]
    failed = {(r["target"], r["error"]): None for r in rows if cell(r) == "not made"}
    if failed:
        lines += ["", "Not made, by the exporter's own words:", ""]
        lines += [f"- {target}: {error}" for target, error in failed]
    return "\n".join(lines) + "\n"


def hardware() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = next(iter(names), model)
    return model


def main(arguments: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.exports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = list(networks())
    p.add_argument("--networks", nargs="+", choices=every, metavar="NAME", default=every)
    p.add_argument("--forms", nargs="+", choices=FORMS, metavar="NAME", default=FORMS)
    p.add_argument("--targets", nargs="+", choices=[t.name for t in TARGETS], metavar="NAME")
    p.add_argument("--store", type=Path, default=STORE)
    p.add_argument("--page", type=Path, default=PAGE)
    p.add_argument("--table", action="store_true", help="write the page of what is in the store")
    options = p.parse_args(arguments)
    torch.set_num_threads(1)
    store = Store(options.store)
    targets = [t for t in TARGETS if options.targets is None or t.name in options.targets]
    missing = [
        t for t in targets if any(importlib.util.find_spec(each) is None for each in t.packages)
    ]
    if not options.table:
        for target in missing:
            print(f"{target.name} is left out: it needs {' and '.join(target.packages)}")
        targets = [t for t in targets if t not in missing]
        measure(options.networks, options.forms, targets, store)
    options.page.write_text(page(store.rows), "utf-8")


if __name__ == "__main__":
    main()
