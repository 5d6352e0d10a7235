"""Makes and runs the layers of `layer_cases`, and their references, in one layout for both."""

import inspect

import keras
import numpy as np

from tests.support.arrays import channels_last_to, flat, numpy, randomize, to_channels_last
from tests.support.reference import Tape

FORMATS = ("channels_last", "channels_first")


def inputs_of(case, seed=0, dtype="float32", **settings):
    """Random channels-last inputs of both signs."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype(dtype) for shape in case.shapes(**settings)]


def built(case, data_format="channels_last", seed=0, **settings):
    """The layer with random values in all of its weights."""
    layer = case.make(data_format=data_format, **settings)
    shapes = [in_format(shape, data_format) for shape in case.shapes()]
    layer.build(case.nested(shapes))
    return randomize(layer, seed)


def in_format(shape, data_format):
    """A channels-last shape in `data_format`."""
    n, h, w, c = shape
    return (n, c, h, w) if data_format == "channels_first" else tuple(shape)


def to_tensors(arrays, layer):
    """Channels-last arrays as tensors in the layer's data format and precision."""
    return [
        keras.ops.convert_to_tensor(
            np.ascontiguousarray(channels_last_to(layer.data_format, a)), layer.compute_dtype
        )
        for a in arrays
    ]


def run(case, layer, arrays, **settings):
    """Channels-last numpy inputs to channels-last numpy outputs, in float64."""
    outputs = flat(layer(case.nested(to_tensors(arrays, layer)), **settings))
    return [to_channels_last(numpy(y).astype("float64"), layer.data_format) for y in outputs]


def predictions(model, arrays, data_format="channels_last"):
    """The same of a model in `data_format`."""
    outputs = model([channels_last_to(data_format, a) for a in arrays])
    return [to_channels_last(numpy(y).astype("float64"), data_format) for y in flat(outputs)]


def takes_training(layer):
    return "training" in inspect.signature(layer.call).parameters


def training_argument(layer, training):
    return {"training": training} if takes_training(layer) else {}


def functional_model(case, layer, unknown_sides=False):
    """A model of `layer` alone."""
    tensors = [
        keras.Input(in_format(shape, layer.data_format)[1:], dtype="float32")
        for shape in case.shapes(unknown_sides=unknown_sides)
    ]
    return keras.Model(tensors, layer(case.nested(tensors)))


def reference_of(case, layer, arrays, training=False):
    """The reference in float64: its outputs, gradients and statistics.

    The loss is `sum(outputs * cosines) + sum(inputs ** 2)`, so that the inputs are used twice.

    Returns:
        Outputs (channels-last arrays), the statistics after the step, and the gradients of inputs
        and trainable weights, as arrays in the order of `layer.weights`.
    """
    import torch

    inputs = [
        torch.tensor(np.moveaxis(a, 3, 1), dtype=torch.float64, requires_grad=True) for a in arrays
    ]
    weights = [
        (v.name, torch.tensor(numpy(v), dtype=torch.float64, requires_grad=v.trainable))
        for v in layer.weights
    ]
    tape = Tape(weights, training, getattr(layer, "momentum", 0.9))
    outputs = case.reference(tape, inputs, **case.arguments)
    tape.assert_used_up()
    channels_last = [y.permute(0, 2, 3, 1) for y in outputs]
    loss = sum((x**2).sum() for x in inputs)
    loss = loss + sum((y * torch.tensor(cosines(y.shape))).sum() for y in channels_last)
    loss.backward()
    return (
        [y.detach().numpy() for y in channels_last],
        [s.numpy() for s in tape.statistics],
        [np.moveaxis(x.grad.numpy(), 1, 3) for x in inputs],
        [
            np.zeros(w.shape) if w.grad is None else w.grad.numpy()
            for _, w in weights
            if w.requires_grad
        ],
    )


def cosines(shape):
    """Fixed weights of a loss, all different."""
    return np.cos(np.arange(np.prod(shape), dtype="float64")).reshape(shape)


def gradients_of(case, layer, arrays, training=False):
    """The layer's own outputs and gradients, for the loss of `reference_of`; torch only."""
    import torch

    data_format = layer.data_format
    inputs = [t.clone().requires_grad_() for t in to_tensors(arrays, layer)]
    outputs = flat(layer(case.nested(inputs), **training_argument(layer, training)))
    loss = sum((x**2).sum() for x in inputs)
    for y in outputs:
        shape = to_channels_last(np.empty(tuple(y.shape), "u1"), data_format).shape
        weights = np.ascontiguousarray(channels_last_to(data_format, cosines(shape)))
        loss = loss + (y * torch.as_tensor(weights, dtype=y.dtype, device=y.device)).sum()
    loss.backward()
    return (
        [to_channels_last(numpy(y), data_format) for y in outputs],
        [to_channels_last(numpy(x.grad), data_format) for x in inputs],
        {
            v.path: None if v.value.grad is None else numpy(v.value.grad)
            for v in layer.trainable_variables
        },
    )
