"""The canary: each private name that the package uses is there, and is what it is used as."""

import keras
import pytest

from keras_mg._private import Feature, keras_names, missing, names

ALL = list(keras_names.NAMES)
if keras.backend.backend() == "torch":
    from keras_mg._private import torch as private_torch
    from keras_mg._private import torch_compiler

    ALL += [*private_torch.NAMES, *torch_compiler.NAMES]


@pytest.mark.parametrize("name", ALL, ids=str)
def test_the_installed_libraries_have_the_name(name):
    value = name.find()
    if name.base is not None:
        assert issubclass(value, name.base)
    assert name.is_as_expected()
    assert name.why
    assert name.watch


def test_each_feature_has_names_and_misses_none():
    for feature in Feature:
        assert any(feature in name.features for name in ALL)
        assert missing(feature) == ()


def _name(owner, name, **options):
    return names.Name(owner, name, (Feature.DEPLOY,), "why", "watch", **options)


@pytest.mark.parametrize(
    "name",
    [
        _name("keras.nowhere", "get_file"),
        _name("keras.utils", "get_no_file"),
        _name("layer", "_no_such_attribute"),
        _name("keras.utils", "to_categorical", parameters=("x", "num_classes", "other")),
        _name("keras.utils", "pad_sequences", parameters=()),  # one must be given
        _name("keras.layers", "Dense", base=keras.Model),
        _name("keras.layers", "add", base=keras.Model),
    ],
    ids=str,
)
def test_a_name_that_is_not_as_expected_is_told(name):
    assert not name.is_as_expected()


def test_looking_at_examples_moves_no_counter_of_automatic_names_and_no_random_numbers():
    def numbered():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        model.compile()
        return model.name, model.layers[0].name, model.optimizer.name

    keras.utils.clear_session(free_memory=False)
    before = numbered()
    keras.utils.clear_session(free_memory=False)
    for make in names._examples().values():
        getattr(make, "__wrapped__", make)()
    assert numbered() == before
