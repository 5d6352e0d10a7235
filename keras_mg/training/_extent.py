"""How much of a step is one graph."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto


class Part(Enum):
    """What a step is made of, and where code of the user's may stand."""

    NETWORK = auto()
    LOSS = auto()
    METRICS = auto()


class Extent(Enum):
    """The parts of a step that are in its graph, the largest extent first.

    Some losses and metrics of Keras (precision, AUC, hinge losses) need values on the host, so
    they stay out of it.
    """

    WHOLE_STEP = (Part.NETWORK, Part.LOSS, Part.METRICS)
    NETWORK_AND_LOSS = (Part.NETWORK, Part.LOSS)
    NETWORK = (Part.NETWORK,)

    def __contains__(self, part: Part) -> bool:
        return part in self.value

    def and_smaller(self) -> Iterator[Extent]:
        """This one and those that are parts of it."""
        return (extent for extent in Extent if len(extent.value) <= len(self.value))

    def without(self, part: Part) -> Extent:
        """The largest extent inside this one that leaves `part` out, which is not the network."""
        return next(extent for extent in self.and_smaller() if part not in extent)
