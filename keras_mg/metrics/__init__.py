"""Metrics of the papers that Keras does not have."""

from keras_mg.metrics.attribute_table import AttributeTable as AttributeTable
from keras_mg.metrics.mean_iu import MeanIU as MeanIU
from keras_mg.metrics.tables import ClassTable as ClassTable
from keras_mg.metrics.tables import MapTable as MapTable
