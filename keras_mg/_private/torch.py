"""What the package uses of private names of torch, and of Keras's torch backend.

Imported late: on other backends torch is not loaded.
"""

from __future__ import annotations

import keras
import torch

from keras_mg._private.names import Feature, Name, find

_RATE = (Feature.RATE_ON_DEVICE,)
_OPTIMIZERS = "keras.src.backend.torch.optimizers"
_LISTS = "functions of lists of tensors; torch.optim is built of them"
_FOREACH = "a public torch.foreach"

NAMES = (
    Name(
        *("torch.nn.modules.module", "_has_any_global_hook", (Feature.OWN_GRAPH_RUN,)),
        why="who counts operations or measures modules hooks them all: they must be called then",
        watch="a public one",
        parameters=(),
    ),
    *(
        Name(
            *("layer", name, (Feature.OWN_GRAPH_RUN,)),
            why="likewise those of one module",
            watch="a public way to ask a module for its hooks",
        )
        for name in (
            *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
        )
    ),
    Name(
        *("masked tensor", "_keras_mask", (Feature.OWN_GRAPH_RUN,)),
        why="whether a tensor has a mask, asked for each one in a graph",
        watch="a public get_keras_mask as fast",
    ),
    Name(
        *(f"{_OPTIMIZERS}.torch_sgd", "SGD", _RATE),
        why="the class that keras.optimizers.SGD makes on torch, whose update reads the rate",
        watch="Keras 3.16 reads nothing",
        base=keras.optimizers.SGD,
    ),
    Name(
        *(f"{_OPTIMIZERS}.torch_adadelta", "Adadelta", _RATE),
        why="likewise of keras.optimizers.Adadelta",
        watch="likewise",
        base=keras.optimizers.Adadelta,
    ),
    Name(
        *("optimizer", "_parallel_update_step", _RATE),
        why="replaced by an update that computes with the rate where it is",
        watch="likewise",
        parameters=("grads", "variables", "learning_rate"),
    ),
    *(
        Name("torch", name, (Feature.RATE_ON_DEVICE, Feature.COUPLED_SGD), _LISTS, _FOREACH)
        for name in (
            *("_foreach_add", "_foreach_add_", "_foreach_addcmul_", "_foreach_div"),
            *("_foreach_mul", "_foreach_mul_", "_foreach_sqrt"),
        )
    ),
)


has_any_global_hook = find("torch.nn.modules.module", "_has_any_global_hook")
foreach_add = find("torch", "_foreach_add")
foreach_add_ = find("torch", "_foreach_add_")
foreach_addcmul_ = find("torch", "_foreach_addcmul_")
foreach_div = find("torch", "_foreach_div")
foreach_mul = find("torch", "_foreach_mul")
foreach_mul_ = find("torch", "_foreach_mul_")
foreach_sqrt = find("torch", "_foreach_sqrt")

# The classes that `keras.optimizers.SGD(...)` and `keras.optimizers.Adadelta(...)` make on torch.
SGD = find(f"{_OPTIMIZERS}.torch_sgd", "SGD")
Adadelta = find(f"{_OPTIMIZERS}.torch_adadelta", "Adadelta")


def has_hooks(module) -> bool:
    """Whether a module runs anything beside its `forward`."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def parallel_update(optimizer):
    """The optimizer's update of all variables."""
    return optimizer._parallel_update_step


def update_of(optimizer, update) -> None:
    """Let `update` stand for the optimizer's own update of all variables."""
    optimizer._parallel_update_step = update


def adadelta_slots(optimizer) -> tuple[list, list]:
    """Mean squares of the gradients, and of the moves, per variable."""
    return optimizer._accumulated_grads, optimizer._accumulated_delta_vars


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place."""
    return tensor._version
