"""Masks that a captured training step computes once more in its backward pass."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import CheckpointPolicy

from keras_mg._private import torch_compiler


class RecomputedMasks(torch_compiler.CustomGraphPass):
    """Lets torch's partitioner recompute where a ReLU was open, rather than keep it.

    A ReLU's backward pass asks whether its output is 0. Left to itself, torch keeps the answer of
    the forward pass, as booleans, and inductor's code for CPUs stores these one by one: in a
    network of 3x3 convolutions, batch norms and ReLUs it takes longer than all convolutions. The
    comparison itself costs nothing in the kernel that needs it, and what it compares is kept
    anyway, for the layer that follows.
    """

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.le.Scalar):
            compared = node.args[0]
            # Whether torch has taken out the detachments of saved tensors by now depends on the
            # passes before this one.
            while compared.target is torch.ops.aten.detach.default:
                compared = compared.args[0]
            if compared.target is torch.ops.aten.relu.default:
                # What a remat has decided stays as it is. Of two regions that follow each other,
                # torch keeps what is between; the region of number 0 comes before all others.
                node.meta.setdefault("recompute", CheckpointPolicy.MUST_RECOMPUTE)
                node.meta.setdefault("ac_graph_id", 0)

    def uuid(self) -> str:
        """What tells code that was made with this pass from other code in torch's store."""
        return "keras_mg.RecomputedMasks"
