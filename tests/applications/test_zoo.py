"""Every network: counts, shapes, gradients, numbers, data formats, reload. One table drives all."""

import inspect

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import applications, ops
from tests.support import zoo
from tests.support.arrays import numpy, relative_difference

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the twins and the meta device are torch's"
)

TOLERANCE, DEPLOYED_TOLERANCE = 2e-5, 1e-5
ALL = pytest.mark.parametrize("row", zoo.ROWS, ids=lambda row: row.id)
THOROUGH = [
    pytest.param(row, id=row.id, marks=() if row.thorough else pytest.mark.slow) for row in zoo.ROWS
]
VARIANTS = [row for row in zoo.ROWS if row.quick and not row.thorough]


def test_the_table_has_every_network():
    constructors = {
        name
        for name, value in vars(applications).items()
        if inspect.isfunction(value) and name[0].isupper()
    }
    assert {row.name for row in zoo.ROWS} == constructors == set(applications.list_models())
    assert sum(row.thorough for row in zoo.ROWS) > 15
    assert len(VARIANTS) > 15


@ALL
def test_parameters_and_output_shape(row):
    model, macs = ops.multiply_accumulates(lambda: row.make(data_format="channels_last"))
    parameters, twin_macs = zoo.twin_cost(row)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == parameters
    if row.parameters is not None:
        assert parameters == row.parameters
    if row.name == "MgNet":
        assert macs < twin_macs
        twin_macs -= _superfluous(row)
    assert macs == twin_macs
    if row.macs is not None:
        assert macs / 1e6 == pytest.approx(row.macs, rel=1e-4)

    with keras.device("meta"), torch.no_grad():
        y = model(torch.empty((2, *row.image), device="meta"), training=False)
    sides = row.image[:2] if row.dense else ()
    assert tuple(y.shape) == (2, *sides, row.classes)
    assert model.output_shape == (None, *sides, row.classes)


