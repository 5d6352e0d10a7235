"""What torch's exporter makes of every family stands alone, and takes batches of any size."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import keras_mg
from keras_mg.training import stored_in_order
from tests.support import tiny

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's exporter"),
    # Of torch about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # Kernels are stored in another order than torch's packer looks for.
    pytest.mark.filterwarnings("ignore:No complete tensor found"),
]

FAMILIES = ("seg_pmg", "igc_plain", "mgnet_shared", "resnet_bn_after_add")

LOAD = """
import sys
sys.modules["keras_mg"] = sys.modules["keras"] = None
import torch
for path in sys.argv[1:]:
    x, expected = torch.load(path + ".pt")
    outputs = torch.export.load(path).module()(x)
    print(float((outputs - expected).abs().max()))
"""


@pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])
def test_programs_run_where_keras_mg_is_not_installed(deployed, tmp_path):
    paths = []
    for name in FAMILIES:
        model = tiny.NETWORKS[name]()
        model = keras_mg.deploy(model) if deployed else model
        model.eval()
        x = torch.rand(5, *model.input_shape[1:], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(x, training=False)
        # Made from another batch than it runs on.
        size = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(model, (x[:3],), dynamic_shapes={"args": ({0: size},)})
        operations = {str(node.target) for node in program.graph.nodes}
        assert not [each for each in operations if "keras_mg" in each or "shuffle" in each], name
        paths.append(str(tmp_path / f"{name}.pt2"))
        torch.export.save(program, paths[-1])
        torch.save((x, expected), paths[-1] + ".pt")
    run = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=True
    )
    differences = dict(zip(paths, map(float, run.stdout.split()), strict=True))
    assert max(differences.values()) <= 2e-5, differences


@pytest.mark.filterwarnings("ignore")  # of the exporters about themselves
@pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])
@pytest.mark.parametrize(
    "name",
    [n if n == "mgnet_shared" else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES],
)
def test_onnx(name, deployed, tmp_path):
    """Keras's way, for one batch size, and torch's, for any."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = tiny.fill(tiny.NETWORKS[name]())
    model = keras_mg.deploy(model) if deployed else model
    model.eval()
    x = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
    with torch.no_grad():
        expected = model(torch.from_numpy(x), training=False).numpy()
    shape = [keras.InputSpec(shape=x.shape, dtype="float32")]
    model.export(tmp_path / "one.onnx", format="onnx", verbose=False, input_signature=shape)
    size = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.from_numpy(x[:3]),)
    program = torch.export.export(model, example, dynamic_shapes={"args": ({0: size},)})
    torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "any.onnx")
    for file in ("one.onnx", "any.onnx"):
        session = runtime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(made, expected, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])
@pytest.mark.parametrize("name", FAMILIES)
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


@pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])
def test_export_finds_weights_in_order(deployed, monkeypatch):
    """litert-torch takes memory for what the shape says, without a look at the strides."""
    found = []

    def record(self, filepath, **kwargs):
        found.append(all(p.is_contiguous() for p in self.parameters()))

    monkeypatch.setattr(keras.Model, "export", record)
    model = tiny.fill(tiny.NETWORKS["resnet_bn_after_add"]())
    model = keras_mg.deploy(model) if deployed else model
    assert not all(p.is_contiguous() for p in model.parameters())
    model.export("m.tflite", format="litert")
    assert found == [True]
