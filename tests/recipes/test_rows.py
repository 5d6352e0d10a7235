"""Every row of the publications' tables is a recipe with the published settings.

The tables here were copied from the publications and from what was released with them, not from
the recipes.
"""

import keras
import pytest

from keras_mg.applications import network_record
from keras_mg.applications.attributes import APASCAL_LEVELS
from keras_mg.recipes import GeometricDecay, StepDecay, get_recipe, list_recipes
from keras_mg.training import AverageStatistics

EXPONENTIAL = GeometricDecay(0.1, 1e-4)  # 10 ** -(1 + 3 (e - 1) / 199), e = 1 to 200
THREE_DROPS = StepDecay(0.1, drops=(60, 120, 160), factor=0.2)
EVERY_30 = StepDecay(0.1, drops=(30, 60, 90, 120, 150, 180), factor=0.1)

# Ke, Maire, Yu on CIFAR-100: per n, the network and its trainable parameters.
PLAIN_CIFAR = {
    "mg6": 8_344_164, "mg11": 20_460_948, "mg16": 32_577_732, "mg21": 44_694_516,
    "pmg9": 8_462_196, "pmg16": 20_602_212, "pmg23": 32_742_228, "pmg30": 44_882_244,
    "vgg6": 10_016_908, "vgg11": None, "vgg16": None, "vgg21": None,
}  # fmt: skip
RESIDUAL_CIFAR = {
    "rmg12": 20_555_748, "rmg22": 44_789_316, "rmg32": 69_022_884, "rmg42": 93_256_452,
    "prmg16": 20_602_212, "prmg30": 44_882_244, "prmg44": 69_162_276, "prmg58": 93_442_308,
    "res12": 9_499_236, "res22": None, "res32": None, "res42": None,
}  # fmt: skip
# Errors in percent that they print.
CIFAR_ERRORS = {
    "mg6": 32.08,
    "mg11": 28.39,
    "mg16": 29.91,
    "mg21": 30.03,
    "rmg12": 27.84,
    "rmg22": 26.79,
    "rmg32": 25.29,
    "rmg42": 26.32,
}
# On ImageNet: parameters; photographs of a step, and steps of an update.
IMAGENET = {
    "rmg18": (15_847_752, 64, 4),
    "rmg34": (32_899_176, 64, 4),
    "prmg-seg30": (31_905_432, 16, 16),
    "prmg-seg52": (60_463_560, 16, 16),
}
# Cluttered MNIST: parameters at ten maps, canvases of a step, steps of an update.
CLUTTERED = {
    "pmg": (605_718, 64, 1),
    "prmg": (1_199_886, 32, 2),
    "unet": (3_791_518, 64, 1),
    "umg": (5_903_290, 64, 1),
}
TASKS = ("seg", "spt", "rot", "sca", "tra", "aff")
# Zhang et al. on ImageNet: parameters, top-1 error in percent.
IGC_IMAGENET = {
    "igc-l100m2": (8_637_900, 26.95),
    "igc-l16m16": (13_528_296, 29.40),
    "igc-l4m32": (12_251_240, 30.77),
    "igc-resnet18-c64": (11_689_512, 31.06),
    "igc-resnet18-c69": (13_542_457, 30.58),
}
# The Torch study: parameters and printed errors.
STUDY = {
    "resnet20": (271_886, 0.084473),
    "resnet32": (466_766, 0.079102),
    "resnet44": (661_646, 0.075684),
    "resnet56": (856_526, 0.063477),
    "resnet110": (1_733_486, 0.067871),
    "resnet20-bn-after-add": (271_886, 0.083496),
    "resnet20-no-relu": (271_886, 0.089355),
    "resnet20-bn-after-add-no-relu": (271_886, 0.079102),
}
# Its author's later corrections.
CORRECTED = {
    "": {"resnet20": 0.0829, "resnet32": 0.0763, "resnet44": 0.0714, "resnet56": 0.0694}
    | {"resnet110": 0.0673},
    "-bn-after-add": {"resnet20": 0.0834, "resnet110": 0.1356},
    "-no-relu": {"resnet20": 0.0862, "resnet110": 0.0632},
    "-bn-after-add-no-relu": {"resnet20": 0.0823, "resnet110": 0.1230},
    "-rmsprop-1e-4": {"resnet20": 0.1677, "resnet110": 0.1482},
    "-rmsprop-1e-3": {"resnet20": 0.1055, "resnet110": 0.0821},
    "-rmsprop-1e-2": {"resnet20": 0.0945, "resnet110": 0.0768},
    "-rmsprop-1e-1": {"resnet110": 0.1098},
    "-adadelta": {"resnet20": 0.1093, "resnet110": 0.0888},
    "-adagrad-1e-3": {"resnet20": 0.3536, "resnet110": 0.3022},
    "-adagrad-1e-2": {"resnet20": 0.1603, "resnet110": 0.1321},
    "-adagrad-1e-1": {"resnet20": 0.1255, "resnet110": 0.1145},
    "-bn-momentum-1": {"resnet20": 0.0863},
    "-bn-momentum-0.01": {"resnet20": 0.0835},
    "-bn-average": {"resnet20": 0.0822},
}


