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

    Masks that are drawn, as a dropout's are, stay kept.
    """

    def __call__(self, graph: torch.fx.Graph) -> None:
        for node in graph.nodes:
            if _is_mask(node) and not any(map(_is_drawn, node.all_input_nodes)):
                # What a remat has decided stays as it is. Of two regions that follow each other,
                # torch keeps what is between; the region of number 0 comes before all others.
                node.meta.setdefault("recompute", CheckpointPolicy.MUST_RECOMPUTE)
                node.meta.setdefault("ac_graph_id", 0)

    def uuid(self) -> str:
        """What tells code that was made with this pass from other code in torch's store."""
        return "keras_mg.RecomputedMasks"


def _is_mask(node: torch.fx.Node) -> bool:
    value = node.meta.get("val")
    return (
        node.op == "call_function"
        and isinstance(value, torch.Tensor)
        and value.dtype is torch.bool
        and value.ndim > 0
    )


def _is_drawn(node: torch.fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
