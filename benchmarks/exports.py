"""`python -m benchmarks.exports`: every network as other runtimes take it, and docs/export.md.

    python -m benchmarks.exports                         # all that is not in the store yet
    python -m benchmarks.exports --networks MgNet RMG18  # some
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
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_mg

# isort: split
import keras
import numpy as np
import torch

ROOT = Path(__file__).parents[1]
STORE, PAGE = ROOT / "benchmarks" / "exports.json", ROOT / "docs" / "export.md"
FORMS = ("trained", "deployed")
BATCH, OTHER_BATCH = 4, 3  # that is exported or run; where any batch is taken, another is exported
ROUNDS = 5

Run = Callable[[np.ndarray], np.ndarray]

# In a process that has neither keras_mg nor Keras: a file and an input, to an output and its time.
LOADER = """
import sys
sys.modules["keras_mg"] = sys.modules["keras"] = None
import statistics, time
import numpy as np, torch
torch.set_num_threads(1)
for line in sys.stdin:
    path = line.rstrip()
    module = torch.export.load(path).module()
    x = torch.from_numpy(np.load(path + ".npy"))
    with torch.no_grad():
        y = module(x)
        seconds = []
        for _ in range(int(sys.argv[1])):
            begin = time.process_time()
            module(x)
            seconds.append(time.process_time() - begin)
    np.save(path + ".out.npy", y.numpy())
    print("seconds", statistics.median(seconds), flush=True)
"""


@dataclass(frozen=True)
class Target:
    """A format that others run.

    Args:
        name: as the table has it.
        make: exports a model, given its input and a folder; gives what runs the export, or
            the file of a program that the process without Keras is to load.
        packages: without which it cannot be measured.
        how: the call that a reader would write.
        only: the forms that it is for.
    """

    name: str
    make: Callable[[keras.Model, np.ndarray, Path], Run | Path]
    packages: tuple[str, ...]
    how: str
    only: tuple[str, ...] = FORMS


def static(x: np.ndarray) -> list[keras.InputSpec]:
    return [keras.InputSpec(shape=x.shape, dtype="float32")]


def any_batch(model: keras.Model, x: np.ndarray) -> torch.export.ExportedProgram:
    size = torch.export.Dim("batch", min=1, max=1024)
    example = torch.from_numpy(x[:OTHER_BATCH])
    model.eval()
    return torch.export.export(model, (example,), dynamic_shapes={"args": ({0: size},)})


def onnx_session(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda x: session.run(None, {given.name: x})[0]


def onnx_static(model: keras.Model, x: np.ndarray, folder: Path) -> Run:
    path = folder / "static.onnx"
    model.export(path, format="onnx", verbose=False, input_signature=static(x))
    return onnx_session(path)


def onnx_any_batch(model: keras.Model, x: np.ndarray, folder: Path) -> Run:
    path = folder / "any_batch.onnx"
    program = torch.onnx.export(any_batch(model, x), dynamo=True, verbose=False)
    assert program is not None
    program.save(path)
    return onnx_session(path)


def openvino(model: keras.Model, x: np.ndarray, folder: Path) -> Run:
    import openvino

    path = folder / "model.xml"
    model.export(str(path), format="openvino", verbose=False, input_signature=static(x))
    core = openvino.Core()
    # By default it computes in bfloat16 where the processor can.
    options = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(path, "CPU", options)
    return lambda x: compiled(x)[0]


def litert(model: keras.Model, x: np.ndarray, folder: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "model.tflite"
    model.export(str(path), format="litert", verbose=False, input_signature=static(x))
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x):
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return run


class Loader:
    """What runs `.pt2` files in a process of its own."""

    def __init__(self) -> None:
        self.child = self._started()

    @staticmethod
    def _started() -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-c", LOADER, str(ROUNDS)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, path: Path, x: np.ndarray) -> tuple[np.ndarray, float]:
        np.save(f"{path}.npy", x)
        if self.child.poll() is not None:  # the program before has ended it
            self.child = self._started()
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{path}\n")
        self.child.stdin.flush()
        for line in self.child.stdout:
            word, _, seconds = line.partition(" ")
            if word == "seconds":
                return np.load(f"{path}.out.npy"), float(seconds)
        self.child.wait()
        raise RuntimeError("the process that loads programs has ended")


def torch_program(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "any_batch.pt2"
    torch.export.save(any_batch(model, x), path)
    return path


def int8_program(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    model.save(folder / "copy.keras")
    copy = keras.saving.load_model(folder / "copy.keras")
    copy.quantize("int8")
    if not any(layer.quantization_mode for layer in copy.layers):
        raise NotImplementedError("no layer that Keras quantizes")
    return torch_program(copy, x, folder)


PROGRAM = 'torch.export.export(model, (x,), dynamic_shapes={"args": ({0: Dim("batch")},)})'
TARGETS = (
    Target("torch.export", torch_program, (), f"`{PROGRAM}`, loaded where Keras is not"),
    Target("ONNX", onnx_static, ("onnxscript", "onnxruntime"), '`model.export("m.onnx", "onnx")`'),
    Target(
        "ONNX, any batch",
        onnx_any_batch,
        ("onnxscript", "onnxruntime"),
        "`torch.onnx.export(program, dynamo=True)` of that program",
    ),
    Target("OpenVINO", openvino, ("openvino",), '`model.export("m.xml", "openvino")`'),
    Target("LiteRT", litert, ("litert_torch",), '`model.export("m.tflite", "litert")`'),
    Target(
        "int8",
        int8_program,
        (),
        '`model.quantize("int8")`, then as torch.export: of Keras\'s own layers the classifier',
        ("trained",),
    ),
)


def make(name: str) -> keras.Model:
    """A network in its first form, at a small image, with weights and statistics of no symmetry."""
    form = keras_mg.applications.network_record(name).forms[0]
    height, _, channels = form.image
    side = min(height, 64) if height != 64 else 32
    keras.utils.set_random_seed(0)
    model = getattr(keras_mg.applications, name)(
        **form.arguments,
        input_shape=(side, side, channels),
        classifier_activation=None,
        data_format="channels_last",
    )
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


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    names = ("keras", "torch", *(package.replace("_", "-") for package in packages))
    return {name: importlib.metadata.version(name) for name in names}


def measure(names: list[str], targets: list[Target], store: Store) -> None:
    loader = Loader()
    for name in names:
        for form in FORMS:
            wanted = [t for t in targets if form in t.only and not store.has(name, form, t.name)]
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
                row["hardware"] = hardware()
                with tempfile.TemporaryDirectory() as folder, _quiet():
                    try:
                        made = target.make(model, x, Path(folder))
                        if isinstance(made, Path):
                            y, seconds = loader.run(made, x)
                        else:
                            y, seconds = made(x), timed(functools.partial(made, x))
                    except Exception as error:
                        line = next(iter(str(error).strip().splitlines()), "")
                        row["error"] = f"{type(error).__name__}: {line}"[:200]
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
        yield


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
that reads memory and not strides (litert-torch, safetensors, LBFGS),
`with keras_mg.training.stored_in_order(model):` turns them, which `model.export` does by itself.
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

- `torch.export.save(program, "resnet20.pt2")` keeps the program for torch itself; it warns of the
  kernels' strides ("No complete tensor found"), and the file is whole.
- A model is exported in the mode that it is in: call `model.eval()` first, unless it is deployed.
- `model.export(format="onnx")` makes a file for one batch size; for one image where none is given.
- A TensorFlow SavedModel is not made from torch: Keras takes the way over `torch_xla`, whose newest
  release, 2.9, is for an older torch. With `KERAS_BACKEND=tensorflow` the same network makes one by
  `model.export("folder")`.
- `model.quantize("int8")` quantizes Keras's own layers, of a network here its classifier; the
  convolutions stay in float32. Runtimes quantize all of a file themselves, such as
  `onnxruntime.quantization`.
"""

