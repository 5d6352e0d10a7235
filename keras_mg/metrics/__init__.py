"""Metrics of the papers that Keras does not have."""

from keras_mg.metrics.mean_iu import MeanIU as MeanIU
