"""What is known of the weights that tags are for: published, trained here, or a mirror's."""

from __future__ import annotations

from typing import TypeAlias, overload

from keras_mg.weights._arrays import WeightsError
from keras_mg.weights._published import PUBLISHED, WeightsInfo
from keras_mg.weights._sources import hosted_record
from keras_mg.weights._trained import TrainedInfo, shipped

Info: TypeAlias = WeightsInfo | TrainedInfo


@overload
def weights_info(network: str, tag: str) -> Info: ...
@overload
def weights_info(network: str | None = None, tag: None = None) -> tuple[Info, ...]: ...
def weights_info(network=None, tag=None):
    """What is known of the weights that a tag is for.

    Args:
        network: name of a constructor, or None for all.
        tag: one of the network's tags, or None for all.

    Returns:
        Where both are given, one record: a `TrainedInfo` for a file inside the package, which was
        trained here, or one of a mirror's, which is fetched; and a `WeightsInfo` for one that its
        authors published. Otherwise a tuple of them, without those of mirrors (empty for a network
        that there are none for).

    Raises:
        WeightsError: (a `ValueError`) both are given and there is no such file.

    Example:
        >>> from keras_mg import weights
        >>> weights.weights_info("IGC_L100M2", "imagenet").mean
        (123.37, 112.757, 99.406)
        >>> [record.tag for record in weights.weights_info("IGC_L100M2")]
        ['imagenet']
    """
    known: dict[tuple[str, str], Info] = {**shipped(), **PUBLISHED}
    if tag is None:
        return tuple(r for r in known.values() if network in (None, r.network))
    record = known.get((network, tag))
    if record is None and network is not None:
        record = hosted_record(network, tag)
    if record is None:
        listed = ", ".join(f"{name} {published!r}" for name, published in known)
        raise WeightsError(
            f"no published weights {tag!r} for network {network!r}. Published: {listed}."
        )
    return record
