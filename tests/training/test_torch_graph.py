"""Capturing functions as graphs, and the layouts and kernels that go with it."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("torch's own functions", allow_module_level=True)

from keras_mg.training import _torch_graph as torch_graph  # noqa: E402


def test_capture_error_tells_and_does_not_run():
    ran = []
    touched = torch.zeros(1)

    def good(x):
        touched.add_(1)
        return x + 1

    def bad(x):
        ran.append(x)
        return x if x.sum() > 0 else -x

    def number(x):
        ran.append(x)
        return x * float(x.sum() > 0)

    assert torch_graph.capture_error(good, torch.ones(2)) is None
    assert touched.item() == 0
    assert "branching" in str(torch_graph.capture_error(bad, torch.ones(2)))
    assert "a number of a tensor" in str(torch_graph.capture_error(number, torch.ones(2)))
    assert not ran


def test_what_a_graph_writes_in_place_is_written():
    state = torch.zeros(2)

    def step(x):
        state.mul_(2).add_(x)
        return state.permute(0) * 1

    for backend in ("eager", "aot_eager"):
        state.zero_()
        compiled, first = torch_graph.capture(step, (torch.ones(2),), backend)
        outputs = [first.tolist(), *(compiled(torch.ones(2)).tolist() for _ in range(2))]
        assert outputs == [[1.0, 1.0], [3.0, 3.0], [7.0, 7.0]]
        assert state.tolist() == [7.0, 7.0]


def test_functions_of_one_source_do_not_share_graphs():
    def make(offset):
        return lambda x: x + offset

    x = torch.ones(2)
    functions = [torch_graph.capture(make(i), (x,), "eager")[0] for i in range(20)]
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


def test_tensors_are_brought_to_the_device():
    x, weight = torch.ones(2, 3), np.ones(2)
    nest = ({"a": x}, None, 3, weight)
    same = torch_graph.to_tensors(nest, torch.device("cpu"))
    assert same[0]["a"] is x
    assert same[3].shape == (2,)
    moved = torch_graph.to_tensors(nest, torch.device("meta"))
    assert moved[0]["a"].device.type == moved[3].device.type == "meta"
    assert moved[1:3] == (None, 3)


def test_what_a_graph_depends_on():
    x = torch.ones(2, 3, 4)
    cases = [
        x,
        (x,),
        [x],
        (x, None),
        {"a": x},
        {"b": x},
        x[:1],
        x.double(),
        x.permute(1, 0, 2).contiguous().permute(1, 0, 2),
        x.clone().requires_grad_(),
        x.to("meta"),
    ]
    described = [torch_graph.describe(case) for case in cases]
    assert len(set(described)) == len(cases)
    assert torch_graph.describe({"a": (torch.zeros(2, 3, 4),)}) == torch_graph.describe({"a": (x,)})
