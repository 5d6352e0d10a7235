"""What torch's exporter makes of every family stands alone, and takes batches of any size."""

import importlib.util
import warnings

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file, save_model

import keras_mg
from benchmarks import export_targets
from keras_mg._private.keras import flatten_layers
from keras_mg.ops import group_convolution
from keras_mg.training import stored_in_order
from tests.support import tiny

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's exporter"),
    # Of torch about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # Kernels are stored in another order than torch's packer looks for.
    pytest.mark.filterwarnings("ignore:No complete tensor found"),
]

# One network of each family.
FAMILIES = (
    "multigrid", "seg_pmg", "seg_unet", "igc_plain", "igc_imagenet_l", "mgnet_shared",
    "resnet_bn_after_add", "baseline_vgg", "attributes",
)  # fmt: skip
FORMATS = {target.name: target for target in export_targets.TARGETS}
DEPLOYED = pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left():
    yield
    made = (export_targets.TORCH, export_targets.ONNX_RUNTIME, export_targets.OPENVINO,
            export_targets.LITERT, export_targets.TENSORFLOW)  # fmt: skip
    for process in (*map(export_targets.runner, made), export_targets.tensorflow_exporter()):
        process.close()


def network(name, deployed=False):
    """A network, an input of another batch than it is exported with, and its output."""
    model = tiny.fill(tiny.NETWORKS[name]())
    model = keras_mg.deploy(model) if deployed else model
    x = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
    with torch.no_grad():
        return model, x, model(torch.from_numpy(x), training=False).numpy()


def rows(names, *quick):
    """Each name in both forms; what is not in `quick`, as name-form, is slow."""
    forms = {"trained": False, "deployed": True}
    return pytest.mark.parametrize(
        ("name", "deployed"),
        [
            pytest.param(name, deployed, id=row, marks=() if row in quick else pytest.mark.slow)
            for name in names
            for form, deployed in forms.items()
            for row in [f"{name}-{form}"]
        ],
    )


@rows(tiny.NETWORKS, *(f"{name}-trained" for name in FAMILIES), "igc_plain-deployed")
def test_programs_run_where_keras_mg_is_not_installed(name, deployed, tmp_path):
    model, x, expected = network(name, deployed)
    made, _ = FORMATS["torch.export"].run(model, x, tmp_path)
    np.testing.assert_allclose(made, expected, atol=2e-5 * abs(expected).max())
    operations = {str(node.target) for node in export_targets.any_batch(model, x).graph.nodes}
    assert not [each for each in operations if "keras_mg" in each or "shuffle" in each]


@pytest.mark.filterwarnings("ignore")  # of the exporters about themselves
@rows(FAMILIES, "mgnet_shared-deployed")
@pytest.mark.parametrize("format", [n for n in FORMATS if n not in ("torch.export", "int8")])
def test_other_formats_run_where_keras_mg_is_not_installed(format, name, deployed, tmp_path):
    """Keras's way to ONNX, for one batch size, torch's, for any; the others where installed."""
    missing = [p for p in FORMATS[format].packages if importlib.util.find_spec(p) is None]
    if missing:  # some need an environment of their own
        pytest.skip(f"not installed (docs/export.md says how): {', '.join(missing)}")
    model, x, expected = network(name, deployed)
    made, _ = FORMATS[format].run(model, x, tmp_path)
    np.testing.assert_allclose(made, expected, atol=2e-5 * abs(expected).max())
    for file in tmp_path.glob("*.onnx"):
        # Operations of the standard, or written out in the file.
        onnx = pytest.importorskip("onnx").load(file)
        own = {function.domain for function in onnx.functions}
        assert {node.domain for node in onnx.graph.node} <= {"", "ai.onnx", *own}


@pytest.mark.parametrize("formulation", ["merged", "depthwise"])
def test_formulations_of_group_convolutions_stay_here(formulation, monkeypatch):
    """litert-torch converts the convolution of groups, and not how they are merged."""
    monkeypatch.setattr(group_convolution, "OVERRIDE", formulation)
    layer = keras_mg.layers.Convolution(8, 3, groups=4, data_format="channels_last")
    layer.build((None, 6, 6, 8))
    program = torch.export.export(layer, (torch.rand(2, 6, 6, 8),))
    nodes = [n for n in program.graph.nodes if n.op == "call_function"]
    (convolution,) = [n for n in nodes if "conv" in str(n.target)]
    assert convolution.args[-1] == 4  # groups
    assert {str(n.target) for n in nodes if n is not convolution} <= {"aten.permute.default"}


