"""The formats of `benchmarks.exports`: how a network becomes one, and what runs it there."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import torch

FORMS = ("trained", "deployed")
OTHER_BATCH = 3  # of the example from which an export for any batch is made
ROUNDS = 5

# A process that can import neither keras_mg nor Keras: a file and an input, to an output and its
# time. What follows says for each runtime how it loads a file.
RUNNER = """
import sys
sys.modules["keras_mg"] = sys.modules["keras"] = None
import statistics, time
import numpy as np
{loaded}
for line in sys.stdin:
    path = line.rstrip()
    try:
        run = loaded(path)
        x = np.load(path + ".npy")
        y = run(x)
        seconds = []
        for _ in range({rounds}):
            begin = time.process_time()
            run(x)
            seconds.append(time.process_time() - begin)
    except Exception as error:
        print("failed", type(error).__name__, *str(error).splitlines()[:1], flush=True)
    else:
        np.save(path + ".out.npy", y)
        print("seconds", statistics.median(seconds), flush=True)
"""
TORCH = """
import torch
torch.set_num_threads(1)
def loaded(path):
    module = torch.export.load(path).module()
    @torch.no_grad()
    def run(x):
        return module(torch.from_numpy(x)).numpy()
    return run
"""
ONNX_RUNTIME = """
sys.modules["torch"] = None
import onnxruntime
def loaded(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda x: session.run(None, {given.name: x})[0]
"""
OPENVINO = """
sys.modules["torch"] = None
import openvino
def loaded(path):
    # By default it computes in bfloat16 where the processor can.
    options = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda x: compiled(x)[0]
"""
LITERT = """
sys.modules["torch"] = None
from ai_edge_litert.interpreter import Interpreter
def loaded(path):
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    def run(x):
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])
    return run
"""
TENSORFLOW = """
sys.modules["torch"] = None
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
def loaded(path):
    model = tf.saved_model.load(path)
    return lambda x: model.serve(tf.constant(x)).numpy()
"""
# A model's file becomes a SavedModel of the same name beside it.
TENSORFLOW_EXPORT = """
import sys
import keras_mg, keras
for line in sys.stdin:
    path = line.rstrip()
    try:
        model = keras.saving.load_model(path + ".keras")
        model.export(path, format="tf_saved_model", verbose=False)
    except Exception as error:
        print("failed", type(error).__name__, *str(error).splitlines()[:1], flush=True)
    else:
        print("seconds", 0, flush=True)
"""


class Process:
    """A Python process that is given files, one after another, and says how long each took."""

    def __init__(self, code: str, **environment: str):
        self.command = [sys.executable, "-P", "-c", code]
        self.environment = os.environ | environment
        self.child: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> float:
        if self.child is None or self.child.poll() is not None:  # the file before has ended it
            pipe = subprocess.PIPE
            self.child = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, text=True, env=self.environment
            )
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{path}\n")
        self.child.stdin.flush()
        for line in self.child.stdout:
            word, _, said = line.strip().partition(" ")
            if word == "seconds":
                return float(said)
            if word == "failed":
                raise RuntimeError(said)
        raise RuntimeError(f"the process has ended with status {self.child.wait()}")

    def run(self, path: Path, x: np.ndarray) -> tuple[np.ndarray, float]:
        """What a file makes of an input, and its CPU seconds."""
        np.save(f"{path}.npy", x)
        seconds = self(path)
        return np.load(f"{path}.out.npy"), seconds

    def close(self) -> None:
        if self.child is not None:
            self.child.communicate()
            self.child = None


@functools.cache
def runner(loaded: str) -> Process:
    return Process(RUNNER.replace("{loaded}", loaded).replace("{rounds}", str(ROUNDS)))


@functools.cache
def tensorflow_exporter() -> Process:
    return Process(TENSORFLOW_EXPORT, KERAS_BACKEND="tensorflow")


@dataclass(frozen=True)
class Target:
    """A format that others run.

    Args:
        name: as the table has it.
        make: exports a model, given its input and a folder; gives the file.
        loaded: how the process that runs the file loads it.
        packages: without which it cannot be measured.
        how: the call that a reader would write.
    """

    name: str
    make: Callable[[keras.Model, np.ndarray, Path], Path]
    loaded: str
    packages: tuple[str, ...]
    how: str

    def run(self, model: keras.Model, x: np.ndarray, folder: Path) -> tuple[np.ndarray, float]:
        """What the export of a model makes of an input, and its CPU seconds."""
        return runner(self.loaded).run(self.make(model, x, folder), x)


def static(x: np.ndarray) -> list[keras.InputSpec]:
    return [keras.InputSpec(shape=x.shape, dtype="float32")]


_programs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def any_batch(model: keras.Model, x: np.ndarray) -> torch.export.ExportedProgram:
    """The model as a program of torch; traced once, for that takes the most time."""
    if model not in _programs:
        size = torch.export.Dim("batch", min=1, max=1024)
        example = torch.from_numpy(x[:OTHER_BATCH])
        model.eval()
        shapes = {"args": ({0: size},)}
        _programs[model] = torch.export.export(model, (example,), dynamic_shapes=shapes)
    return _programs[model]


def onnx_static(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "static.onnx"
    model.export(path, format="onnx", verbose=False, input_signature=static(x))
    return path


def onnx_any_batch(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "any_batch.onnx"
    program = torch.onnx.export(any_batch(model, x), dynamo=True, verbose=False)
    assert program is not None
    program.save(path)
    return path


def openvino(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "model.xml"
    model.export(str(path), format="openvino", verbose=False, input_signature=static(x))
    return path


def litert(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "model.tflite"
    model.export(str(path), format="litert", verbose=False, input_signature=static(x))
    return path


def saved_model(model: keras.Model, x: np.ndarray, folder: Path) -> Path:
    path = folder / "model"
    model.save(f"{path}.keras")
    tensorflow_exporter()(path)
    return path


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
    Target("torch.export", torch_program, TORCH, (), f"`{PROGRAM}`, loaded where Keras is not"),
    Target(
        "ONNX",
        onnx_static,
        ONNX_RUNTIME,
        ("onnxscript", "onnxruntime"),
        '`model.export("m.onnx", "onnx")`',
    ),
    Target(
        "ONNX, any batch",
        onnx_any_batch,
        ONNX_RUNTIME,
        ("onnxscript", "onnxruntime"),
        "`torch.onnx.export(program, dynamo=True)` of that program",
    ),
    Target("OpenVINO", openvino, OPENVINO, ("openvino",), '`model.export("m.xml", "openvino")`'),
    Target("LiteRT", litert, LITERT, ("litert_torch",), '`model.export("m.tflite", "litert")`'),
    Target(
        "SavedModel",
        saved_model,
        TENSORFLOW,
        ("tensorflow",),
        '`model.save("m.keras")`, loaded with `KERAS_BACKEND=tensorflow`, and there '
        '`model.export("folder")`; run where Keras is not',
    ),
    Target(
        "int8",
        int8_program,
        TORCH,
        (),
        '`model.quantize("int8")`, then as torch.export: of Keras\'s own layers the classifier',
    ),
)
