"""Capturing Python functions as single torch graphs."""

from __future__ import annotations

import contextlib
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch
from keras import tree

from keras_mg._private import keras as private_keras
from keras_mg._private import torch as private_torch
from keras_mg._private import torch_compiler
from keras_mg.training._recomputed_masks import RecomputedMasks

# In a graph with a backward pass, inductor's own choice of layouts moves the gradients of kernels
# from one order to another: on a CPU, a training step of R-MG-18 takes 1.15 times as long. Without
# a backward pass it saves copies: inference of SegPMG takes 0.85 times as long.
_INDUCTOR_TRAINING_ON_CPU = {
    "layout_optimization": False,
    "joint_custom_pre_pass": RecomputedMasks(),
}


def _only_tensor_guards(entries) -> list[bool]:
    """Which of torch's conditions are checked before a graph runs: those on tensors.

    The others are thousands per network, on attributes of Keras's layers, and take longer than a
    small network. Keras's rule stands in for them: what changes in a model takes effect at the next
    `compile()`, which drops the graphs.
    """
    return [
        entry.guard_type == "TENSOR_MATCH" and not isinstance(entry.value, torch.nn.Parameter)
        for entry in entries
    ]


# What `_capturing` replaces belongs to the whole process.
_one_capture = threading.RLock()


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _captured_max(functions) -> Callable:
    """What `keras.ops.max` does, where that does not ask for an attribute that is a method."""
    original = functions.max

    def captured(x, axis=None, keepdims=False, initial=None):
        x = keras.ops.convert_to_tensor(x)
        if axis is None or initial is not None or 0 in x.shape:
            return original(x, axis=axis, keepdims=keepdims, initial=initial)
        return torch.amax(x, dim=axis, keepdim=keepdims)

    return captured


def _attribute_of_backend(dynamic_backend, name: str):
    """An attribute of a `DynamicBackend`, which imports the backend each time."""
    used = torch_compiler.name_of(dynamic_backend)
    if used != "torch":
        raise RuntimeError(f"a layer computes by the backend {used!r}")
    return getattr(torch_compiler.backend, name)


@contextlib.contextmanager
def _capturing() -> Iterator[None]:
    """Inside, more of Keras can be captured.

    Its layers that prepare data, and before 3.16 its maximum, do what torch's tracer refuses, in
    places where it can be said otherwise. Before 3.16 its binary cross-entropy asks for Apple's
    GPU, and the tracer knows the answer for every device but this one. Its layers note on
    themselves that they were called, which the tracer refuses where a layer is recomputed in the
    backward pass unless it may leave the second note out.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_one_capture)
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(
            torch_compiler.dynamo_config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True)
        )
        replacements: list[tuple] = [
            (private_keras.DynamicBackend, "__getattr__", _attribute_of_backend)
        ]
        functions = torch_compiler.functions_before_3_16()
        if functions is not None:
            has_mps = torch.backends.mps.is_available()
            replacements.append((torch.backends.mps, "is_available", lambda: has_mps))
            replacements.append((functions, "max", _captured_max(functions)))
        for replacement in replacements:
            stack.enter_context(_replaced(*replacement))
        # What torch notices about Keras and the machine. Where warnings are errors, each would end
        # the capture.
        for notice in ("Dynamo detected a call to a `functools.lru_cache`", "TensorFloat32 tensor"):
            warnings.filterwarnings("ignore", notice)
        yield


class _Unplanned(Exception):
    """Torch captures by itself, outside of `_capturing`."""


class GraphIsGone(Exception):
    """A graph has not run, because torch would have had to capture it once more.

    After `keras.utils.clear_session()` and `torch.compiler.reset()` torch knows no graph any more;
    one of parameters that somebody has stored in another order since does not fit them.
    """


def capture(
    function: Callable,
    arguments: tuple,
    backend: str = "inductor",
    training: bool = False,
    constant_weights: bool = False,
) -> tuple[Callable, Any]:
    """`function` as one graph for arguments like these, and what it returns for them.

    Args:
        function: of tensors, and of nests of them.
        arguments: of the first call.
        backend: the name of a `torch.compile` backend.
        training: whether the graph has a backward pass.
        constant_weights: whether the parameters that the function reads may become constants of the
            graph, which inductor brings into the order that its kernels take them in. The graph
            keeps the values of its first call, which must then be without gradients.

    Returns:
        The compiled function, and the result. Where torch has lost the graph later, or it does not
        fit, calling the function raises `GraphIsGone`, and nothing has run.

    Raises:
        Exception: where the function cannot be captured as one graph; nothing has run then.
    """
    planned = True

    def finish(module, inputs, **options):
        if not planned:
            raise _Unplanned
        on_cpu = all(x.device.type == "cpu" for x in inputs if isinstance(x, torch.Tensor))
        if backend == "inductor" and training and on_cpu:
            options = {**options, "config_patches": _INDUCTOR_TRAINING_ON_CPU}
        return torch_compiler.lookup_backend(backend)(module, inputs, **options)

    compiled = torch.compile(
        _own_code(function),
        fullgraph=True,
        dynamic=False,
        backend=finish,
        options={"guard_filter_fn": _only_tensor_guards},  # torch empties this dictionary
    )
    with _capturing(), torch_compiler.inductor_config.patch(freezing=constant_weights):
        result = compiled(*arguments)
    planned = False

    def run(*arguments):
        try:
            return compiled(*arguments)
        except Exception as error:
            # Warnings are errors where somebody has said so.
            if is_capture_error(error) or isinstance(error, Warning) or _is_of_strides(error):
                raise GraphIsGone from error
            raise

    return run, result


def capture_error(function: Callable, *inputs) -> Exception | None:
    """Why `function` cannot be captured as one graph, or None. It does not run."""

    class Captured(Exception):
        pass

    class LooksAtValues(Exception):
        """Torch's tracer lets `float(tensor)` pass, and what comes after it does not."""

    def stop(module, inputs):
        if any(node.target == "item" for node in module.graph.nodes):
            raise LooksAtValues("it makes a number of a tensor")
        raise Captured

    try:
        with torch.enable_grad(), _capturing():
            torch.compile(_own_code(function), fullgraph=True, dynamic=False, backend=stop)(*inputs)
    except torch_compiler.BackendCompilerFailed as error:
        return None if isinstance(error.inner_exception, Captured) else error
    except Exception as error:
        return error  # torch's tracer raises whatever it meets
    return None


