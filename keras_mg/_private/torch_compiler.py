"""What the package uses of the private names of torch's compiler.

Imported late, as `torch.py` is: on other backends torch is not loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from keras_mg._private.names import Feature, Name, find

_STEPS = (Feature.COMPILED_STEPS,)

NAMES = (
    Name(
        *("torch._dynamo", "lookup_backend", _STEPS),
        why="a compiler by its name, to be called with options of one's own",
        watch="torch.compiler.lookup_backend",
        parameters=("compiler_fn",),
    ),
    Name(
        *("torch._dynamo.exc", "TorchDynamoException", _STEPS),
        why="tells that a function cannot be captured from its own errors",
        watch="torch.compiler exceptions",
        base=Exception,
    ),
    Name(
        *("torch._dynamo.exc", "BackendCompilerFailed", _STEPS),
        why="the compiler's error is inside",
        watch="likewise",
        base=Exception,
    ),
    Name(
        *("torch._dynamo.config", "skip_fwd_side_effects_in_bwd_under_checkpoint", _STEPS),
        why="layers note that they were called, also where they are recomputed",
        watch="torch.compiler.config",
    ),
    Name(
        *("torch._inductor.config", "freezing", _STEPS),
        why="makes constants of weights",
        watch="an option of torch.compile that reaches a custom backend",
    ),
    Name(
        *("torch._inductor.config", "layout_optimization", _STEPS),
        why="moves gradients of kernels between orders, which costs a CPU time",
        watch="torch choosing by device",
    ),
    Name(
        *("torch._inductor.config", "joint_custom_pre_pass", _STEPS),
        why="marks what the backward pass is to compute again: a CPU stores masks very slowly",
        watch="torch storing them as fast as numbers, or recomputing them",
    ),
    Name(
        *("torch._inductor.custom_graph_pass", "CustomGraphPass", _STEPS),
        why="what such a pass has to be, so that torch keeps its compiled code between processes",
        watch="likewise",
    ),
    Name(
        *("keras.src.backend", "torch", _STEPS),
        why="the module that layers' dynamic backends look into",
        watch="nothing: goes with DynamicBackend",
    ),
)

lookup_backend = find("torch._dynamo", "lookup_backend")
dynamo_config = find("torch._dynamo", "config")
inductor_config = find("torch._inductor", "config")
TorchDynamoException = find("torch._dynamo.exc", "TorchDynamoException")
BackendCompilerFailed = find("torch._dynamo.exc", "BackendCompilerFailed")
CustomGraphPass = find("torch._inductor.custom_graph_pass", "CustomGraphPass", object)
backend = find("keras.src.backend", "torch")


def functions_before_3_16() -> Any:
    """Keras's module of NumPy's functions on torch where it stood until 3.15, else None.

    With that module, `max` asks a tensor for an attribute that is a method, binary cross-entropy
    for Apple's GPU: torch's tracer knows neither.
    """
    if importlib.util.find_spec("keras.src.backend.torch.numpy") is None:
        return None
    return importlib.import_module("keras.src.backend.torch.numpy")


def name_of(dynamic_backend) -> str:
    """The backend that a `DynamicBackend` stands for."""
    return dynamic_backend._backend
