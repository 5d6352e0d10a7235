"""What Keras checks of its own applications, `applications_test.py`, of all constructors here.

Its test of pictures fetches weights and an elephant; ours of a picture is in
`tests/weights/test_shipped.py`. The others are run as they stand in Keras's file.
"""

import importlib.util
import inspect
import re
import unittest
from functools import partial
from unittest import mock

import keras
import pytest

from keras_mg import applications
from keras_mg.applications._records import NETWORKS
from tests.support.zoo import ROWS

if keras.backend.backend() != "torch":
    pytest.skip("the meta device is torch's", allow_module_level=True)

FORMATS = ("channels_first", "channels_last")
# Images of 123 and of 200 pixels, of which Keras's custom tensor makes 100, do not suit all grids.
SIDES = re.compile(r"multiples of \d+|at least \d+ pixels")


class _Marks:
    """`pytest.mark` as the file of Keras uses it: its marks are not ours."""

    skipif = staticmethod(lambda condition, reason: unittest.skipIf(False, reason))

    def __getattr__(self, name):
        return lambda function: function


FILE = importlib.util.find_spec("keras.src.applications.applications_test")
if FILE is None:
    pytest.skip("this Keras comes without its tests", allow_module_level=True)


def _checks():
    spec = importlib.util.spec_from_file_location("keras_applications_test", FILE.origin)
    module = importlib.util.module_from_spec(spec)
    named = "absl.testing.parameterized.named_parameters"  # absl comes with Keras
    plain = mock.patch(named, return_value=lambda test: test)
    with mock.patch.object(pytest, "mark", _Marks()), plain:
        spec.loader.exec_module(module)
    return {"keras": module.ApplicationsTest}  # pytest would collect the class by itself


CHECKS = _checks()
NAMES = [n for n in dir(CHECKS["keras"]) if n.startswith("test_application") and n not in (
    "test_application_base", "test_application_classifier_activation")]  # fmt: skip


def _constructor(row):
    """A row's constructor as Keras's checks call it: every network of theirs has weights."""
    make = partial(getattr(applications, row.name), **row.arguments)
    takes = inspect.signature(make).parameters

    def app(**arguments):
        return make(**{key: value for key, value in arguments.items() if key in takes})

    app.__name__ = row.name
    return app, takes


def _width(row):
    """The channels of the trunk's output: those of its pooled features."""
    app, _ = _constructor(row)
    with keras.device("meta"):
        return app(weights=None, include_top=False, pooling="avg").output_shape[-1]


FIRST = [next(row for row in ROWS if row.name == name) for name in NETWORKS]
# One of each family; the others are run with `-m slow`.
QUICK = {"MgNet", "ResNet20", "RMG18", "SegPMG", "IGC_L100M2", "CifarVGG6", "AttributeNet"}
SLOWLY = {name: () if name in QUICK else pytest.mark.slow for name in NETWORKS}
EVERY = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=SLOWLY[row.name]) for row in FIRST]
)


def test_the_quick_ones_are_one_of_each_family():
    families = {record.family for record in NETWORKS.values()}
    assert {NETWORKS[name].family for name in QUICK} == families


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", NAMES)
@EVERY
def test_keras_says(row, name, data_format):
    app, _ = _constructor(row)
    width = _width(row)
    case = CHECKS["keras"](name)
    with keras.device("meta"):
        try:
            getattr(case, name)(app, width, None, data_format)
        except ValueError as error:
            if name not in (
                "test_application_notop_custom_input_shape",
                "test_application_notop_custom_input_tensor",
            ) or not SIDES.search(str(error)):
                raise
            pytest.skip(str(error))


@EVERY
def test_activation_and_round_trip_of_the_configuration(row):
    app, takes = _constructor(row)
    with keras.device("meta"):
        model = app(weights=None, include_top=True, classifier_activation="softmax")
        config = keras.saving.serialize_keras_object(model)
        again = keras.saving.deserialize_keras_object(config)
    assert [v.shape for v in again.weights] == [v.shape for v in model.weights]
    if "classifier_activation" in takes:
        last = [layer for layer in model.layers if hasattr(layer, "activation")][-1]
        assert last.activation.__name__ == "softmax"
