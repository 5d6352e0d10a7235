"""Training: the model class whose steps compile, its optimizer, data in time, and checkpoints."""

from keras_mg.training.attribute_crossentropy import AttributeCrossentropy as AttributeCrossentropy
from keras_mg.training.average_statistics import AverageStatistics as AverageStatistics
from keras_mg.training.checkpoint import Checkpoint as Checkpoint
from keras_mg.training.checkpoint import CheckpointError as CheckpointError
from keras_mg.training.checkpoint import TrainingStopped as TrainingStopped
from keras_mg.training.coupled_sgd import CoupledSGD as CoupledSGD
from keras_mg.training.measured_steps import forget_measured_steps as forget_measured_steps
from keras_mg.training.model import Model as Model
from keras_mg.training.prefetch import prefetch as prefetch
from keras_mg.training.restart_velocity import RestartVelocity as RestartVelocity
from keras_mg.training.scalars_to_tensorboard import ScalarsToTensorBoard as ScalarsToTensorBoard
from keras_mg.training.stored_in_order import stored_in_order as stored_in_order
