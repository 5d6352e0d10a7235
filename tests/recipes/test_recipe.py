"""The recipes as records: what they hold, how they change, and how they are recorded."""

import dataclasses
import json
import re
from functools import partial

import keras
import pytest

from keras_mg.datasets import (
    ChannelStatistics,
    ContrastAndZCA,
    MeanImage,
    ScaleAndCrop,
    ShiftAndFlip,
)
from keras_mg.recipes import GeometricDecay, Recipe, StepDecay, get_recipe, list_recipes
from keras_mg.training import CoupledSGD

# epochs, batch, momentum, Nesterov, weight decay
IGC = (400, 64, 0.9, True, 1e-4)
MGNET = (300, 128, 0.9, False, 5e-4)
RESNET = (200, 128, 0.9, True, 1e-4)


@pytest.mark.parametrize(
    ("name", "expected", "augmentation"),
    [
        ("igc-resnet-cifar10", IGC, ShiftAndFlip(4, True, fill=(125, 123, 114))),
        ("igc-plain-cifar100", IGC, ShiftAndFlip(4, True, fill=(129, 124, 112))),
        ("igc-resnet-svhn", (40, *IGC[1:]), None),
        ("mgnet-cifar10", MGNET, ShiftAndFlip(4, True, fill=0)),
        ("mgnet-own-cifar100", MGNET, ShiftAndFlip(4, True, fill=0)),
        ("mgnet-mnist", MGNET, None),
        ("resnet20-cifar10", RESNET, ShiftAndFlip(4, True, fill=0, on="normalized")),
        ("resnet110-cifar10", RESNET, ShiftAndFlip(4, True, fill=0, on="normalized")),
    ],
)
def test_settings(name, expected, augmentation):
    recipe = get_recipe(name)
    optimizer = recipe.optimizer(0.1)
    assert isinstance(optimizer, CoupledSGD)
    momentum, decay = optimizer.momentum, optimizer.weight_decay
    found = (recipe.epochs, recipe.batch_size, momentum, optimizer.nesterov, decay)
    assert found == expected
    assert recipe.data.augmentation == augmentation
    assert recipe.name == name


def test_the_multigrid_networks_are_trained_as_released():
    plain, residual = (get_recipe(f"{name}-cifar100") for name in ("mg11", "rmg12"))
    for recipe in (plain, residual):
        optimizer = recipe.optimizer(0.1)
        found = (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay)
        assert found == (0.9, False, 5e-4)
        assert recipe.restarts_velocity
        assert recipe.epochs == 200
        assert not recipe.differs
        assert recipe.data.preprocessing == ContrastAndZCA("bgr")
        assert recipe.data.sampling == "balanced"
        assert recipe.data.augmentation == ScaleAndCrop(36, offsets=(1, 3), flip=True)
        assert recipe.data.evaluation == ScaleAndCrop(36, offsets=(2, 2), flip=False)
    assert plain.optimizer(0.1).gradient_accumulation_steps is None
    assert residual.optimizer(0.1).gradient_accumulation_steps == 2
    assert (plain.batch_size, plain.data.steps_per_epoch) == (128, 300)
    assert (residual.batch_size, residual.data.steps_per_epoch) == (64, 600)
    assert plain.schedule == GeometricDecay(0.1, 1e-4)
    assert residual.schedule == StepDecay(0.1, drops=(60, 120, 160), factor=0.2)
    assert plain.claims == {"accuracy": 0.7161}
    others = [r for r in map(get_recipe, list_recipes()) if r not in (plain, residual)]
    assert {r.name.split("-")[0] for r in others if r.restarts_velocity} >= {"pmg9", "vgg6"}
    others = [
        name for name in list_recipes() if re.match("igc|mgnet-(own|[cmd])|resnet|segment", name)
    ]
    assert len(others) > 20
    assert not any(get_recipe(name).restarts_velocity for name in others)


def test_claims_are_the_published_figures_of_the_network_on_the_data():
    published = {
        "mg6-cifar100": 0.6792,
        "rmg34-imagenet": 0.7549,
        "igc-l100m2-imagenet": 0.7305,
        "rmg32-cifar100": 0.7471,
        "mgnet-cifar10": 0.96,
        "mgnet-cifar100": 0.7994,
        "resnet20-bn-after-add-no-relu-cifar10": 0.920898,  # of the study, not of He et al.
        "resnet110-cifar10": 0.932129,
    }
    for name, accuracy in published.items():
        assert get_recipe(name).claims == {"accuracy": accuracy}
    # Nothing printed, of another form of the network, or on other data.
    for name in ("pmg9-cifar100", "mgnet-own-cifar10", "mgnet-mnist", "mgnet-digits"):
        assert get_recipe(name).claims == {}
    small = [name for name in list_recipes("igc-*") if "imagenet" not in name]
    assert not any(get_recipe(name).claims for name in small)