def test_a_program_made_by_keras_is_for_any_batch(tmp_path):
    model, x, expected = network("igc_plain")
    model.eval()
    size = torch.export.Dim("batch", min=1, max=1024)
    model.export(tmp_path / "m.pt2", format="torch", verbose=False, dynamic_shapes={0: size})
    made, _ = export_targets.runner(export_targets.TORCH).run(tmp_path / "m.pt2", x)
    np.testing.assert_allclose(made, expected, atol=2e-5 * abs(expected).max())


def test_a_pyramid_is_exported_with_its_levels():
    model = keras_mg.applications.MgNet(
        (1, 1, 1), filters=4, include_top=False, pyramid_outputs=True, input_shape=(16, 16, 3)
    )
    x = torch.rand(5, 16, 16, 3)
    expected = model(x, training=False)
    made = export_targets.any_batch(model, x.numpy()).module()(x)
    assert list(made) == list(expected) == ["P0", "P1", "P2"]
    for level, values in expected.items():
        torch.testing.assert_close(made[level], values, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.filterwarnings("ignore:.model.quantize.*were skipped")  # Keras 3.16
@pytest.mark.parametrize(
    ("name", "has_classifier"),
    [
        pytest.param(
            name,
            name not in ("seg_pmg", "seg_unet", "attributes"),
            marks=() if name in ("attributes", "mgnet_shared") else pytest.mark.slow,
        )
        for name in FAMILIES
    ],
)
def test_keras_quantizes_classifiers_alone(name, has_classifier, tmp_path):
    """Of Keras's layers `Dense` has an int8 form and convolutions have none."""
    model, x, expected = network(name)
    model.quantize("int8")
    quantized = [layer for layer in flatten_layers(model) if layer.quantization_mode]
    dense = [layer for layer in flatten_layers(model) if type(layer) is keras.layers.Dense]
    assert quantized == dense
    assert bool(dense) == has_classifier
    made = model.predict(x, verbose=0)
    if not dense:
        np.testing.assert_allclose(made, expected, atol=2e-5 * abs(expected).max())
        return
    assert all("int8" in {str(w.dtype) for w in layer.weights} for layer in dense)
    # Weights and features are rounded to 127 steps each.
    assert 0 < abs(made - expected).max() <= 0.03 * abs(expected).max()
    made_elsewhere, _ = FORMATS["torch.export"].run(model, x, tmp_path)
    np.testing.assert_allclose(made_elsewhere, made, atol=2e-5 * abs(made).max())


@DEPLOYED
@pytest.mark.parametrize("name", ["seg_pmg", "igc_plain", "mgnet_shared", "resnet_bn_after_add"])
def test_torchs_tools_take_weights_that_are_stored_in_order(name, deployed, tmp_path):
    model = tiny.fill(tiny.NETWORKS[name]())
    model = keras_mg.deploy(model) if deployed else model
    x, _ = tiny.load(name)
    expected = model.predict(x, verbose=0)
    strides = [p.stride() for p in model.parameters()]
    with stored_in_order(model):
        state = model.state_dict()
        assert all(tensor.is_contiguous() for tensor in state.values())
        # A layer's weights stand under the layers that hold it, too.
        once = {tensor.data_ptr(): (key, tensor) for key, tensor in state.items()}
        save_file(dict(once.values()), tmp_path / "m.safetensors")
        stored = load_file(tmp_path / "m.safetensors")
        assert all(torch.equal(stored[key], tensor) for key, tensor in once.values())
        numbers = torch.nn.utils.parameters_to_vector(model.parameters())
        assert len(numbers) == sum(variable.value.numel() for variable in model.variables)
        inside = model.predict(x, verbose=0)
    np.testing.assert_allclose(inside, expected, atol=2e-5 * abs(expected).max())
    assert [p.stride() for p in model.parameters()] == strides
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_safetensors_stores_models_and_a_state_dict_can_be_written_into(tmp_path):
    model, other = tiny.fill(tiny.NETWORKS["mgnet_shared"]()), tiny.NETWORKS["mgnet_shared"]()
    for tensor in other.state_dict().values():
        tensor.zero_()
    assert not any(parameter.any() for parameter in other.parameters())
    save_model(model, tmp_path / "m.safetensors")
    load_model(other, tmp_path / "m.safetensors")
    x, _ = tiny.load("mgnet_shared")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


def test_lbfgs_of_torch_trains_what_is_stored_in_order():
    model = tiny.fill(tiny.NETWORKS["mgnet_shared"]())
    parameters = [variable.value for variable in model.trainable_variables]
    x = torch.as_tensor(tiny.load("mgnet_shared")[0])

    def closure():
        for parameter in parameters:
            parameter.grad = None
        loss = model(x, training=False).square().mean()
        loss.backward()
        return loss

    before = float(closure().detach())
    with stored_in_order(model):
        torch.optim.LBFGS(parameters, max_iter=3).step(closure)
    # What it has learned stays when the kernels are turned back.
    assert float(closure().detach()) < before / 2


@DEPLOYED
def test_export_finds_weights_in_order(deployed, monkeypatch):
    """litert-torch mixes up kernels of other strides."""
    found = []

    def record(self, filepath, **kwargs):
        found.append(all(p.is_contiguous() for p in self.parameters()))

    monkeypatch.setattr(keras.Model, "export", record)
    model = tiny.fill(tiny.NETWORKS["resnet_bn_after_add"]())
    model = keras_mg.deploy(model) if deployed else model
    assert not all(p.is_contiguous() for p in model.parameters())
    model.export("m.tflite", format="litert")
    assert found == [True]


# What calls `torch.export` as a module of litert-torch does, which need not be installed.
CONVERT = compile("def convert(*args): return torch.export.export(*args)", "convert.py", "exec")


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")  # of Keras
@pytest.mark.parametrize("base", [keras_mg.Model, keras.Model])
def test_litert_torch_is_refused_what_it_would_mix_up(base):
    image = keras.Input((4, 4, 3))
    model = base(image, keras_mg.layers.ConvNormActivation(2)(image))
    x = torch.rand(1, 4, 4, 3)
    others, theirs = ({"__name__": name, "torch": torch} for name in ("litert", "litert_torch.a"))
    exec(CONVERT, others)
    exec(CONVERT, theirs)
    expected = model(x, training=False)
    with pytest.raises(ValueError, match=r"stored_in_order\(model\)") as caught:
        theirs["convert"](model, (x,))
    assert "a kernel of shape (3, 3, 3, 2) with strides (9, 3, 1, 27)" in str(caught.value)
    for convert in (others["convert"], torch.export.export):
        torch.testing.assert_close(convert(model.eval(), (x,)).module()(x), expected)
    torch.export.export(model, (x,), strict=True)
    with stored_in_order(model):
        torch.testing.assert_close(theirs["convert"](model, (x,)).module()(x), expected)


@pytest.mark.parametrize("kind", ["deployed", "loaded", "several_inputs"])
def test_onnx_of_a_model_that_has_computed_nothing_yet(kind, tmp_path, monkeypatch):
    """Keras asks whether it was called; what its inputs are stands in its graph."""
    model = tiny.NETWORKS["attributes"]()
    if kind == "deployed":
        model = keras_mg.deploy(model)
    elif kind == "loaded":
        model.save(tmp_path / "m.keras")
        model = keras.saving.load_model(tmp_path / "m.keras")
    else:
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        model = keras_mg.Model(inputs, keras.layers.Add()([inputs["a"], inputs["b"]]))
    seen = []

    def record(self, filepath, format, verbose=None, input_signature=None, **kwargs):
        seen.extend(keras.tree.flatten(input_signature))

    monkeypatch.setattr(keras.Model, "export", record)
    model.export(tmp_path / "m.onnx", format="onnx")
    expected = [(t.name, (None, *t.shape[1:]), t.dtype) for t in model.inputs]
    assert sorted((s.name, s.shape, s.dtype) for s in seen) == sorted(expected)
    seen.clear()
    model.export(tmp_path / "m.onnx", "onnx", False, [keras.InputSpec(shape=(1, 2), dtype="int8")])
    assert [s.shape for s in seen] == [(1, 2)]  # the caller's word counts
    seen.clear()
    model.export(tmp_path / "m", format="openvino")
    assert seen == [None]  # there Keras looks itself


def test_the_tracer_is_quiet_about_layers_that_are_not_the_users(tmp_path):
    pytest.importorskip("onnxscript")

    class Asks(keras.layers.Layer):
        def call(self, x):
            return x + 1 if x.mean() > 0 else x

    image = keras.Input((4, 4, 3))
    x = keras_mg.layers.ConvNormActivation(2)(image)
    for model, expected in ((keras_mg.Model(image, x), 0), (keras_mg.Model(image, Asks()(x)), 1)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
        assert len([w for w in seen if w.category is torch.jit.TracerWarning]) == expected
