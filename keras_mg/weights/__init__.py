"""Weights files: read, fetch, load into a model, export.

One function is enough for most: the constructors' `weights=` calls `load`.
"""

from keras_mg.weights._array_names import register_names as register_names
from keras_mg.weights._arrays import WeightsError as WeightsError
from keras_mg.weights._download import DownloadError as DownloadError
from keras_mg.weights._exporting import export as export
from keras_mg.weights._info import weights_info as weights_info
from keras_mg.weights._loading import head_classes as head_classes
from keras_mg.weights._loading import load as load
from keras_mg.weights._opening import read_through as read_through
from keras_mg.weights._published import WeightsInfo as WeightsInfo
from keras_mg.weights._published import register_weights as register_weights
from keras_mg.weights._trained import INDEX as INDEX
from keras_mg.weights._trained import TrainedInfo as TrainedInfo
from keras_mg.weights._trained import add_to_index as add_to_index
from keras_mg.weights._trained import layer_digests as layer_digests
from keras_mg.weights._trained import read_index as read_index
from keras_mg.weights._verification import verify as verify

__all__ = [
    "INDEX",
    "DownloadError",
    "TrainedInfo",
    "WeightsError",
    "WeightsInfo",
    "add_to_index",
    "export",
    "head_classes",
    "layer_digests",
    "load",
    "read_index",
    "read_through",
    "register_names",
    "register_weights",
    "verify",
    "weights_info",
]
