"""The fastest formulation: found by timing, once per shape, in eager and in captured code."""

import time

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("torch's own functions", allow_module_level=True)

import keras_mg  # noqa: E402
from keras_mg.ops import group_convolution as gc  # noqa: E402
from keras_mg.ops import group_formulations as gf  # noqa: E402
from keras_mg.ops import measured_choice as mc  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(mc, "MEASURED", {})
    monkeypatch.setattr(gc, "OVERRIDE", gc.FASTEST)


def slowed(monkeypatch, *names, seconds=0.02, calls=None):
    """All formulations but these take longer; each call is noted in `calls`."""

    def slow(name, function):
        def run(*args):
            if calls is not None:
                calls.append((name, torch.is_grad_enabled(), args[0].requires_grad))
            if name not in names:
                time.sleep(seconds)
            return function(*args)

        return run

    for name, function in list(gf.FORMULATIONS.items()):
        monkeypatch.setitem(gf.FORMULATIONS, name, slow(name, function))


def operands(batch=2, requires_grad=False):
    x = torch.randn(batch, 24, 6, 5).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(24, 2, 3, 3, requires_grad=requires_grad)


ARGUMENTS = (None, 1, 1, 12)  # bias, strides, padding, groups


@pytest.mark.parametrize("name", ["depthwise", "dense", "merged_16"])
def test_the_fastest_runs_and_is_timed_once(name, monkeypatch):
    calls = []
    slowed(monkeypatch, name, calls=calls)
    x, weight = operands()
    expected = torch.nn.functional.conv2d(x, weight, None, 1, 1, groups=12)
    assert torch.allclose(gc.group_convolution(x, weight, *ARGUMENTS), expected, atol=1e-5)
    assert {c[0] for c in calls} == set(gf.candidates("cpu", 12, 2, 2))
    (found,) = mc.MEASURED.values()
    assert next(iter(found)) == name
    assert list(found.values()) == sorted(found.values())
    calls.clear()
    for batch in (2, 3):  # three are timed as two are
        gc.group_convolution(operands(batch)[0], weight, *ARGUMENTS)
    assert [c[0] for c in calls] == [name, name]
    gc.group_convolution(operands(4)[0], weight, *ARGUMENTS)
    assert len(mc.MEASURED) == 2


def test_the_backward_pass_counts_where_there_is_one(monkeypatch):
    calls = []
    slowed(monkeypatch, "grouped", calls=calls)
    x, weight = operands(requires_grad=True)
    with torch.no_grad():
        gc.group_convolution(x, weight, *ARGUMENTS)
    assert not any(grad for _, _, grad in calls)
    gc.group_convolution(x, weight, *ARGUMENTS).sum().backward()
    assert any(grad for _, _, grad in calls)
    assert [key[-1] for key in mc.MEASURED] == [False, True]
    with torch.inference_mode():
        gc.group_convolution(operands(8)[0], weight, *ARGUMENTS)
    assert len(mc.MEASURED) == 3


def test_what_does_not_run_is_left_out(monkeypatch):
    def broken(*args):
        raise RuntimeError("out of memory")

    for name in gf.FORMULATIONS:
        if name != "einsum":
            monkeypatch.setitem(gf.FORMULATIONS, name, broken)
    x, weight = operands()
    gc.group_convolution(x, weight, *ARGUMENTS)
    (found,) = mc.MEASURED.values()
    assert list(found) == ["einsum"]
    monkeypatch.setitem(gf.FORMULATIONS, "einsum", broken)
    with pytest.raises(RuntimeError, match="out of memory"):  # of the convolution itself
        gc.group_convolution(operands(4)[0], weight, *ARGUMENTS)


def test_the_hopeless_are_timed_once(monkeypatch):
    calls = []
    slowed(monkeypatch, "grouped", calls=calls)
    gc.group_convolution(*operands(), *ARGUMENTS)
    timed = [c[0] for c in calls[:-1]]
    assert timed.count("grouped") == 1 + mc.ROUNDS
    assert timed.count("einsum") == 2


def test_a_captured_graph_holds_what_eager_code_takes(monkeypatch):
    monkeypatch.setattr(mc, "_time", lambda names, *args: dict.fromkeys(["depthwise"], 1.0))
    images = keras.Input((8, 8, 8))
    x = keras_mg.layers.IGCBlock(8, 4, 2, data_format="channels_last")(images)
    model = keras_mg.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    model.torch_backend = "aot_eager"
    batch = np.random.default_rng(0).normal(size=(4, 8, 8, 8)).astype("float32")
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(batch, np.zeros((4, 8)), batch_size=2, verbose=0)
    compiled = model.predict(batch, batch_size=2, verbose=0)
    assert not model._compiled_steps.failed
    assert {key[-1] for key in mc.MEASURED} == {True, False}  # training and prediction
    assert {next(iter(found)) for found in mc.MEASURED.values()} == {"depthwise"}
    model.compile(jit_compile=False)
    assert np.array_equal(model.predict(batch, batch_size=2, verbose=0), compiled)


def test_tensors_without_values_are_not_timed():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        x, weight = (mode.from_tensor(t) for t in operands())
        assert gc.group_convolution(x, weight, *ARGUMENTS).shape == (2, 24, 6, 5)
    x, weight = (t.to("meta") for t in operands())
    assert gc.group_convolution(x, weight, *ARGUMENTS).shape == (2, 24, 6, 5)
    assert not mc.MEASURED


def test_on_cuda_all_are_timed_unless_runs_must_repeat(monkeypatch):
    monkeypatch.setattr(gc, "OVERRIDE", None)
    for inputs in (2, 50):
        chosen = gc.choose_formulation("cuda", 4, inputs, inputs)
        assert chosen.name == gc.FASTEST
        assert "MEASURED" in chosen.reason
    for groups, inputs in ((1, 3), (8, 1)):
        assert gc.choose_formulation("cuda", groups, inputs, inputs).name == "grouped"
    torch.use_deterministic_algorithms(True)
    try:
        chosen = gc.choose_formulation("cuda", 4, 2, 2)
    finally:
        torch.use_deterministic_algorithms(False)
    assert chosen.name == "grouped"
    assert "deterministic" in chosen.reason
    monkeypatch.setattr(gc, "OVERRIDE", "dense")
    assert gc.choose_formulation("cuda", 4, 2, 2).name == "dense"
    assert gc.choose_formulation("cuda", 4, 50, 50).name == "grouped"


@pytest.mark.gpu
def test_on_cuda():
    with keras.device("cuda"):
        x, weight = (t.cuda() for t in operands(requires_grad=True))
        y = gc.group_convolution(x, weight, *ARGUMENTS)
        expected = torch.nn.functional.conv2d(x, weight, None, 1, 1, groups=12)
    assert torch.allclose(y, expected, atol=2e-3)
    (found,) = mc.MEASURED.values()
    assert set(found) == set(gf.candidates("cuda", 12, 2, 2))