MEASURED = """\
## Measured

By `python -m benchmarks.exports`: the largest difference from torch, relative to the largest
output, and the time of a batch of {batch} on one thread as a multiple of that of eager torch in the
same form (CPU seconds, median of {rounds}), on {hardware}, {dates}. Images are small (32 or 64
pixels a side), weights and statistics random. A network or cell that is not here has not been
measured yet.
"""


def cell(row: dict | None) -> str:
    if row is None:
        return ""
    if "error" in row:
        return "not made"
    return f"{row['difference']:.0e}, {row['ratio']:.2f}"


def page(rows: list[dict]) -> str:
    """docs/export.md."""
    found = {(r["network"], r["form"], r["target"]): r for r in rows}
    targets = [t for t in TARGETS if any(r["target"] == t.name for r in rows)]
    dates = sorted({r["date"] for r in rows})
    lines = [INTRODUCTION]
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    processors = ", ".join(sorted({r["hardware"] for r in rows}))
    lines += [MEASURED.format(batch=BATCH, rounds=ROUNDS, hardware=processors, dates=span)]
    for target in targets:
        used = {k: v for r in rows if r["target"] == target.name for k, v in r["versions"].items()}
        said = ", ".join(f"{k} {v}" for k, v in used.items())
        lines.append(f"- {target.name}: {target.how} ({said}).")
    lines += ["", f"| network | form | {' | '.join(t.name for t in targets)} |"]
    lines.append(f"|---|---|{'---:|' * len(targets)}")
    for name in keras_mg.applications.list_models():
        for form in FORMS:
            cells = [cell(found.get((name, form, target.name))) for target in targets]
            if any(cells):
                lines.append(f"| {name} | {form} | {' | '.join(cells)} |")
    failed = {(r["target"], r["error"]): None for r in rows if "error" in r}
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
    every = keras_mg.applications.list_models()
    p.add_argument("--networks", nargs="+", choices=every, metavar="NAME", default=every)
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
    for target in missing:
        print(f"{target.name} is left out: it needs {' and '.join(target.packages)}")
    if not options.table:
        measure(options.networks, [t for t in targets if t not in missing], store)
    options.page.write_text(page(store.rows), "utf-8")


if __name__ == "__main__":
    main()