def _own_code(function: Callable) -> Callable:
    """A copy of `function` that shares no compiled graphs with functions of the same source.

    Torch keys its graphs by code object and gives up after a few of them, which would make models
    in one process compete.
    """
    copy = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def describe(batch: tuple) -> tuple:
    """All that a graph of a batch depends on.

    Nesting, shapes, layouts, types and devices of its tensors, and what torch is to do with them.
    """
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), _autocast(), _kind(batch)


def _autocast() -> tuple:
    if not torch.is_autocast_enabled("cpu") and not torch.is_autocast_enabled("cuda"):
        return ()
    kinds = ("cpu", "cuda")
    return tuple((torch.is_autocast_enabled(k), torch.get_autocast_dtype(k)) for k in kinds)


def _kind(nest) -> tuple:
    if isinstance(nest, torch.Tensor):
        return nest.shape, nest.stride(), nest.dtype, nest.device, nest.requires_grad
    if isinstance(nest, dict):
        return (dict, *((key, _kind(value)) for key, value in nest.items()))
    if isinstance(nest, (list, tuple)):
        return (type(nest), *map(_kind, nest))
    return type(nest), repr(nest)


def to_tensors(nest, device: torch.device | None):
    """The arrays and tensors of `nest` as tensors on `device`, if one is given.

    A graph whose inputs are elsewhere copies them in each run, and waits for it.
    """

    def move(leaf):
        if isinstance(leaf, (np.ndarray, np.generic)):
            leaf = keras.ops.convert_to_tensor(leaf)
        if isinstance(leaf, torch.Tensor) and device is not None and leaf.device != device:
            return leaf.to(device, non_blocking=True)
        return leaf

    return tree.map_structure(move, nest)


def reason(error: BaseException) -> str:
    """The first line of what went wrong; of the compiler's backend, what went wrong in there."""
    if isinstance(error, torch_compiler.BackendCompilerFailed):
        error = error.inner_exception
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_capture_error(error: Exception) -> bool:
    """Whether torch says that it cannot capture or compile, in which case nothing has run."""
    return isinstance(error, torch_compiler.TorchDynamoException)


def _is_of_strides(error: Exception) -> bool:
    """Whether inductor's code has refused a tensor, which it does before anything has run.

    Torch would have looked itself, but not at parameters (`_only_tensor_guards`).
    """
    said = str(error)
    return (
        isinstance(error, AssertionError) and said.startswith("expected size") and "stride" in said
    )


def match_layout(variables: Sequence, others: Sequence) -> None:
    """Store each of `others` with the strides of the variable that has its shape.

    `lay_out_kernel` changes the strides of kernels; what an optimizer keeps per kernel is made
    contiguous, and element-wise updates across two layouts are many times slower.
    """
    strides: dict[tuple, set] = {}
    for variable in variables:
        strides.setdefault(tuple(variable.shape), set()).add(variable.value.stride())
    for other in others:
        known = strides.get(tuple(other.shape), set())
        tensor = other.value
        if len(known) != 1 or tensor.stride() in known:
            continue
        (stride,) = known
        laid_out = torch.empty_strided(
            tensor.shape, stride, dtype=tensor.dtype, device=tensor.device
        )
        tensor.data = laid_out.copy_(tensor.detach())


def versions(variables: Sequence) -> tuple[tuple[int, int], ...]:
    """What changes when one of `variables` gets another value."""
    # Not `value`, which looks for scopes first: that takes a sixth of a small network's prediction.
    tensors = [private_keras.tensor_of(v) for v in variables]
    return tuple((t.data_ptr(), private_torch.version(t)) for t in tensors)
