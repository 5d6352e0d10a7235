"""Counts the multiply-accumulates of a model by running it on shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras


def multiply_accumulates(make_model: Callable[[], keras.Model]) -> tuple[keras.Model, int]:
    """Make a model without memory for its weights, and count what one image costs it.

    Convolutions, transposed convolutions and fully connected layers count, with the products that
    padding makes zero; biases, batch norms, activations and poolings do not.

    Args:
        make_model: makes a model of one input, whose shape is known but for the batch.

    Returns:
        The model, which has shapes but no numbers, and the count.

    Raises:
        NotImplementedError: if the backend is neither torch nor jax.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return _on_torch(make_model)
    if backend == "jax":
        return _on_jax(make_model)
    raise NotImplementedError(
        "multiply-accumulates are counted with the backends torch and jax. "
        f"Received: backend={backend!r}"
    )


def _on_torch(make_model):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with keras.device("meta"), torch.no_grad():
        model = make_model()
        image = torch.empty((1, *model.input_shape[1:]), device="meta")
        with FlopCounterMode(display=False) as counter:
            model(image, training=False)
    # It counts a multiplication and an addition as two.
    return model, counter.get_total_flops() // 2


def _on_jax(make_model):
    import jax

    models = []

    def run():
        # Inside the trace the initial weights are never computed, either.
        models.append(make_model())
        return models[0](jax.numpy.zeros((1, *models[0].input_shape[1:])), training=False)

    count = _in_jaxpr(jax.make_jaxpr(run)().jaxpr)
    return models[0], count


def _in_jaxpr(jaxpr) -> int:
    return sum(_in_equation(equation) for equation in jaxpr.eqns)


def _in_equation(equation) -> int:
    parameters = equation.params
    if equation.primitive.name == "conv_general_dilated":
        given, kernel = (v.aval.shape for v in equation.invars)
        made = equation.outvars[0].aval.shape
        outputs, inputs, *window = (kernel[i] for i in parameters["dimension_numbers"].rhs_spec)
        if math.prod(parameters["lhs_dilation"]) == 1:
            return math.prod(made) * inputs * math.prod(window)
        # A transposed convolution: the zeros between the pixels cost nothing.
        return math.prod(given) * outputs // parameters["feature_group_count"] * math.prod(window)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return math.prod(equation.outvars[0].aval.shape) * math.prod(shape[i] for i in contracted)
    return sum(_in_jaxpr(inner) for inner in _inner_jaxprs(parameters.values()))


def _inner_jaxprs(values):
    """The jaxprs among an equation's parameters: of a nested call or of a control structure."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _inner_jaxprs(value)
        elif hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr
