"""The loss of attribute networks: rare attributes weigh more than frequent ones."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_mg.layers.arguments import not_negative


@keras.saving.register_keras_serializable(package="keras_mg")
class AttributeCrossentropy(keras.losses.Loss):
    """Binary cross-entropy per attribute, weighted by how often the attribute is absent.

    With p images that have an attribute and n that have it not, its cross-entropy, the mean over
    the batch, is multiplied by (n / p)^e and counts p^e / (p^e + n^e) among the others: together
    n^e / (p^e + n^e). The loss is the sum over the attributes. The first released network has
    e = 1, the later ones 1/2.

    Args:
        positives: per attribute, how many training images have it.
        negatives: per attribute, how many have it not.
        power: float, e. Defaults to 1.
        **kwargs: `name`, `reduction` and `dtype` of a Keras loss.

    Raises:
        ValueError: if the two are not as long as each other, or there is an attribute of no image.

    Example:

    >>> from keras_mg.training import AttributeCrossentropy
    >>> loss = AttributeCrossentropy([1, 3], [3, 1])
    >>> loss.weights.tolist()
    [0.75, 0.25]
    >>> round(float(loss([[1.0, 0.0]], [[0.5, 0.5]])), 4)  # log(2)
    0.6931

    Reference:
        https://github.com/caomw/eccv2016-attr-old
    """

    def __init__(
        self,
        positives: Sequence[float],
        negatives: Sequence[float],
        power: float = 1.0,
        name: str = "attribute_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        have, lack = (np.asarray(list(counts), "float64") for counts in (positives, negatives))
        if have.ndim != 1 or have.shape != lack.shape or not len(have):
            raise ValueError(
                "positives and negatives must have a number per attribute. Received: "
                f"{have.shape}, {lack.shape}"
            )
        if min(have.min(), lack.min()) < 0 or not (have + lack).all():
            raise ValueError(
                "positives and negatives must be at least 0, and not both 0. Received: "
                f"positives={have.tolist()}, negatives={lack.tolist()}"
            )
        self.positives, self.negatives = have.tolist(), lack.tolist()
        self.power = not_negative("power", power)
        self.weights = lack**power / (have**power + lack**power)

    def call(self, y_true, y_pred):
        y_pred = keras.ops.convert_to_tensor(y_pred)
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        each = keras.ops.binary_crossentropy(y_true, y_pred)
        return keras.ops.sum(each * keras.ops.cast(self.weights, y_pred.dtype), axis=-1)

    def get_config(self) -> dict:
        config = super().get_config()
        return {
            **config,
            "positives": self.positives,
            "negatives": self.negatives,
            "power": self.power,
        }
