"""Is a file the one that was published?"""

from __future__ import annotations

import hashlib
import os
import re

from keras_mg.weights._arrays import PathLike, WeightsError

CHUNK = 1 << 20
HASH_FORM = re.compile(r"git:[0-9a-f]{40}|sha256:[0-9a-f]{64}")


def file_hash(path: PathLike, kind: str) -> str:
    """The hash of a file.

    Args:
        path: the file.
        kind: "sha256", or "git" for the id that git gives a file of this content.

    Returns:
        `kind`, a colon and hexadecimal digits.
    """
    if kind == "git":
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(b"blob %d\0" % os.path.getsize(path))
    elif kind == "sha256":
        digest = hashlib.sha256()
    else:
        raise WeightsError(f"hash kind must be 'git' or 'sha256'. Received: {kind!r}")
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


def check_form(expected: str) -> str:
    """Return `expected` in lower case, or raise where it is no hash."""
    if not HASH_FORM.fullmatch(expected.lower()):
        raise WeightsError(
            "a hash is 'git:' and 40 or 'sha256:' and 64 hexadecimal digits. "
            f"Received: {expected!r}"
        )
    return expected.lower()


def matches(path: PathLike, expected: str) -> bool:
    """Whether the file at `path` has the hash `expected`."""
    return file_hash(path, expected.partition(":")[0]) == expected
