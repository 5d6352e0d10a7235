"""Multigrid networks, interleaved group convolutions, MgNet and Torch residual nets for Keras 3."""

from keras_mg.default_backend import choose_backend

choose_backend()  # must come before anything below imports Keras

from keras_mg import applications as applications
from keras_mg import layers as layers
from keras_mg import models as models
from keras_mg import recipes as recipes
from keras_mg import weights as weights
from keras_mg.models import Model as Model
from keras_mg.models import deploy as deploy

__version__ = "0.1.0"
