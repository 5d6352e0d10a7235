"""Recipes with Keras's augmentation layers."""

import keras
import numpy as np
import pytest

from keras_mg.applications import MgNet
from keras_mg.recipes import get_recipe, list_recipes, with_layers
from keras_mg.recipes.data import LabelledImages

pytestmark = pytest.mark.filterwarnings(
    "ignore:Tensor.T is deprecated on 0-D tensors:UserWarning", "ignore::DeprecationWarning"
)


def test_every_recipe_of_labelled_images_takes_them():
    for name in list_recipes():
        recipe = get_recipe(name)
        if isinstance(recipe.data, LabelledImages):
            mixed = with_layers(recipe, ["rand_augment", "mix_up"])
            assert mixed.data.layers == ("rand_augment", "mix_up")
            assert mixed.record()["data"]["layers"] == ["rand_augment", "mix_up"]
            assert mixed.differs[-1].endswith("rand_augment, mix_up of Keras")
    recipe = get_recipe("mgnet-digits")
    assert with_layers(recipe, []) is recipe
    with pytest.raises(ValueError, match="names.*Received: .*'blur'"):
        with_layers(recipe, ["blur"])
    with pytest.raises(ValueError, match="have one label each. Received: segment-digits"):
        with_layers(get_recipe("segment-digits"), ["mix_up"])


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_network_learns_from_mixed_digits(place):
    recipe = with_layers(get_recipe("mgnet-digits"), ["mix_up"])
    data = recipe.data.open(64, augment_on=place)
    model = MgNet((1, 1), filters=8, classes=10, classifier_activation=None)
    model.compile(
        keras.optimizers.Adam(0.01), recipe.loss(), metrics=[metric() for metric in recipe.metrics]
    )
    losses = model.fit(
        data.train, validation_data=data.validation, epochs=3, shuffle=False, verbose=0
    ).history["loss"]
    assert losses[2] < losses[0] - 0.1
    figures = model.evaluate(data.test, return_dict=True, verbose=0)
    assert np.isfinite(figures["loss"])
    assert set(figures) == {"loss", "accuracy"}


def test_layers_need_the_loss_of_mixed_labels():
    recipe = get_recipe("mgnet-digits")
    with pytest.raises(ValueError, match=r"with_layers.*Received: data.layers=\('mix_up',\) besid"):
        recipe.changed({"data.layers": ["mix_up"]})
    mixed = with_layers(recipe, ["cut_mix"]).changed({"data.layers": ("mix_up", "cut_mix")})
    assert mixed.data.layers == ("mix_up", "cut_mix")
