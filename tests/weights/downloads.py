"""A file that is fetched, and what is left of it."""

import hashlib

import pytest

from keras_mg.weights import DownloadError
from keras_mg.weights._download import cache_folder

CONTENT = bytes(range(256)) * 2000
NAME = "net-0095.params"
BLOB = "git:" + hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


def files(tmp_path):
    """The names in the cache folder, but for locks."""
    folder = cache_folder(tmp_path)
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def fail(run, behave, **kwargs):
    with pytest.raises(DownloadError) as caught:
        run(behave, **kwargs)
    return str(caught.value)


def nothing_left(tmp_path):
    return not (cache_folder(tmp_path) / f"{NAME}.part").exists() and files(tmp_path) == []
