"""The IGC networks against the logits that MXNet computed of given weights."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_mg.applications import IGC_L100M2, IGCPlain, IGCResNet18_C64
from tests.support.arrays import numpy, relative_difference
from tests.weights.mxnet_writer import fixture, images, weights

NETWORKS = {
    "IGC-L100M2_ImageNet": IGC_L100M2,
    "ResNet18-w64_ImageNet": IGCResNet18_C64,
    "plain_igc_d38L24M2": partial(IGCPlain, 38, 24, 2),
    "plain_igc_d8L8M2": partial(IGCPlain, 8, 8, 2),
}
# float32 reaches some 1e-6, and an epsilon of 1e-5 in place of 2e-5 moves the logits by 1e-5.
TOLERANCE = 5e-6


def keras_layout(array):
    """OIHW to HWIO, and a fully connected (out, in) to (in, out)."""
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, (0,)))


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_mxnet(name):
    """The arrays are assigned in their order, the forward pass's: names play no part here."""
    facts = fixture(name)
    model = NETWORKS[name](classifier_activation=None, data_format="channels_last")
    arrays = weights(facts)
    for variables, names in (
        (model.trainable_variables, facts["arg_shapes"]),
        (model.non_trainable_variables, facts["aux_shapes"]),
    ):
        for variable, key in zip(variables, names, strict=True):
            variable.assign(keras_layout(arrays[key]))
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == facts["n_arg_params"]
    logits = model.predict(images(facts).transpose(0, 2, 3, 1), verbose=0)
    assert relative_difference(logits, facts["logits"]) <= TOLERANCE


def test_the_tolerance_sees_a_wrong_epsilon():
    facts = fixture("plain_igc_d38L24M2")
    model = IGCPlain(38, 24, 2, classifier_activation=None, data_format="channels_last")
    arrays = weights(facts)
    for variable, key in zip(model.trainable_variables, facts["arg_shapes"], strict=True):
        variable.assign(keras_layout(arrays[key]))
    for variable, key in zip(model.non_trainable_variables, facts["aux_shapes"], strict=True):
        # As if 1e-5 rather than 2e-5 were added to the variance.
        wrong = 1e-5 if key.endswith("var") else 0.0
        variable.assign(arrays[key] - wrong)
    logits = numpy(model(keras.ops.convert_to_tensor(images(facts).transpose(0, 2, 3, 1))))
    assert relative_difference(logits, facts["logits"]) > TOLERANCE
