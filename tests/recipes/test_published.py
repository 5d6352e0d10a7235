"""The published recipes, at the steps where their learning rates change, by hand."""

import dataclasses

import keras
import pytest

from keras_mg.recipes import IGC_CIFAR, IGC_SVHN, MGNET, RECIPES, RESNET, RESNET_110, Recipe
from keras_mg.training import CoupledSGD


def rates(recipe, steps_per_epoch, steps):
    schedule = recipe.schedule(steps_per_epoch)
    return pytest.approx([float(schedule(step)) for step in steps], rel=1e-6)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        # epochs, batch, momentum, nesterov, weight decay, shift, flip
        (IGC_CIFAR, (400, 64, 0.9, True, 1e-4, 4, True)),
        (IGC_SVHN, (40, 64, 0.9, True, 1e-4, 0, False)),
        (MGNET, (300, 128, 0.9, False, 5e-4, 4, True)),
        (RESNET, (200, 128, 0.9, True, 1e-4, 4, True)),
        (RESNET_110, (200, 128, 0.9, True, 1e-4, 4, True)),
    ],
)
def test_settings(recipe, expected):
    fields = ("epochs", "batch_size", "momentum", "nesterov", "weight_decay", "shift", "flip")
    assert tuple(getattr(recipe, field) for field in fields) == expected
    assert RECIPES[recipe.name] is recipe


def test_igc_drops_after_half_three_quarters_and_seven_eighths():
    steps = [0, 1999, 2000, 2999, 3000, 3499, 3500, 3999]
    assert rates(IGC_CIFAR, 10, steps) == [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    steps = [0, 59, 60, 89, 90, 104, 105, 119]
    assert rates(IGC_SVHN, 3, steps) == [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]


def test_mgnet_drops_every_fifty_epochs():
    steps_per_epoch = 391
    firsts = [epoch * steps_per_epoch for epoch in range(300)]
    lasts = [first + steps_per_epoch - 1 for first in firsts]
    by_formula = [0.1 * 0.1 ** (epoch // 50) for epoch in range(300)]
    assert by_formula == rates(MGNET, steps_per_epoch, firsts)
    assert by_formula == rates(MGNET, steps_per_epoch, lasts)


def test_resnet_drops_at_80_and_120():
    steps = [0, 31279, 31280, 46919, 46920, 78199]
    assert rates(RESNET, 391, steps) == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_the_110_layers_warm_up_for_400_steps():
    steps = [0, 399, 400, 31279, 31280, 46919, 46920]
    assert rates(RESNET_110, 391, steps) == [0.001, 0.001, 0.1, 0.1, 0.01, 0.01, 0.001]
    # Ten steps per epoch: 400 steps end in epoch 40; two: they outlast both drops, at 160 and 240.
    assert rates(RESNET_110, 10, [399, 400, 799, 800, 1200]) == [0.001, 0.1, 0.1, 0.01, 0.001]
    assert rates(RESNET_110, 2, [160, 240, 399]) == [0.001, 0.001, 0.001]
    # A drop on the warm-up's last step takes effect when it is over.
    assert rates(RESNET_110, 5, [399, 400, 599, 600]) == [0.001, 0.01, 0.01, 0.001]


def test_shortened():
    assert IGC_CIFAR.shortened(40) == dataclasses.replace(IGC_CIFAR, epochs=40, drops=(20, 30, 35))
    assert IGC_CIFAR.shortened(400) == IGC_CIFAR
    assert MGNET.shortened(30).drops == (5, 10, 15, 20, 25)
    assert MGNET.shortened(600).drops == (100, 200, 300, 400, 500)
    assert RESNET.shortened(10).drops == (4, 6)
    assert RESNET_110.shortened(10).warmup_steps == 20
    # What is left where drops meet each other, the start or the end.
    assert MGNET.shortened(3).drops == (1, 2)
    assert IGC_CIFAR.shortened(2).drops == (1,)
    assert IGC_CIFAR.shortened(1).drops == ()


def test_a_rate_without_drops_is_constant():
    assert rates(IGC_CIFAR.shortened(1), 10, [0, 1, 1000]) == [0.1, 0.1, 0.1]


def test_the_optimizer_has_the_recipe_and_survives_its_config():
    optimizer = RESNET.optimizer(steps_per_epoch=2)
    assert isinstance(optimizer, CoupledSGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert optimizer.weight_decay == 1e-4
    variable = keras.Variable([1.0])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for each in (optimizer, again):
        each.build([variable])
        each.iterations.assign(159)
        assert float(each.learning_rate) == pytest.approx(0.1)
        each.apply([keras.ops.zeros((1,))])
        assert float(each.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 1.5}, "batch_size must be a positive integer"),
        ({"learning_rate": 0.0}, "'resnet': learning_rate must be in its range. Received: .*=0.0"),
        ({"drop_factor": 1.0}, "drop_factor must be in its range"),
        ({"momentum": 1.0}, "momentum must be in its range"),
        ({"weight_decay": -1e-4}, "weight_decay must be in its range"),
        ({"shift": -1}, "shift must be in its range"),
        ({"warmup_steps": 5}, "warmup_learning_rate must be in its range"),
        ({"drops": (120, 80)}, r"drops must rise, from 1 to epochs - 1. .*\(120, 80\), epochs=200"),
        ({"drops": (0, 80)}, "drops must rise"),
        ({"drops": (80, 200)}, "drops must rise"),
    ],
)
def test_bad_recipes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RESNET, **changes)


def test_unknown_and_missing_settings_are_errors():
    with pytest.raises(TypeError, match="dropout"):
        dataclasses.replace(RESNET, dropout=0.5)
    with pytest.raises(TypeError, match="weight_decay"):
        Recipe(name="mine", reference="", epochs=1, batch_size=1, learning_rate=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        RESNET.epochs = 5
