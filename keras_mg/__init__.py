"""Multigrid networks, interleaved group convolutions, MgNet and Torch residual nets for Keras 3."""

from typing import TYPE_CHECKING

from keras_mg import _command
from keras_mg._default_backend import choose_backend

choose_backend()  # must come before anything below imports Keras

if TYPE_CHECKING or not _command.is_command():
    from keras_mg import applications as applications
    from keras_mg import datasets as datasets
    from keras_mg import distribution as distribution
    from keras_mg import layers as layers
    from keras_mg import metrics as metrics
    from keras_mg import recipes as recipes
    from keras_mg import training as training
    from keras_mg import visualization as visualization
    from keras_mg import weights as weights
    from keras_mg.deployment import deploy as deploy
    from keras_mg.training import Model as Model
else:
    __getattr__ = _command.late_attribute

__version__ = "0.1.0"
