"""Kernels for tools that read memory as the shape says (torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

# Of each open context the parameters that it has turned, by identity.
_open: list[set[int]] = []


def is_turned(model: keras.Model) -> bool:
    """Whether some of a model's weights are not where its compiled steps look for them."""
    if not _open:
        return False
    return any(id(p) in turned for p in model.parameters() for turned in list(_open))


@contextlib.contextmanager
def stored_in_order(model: keras.Model) -> Iterator[None]:
    """Stores a model's weights in the order of their axes, as long as the context lasts.

    On torch, kernels lie in memory as its convolutions read them, `(filters, rows, columns,
    channels)`, whatever their shape says; that saves a copy in every step. Torch's own operations
    know strides. Some tools do not: `safetensors.torch.save_file`,
    `torch.nn.utils.parameters_to_vector` and `torch.optim.LBFGS` refuse them, and litert-torch,
    which would mix up kernels of one shape, is refused by the layers. `export` of a
    `keras_mg.Model` needs no help, that of a `keras.Model` with layers of ours does.

    ```python needs=torch
    import keras_mg
    import torch

    model = keras_mg.applications.MgNet((1, 1), filters=8, input_shape=(32, 32, 3))
    with keras_mg.training.stored_in_order(model):
        numbers = torch.nn.utils.parameters_to_vector(model.parameters())
    ```

    What changes the weights inside the context changes them for good; what has replaced a
    parameter's memory inside (`parameter.data = ...`) keeps it. Afterwards the kernels lie as
    before. What is compiled runs eagerly inside. Under another backend nothing happens.

    Args:
        model: any Keras model.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    turned = []
    for parameter in dict.fromkeys(model.parameters()):
        before = parameter.data
        if not before.is_contiguous():
            parameter.data = before.contiguous()
            turned.append((parameter, before, parameter.data_ptr()))
    known = {id(parameter) for parameter, *_ in turned}
    _open.append(known)
    try:
        yield
    finally:
        _open[:] = [each for each in _open if each is not known]
        for parameter, before, address in turned:
            if parameter.data_ptr() == address:
                if bool((before != parameter.data).any()):
                    before.copy_(parameter.data)
                parameter.data = before
