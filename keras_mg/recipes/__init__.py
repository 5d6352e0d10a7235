"""Data sets, metrics and pictures to train and judge the networks with."""

from keras_mg.recipes import experiment as experiment
from keras_mg.recipes.augmented_images import AugmentedImages as AugmentedImages
from keras_mg.recipes.augmented_images import SetEpoch as SetEpoch
from keras_mg.recipes.cifar import Images as Images
from keras_mg.recipes.cifar import load_images as load_images
from keras_mg.recipes.cifar import split_validation as split_validation
from keras_mg.recipes.coupled_sgd import CoupledSGD as CoupledSGD
from keras_mg.recipes.device_images import DeviceImages as DeviceImages
from keras_mg.recipes.digits import Digits as Digits
from keras_mg.recipes.digits import DigitScatterer as DigitScatterer
from keras_mg.recipes.digits import ScatteredDigits as ScatteredDigits
from keras_mg.recipes.digits import load_digits as load_digits
from keras_mg.recipes.digits import split_digits as split_digits
from keras_mg.recipes.mean_iu import MeanIU as MeanIU
from keras_mg.recipes.prefetch import prefetch as prefetch
from keras_mg.recipes.published import IGC_CIFAR as IGC_CIFAR
from keras_mg.recipes.published import IGC_SVHN as IGC_SVHN
from keras_mg.recipes.published import MGNET as MGNET
from keras_mg.recipes.published import RECIPES as RECIPES
from keras_mg.recipes.published import RESNET as RESNET
from keras_mg.recipes.published import RESNET_110 as RESNET_110
from keras_mg.recipes.published import Recipe as Recipe
from keras_mg.recipes.segmentation_plot import plot_segmentation as plot_segmentation
from keras_mg.recipes.train import train as train
