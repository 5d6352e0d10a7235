"""Is what lies in the cache folder what was published?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_mg.weights.arrays import PathLike
from keras_mg.weights.converted import DIGITS, SUFFIX
from keras_mg.weights.download import cache_folder
from keras_mg.weights.hashing import file_hash, matches
from keras_mg.weights.registry import REGISTRY


@dataclass(frozen=True)
class Check:
    """One file of the cache folder.

    Args:
        path: the file.
        network: whose weights it holds.
        tag: under which tag they are published.
        state: "good", "damaged" or "absent".
    """

    path: Path
    network: str
    tag: str
    state: str


def verify(cache_dir: PathLike | None = None) -> list[Check]:
    """Check every published file and every converted one in the cache folder by its hash.

    Args:
        cache_dir: see `keras_mg.weights.load`.

    Returns:
        One `Check` per published file, present or not, and per converted file.

    Example:
        >>> from keras_mg import weights
        >>> weights.verify("an-empty-folder")[0].state
        'absent'
    """
    folder = cache_folder(cache_dir)
    checks = []
    for record in REGISTRY:
        path = folder / record.filename
        state = "absent"
        if path.is_file():
            state = "good" if matches(path, record.hash) else "damaged"
        checks.append(Check(path, record.network, record.tag, state))
        for path in sorted(folder.glob(f"{record.network}-{record.tag}-*{SUFFIX}")):
            stated = path.name.removesuffix(SUFFIX).rpartition(".")[2]
            good = file_hash(path, "sha256").partition(":")[2][:DIGITS] == stated
            state = "good" if good else "damaged"
            checks.append(Check(path, record.network, record.tag, state))
    return checks
