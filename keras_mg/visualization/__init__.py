"""Pictures of what networks see."""

from keras_mg.visualization.segmentation import plot_segmentation as plot_segmentation
