"""Weights files: read, fetch, load into a model, export.

One function is enough for most: the constructors' `weights=` calls `load`.
"""

from keras_mg.weights.arrays import WeightsError as WeightsError
from keras_mg.weights.download import DownloadError as DownloadError
from keras_mg.weights.exporting import export as export
from keras_mg.weights.loading import head_classes as head_classes
from keras_mg.weights.loading import load as load
from keras_mg.weights.loading import read_through as read_through
from keras_mg.weights.registry import WeightsInfo as WeightsInfo
from keras_mg.weights.registry import weights_info as weights_info
from keras_mg.weights.verification import verify as verify

__all__ = [
    "DownloadError",
    "WeightsError",
    "WeightsInfo",
    "export",
    "head_classes",
    "load",
    "read_through",
    "verify",
    "weights_info",
]
