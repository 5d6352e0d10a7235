"""Keras's own checks of a layer, `run_layer_test`, on every public layer."""

import pytest
from keras.src import testing

from tests.support.layer_cases import every_layer
from tests.support.layer_check import FORMATS, in_format

# Keras's check trains on a generator and says nothing of shuffling.
pytestmark = pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")


@every_layer
@pytest.mark.parametrize("data_format", FORMATS)
def test_run_layer_test(case, data_format):
    shapes = [in_format(shape, data_format) for shape in case.shapes()]
    layer = case.make(data_format=data_format)
    outputs = layer.compute_output_shape(case.nested(shapes))
    layer.build(case.nested(shapes))
    testing.TestCase().run_layer_test(
        case.layer,
        {**case.arguments, "data_format": data_format},
        input_shape=case.nested(shapes),
        expected_output_shape=outputs,
        expected_num_trainable_weights=len(layer.trainable_weights),
        expected_num_non_trainable_weights=len(layer.non_trainable_weights),
        expected_num_losses=0,
        run_training_check=bool(layer.weights),
        assert_built_after_instantiation=not layer.weights,
    )
