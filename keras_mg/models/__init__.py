"""The model class that the constructors return."""

from keras_mg.models.model import Model as Model
