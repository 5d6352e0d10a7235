"""The classes of ImageNet-1k and the reading of predictions, without a download.

The class names travel with the package (`data/imagenet_classes.txt`), in sorted WordNet-id order,
which is the order of every ImageNet network here and in `keras.applications`.
"""

from functools import cache
from importlib import resources
from typing import Any

import keras

NUM_CLASSES = 1000


@cache
def class_index() -> tuple[tuple[str, str], ...]:
    """Return the 1000 classes as `(wordnet_id, name)` pairs, in output order.

    Returns:
        A tuple of 1000 pairs; `class_index()[i]` belongs to output `i`.

    Example:
        >>> from keras_mg.applications._imagenet import class_index
        >>> class_index()[207]
        ('n02099601', 'golden_retriever')
    """
    table = resources.files(__package__).joinpath("data", "imagenet_classes.txt")
    lines = table.read_text(encoding="ascii").splitlines()
    pairs = (line.split(" ") for line in lines if not line.startswith("#"))
    return tuple((wordnet_id, name) for wordnet_id, name in pairs)


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, Any]]]:
    """Decode the predictions of an ImageNet-1k network.

    The meaning is that of `keras.applications.imagenet_utils.decode_predictions`; the class names
    are part of the package instead of being downloaded.

    Args:
        preds: Array or tensor of shape `(samples, 1000)`, the scores of a batch.
        top: Number of guesses per sample, at least 1. Defaults to `5`.

    Returns:
        One list per sample with its `top` guesses as `(wordnet_id, name, score)` tuples, the
        highest score first.

    Raises:
        ValueError: If `preds` is not of shape `(samples, 1000)` or `top` is less than 1.

    Example:
        >>> import numpy as np
        >>> from keras_mg.applications.multigrid import decode_predictions
        >>> scores = np.zeros((1, 1000))
        >>> scores[0, 281] = 0.75
        >>> [(wordnet_id, name, float(score))
        ...  for wordnet_id, name, score in decode_predictions(scores, top=1)[0]]
        [('n02123045', 'tabby', 0.75)]
    """
    scores = keras.ops.convert_to_numpy(preds)
    if scores.ndim != 2 or scores.shape[1] != NUM_CLASSES:
        raise ValueError(
            "`decode_predictions` expects a batch of ImageNet predictions, an array of shape "
            f"(samples, {NUM_CLASSES}). Received an array of shape {tuple(scores.shape)}."
        )
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received top={top}.")
    classes = class_index()
    results = []
    for row in scores:
        guesses = row.argsort()[-top:][::-1]
        results.append([(*classes[i], row[i]) for i in guesses])
    return results
