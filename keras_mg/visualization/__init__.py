"""Pictures of what networks see, of what they look at, and of how they trained."""

from keras_mg.visualization.history import plot_history as plot_history
from keras_mg.visualization.pyramid import plot_pyramid as plot_pyramid
from keras_mg.visualization.saliency import Saliency as Saliency
from keras_mg.visualization.saliency import find_points as find_points
from keras_mg.visualization.saliency import gradient_saliency as gradient_saliency
from keras_mg.visualization.saliency import occlusion_saliency as occlusion_saliency
from keras_mg.visualization.saliency import write_saliency as write_saliency
from keras_mg.visualization.saliency_plot import plot_saliency as plot_saliency
from keras_mg.visualization.segmentation import plot_segmentation as plot_segmentation
from keras_mg.visualization.transformation import plot_transformation as plot_transformation
