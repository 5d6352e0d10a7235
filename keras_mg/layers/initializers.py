"""The initialisations of the released networks, one name each."""

from __future__ import annotations

import keras


def he_fan_out():
    """Normal, standard deviation `sqrt(2 / (kernel height * kernel width * filters))`.

    Of the Torch7 networks.
    """
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def he_fan_in():
    """Normal, standard deviation `sqrt(2 / fan_in)`. Of the IGC and Torch residual networks."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def unit_uniform():
    """Uniform in [0, 1): what Torch7 gives the scales of batch norms by default."""
    return keras.initializers.RandomUniform(0.0, 1.0)


def torch_uniform():
    """Uniform within `1 / sqrt(fan_in)`: what Torch and PyTorch give kernels by default."""
    return keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")
