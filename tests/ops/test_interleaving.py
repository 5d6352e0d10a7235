"""The reordering of channels, which on a CPU is a kernel of torch's."""

import keras
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("torch's own functions", allow_module_level=True)

from keras_mg.ops import _interleaving as interleaving  # noqa: E402


def by_definition(x, groups):
    n, channels, *sides = x.shape
    return x.reshape(n, groups, channels // groups, *sides).transpose(1, 2).reshape(x.shape)


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "channels_first": lambda x: x,
    "strided": lambda x: torch.stack([x, x], 3).flatten(2, 3)[:, :, ::2],
}


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")


@pytest.mark.parametrize("how", [lambda f: f, compiled], ids=["eager", "compiled"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(2, 12, 3, 4), (2, 6, 1, 1), (1, 8, 1, 5)], ids=str)
def test_values_and_gradients(how, layout, dtype, shape):
    function = how(lambda x: interleaving.interleave(x, 2) * 1)
    x = LAYOUTS[layout](torch.randn(shape).to(dtype)).requires_grad_()
    seed = torch.randn(shape).to(dtype)
    y, expected = function(x), by_definition(x, 2)
    assert torch.equal(y, expected)
    (gradient,), (wanted,) = (torch.autograd.grad(t, x, seed) for t in (y, expected))
    assert torch.equal(gradient, wanted)
    if layout == "channels_last":
        assert y.is_contiguous(memory_format=torch.channels_last)


# From torch 2.15 on its own check looks at gradients of tensors that have none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(2, 12, 3, 4), (2, 6, 1, 1), (1, 8, 1, 5)], ids=str)
def test_a_graph_knows_shape_and_layout(layout, shape):
    x = LAYOUTS[layout](torch.randn(shape)).requires_grad_()
    torch.library.opcheck(interleaving._opaque, (x, 2))


def test_second_derivatives():
    x = torch.randn(1, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: interleaving.interleave(t**2, 3), x)
