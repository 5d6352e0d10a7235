"""The published weights files, as the families register them."""

from __future__ import annotations

from dataclasses import dataclass

from keras_mg.weights._arrays import WeightsError
from keras_mg.weights._hashing import check_form

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class WeightsInfo:
    """One published weights file.

    Args:
        network: name of the constructor in `keras_mg.applications`.
        tag: what to give as `weights=`.
        address: where the file is published.
        filename: its name there and in the cache folder.
        size: its size in bytes, or None where the source does not state it.
        hash: `git:` and the git blob id (sha1 of `blob <size>`, a zero byte, and the content), or
            `sha256:` and the sha256, both as hexadecimal digits.
        licence: as stated at the source, or "none stated".
        input_size: height and width in pixels that the published error belongs to.
        shorter_side: pixels that the image's shorter side is scaled to before the centre is cut.
        mean: per channel, on pixel values of 0 to 255; subtracted.
        std: per channel, on pixel values of 0 to 255; divided by.
        channel_order: order of the input's channels, and of `mean` and `std`.
        classes: number of classes of the head.
        class_order: what the head's outputs are sorted by.
        top1_error: published validation error in percent.
        top5_error: published validation error in percent, five guesses.
        parameters: trained numbers in the file (without the moving statistics).
        source: the repository.
        source_commit: the commit of the repository that the file is taken from.
        paper: where the network is described.
    """

    network: str
    tag: str
    address: str
    filename: str
    size: int | None
    hash: str
    licence: str
    input_size: tuple[int, int]
    shorter_side: int
    mean: RGB
    std: RGB
    channel_order: str
    classes: int
    class_order: str
    top1_error: float
    top5_error: float
    parameters: int
    source: str
    source_commit: str
    paper: str


PUBLISHED: dict[tuple[str, str], WeightsInfo] = {}
"""(network, tag) -> record, in the order of registration."""


def register_weights(record: WeightsInfo) -> WeightsInfo:
    """Make a published weights file known: to `weights=`, `weights_info` and `verify`.

    Args:
        record: what is known of the file.

    Returns:
        The record.

    Raises:
        WeightsError: (a `ValueError`) the hash is none, or another record has the network and tag,
            or the name of the file.

    Example:
        >>> from keras_mg import weights
        >>> record = weights.weights_info("IGC_L4M32", "imagenet")
        >>> weights.register_weights(record) is record  # again, and unchanged
        True
    """
    check_form(record.hash)
    for other in PUBLISHED.values():
        same_tag = (other.network, other.tag) == (record.network, record.tag)
        if other != record and (same_tag or other.filename == record.filename):
            raise WeightsError(
                f"there is another record for {other.network} {other.tag!r} ({other.filename}). "
                f"Received: {record.network} {record.tag!r} ({record.filename})"
            )
    PUBLISHED[record.network, record.tag] = record
    return record
