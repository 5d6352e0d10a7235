"""The pass over captured graphs keeps the arithmetic, and everything that writes in place."""

import keras
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("torch's own functions", allow_module_level=True)

from keras_mg.ops import torch_graph  # noqa: E402


def trace(function, *inputs):
    return torch.fx.symbolic_trace(function)


def permutes(module):
    return [n for n in module.graph.nodes if torch_graph._permutation(n) is not None]


def to_nchw(x):
    return x.permute(0, 3, 1, 2)


def to_nhwc(x):
    return torch.permute(x, (0, 2, 3, 1))


def test_inverse_permutes_vanish_whoever_reads_them():
    def function(x):
        y = torch.relu(to_nchw(x))
        z = to_nhwc(y)
        return to_nhwc(to_nchw(z) + to_nchw(z) * 2)

    module, x = trace(function), torch.randn(2, 3, 4, 5)
    assert torch_graph.cancel_permutes(module) == 2
    assert len(permutes(module)) == 2
    assert torch.equal(module(x), function(x))


def test_two_permutes_become_one():
    def function(x):
        return to_nchw(to_nchw(x)), x.permute((0, 3, 1, 2)).permute(dims=(0, 3, 1, 2))

    module, x = trace(function), torch.randn(2, 3, 4, 5)
    assert torch_graph.cancel_permutes(module) == 2
    assert len(permutes(module)) == 2
    for ours, expected in zip(module(x), function(x), strict=True):
        assert torch.equal(ours, expected)


def test_negative_axes():
    def function(x):
        return x.permute(0, -1, 1, 2).permute(0, 2, 3, -3)

    module, x = trace(function), torch.randn(2, 3, 4, 5)
    torch_graph.cancel_permutes(module)
    assert not permutes(module)
    assert torch.equal(module(x), x)


def test_what_writes_in_place_stays():
    def function(x, state):
        y = to_nhwc(to_nchw(x))
        state.copy_(y)
        torch._foreach_add_([state], 1.0)
        state.permute(0, 3, 1, 2).permute(0, 2, 3, 1).mul_(2.0)
        return y.sum()

    module = trace(function)
    x, ours, expected = torch.randn(2, 3, 4, 5), *torch.zeros(2, 2, 3, 4, 5)
    torch_graph.cancel_permutes(module)
    assert torch.equal(module(x, ours), function(x, expected))
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, torch.zeros_like(ours))


def test_other_nodes_are_no_permutes():
    module = trace(lambda x, axes: x.permute(axes).transpose(1, 2).permute(0, 2, 1, 3))
    assert torch_graph.cancel_permutes(module) == 0


def test_capture_error_tells_and_does_not_run():
    ran = []
    touched = torch.zeros(1)

    def good(x):
        touched.add_(1)
        return x + 1

    def bad(x):
        ran.append(x)
        return x if x.sum() > 0 else -x

    assert torch_graph.capture_error(good, torch.ones(2)) is None
    assert touched.item() == 0
    assert isinstance(torch_graph.capture_error(bad, torch.ones(2)), torch_graph.GraphError)
    assert not ran


def test_functions_of_one_source_do_not_share_graphs():
    def make(offset):
        return lambda x: x + offset

    functions = [torch_graph.compile_graph(make(i), "eager") for i in range(20)]
    for i, function in enumerate(functions):
        assert torch.equal(function(torch.ones(2)), torch.ones(2) + i)


def test_match_layout():
    kernel = keras.Variable(torch.randn(3, 3, 4, 5))
    kernel.value.data = kernel.value.detach().permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    slot = keras.Variable(torch.randn(3, 3, 4, 5))
    other = keras.Variable(torch.randn(4, 5))
    before = slot.value.detach().clone()
    torch_graph.match_layout([kernel], [slot, other])
    assert slot.value.stride() == kernel.value.stride()
    assert torch.equal(slot.value.detach(), before)
    assert other.value.is_contiguous()


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "merged"),
    [
        (100, 2, 2, 4),
        (6, 2, 2, 3),
        (7, 2, 2, 1),
        (24, 1, 2, 4),
        (24, 2, 1, 4),
        (24, 1, 1, 1),
        (16, 16, 16, 1),
        (4, 8, 2, 1),
        (2, 3, 4, 2),
    ],
)
def test_narrow_groups_are_convolved_together(groups, inputs, outputs, merged):
    from keras_mg.ops import torch_ops

    assert torch_ops._merged_groups(groups, inputs, outputs) == merged
    x = torch.randn(2, groups * inputs, 7, 6, dtype=torch.float64, requires_grad=True)
    kernel = keras.Variable(
        torch.randn(3, 3, inputs, groups * outputs, dtype=torch.float64), dtype="float64"
    )
    ours = torch_ops.conv2d(x, kernel, None, 2, 1, groups, "channels_first")
    weight = kernel.value.permute(3, 2, 0, 1)
    plain = torch.nn.functional.conv2d(x, weight, None, 2, 1, groups=groups)
    torch.testing.assert_close(ours, plain)
    seed = torch.randn_like(plain)
    gradients = [torch.autograd.grad(y, (x, kernel.value), seed) for y in (ours, plain)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
