"""Arrays and tensors for tests: random ones, moved between layouts, compared."""

import keras
import numpy as np

KINDS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def flat(nested):
    """One tensor or a list of tensors as a list."""
    return list(nested) if isinstance(nested, list | tuple) else [nested]


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def channels_last_to(data_format, array):
    """A channels-last batch, array or tensor, in `data_format`."""
    return np.moveaxis(array, 3, 1) if data_format == "channels_first" else array


def to_channels_last(array, data_format):
    return np.moveaxis(array, 1, 3) if data_format == "channels_first" else array


def kind_of(variable):
    """Which of KINDS a weight is, by its name."""
    return next(k for k in sorted(KINDS, key=len, reverse=True) if variable.name.endswith(k))


def randomize(layer, seed=0):
    """Give the biases, batch-norm parameters and statistics of `layer` values of a trained one.

    Freshly made they are zeros and ones, which hide every mistake in their use.
    """
    generator = np.random.default_rng(seed)
    for variable in layer.weights:
        kind = kind_of(variable)
        if kind in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.6, 1.4, variable.shape))
        elif kind != "kernel":
            variable.assign(generator.normal(0.0, 0.2, variable.shape))
    return layer


def relative_difference(value, reference):
    """max |value - reference| / max |reference|."""
    value, reference = np.asarray(value, "float64"), np.asarray(reference, "float64")
    assert value.shape == reference.shape
    assert np.isfinite(reference).all()
    return np.abs(value - reference).max() / np.abs(reference).max()


def assert_close(values, references, tolerance):
    """Each value within `tolerance` of its reference, see above; NaN is never close."""
    for value, reference in zip(values, references, strict=True):
        difference = relative_difference(value, reference)
        assert difference <= tolerance, f"{difference:.1e} > {tolerance:.1e}"