def test_how_images_are_normalised_and_drawn():
    igc, mgnet, resnet = (
        get_recipe(f"{name}-cifar10").data for name in ("igc-resnet", "mgnet", "resnet20")
    )
    assert igc.preprocessing == ChannelStatistics(
        (125.307, 122.950, 113.865), (62.993, 62.089, 66.705)
    )
    mean = (255 * 0.4914, 255 * 0.4822, 255 * 0.4465)
    assert mgnet.preprocessing.mean == pytest.approx(mean)
    assert resnet.preprocessing == MeanImage()
    assert (igc.sampling, mgnet.sampling, resnet.sampling) == ("shuffle", "shuffle", "replacement")


@pytest.mark.parametrize("name", list_recipes("-digits"))
def test_digits_are_not_mirrored(name):
    data = get_recipe(name).data
    if getattr(data, "augmentation", None) is not None:
        assert not data.augmentation.flip


SMALL = [
    name
    for name in list_recipes()
    if not re.search("cifar100|110|56|^(p?r?mg|vgg|res)[0-9]+-|-(rot|sca|tra|aff)$|imagenet", name)
]


@pytest.mark.parametrize("name", [*SMALL, "igc-resnet-cifar100", "mg6-cifar100"])
def test_every_recipe_builds_its_network_and_is_recorded(name):
    recipe = get_recipe(name)
    if "mgnet" in name:  # the arguments are the same for few channels
        recipe = recipe.changed({"network.filters": 8})
    assert isinstance(recipe.network(), keras.Model)
    record = recipe.record()
    assert json.loads(json.dumps(record)) == record
    assert record["epochs"] == recipe.epochs
    assert set(recipe.claims) <= {metric().name for metric in recipe.metrics}
    assert "http" in recipe.source


def test_names_are_found():
    assert list_recipes("mgnet-cifar*") == ["mgnet-cifar10", "mgnet-cifar100"]
    assert list_recipes("t56") == ["resnet56-cifar10", "resnet56-corrected-cifar10"]
    assert len(set(list_recipes())) == len(list_recipes()) > 30
    assert list_recipes("nothing") == []
    message = r"There is no recipe 'resnet-20-cifar10'. The nearest are .*resnet20-cifar10"
    with pytest.raises(ValueError, match=message):
        get_recipe("resnet-20-cifar10")


def test_a_record_says_everything():
    record = get_recipe("igc-resnet-cifar10").record()
    assert record["network"] == {
        "call": "IGCResNet",
        "depth": 20,
        "primary_partitions": 24,
        "secondary_partitions": 2,
        "classes": 10,
        "classifier_activation": None,
    }
    assert record["optimizer"] == {
        "call": "CoupledSGD",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
    }
    assert record["schedule"]["kind"] == "StepDecay"
    assert record["schedule"]["drops"] == [200, 300, 350]
    assert record["data"]["preprocessing"]["mean"] == [125.307, 122.950, 113.865]
    assert record["data"]["augmentation"]["fill"] == [125, 123, 114]
    assert record["loss"] == {"call": "SparseCategoricalCrossentropy", "from_logits": True}
    assert record["metrics"] == [{"call": "SparseCategoricalAccuracy", "name": "accuracy"}]


def test_changes_by_name():
    recipe = get_recipe("igc-resnet-cifar10")
    changed = recipe.changed(
        {
            "network.depth": 8,
            "batch_size": 16,
            "schedule.learning_rate": 0.05,
            "data.augmentation.flip": False,
            "optimizer.momentum": 0.8,
        }
    )
    assert changed.network.keywords["depth"] == 8
    assert changed.network.keywords["classes"] == 10
    assert changed.optimizer(0.1).momentum == 0.8
    assert (changed.batch_size, changed.schedule.learning_rate) == (16, 0.05)
    assert changed.data.augmentation == ShiftAndFlip(4, False, fill=(125, 123, 114))
    # Nothing else, and nothing there.
    assert recipe.record() == get_recipe("igc-resnet-cifar10").record()
    before, after = recipe.record(), changed.record()
    same = {"name", "source", "epochs", "loss", "metrics", "claims", "restarts_velocity"}
    assert {key for key in before if before[key] == after[key]} >= same


def test_changes_are_made_at_once():
    recipe = get_recipe("resnet20-cifar10")
    settings = {"epochs": 20, "schedule.drops": [5, 10], "schedule.factor": 0.5}
    for names in (settings, reversed(settings)):
        changed = recipe.changed({name: settings[name] for name in names})
        assert changed.epochs == 20
        assert changed.schedule == StepDecay(0.1, (5, 10), 0.5, *warm_up(recipe))
    whole = {"data.augmentation.shift": 2, "data.augmentation": ShiftAndFlip(4, flip=False)}
    assert recipe.changed(whole).data.augmentation == ShiftAndFlip(2, flip=False)
    with pytest.raises(ValueError, match="must drop before the training ends"):
        recipe.changed({"epochs": 20})


