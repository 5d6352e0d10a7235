"""What a captured training step keeps of masks, by torch's own partitioner, with and without us."""

import pytest

torch = pytest.importorskip("torch")

from keras_mg.training._recomputed_masks import RecomputedMasks  # noqa: E402

X = torch.linspace(-1, 1, 2 * 5 * 5 * 3).reshape(2, 5, 5, 3)


def relu(x, kernel):
    return torch.relu(torch.conv2d(x.permute(0, 3, 1, 2), kernel)).mean()


def dropout(x, kernel):
    return torch.dropout(torch.conv2d(x.permute(0, 3, 1, 2), kernel), 0.5, train=True).sum()


def kept(function, ours):
    """The types of what the forward pass keeps, and the gradient."""
    from torch._decomp import get_decompositions
    from torch._functorch.aot_autograd import aot_function
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    types = []

    def look(module, inputs):
        (output,) = module.graph.find_nodes(op="output")
        types.extend(node.meta["val"].dtype for node in output.args[0])
        return module

    def partition(joint, inputs, **options):
        if ours:
            RecomputedMasks()(joint.graph)
        return min_cut_rematerialization_partition(joint, inputs, **options)

    kernel = torch.full((3, 3, 1, 1), 0.5).add_(torch.eye(3)[..., None, None]).requires_grad_()
    torch.manual_seed(0)
    aten = torch.ops.aten
    aot_function(
        function,
        fw_compiler=look,
        bw_compiler=lambda module, inputs: module,
        partition_fn=partition,
        decompositions=get_decompositions([aten.threshold_backward, aten.native_dropout]),
    )(X, kernel).backward()
    return types, kernel.grad


@pytest.mark.filterwarnings("ignore")
def test_where_a_relu_was_open_is_not_kept():
    (theirs, expected), (ours, gradient) = (kept(relu, ours=each) for each in (False, True))
    assert torch.bool in theirs
    assert torch.bool not in ours
    torch.testing.assert_close(gradient, expected)


@pytest.mark.filterwarnings("ignore")
def test_a_mask_that_was_drawn_is_kept():
    (theirs, expected), (ours, gradient) = (kept(dropout, ours=each) for each in (False, True))
    assert torch.bool in theirs
    assert ours == theirs
    torch.testing.assert_close(gradient, expected)


def test_nothing_else_is_marked():
    aten = torch.ops.aten
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    opened = graph.call_function(aten.relu.default, (x,))
    masks = [
        graph.call_function(target, arguments)
        for target, arguments in (
            (aten.le.Scalar, (opened, 0)),
            (aten.le.Scalar, (opened, 0)),
            (aten.le.Scalar, (x, 0)),
            (aten.gt.Tensor, (opened, x)),
        )
    ]
    masks[0].meta.update(recompute="marked", ac_graph_id=3)
    RecomputedMasks()(graph)
    assert (masks[0].meta["recompute"], masks[0].meta["ac_graph_id"]) == ("marked", 3)
    assert masks[1].meta["ac_graph_id"] == 0
    assert not any("recompute" in node.meta for node in (opened, *masks[2:]))
