"""Mean intersection over union of binary maps that may overlap."""

import keras
from keras import ops

from keras_mg.layers.arguments import standardize_data_format

# Counts are kept as two integers, low + high * _CARRY. One 32-bit integer would overflow after
# 2**31 pixels, and float32 stops counting single pixels at 2**24.
_CARRY = 2**24


@keras.saving.register_keras_serializable(package="keras_mg")
class MeanIU(keras.metrics.Metric):
    """Mean over maps of TP / (TP + FP + FN), the counts summed over everything seen.

    A pixel of a map is true where `y_true` is at least `threshold`, and predicted where `y_pred`
    is. True positives, false positives and false negatives of each map are summed over all samples
    since the last reset, so the result depends neither on the batch size nor on how samples are
    ordered, and it is not a mean of per-batch figures. A map in which nothing is true and nothing
    is predicted is left out of the mean; one in which something is true and nothing is predicted
    counts 0. With nothing to count at all the result is 0.

    None of Keras's own metrics measures this. `MeanIoU` and `OneHotMeanIoU` give each pixel exactly
    one class, while these maps overlap and leave background without one. `BinaryIoU` pools all maps
    into one: summed over the maps before the division instead of averaged after it.

    Args:
        threshold: float, the smallest value of a pixel that belongs to the map.
        data_format: `"channels_last"` (maps on the last axis), `"channels_first"` (maps on axis 1),
            or `None` for Keras's own setting.
        name: string, name of the metric.
        dtype: data type of the result.

    Input shape:
        `y_true` and `y_pred` alike: `(batch, ..., maps)` with channels last, `(batch, maps, ...)`
        with channels first. `sample_weight` is not accepted: pixels are counted, not weighted.

    Raises:
        ValueError: for an unknown `data_format`, for `y_true` and `y_pred` of different shapes, for
            another number of maps than before, and for a `sample_weight`.

    Example:

    >>> from keras_mg.metrics import MeanIU
    >>> metric = MeanIU(data_format="channels_last")
    >>> y_true = [[[1.0, 0.0], [1.0, 0.0]]]  # one row of two pixels, two maps
    >>> y_pred = [[[0.9, 0.1], [0.2, 0.8]]]
    >>> metric.update_state(y_true, y_pred)
    >>> float(metric.result())  # (1 / 2 + 0 / 1) / 2
    0.25

    Reference:
        The figure reported as "mean IU" by Ke, Maire and Yu, "Multigrid Neural Architectures",
        CVPR 2017 (https://arxiv.org/abs/1611.07661).
    """

    def __init__(
        self,
        threshold: float = 0.5,
        data_format: str | None = None,
        name: str = "mean_iu",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.data_format = standardize_data_format(data_format)
        # Higher is better, for callbacks that stop or save by a metric with mode "auto".
        self._direction = "up"
        self._maps: int | None = None

    def build(self, maps: int) -> None:
        """Creates the counts: rows TP, FP, FN; one column per map."""
        self._maps = maps
        self._low = self._counts(maps, "low")
        self._high = self._counts(maps, "high")
        self.built = True

    def _counts(self, maps: int, name: str):
        return self.add_variable((3, maps), "zeros", dtype="int32", name=name)

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Counts one batch.

        Args:
            y_true: the true maps.
            y_pred: the predicted maps, of the same shape.
            sample_weight: must be `None`.
        """
        if sample_weight is not None:
            raise ValueError("MeanIU counts pixels: it takes no `sample_weight`.")
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        shape = tuple(y_pred.shape)
        if tuple(y_true.shape) != shape or len(shape) < 2:
            raise ValueError(
                "MeanIU needs `y_true` and `y_pred` of one shape, with a batch and a map axis. "
                f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={shape}"
            )
        map_axis = len(shape) - 1 if self.data_format == "channels_last" else 1
        maps = shape[map_axis]
        if self._maps is None:
            self.build(maps)
        elif maps != self._maps:
            raise ValueError(
                f"MeanIU has counted {self._maps} maps so far. Received {maps} maps on axis "
                f"{map_axis} ({self.data_format}) of y_pred.shape={shape}"
            )
        true = ops.greater_equal(y_true, self.threshold)
        predicted = ops.greater_equal(y_pred, self.threshold)
        others = tuple(axis for axis in range(len(shape)) if axis != map_axis)
        counted = ops.stack(
            [
                ops.sum(ops.cast(pixels, "int32"), axis=others)
                for pixels in (
                    ops.logical_and(true, predicted),
                    ops.logical_and(ops.logical_not(true), predicted),
                    ops.logical_and(true, ops.logical_not(predicted)),
                )
            ]
        )
        low = self._low + counted
        self._high.assign_add(ops.floor_divide(low, _CARRY))
        self._low.assign(ops.mod(low, _CARRY))

    def result(self):
        """The mean over the maps that have something true or predicted, a scalar."""
        if self._maps is None:
            return ops.zeros((), dtype=self.dtype)
        high = ops.cast(self._high, "float32") * float(_CARRY)
        counts = high + ops.cast(self._low, "float32")
        union = ops.sum(counts, axis=0)
        seen = ops.cast(ops.greater(union, 0), "float32")
        ratios = counts[0] / ops.maximum(union, 1.0)
        mean = ops.sum(ratios * seen) / ops.maximum(ops.sum(seen), 1.0)
        return ops.cast(mean, self.dtype)

    def get_config(self) -> dict:
        # The base class stores the name and the dtype.
        config = super().get_config()
        return {**config, "threshold": self.threshold, "data_format": self.data_format}
