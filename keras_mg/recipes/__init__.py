"""Data sets, metrics and pictures to train and judge the networks with."""

from keras_mg.recipes.digits import Digits as Digits
from keras_mg.recipes.digits import DigitScatterer as DigitScatterer
from keras_mg.recipes.digits import ScatteredDigits as ScatteredDigits
from keras_mg.recipes.digits import load_digits as load_digits
from keras_mg.recipes.digits import split_digits as split_digits
from keras_mg.recipes.mean_iu import MeanIU as MeanIU
from keras_mg.recipes.segmentation_plot import plot_segmentation as plot_segmentation