def names():
    """Every row of the tables above, on its data."""
    yield from (f"{name}-cifar100" for name in PLAIN_CIFAR | RESIDUAL_CIFAR)
    yield from (f"{name}-cifar10" for name in PLAIN_CIFAR | RESIDUAL_CIFAR)  # likewise
    yield from (f"{name}-imagenet" for name in (*IMAGENET, *IGC_IMAGENET, "mgnet"))
    yield from (f"{name}-mnist-{task}" for name in CLUTTERED for task in TASKS)
    for name in ("igc-plain", "igc-resnet", "igc-plain-baseline", "igc-resnet-baseline"):
        yield from (f"{name}-{data}" for data in ("cifar10", "cifar100", "svhn"))
    for name in ("mgnet", "mgnet-own"):
        yield from (f"{name}-{data}" for data in ("cifar10", "cifar100", "mnist"))
    yield from (f"{name}-cifar10" for name in STUDY)
    yield from (f"attributes-{name}-apascal" for name in ("v1", "v2", "v3", "v4", "v4-last"))
    for variant, sizes in CORRECTED.items():
        yield from (f"{name}-corrected{variant}-cifar10" for name in sizes)


def test_each_row_is_a_recipe_and_each_recipe_a_row_or_a_trial():
    rows = list(names())
    assert len(rows) == len(set(rows))
    missing = set(rows) - set(list_recipes())
    assert not missing
    # Trials, and short recipes of this project's own, which say so.
    for name in set(list_recipes()) - set(rows):
        assert "digits" in name or ("-short-" in name and get_recipe(name).differs), name


def parameters(recipe):
    """Those that the record of the recipe's network has."""
    arguments = dict(recipe.network.keywords)
    for key in ("classifier_activation", "momentum"):
        arguments.pop(key, None)
    record = network_record(recipe.network.func.__name__)
    for form in record.forms:
        if {"classes": form.classes, "outputs": form.classes} | form.arguments == {
            "classes": form.classes, "outputs": form.classes, **arguments
        }:  # fmt: skip
            return form.parameters
    raise AssertionError(f"{recipe.name}: no record of {arguments}")


def sgd(recipe, rate=0.1):
    optimizer = recipe.optimizer(rate)
    assert type(optimizer).__name__ == "CoupledSGD"
    steps = optimizer.gradient_accumulation_steps or 1
    return optimizer.momentum, optimizer.nesterov, optimizer.weight_decay, steps