def warm_up(recipe):
    return recipe.schedule.warmup_steps, recipe.schedule.warmup_learning_rate


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("depth", r"depth: Recipe has name, source, .*'depth'. The nearest are network.depth"),
        ("bach_size", r"'bach_size'. The nearest are batch_size"),
        ("schedule.rate", r"schedule.rate: StepDecay has learning_rate, drops"),
        ("optimizer.mom", r"mom: CoupledSGD has .*weight_decay.* nearest are optimizer.momentum"),
        ("network.dept", r"network.dept: IGCResNet has depth, .* The nearest are network.depth"),
        ("batch_size.x", r"batch_size.x: int has no parts. Received: 'batch_size.x'"),
        ("network.depth.x", r"network.depth.x: int has no parts"),
        ("loss.from_logit", r"The nearest are loss.from_logits"),
    ],
)
def test_changes_of_what_is_not_there(name, message):
    with pytest.raises(ValueError, match=message):
        get_recipe("igc-resnet-cifar10").changed({name: 1})


def test_a_function_that_takes_anything_is_asked():
    recipe = dataclasses.replace(get_recipe("igc-resnet-cifar10"), optimizer=partial(strict))
    assert recipe.changed({"optimizer.momentum": 0.5}).optimizer(0.1).momentum == 0.5
    assert recipe.changed({"optimizer.nesterov": True}).optimizer(0.1).nesterov


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("batch_size", "a", "int"),
        ("batch_size", True, "int"),
        ("epochs", 1.5, "int"),
        ("schedule.learning_rate", "fast", "float"),
        ("schedule.drops", 5, r"tuple\[int, ...\]"),
        ("schedule.drops", (1, 2.5), r"tuple\[int, ...\]"),
        ("optimizer.momentum", "a", "float"),
        ("optimizer.nesterov", 3, "bool"),
        ("data.augmentation.flip", "yes", "bool"),
        ("data.sampling", "all", "Literal.*'shuffle', 'replacement', "),
        ("data.steps_per_epoch", "many", r"int \| None"),
        ("network.depth", "deep", "int"),
        ("network.classes", [1], "int"),
        ("network", 3, "Callable"),
        ("schedule", None, "StepDecay"),
        ("claims", 3, "Mapping"),
        ("name", 3, "str"),
    ],
)
def test_changes_to_another_type(name, value, kind):
    message = rf"{name} must be .*{kind}.* Received: {name}="
    with pytest.raises(ValueError, match=message):
        get_recipe("igc-resnet-cifar10").changed({name: value})


def test_changes_to_whatever_is_right():
    recipe = get_recipe("mgnet-cifar10").changed(
        {
            "network.filters": [8, 16, 16, 16],
            "network.dtype": "bfloat16",
            "schedule.learning_rate": 1,
            "data.augmentation": None,
            "optimizer.clipnorm": 1.0,
        }
    )
    assert recipe.data.augmentation is None
    assert recipe.optimizer(0.1).clipnorm == 1.0


def test_a_shortened_recipe_says_so():
    recipe = get_recipe("resnet20-cifar10")
    assert recipe.shortened(10).record()["differs"][-1] == "10 of 200 epochs"
    assert recipe.shortened(200).differs == recipe.differs


def test_unknown_data_sets():
    with pytest.raises(ValueError, match="dataset must be one of .*'cifar10'.* Received: dataset="):
        get_recipe("resnet20-cifar10").changed({"data.dataset": "cifar11"})


def strict(learning_rate, **options):
    return CoupledSGD(learning_rate, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 1.5}, "batch_size must be a positive integer"),
        ({"epochs": 120}, "'resnet20-cifar10': the rate must drop before .* 120 of epochs=120"),
    ],
)
def test_bad_recipes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(get_recipe("resnet20-cifar10"), **changes)


def test_unknown_and_missing_settings_are_errors():
    recipe = get_recipe("resnet20-cifar10")
    with pytest.raises(TypeError, match="dropout"):
        dataclasses.replace(recipe, dropout=0.5)
    with pytest.raises(TypeError, match="optimizer"):
        Recipe(name="mine", source="", network=None, data=None, epochs=1, batch_size=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 5


def test_the_optimizer_has_the_schedule_and_survives_its_config():
    recipe = get_recipe("resnet20-cifar10")
    optimizer = recipe.optimizer(recipe.schedule.rate(2, recipe.epochs))
    variable = keras.Variable([1.0])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for each in (optimizer, again):
        each.build([variable])
        each.iterations.assign(159)
        assert float(each.learning_rate) == pytest.approx(0.1)
        each.apply([keras.ops.zeros((1,))])
        assert float(each.learning_rate) == pytest.approx(0.01)
