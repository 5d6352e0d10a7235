"""Files are complete or not there, and paths are read as people write them."""

import errno
import os
import stat
from pathlib import Path

import pytest

from keras_mg._files import expand, remove_folder, remove_partial, replacing


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_paths(home):
    assert expand("~/a") == home / "a"
    assert expand(Path("~/a")) == home / "a"
    assert expand("~nosuchuser/a") == Path("~nosuchuser/a")
    assert expand("a~") == Path("a~")
    assert expand(b"a") == Path("a")


def test_a_file_is_replaced(home):
    (home / "a.txt").write_text("old")
    with replacing("~/a.txt") as temporary:
        temporary.write_text("new")
        assert (home / "a.txt").read_text() == "old"
        assert temporary.name == "a.txt"
    assert (home / "a.txt").read_text() == "new"
    assert os.listdir(home) == ["a.txt"]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("x")
    (tmp_path / "b").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("existing", [True, False])
def test_an_error_leaves_everything_as_it_was(tmp_path, error, existing):
    target = tmp_path / "a"
    if existing:
        target.write_text("old")

    def write():
        with replacing(target) as temporary:
            temporary.write_text("half")
            (temporary.parent / "beside").write_text("of the writer")
            raise error

    with pytest.raises(error):
        write()
    assert os.listdir(tmp_path) == (["a"] if existing else [])
    assert not existing or target.read_text() == "old"


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/a'$"),
        replacing(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_killed_writers_leave_is_removed(tmp_path):
    writing = replacing(tmp_path / "a")
    writing.__enter__().write_text("half")  # and never leaves
    (tmp_path / ".mine").mkdir()
    remove_partial(tmp_path)
    assert os.listdir(tmp_path) == [".mine"]


def test_a_folder_is_removed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_writer_that_writes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []


def test_no_place_to_write(tmp_path):
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass
    with pytest.raises(FileNotFoundError, match="no such folder"), replacing(tmp_path / "a" / "b"):
        pass
