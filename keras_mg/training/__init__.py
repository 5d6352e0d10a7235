"""Training: the model class whose steps compile, its optimizer, and data on the device in time."""

from keras_mg.training.coupled_sgd import CoupledSGD as CoupledSGD
from keras_mg.training.model import Model as Model
from keras_mg.training.prefetch import prefetch as prefetch
from keras_mg.training.restart_velocity import RestartVelocity as RestartVelocity
