"""What a model says of inputs that are not the images it takes."""

from __future__ import annotations

import keras


def refusal_of(model: keras.Model, inputs) -> str | None:
    """Why a model of images does not take `inputs`.

    Args:
        model: a functional model.
        inputs: what it was called with.

    Returns:
        A message with the rule and the shape that was received. None if the model has other inputs
        than one batch of images, or `inputs` are such a batch.
    """
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return None
    expected = tuple(model.inputs[0].shape)[1:]
    given = keras.tree.flatten(inputs)
    first = _channels_first(model)
    words = ("channels", "height", "width") if first else ("height", "width", "channels")
    image = ", ".join(str(size or word) for size, word in zip(expected, words, strict=True))
    order = "channels first" if first else "channels last"
    rule = f"{model.name} takes images of shape ({image}), {order}, as one batch of rank 4."
    if len(given) != 1:
        return f"{rule} Received: {len(given)} inputs"
    shape = tuple(getattr(given[0], "shape", ()))
    if _is_taken(shape, expected):
        return None
    hint = _hint(shape, expected, first)
    return f"{rule} Received: {_words(given[0], shape)}" + (f". {hint}" if hint else "")


def _words(value, shape: tuple) -> str:
    return f"shape {shape}" if hasattr(value, "shape") else f"{type(value).__name__}"


def _is_taken(shape: tuple, image: tuple) -> bool:
    if len(shape) == 5 and shape[-1] == 1:  # Keras drops the last axis
        shape = shape[:-1]
    if len(shape) == 3 and image[-1] == 1:  # and adds it
        shape = (*shape, 1)
    return len(shape) == 4 and _agree(shape[1:], image)


def _agree(shape: tuple, image: tuple) -> bool:
    return len(shape) == len(image) and all(
        None in (own, other) or own == other for own, other in zip(shape, image, strict=True)
    )


def _hint(shape: tuple, image: tuple, first: bool) -> str:
    """What to do about a frequent mistake."""
    axis = -3 if first else -1
    if _agree(shape, image):
        return "This is one image: `image[None]` is a batch of it"
    if len(shape) != 4:
        return ""
    turned = (shape[2], shape[3], shape[1]) if not first else (shape[3], shape[1], shape[2])
    if _agree(turned, image):
        return f"These are channels {'last' if first else 'first'}: move the axis"
    grey = list(shape)
    grey[axis] = image[axis]
    if shape[axis] == 1 and _agree(tuple(grey[1:]), image):
        return f"These are grey: `np.repeat(images, {image[axis]}, axis={axis})` gives them colours"
    return ""


def _channels_first(model: keras.Model) -> bool:
    formats = (getattr(layer, "data_format", None) for layer in model.layers)
    known = next((each for each in formats if each), keras.config.image_data_format())
    return known == "channels_first"
