"""The formulations of a grouped convolution: each gives torch's numbers and gradients."""

import os
import subprocess
import sys

import keras
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("torch's own functions", allow_module_level=True)

from keras_mg.ops import group_convolution as gc  # noqa: E402
from keras_mg.ops import group_formulations as gf  # noqa: E402

ON_CPU = [name for name in gf.FORMULATIONS if gf.available(name, "cpu")]

SHAPES = {  # groups, inputs and outputs of each, kernel_size, strides, height, width
    "two channels": (12, 2, 2, 3, 1, 7, 6),
    "two channels, odd groups": (7, 2, 2, 3, 1, 5, 5),
    "strides": (8, 2, 2, 3, 2, 7, 6),
    "widening": (16, 1, 2, 3, 2, 6, 6),
    "widening, pointwise": (10, 1, 2, 1, 2, 5, 4),
    "narrowing": (6, 4, 1, 3, 1, 4, 4),
    "unlike": (3, 3, 4, 3, 2, 5, 6),
    "depthwise": (9, 1, 1, 3, 1, 4, 5),
    "wide, pointwise": (2, 20, 20, 1, 1, 5, 5),
    "large kernel": (4, 2, 2, 5, 3, 9, 8),
    "one pixel": (4, 2, 2, 3, 1, 1, 1),
    "one group": (1, 3, 2, 3, 1, 4, 4),
}


def operands(shape, dtype=torch.float64, device="cpu", layout=torch.channels_last):
    groups, inputs, outputs, size, strides, height, width = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)

    def leaf(*sizes):
        values = torch.randn(*sizes, generator=generator, dtype=torch.float64)
        return values.to(device, dtype)

    x = leaf(2, groups * inputs, height, width).contiguous(memory_format=layout)
    # As a Keras kernel comes: a view of HWIO.
    weight = leaf(size, size, inputs, groups * outputs).permute(3, 2, 0, 1)
    tensors = [t.requires_grad_() for t in (x, weight, leaf(groups * outputs))]
    return tensors, (strides, size // 2, groups)


def with_gradients(function, tensors, arguments):
    y = function(*tensors, *arguments)
    seed = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)
    return y, *torch.autograd.grad(y, tensors, seed)


def assert_equal(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        scale = other.double().abs().max().clamp(min=1e-30)
        assert (one.double() - other.double()).abs().max() <= tolerance * scale


def plain(x, weight, bias, strides, padding, groups):
    return torch.nn.functional.conv2d(x, weight, bias, strides, padding, groups=groups)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_numbers_and_gradients(name, shape, layout):
    tensors, arguments = operands(shape, layout=layout)
    expected = with_gradients(plain, tensors, arguments)
    tolerance = 1e-5 if name == "triton" else 1e-12
    assert_equal(with_gradients(gf.FORMULATIONS[name], tensors, arguments), expected, tolerance)


@pytest.mark.parametrize("name", ON_CPU)
def test_without_bias(name):
    (x, weight, _), arguments = operands("two channels")
    got = gf.FORMULATIONS[name](x, weight, None, *arguments)
    assert_equal([got], [plain(x, weight, None, *arguments)], 1e-5 if name == "triton" else 1e-12)


@pytest.mark.parametrize("shape", ["two channels", "widening", "wide, pointwise"])
@pytest.mark.parametrize("name", ON_CPU)
def test_half_precision(name, shape):
    tensors, arguments = operands(shape, torch.bfloat16)
    exact = [t.detach().double().requires_grad_() for t in tensors]
    got = with_gradients(gf.FORMULATIONS[name], tensors, arguments)
    assert {t.dtype for t in got} == {torch.bfloat16}
    expected = [t.bfloat16() for t in with_gradients(plain, exact, arguments)]
    assert_equal(got, expected, 2e-2)


@pytest.mark.parametrize("shape", ["two channels", "widening"])
@pytest.mark.parametrize("name", ON_CPU)
def test_as_one_graph(name, shape):
    tensors, arguments = operands(shape)
    function = gf.FORMULATIONS[name]
    torch.compiler.reset()
    # The same numbers, but that a graph may lay out a kernel's copy in another way.
    compiled = torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")
    got = with_gradients(compiled, tensors, arguments)
    assert_equal(got, with_gradients(function, tensors, arguments), 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", gf.FORMULATIONS)
def test_on_cuda(name, shape, dtype):
    if not gf.available(name, "cuda"):
        pytest.skip("needs triton")
    tensors, arguments = operands(shape, dtype, "cuda")
    exact = [t.detach().double().requires_grad_() for t in tensors]
    expected = [t.to(dtype) for t in with_gradients(plain, exact, arguments)]
    # TF32 rounds the factors of a product to 10 bits.
    tolerance = 2e-2 if dtype == torch.bfloat16 else 2e-3
    assert_equal(with_gradients(gf.FORMULATIONS[name], tensors, arguments), expected, tolerance)
    torch.compiler.reset()
    compiled = torch.compile(gf.FORMULATIONS[name], fullgraph=True, dynamic=False)
    assert_equal(with_gradients(compiled, tensors, arguments), expected, tolerance)


@pytest.mark.slow
@pytest.mark.skipif("triton" in ON_CPU, reason="this is the interpreter's process")
def test_the_triton_kernel_in_its_interpreter():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-k", "triton", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout


def test_triton_says_what_it_needs():
    if "triton" in ON_CPU:
        pytest.skip("Triton's interpreter needs nothing")
    tensors, arguments = operands("two channels")
    with pytest.raises(RuntimeError, match="needs the package triton and a CUDA device.*'cpu'"):
        gf.FORMULATIONS["triton"](*tensors, *arguments)


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "merged"),
    [
        (100, 2, 2, 4),
        (6, 2, 2, 3),
        (7, 2, 2, 1),
        (200, 1, 2, 8),
        (100, 1, 2, 5),
        (24, 2, 1, 4),
        (24, 1, 1, 1),
        (24, 4, 4, 1),
        (16, 16, 16, 1),
        (4, 8, 2, 1),
        (2, 3, 4, 2),
        (4, 1, 100, 1),
    ],
)
def test_how_many_groups_are_merged(groups, inputs, outputs, merged):
    assert gf.merged_groups(groups, inputs, outputs) == merged
    chosen = gc.choose_formulation("cpu", groups, inputs, outputs)
    assert chosen.name == ("grouped" if merged == 1 else "merged")
    weight = torch.ones(groups * outputs, inputs, 1, 1)
    merged_weight = gf.merge_groups(weight, groups, merged)
    assert merged_weight.shape == (groups * outputs, inputs * merged, 1, 1)
    assert merged_weight.sum() == weight.sum()


