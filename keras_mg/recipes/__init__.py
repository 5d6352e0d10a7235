"""The published recipes as records, and training by one."""

from keras_mg.recipes.attribute_data import Attributes as Attributes
from keras_mg.recipes.attribute_svms import attribute_svms as attribute_svms
from keras_mg.recipes.canvas_data import ClutteredMNIST as ClutteredMNIST
from keras_mg.recipes.data import DigitCanvases as DigitCanvases
from keras_mg.recipes.data import LabelledImages as LabelledImages
from keras_mg.recipes.description import describe as describe
from keras_mg.recipes.evaluation import evaluate as evaluate
from keras_mg.recipes.evaluation import predict as predict
from keras_mg.recipes.lookup import get_recipe as get_recipe
from keras_mg.recipes.lookup import list_recipes as list_recipes
from keras_mg.recipes.mixing import with_layers as with_layers
from keras_mg.recipes.opening import recipe_of as recipe_of
from keras_mg.recipes.photo_data import Photographs as Photographs
from keras_mg.recipes.publishing import publish as publish
from keras_mg.recipes.recipe import Recipe as Recipe
from keras_mg.recipes.saliency import saliency as saliency
from keras_mg.recipes.schedules import GeometricDecay as GeometricDecay
from keras_mg.recipes.schedules import StepDecay as StepDecay
from keras_mg.recipes.schedules import WarmUpCosine as WarmUpCosine
from keras_mg.recipes.summary import summarize as summarize
from keras_mg.recipes.train import FolderInUseError as FolderInUseError
from keras_mg.recipes.train import InterruptedRunError as InterruptedRunError
from keras_mg.recipes.train import RunStopped as RunStopped
from keras_mg.recipes.train import train as train