def _superfluous(row):
    """Multiply-accumulates of the convolutions with A that the carried residual spares MgNet.

    On the first grid that of u = 0, on the others both of the restricted u: what the restriction
    adds, the first iteration takes away. A last grid of one iteration keeps one of them, so that
    its A stays in the graph.
    """
    arguments = {"iterations": (2, 2, 2, 2), "filters": 256, "stem": "cifar", **row.arguments}
    iterations, filters = arguments["iterations"], arguments["filters"]
    side = row.image[0] // (4 if arguments["stem"] == "imagenet" else 1)
    spared = 0
    for grid in range(len(iterations)):
        width = filters if isinstance(filters, int) else filters[grid]
        keeps_one = grid == len(iterations) - 1 and iterations[grid] == 1
        spared += (1 if grid == 0 or keeps_one else 2) * 9 * width**2 * side**2
        side = -(-side // 2)
    return spared


@ALL
def test_every_weight_that_is_read_gets_a_gradient(row):
    if row.dense:
        # Keras's own layers cut gradients on the meta device; these networks are small enough.
        device, side = "cpu", 8
        model = row.make(classifier_activation=None, input_shape=(side, side, 1))
        pyramid = row.make(include_top=False, pyramid_outputs=True, input_shape=(side, side, 1))
        top = model(torch.zeros((2, side, side, 1)), training=True)
    else:
        # Likewise where a ReLU of Keras's stands without a batch norm.
        device, side = "cpu" if row.name == "AttributeNet" else "meta", 32
        with keras.device(device):
            pyramid = row.make(include_top=False, pyramid_outputs=True)
    with keras.device(device):
        grids = pyramid(torch.zeros((2, side, side, row.image[2]), device=device), training=True)
    if not row.dense:
        model, top = pyramid, grids[max(grids)]  # what the classifier reads
    top.sum().backward(retain_graph=True)
    assert _without_gradient(model) == row.unread
    sum(y.sum() for y in grids.values()).backward()
    assert _without_gradient(pyramid) == set()


def _without_gradient(model):
    return {v.path.rsplit("/", 1)[0] for v in model.trainable_variables if v.value.grad is None}


@pytest.fixture(scope="module", params=THOROUGH)
def case(request):
    """A row and its network, which the tests of one row share."""
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        return request.param, zoo.randomized(request.param, data_format="channels_last")


def test_numbers_of_the_twin(case):
    assert zoo.difference_from_twin(*case) <= TOLERANCE


def test_both_data_formats_and_reload(case, tmp_path):
    row, model = case
    expected = zoo.outputs(model, zoo.image(row))
    first = row.make(
        input_shape=zoo.in_format("channels_first", row.small),
        classifier_activation=None,
        data_format="channels_first",
    )
    # Through the file, which both formats read.
    path = tmp_path / "model.keras"
    model.save(path)
    first.set_weights(model.get_weights())
    assert (
        relative_difference(zoo.outputs(first, zoo.image(row), "channels_first"), expected)
        <= TOLERANCE
    )
    again = keras.saving.load_model(path)
    np.testing.assert_array_equal(zoo.outputs(again, zoo.image(row)), expected)


def test_gradients_are_numbers_other_than_zero(case):
    row, model = case
    model.zero_grad()
    y = model(keras.ops.convert_to_tensor(zoo.image(row)), training=False)
    (y * torch.cos(torch.arange(y.numel()).reshape(y.shape))).sum().backward()
    for variable in model.trainable_variables:
        if variable.path.rsplit("/", 1)[0] in row.unread:
            continue
        gradient = numpy(variable.value.grad)
        assert np.isfinite(gradient).all(), variable.path
        # On the last grid, one iteration of MgNet never sees A: see `MgNetSmoother`.
        if row.name == "MgNet" and variable.path == "grid3_smoother/operator/kernel":
            continue
        assert np.abs(gradient).max() > 0, variable.path
    model.zero_grad()


def test_deployment_form(case):
    row, model = case
    assert _difference_when_deployed(row, model) <= DEPLOYED_TOLERANCE


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.id)
def test_deployment_form_of_variants(row):
    assert _difference_when_deployed(row, zoo.randomized(row)) <= DEPLOYED_TOLERANCE


def _difference_when_deployed(row, model):
    deployed = keras_mg.deploy(model)
    assert not deployed.trainable_variables
    assert deployed.count_params() < model.count_params()
    images = zoo.image(row)
    return relative_difference(zoo.outputs(deployed, images), zoo.outputs(model, images))


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.id)
def test_numbers_of_the_twin_of_variants(row):
    assert zoo.difference_from_twin(row, zoo.randomized(row)) <= TOLERANCE


def test_dropout_is_off_in_inference_and_on_in_training():
    plain = applications.PMG9(data_format="channels_last")
    dropping = applications.PMG9(dropout=True, data_format="channels_last")
    dropping.set_weights(plain.get_weights())
    images = keras.ops.convert_to_tensor(np.ones((2, 32, 32, 3), "float32"))
    with torch.no_grad():
        np.testing.assert_array_equal(numpy(plain(images)), numpy(dropping(images)))
        a, b = (numpy(dropping(images, training=True)) for _ in range(2))
    assert np.abs(a - b).max() > 0


@pytest.mark.parametrize("kind", ["PMG9", "RMG12", "PRMG16"])
def test_published_dropout_rates(kind):
    """0, .1, .2, .3, .4 in blocks 0 to 4, of which the progressive start is part of block 0."""
    with keras.device("meta"):
        model = getattr(applications, kind)(dropout=True)
    rates = {
        layer.name.split("_")[0]: layer.dropout for layer in model.layers if "_layer" in layer.name
    }
    blocks = {name: rate for name, rate in rates.items() if name.startswith("block")}
    assert set(blocks.items()) <= set(
        zip((f"block{b}" for b in range(1, 6)), (0, 0.1, 0.2, 0.3, 0.4), strict=True)
    )
    assert {"block2", "block5"} <= set(blocks)
    assert all(rate == 0 for name, rate in rates.items() if name.startswith("start"))