@pytest.mark.parametrize("device", ["xpu", "mps", "meta"])
def test_where_nothing_was_measured_the_library_convolves(device):
    chosen = gc.choose_formulation(device, 100, 2, 2)
    assert chosen.name == "grouped"
    assert f"not measured against it on {device}" in chosen.reason


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "channels", "merged"),
    [
        (100, 2, 2, 16, 5),
        (100, 2, 2, 64, 25),
        (96, 1, 2, 64, 32),
        (7, 2, 2, 32, 7),
        (2, 50, 50, 64, 1),
    ],
)
def test_how_many_fill_so_many_channels(groups, inputs, outputs, channels, merged):
    assert gf.merged_groups(groups, inputs, outputs, channels) == merged


def test_candidates_that_come_to_the_same_are_timed_once():
    assert gf.candidates("cpu", 6, 2, 2) == ["grouped", "merged", "dense", "depthwise", "einsum"]
    assert [
        n for n in gf.candidates("cpu", 100, 2, 2) if n in ("merged", "merged_16", "dense")
    ] == [
        "merged",
        "merged_16",
        "dense",
    ]
    assert gf.candidates("cpu", 2, 100, 100) == ["grouped", "dense", "einsum"]


def test_the_choice_is_what_runs(monkeypatch):
    called = []
    for name, function in gf.FORMULATIONS.items():
        monkeypatch.setitem(
            gf.FORMULATIONS, name, lambda *a, n=name, f=function: called.append(n) or f(*a)
        )
    for shape in ("two channels", "depthwise", "wide, pointwise"):
        tensors, arguments = operands(shape)
        gc.group_convolution(*tensors, *arguments)
    assert called == ["merged", "grouped", "grouped"]
    monkeypatch.setattr(gc, "OVERRIDE", "einsum")
    tensors, arguments = operands("two channels")
    gc.group_convolution(*tensors, *arguments)
    assert called[3:] == ["einsum"]
    assert "asks for it" in gc.choose_formulation("cpu", 12, 2, 2).reason
    for groups, inputs, outputs in ((1, 2, 2), (2, 100, 100)):
        assert gc.choose_formulation("cpu", groups, inputs, outputs).name == "grouped"


def test_the_environment_names_a_formulation(monkeypatch):
    monkeypatch.setenv("KERAS_MG_GROUP_CONVOLUTION", "depthwise")
    assert gc._override() == "depthwise"
    monkeypatch.setenv("KERAS_MG_GROUP_CONVOLUTION", "")
    assert gc._override() is None
    monkeypatch.setenv("KERAS_MG_GROUP_CONVOLUTION", "magic")
    with pytest.raises(
        ValueError, match="must be one of fastest, grouped, merged.*Received: magic"
    ):
        gc._override()


AVX2 = """
import torch
from keras_mg.ops.group_convolution import group_convolution

torch.manual_seed(0)
for channels in (1, 3, 4, 7, 8, 12):
    for groups in {1, channels}:
        for size in (32, 33):
            x = torch.randn(16, channels, size, size).contiguous(memory_format=torch.channels_last)
            kernel = torch.randn(2 * channels, channels // groups, 1, 1, requires_grad=True)
            y = group_convolution(x, kernel, None, 2, 0, groups)
            seed = torch.randn_like(y)
            ours, = torch.autograd.grad(y, kernel, seed)
            # (image, group, output, input) of the pixels that are read
            read = x[:, :, ::2, ::2].double().reshape(16, groups, channels // groups, *y.shape[2:])
            seed = seed.double().reshape(16, groups, -1, *y.shape[2:])
            right = torch.einsum("ngihw,ngohw->goi", read, seed).reshape(kernel.shape)
            assert (ours - right).abs().max() < 1e-4 * right.abs().max(), (channels, groups, size)
            junk = [torch.empty(n) for n in range(1, 100)]
print("right")
"""


def test_the_gradient_of_a_narrow_strided_1x1_kernel_does_not_crash_on_avx2():
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", AVX2]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "right\n"
