"""Pictures of what networks see, and of how they trained."""

from keras_mg.visualization.history import plot_history as plot_history
from keras_mg.visualization.segmentation import plot_segmentation as plot_segmentation
