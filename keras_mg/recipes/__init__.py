"""The published training recipes, and training by one."""

from keras_mg.recipes import experiment as experiment
from keras_mg.recipes.published import IGC_CIFAR as IGC_CIFAR
from keras_mg.recipes.published import IGC_SVHN as IGC_SVHN
from keras_mg.recipes.published import MGNET as MGNET
from keras_mg.recipes.published import RECIPES as RECIPES
from keras_mg.recipes.published import RESNET as RESNET
from keras_mg.recipes.published import RESNET_110 as RESNET_110
from keras_mg.recipes.published import Recipe as Recipe
from keras_mg.recipes.train import train as train
