"""The model class that the constructors return, and the form of a model for deployment."""

from keras_mg.models.deployment import Deployed as Deployed
from keras_mg.models.deployment import deploy as deploy
from keras_mg.models.model import Model as Model