@pytest.mark.parametrize(
    ("name", "count"), [*PLAIN_CIFAR.items(), *RESIDUAL_CIFAR.items()], ids=lambda v: str(v)
)
def test_multigrid_on_cifar(name, count):
    recipe = get_recipe(f"{name}-cifar100")
    steps = 2 if name in RESIDUAL_CIFAR else 1
    assert count is None or parameters(recipe) == count
    assert sgd(recipe) == (0.9, False, 5e-4, steps)
    assert (recipe.epochs, recipe.batch_size) == (200, 128 // steps)
    assert recipe.data.steps_per_epoch == 300 * steps
    assert recipe.schedule == (THREE_DROPS if steps == 2 else EXPONENTIAL)
    assert recipe.restarts_velocity
    error = CIFAR_ERRORS.get(name)
    expected = {} if error is None else {"accuracy": pytest.approx(1 - error / 100)}
    assert recipe.claims == expected


@pytest.mark.parametrize("name", IMAGENET)
def test_multigrid_on_imagenet(name):
    count, batch, steps = IMAGENET[name]
    recipe = get_recipe(f"{name}-imagenet")
    assert parameters(recipe) == count
    assert sgd(recipe) == (0.9, False, 1e-4, steps)
    assert (recipe.epochs, recipe.batch_size) == (200, batch)
    assert recipe.data.steps_per_epoch == 10_000 * steps
    assert recipe.schedule == EVERY_30


@pytest.mark.parametrize("name", CLUTTERED)
def test_cluttered_mnist(name):
    count, batch, steps = CLUTTERED[name]
    assert parameters(get_recipe(f"{name}-mnist-seg")) == count
    for task in TASKS:
        recipe = get_recipe(f"{name}-mnist-{task}")
        updates = 150 if task == "seg" and name != "prmg" else 800
        assert (recipe.epochs, recipe.batch_size) == (200, batch)
        assert recipe.data.steps_per_epoch == updates * steps
        assert sgd(recipe) == (0.9, False, 5e-4, steps)
        assert recipe.schedule == (THREE_DROPS if name == "prmg" else EXPONENTIAL)


def test_igc():
    for name, (count, error) in IGC_IMAGENET.items():
        recipe = get_recipe(f"{name}-imagenet")
        assert parameters(recipe) == count
        assert recipe.claims == {"accuracy": pytest.approx(1 - error / 100)}
        assert sgd(recipe) == (0.9, True, 1e-4, 1)
        assert (recipe.epochs, recipe.batch_size) == (120, 256)
        assert recipe.schedule == StepDecay(0.1, drops=(30, 60, 90), factor=0.1)
    for data, epochs, drops in (
        ("cifar10", 400, (200, 300, 350)),
        ("cifar100", 400, (200, 300, 350)),
        ("svhn", 40, (20, 30, 35)),
    ):
        for name in ("igc-plain", "igc-resnet", "igc-plain-baseline", "igc-resnet-baseline"):
            recipe = get_recipe(f"{name}-{data}")
            assert sgd(recipe) == (0.9, True, 1e-4, 1)
            assert (recipe.epochs, recipe.batch_size) == (epochs, 64)
            assert recipe.schedule == StepDecay(0.1, drops, 0.1)
            assert (recipe.data.augmentation is None) == (data == "svhn")


def test_mgnet():
    for name, shared in (("mgnet", True), ("mgnet-own", False)):
        for data in ("cifar10", "cifar100", "mnist"):
            recipe = get_recipe(f"{name}-{data}")
            arguments = recipe.network.keywords
            assert (arguments["iterations"], arguments["filters"]) == ((2, 2, 2, 2), 256)
            assert arguments["share_smoother"] == shared
            assert sgd(recipe) == (0.9, False, 5e-4, 1)
            assert (recipe.epochs, recipe.batch_size) == (300, 128)
            assert recipe.schedule == StepDecay(0.1, (49, 99, 149, 199, 249, 299), 0.1)
    assert get_recipe("mgnet-cifar10").claims == {"accuracy": 0.96}
    assert get_recipe("mgnet-cifar100").claims == {"accuracy": 0.7994}
    assert get_recipe("mgnet-imagenet").claims == {"accuracy": 0.7859}


def test_the_torch_study():
    drops = StepDecay(0.1, drops=(80, 120), factor=0.1)
    for name, (count, error) in STUDY.items():
        recipe = get_recipe(f"{name}-cifar10")
        assert parameters(recipe) == count
        assert recipe.claims == {"accuracy": pytest.approx(1 - error)}
        assert sgd(recipe) == (0.9, True, 1e-4, 1)
        assert (recipe.epochs, recipe.batch_size) == (200, 128)
        warm = {"warmup_steps": 400, "warmup_learning_rate": 0.001} if "110" in name else {}
        assert recipe.schedule == StepDecay(0.1, drops.drops, 0.1, **warm)


@pytest.mark.parametrize("variant", CORRECTED)
def test_the_torch_study_corrected(variant):
    for name, error in CORRECTED[variant].items():
        recipe = get_recipe(f"{name}-corrected{variant}-cifar10")
        arguments = recipe.network.keywords
        assert arguments["corrected"]
        assert recipe.claims == {"accuracy": pytest.approx(1 - error)}
        assert arguments.get("block", "bn_before_add") == (
            "bn_after_add" if "bn-after-add" in variant else "bn_before_add"
        )
        assert arguments.get("final_relu", True) == ("no-relu" not in variant)
        # Torch's momentum is the share of the new.
        momentum = {"-bn-momentum-1": 0.0, "-bn-momentum-0.01": 0.99}.get(variant, 0.9)
        assert arguments.get("momentum", 0.9) == pytest.approx(momentum)
        assert (AverageStatistics in recipe.callbacks) == (variant == "-bn-average")
        optimizer = recipe.optimizer(0.1)
        if "rmsprop" in variant or "adagrad" in variant:
            rate = float(variant.split("-", 2)[2])
            assert recipe.schedule == StepDecay(rate, drops=(80, 120), factor=0.1)
            assert not optimizer.weight_decay
        if "rmsprop" in variant:
            assert isinstance(optimizer, keras.optimizers.RMSprop)
            assert (optimizer.rho, optimizer.momentum, optimizer.centered) == (0.9, 0, False)
        elif "adagrad" in variant:
            assert isinstance(optimizer, keras.optimizers.Adagrad)
            assert optimizer.initial_accumulator_value == 0
        elif "adadelta" in variant:
            assert isinstance(optimizer, keras.optimizers.Adadelta)
            assert optimizer.rho == 0.3
            assert recipe.schedule == StepDecay(1.0)
        else:
            assert sgd(recipe) == (0.9, True, 1e-4, 1)


def test_attributes():
    """Which heads name how many of the 64 attributes, by the files that came with the networks."""
    heads = {"v1": None, "v2": (11, 53), "v3": (9, 10, 45), "v4": (9, 10, 11, 34), "v4-last": None}
    for name, counts in heads.items():
        recipe = get_recipe(f"attributes-{name}-apascal")
        version, levels = (recipe.network.keywords[key] for key in ("version", "levels"))
        assert version == int(name[1])
        if counts is None:
            assert levels is None
        else:
            assert levels == "apascal"
            assigned = APASCAL_LEVELS[version]
            assert tuple(assigned.count(s) for s in range(1, version + 1)) == counts
        optimizer = recipe.optimizer(1e-3)
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        assert (optimizer.rho, optimizer.momentum) == (0.9, 0)
        assert recipe.schedule == StepDecay(1e-3)
        assert (recipe.epochs, recipe.batch_size, recipe.data.size) == (100, 128, 224)
        assert recipe.loss([1], [4]).weights[0] == pytest.approx(0.8 if name == "v1" else 2 / 3)


@pytest.mark.parametrize("kind", ["rmsprop-1e-2", "adadelta", "adagrad-1e-2"])
def test_the_study_s_optimizers_are_torch_s(kind):
    """Three steps of each in float64, against the formulas of Torch7's optim."""
    recipe = get_recipe(f"resnet20-corrected-{kind}-cifar10")
    rate = recipe.schedule.learning_rate
    gradients = [[0.5, -2.0, 0.0], [0.1, 1.0, 0.0], [-0.3, 1e-3, 1e-4]]
    keras.config.set_floatx("float64")
    variable = keras.Variable([1.0, 2.0, 3.0], dtype="float64")
    optimizer = recipe.optimizer(rate)
    optimizer.build([variable])
    x, state, moved = [1.0, 2.0, 3.0], [0.0] * 3, [0.0] * 3
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype="float64")])
        for i, g in enumerate(gradient):
            if kind.startswith("rmsprop"):
                state[i] = 0.9 * state[i] + 0.1 * g * g
                x[i] -= rate * g / (state[i] ** 0.5 + 1e-8)
            elif kind.startswith("adagrad"):
                state[i] += g * g
                x[i] -= rate * g / (state[i] ** 0.5 + 1e-10)
            else:
                state[i] = 0.3 * state[i] + 0.7 * g * g
                change = (moved[i] + 1e-6) ** 0.5 / (state[i] + 1e-6) ** 0.5 * g
                moved[i] = 0.3 * moved[i] + 0.7 * change * change
                x[i] -= change
    assert keras.ops.convert_to_numpy(variable).tolist() == pytest.approx(x, abs=1e-5)
