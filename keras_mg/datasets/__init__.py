"""Data sets as arrays and as batches, and what the papers do to images for training."""

from keras_mg.datasets.augmentation import ShiftAndFlip as ShiftAndFlip
from keras_mg.datasets.augmented_images import AugmentedImages as AugmentedImages
from keras_mg.datasets.canvas_batches import CanvasBatches as CanvasBatches
from keras_mg.datasets.cluttered_mnist import Canvases as Canvases
from keras_mg.datasets.device_images import DeviceImages as DeviceImages
from keras_mg.datasets.digits import Digits as Digits
from keras_mg.datasets.digits import DigitScatterer as DigitScatterer
from keras_mg.datasets.digits import ScatteredDigits as ScatteredDigits
from keras_mg.datasets.digits import load_digits as load_digits
from keras_mg.datasets.digits import split_digits as split_digits
from keras_mg.datasets.images import Images as Images
from keras_mg.datasets.images import load_images as load_images
from keras_mg.datasets.images import split_validation as split_validation
from keras_mg.datasets.mnist_digits import MNISTDigits as MNISTDigits
from keras_mg.datasets.mnist_digits import load_mnist_digits as load_mnist_digits
from keras_mg.datasets.normalization import ChannelStatistics as ChannelStatistics
from keras_mg.datasets.normalization import MeanImage as MeanImage
from keras_mg.datasets.normalization import Normalizer as Normalizer
from keras_mg.datasets.prepare import prepare_dataset as prepare_dataset
from keras_mg.datasets.scale_and_crop import ScaleAndCrop as ScaleAndCrop
from keras_mg.datasets.set_epoch import SetEpoch as SetEpoch
from keras_mg.datasets.whitening import ContrastAndZCA as ContrastAndZCA
from keras_mg.datasets.whitening import Whitener as Whitener
from keras_mg.datasets.whitening import load_preprocessing as load_preprocessing
