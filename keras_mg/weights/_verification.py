"""Is what lies in the cache folder what was published?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_mg.weights._arrays import PathLike
from keras_mg.weights._download import cache_folder
from keras_mg.weights._hashing import matches
from keras_mg.weights._published import PUBLISHED


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
    """Check every published file in the cache folder by its hash.

    Args:
        cache_dir: see `keras_mg.weights.load`.

    Returns:
        One `Check` per published file, present or not.

    Example:
        >>> from keras_mg import weights
        >>> weights.verify("an-empty-folder")[0].state
        'absent'
    """
    folder = cache_folder(cache_dir)
    checks = []
    for record in PUBLISHED.values():
        path = folder / record.filename
        state = "absent"
        if path.is_file():
            state = "good" if matches(path, record.hash) else "damaged"
        checks.append(Check(path, record.network, record.tag, state))
    return checks
