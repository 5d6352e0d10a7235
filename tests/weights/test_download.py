import os
import resource
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from keras_mg.weights import DownloadError
from keras_mg.weights import _download as download_module
from keras_mg.weights import _transfer as transfer_module
from keras_mg.weights._download import (
    MIRROR_VARIABLE,
    OFFLINE_VARIABLE,
    cache_folder,
    fetch,
    is_offline,
)
from keras_mg.weights._hashing import check_form, file_hash
from keras_mg.weights._transfer import shown
from tests.weights.downloads import BLOB, CONTENT, NAME, fail, files
from tests.weights.server import Host, serving

pytestmark = pytest.mark.usefixtures("no_waiting")

ROOT = Path(__file__).resolve().parents[2]


def test_the_hash_is_gits(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"hello\n")
    # What `git hash-object` prints for this content.
    assert file_hash(path, "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("bad", ["md5:abc", "sha256:abc", "git:" + "g" * 40, ""])
def test_a_hash_has_a_form(bad):
    with pytest.raises(ValueError, match="hexadecimal digits"):
        check_form(bad)


def test_a_normal_download(run, tmp_path):
    path, host = run("well")
    assert path == tmp_path / "keras_mg" / "weights" / NAME
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == [NAME]
    assert host.requests == [(f"/{NAME}", None)]


def test_the_second_time_nothing_is_asked_for(run):
    run("well")
    _, host = run("missing")
    assert host.requests == []


def test_the_progress_bar(tmp_path, capsys):
    with serving(Host({NAME: CONTENT})) as base:
        fetch(f"{base}/{NAME}", NAME, expected=BLOB, cache_dir=tmp_path)
    assert "512k/512k" in capsys.readouterr().err


def test_a_cut_download_is_taken_up_where_it_stopped(run):
    path, host = run("cut")
    assert path.read_bytes() == CONTENT
    (_, first), (_, second) = host.requests
    assert first is None
    begin = int(second.removeprefix("bytes=").removesuffix("-"))
    assert len(CONTENT) // 4 < begin <= len(CONTENT) // 2


def test_a_host_without_ranges_is_asked_for_the_whole(run):
    path, host = run("no ranges")
    assert path.read_bytes() == CONTENT
    assert len(host.requests) == 2


def test_without_a_hash_a_cut_download_starts_anew(run):
    path, host = run("cut", expected=None)
    assert path.read_bytes() == CONTENT
    assert [r for _, r in host.requests] == [None, None]


def test_a_part_left_by_a_stopped_process_is_used(run, tmp_path):
    part = cache_folder(tmp_path) / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    path, host = run("well")
    assert path.read_bytes() == CONTENT
    assert host.requests == [(f"/{NAME}", "bytes=1000-")]
    assert files(tmp_path) == [NAME]


@pytest.mark.parametrize("left", [b"other bytes", CONTENT + b"more", CONTENT])
def test_a_stale_part_does_no_harm(run, tmp_path, left):
    part = cache_folder(tmp_path) / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    path, _ = run("well")
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == [NAME]


def test_a_damaged_file_in_the_cache_is_fetched_anew(run, tmp_path):
    path = cache_folder(tmp_path) / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100])
    assert run("well")[0].read_bytes() == CONTENT


def test_always_cut(run, tmp_path):
    message = fail(run, "always cut")
    assert "the transfer failed" in message
    assert "Put the file of http://127.0.0.1" in message
    assert NAME not in files(tmp_path)


def test_wrong_bytes_leave_nothing(run, tmp_path):
    message = fail(run, "wrong")
    assert f"does not have the hash {BLOB}" in message
    assert files(tmp_path) == []


def test_not_found(run, tmp_path):
    message = fail(run, "missing")
    assert "the server answered 404" in message
    assert files(tmp_path) == []


def test_not_found_is_not_asked_twice(tmp_path):
    host = Host({}, "well")
    with serving(host) as base, pytest.raises(DownloadError, match="404"):
        fetch(f"{base}/{NAME}", NAME, expected=BLOB, cache_dir=tmp_path, progress=False)
    assert len(host.requests) == 1


def test_a_busy_server_is_asked_again(run):
    path, host = run("busy")
    assert path.read_bytes() == CONTENT
    assert len(host.requests) == 2


def test_slow(run):
    assert run("slow")[0].read_bytes() == CONTENT


def test_a_silent_server(run, monkeypatch):
    monkeypatch.setattr(transfer_module, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(download_module, "ATTEMPTS", 2)
    assert "timed out" in fail(run, "silent")


def test_no_server(tmp_path):
    with pytest.raises(DownloadError, match="ConnectionError"):
        fetch("http://127.0.0.1:9/x", NAME, expected=BLOB, cache_dir=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:secret@host:80/a", "https://host:80/a"),
        ("https://host/a?token=secret", "https://host/a"),
        ("with url: /a?X-Amz-Signature=secret (Caused)", "with url: /a (Caused)"),
        ("'https://me:secret@host/a?token=secret'", "'https://host/a'"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://host/a#token=secret", "https://host/a"),
        ("me:secret@host/a?token=secret", "host/a"),
    ],
)
def test_secrets_are_not_shown(text, clean):
    assert shown(text) == clean


@pytest.mark.parametrize("host", ["127.0.0.1:9", "127.0.0.1:port"])
def test_errors_hold_no_secrets(tmp_path, host):
    address = f"http://me:hunter2@{host}/a?token=hunter2&X-Amz-Signature=hunter2"
    with pytest.raises(DownloadError) as caught:
        fetch(address, NAME, expected=BLOB, cache_dir=tmp_path, progress=False)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value, limit=0))


CHILD = """
import sys
from keras_mg.weights._download import fetch
print(fetch(sys.argv[1], sys.argv[2], expected=sys.argv[3], cache_dir=sys.argv[4], progress=False))
"""


def child(*arguments, code=CHILD):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )  # fmt: skip


@pytest.mark.slow
def test_eight_processes_fetch_once(tmp_path):
    _processes(tmp_path, 8)


def test_two_processes_fetch_once(tmp_path):
    _processes(tmp_path, 2)


def _processes(tmp_path, count):
    host = Host({NAME: CONTENT}, "slow")
    with serving(host) as base:
        children = [child(f"{base}/{NAME}", NAME, BLOB, tmp_path) for _ in range(count)]
        outputs = [c.communicate(timeout=300) for c in children]
    expected = str(cache_folder(tmp_path) / NAME)
    assert [out.strip() for out, _ in outputs] == [expected] * count, outputs
    assert len(host.requests) == 1
    assert Path(expected).read_bytes() == CONTENT


def test_a_full_disk(run, tmp_path):
    """A limit on the size of files, which is what a full disk looks like to a writer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = fail(run, "well")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written" in message
    assert "too large" in message
    assert files(tmp_path) == []


def test_no_space_left(run, tmp_path, monkeypatch):
    import pooch

    def full(self, url, output, _):
        output.write(CONTENT[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    assert "No space left on device" in fail(run, "well")
    assert files(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "keras_mg").write_text("a file where the folder should be")
    with pytest.raises(DownloadError) as caught:
        fetch("http://127.0.0.1:9/x", NAME, expected=BLOB, cache_dir=tmp_path, progress=False)
    assert "cannot be written" in str(caught.value)
    assert "KERAS_HOME" in str(caught.value)


@pytest.fixture
def read_only(monkeypatch):
    """No new file can be made: also true for a superuser, whom permissions do not stop."""
    import filelock

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)


def test_a_read_only_cache_serves_what_it_has(run, tmp_path, request):
    run("well")
    request.getfixturevalue("read_only")
    path, host = run("missing")
    assert path.read_bytes() == CONTENT
    assert host.requests == []


def test_a_read_only_cache_without_the_file(run, read_only):
    message = fail(run, "well")
    assert "cannot be written (Permission denied)" in message
    assert "Set KERAS_HOME" in message


def test_offline_says_what_to_put_where(run, tmp_path):
    message = fail(run, "well", offline=True)
    assert "offline" in message
    assert BLOB in message
    assert str(cache_folder(tmp_path) / NAME) in message


def test_offline_by_the_environment(run, monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert is_offline()
    assert "offline" in fail(run, "well")
    monkeypatch.setenv(OFFLINE_VARIABLE, "0")
    assert not is_offline()
    run("well")


def test_offline_takes_what_was_put_there(run, tmp_path):
    path = cache_folder(tmp_path) / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert run("missing", offline=True)[0] == path


def test_offline_refuses_another_file(run, tmp_path):
    path = cache_folder(tmp_path) / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    assert "there is a file with another hash" in fail(run, "well", offline=True)
    assert path.read_bytes() == b"something else"


def test_keras_home(run, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / "keras_mg" / "weights"
    monkeypatch.delenv("KERAS_HOME")
    assert cache_folder() == Path.home() / ".keras" / "keras_mg" / "weights"


def test_a_mirror_is_asked_first(tmp_path, monkeypatch):
    host = Host({f"mirror/{NAME}": CONTENT})
    with serving(host) as base:
        monkeypatch.setenv(MIRROR_VARIABLE, f"{base}/mirror/")
        path = fetch(
            f"{base}/origin/{NAME}", NAME, expected=BLOB, cache_dir=tmp_path, progress=False,
            use_mirrors=True,
        )  # fmt: skip
    assert path.read_bytes() == CONTENT
    assert host.requests == [(f"/mirror/{NAME}", None)]


def test_a_bad_mirror_is_passed_over(tmp_path, monkeypatch):
    host = Host({f"mirror/{NAME}": b"not it", NAME: CONTENT})
    with serving(host) as base:
        monkeypatch.setenv(MIRROR_VARIABLE, f"{base}/none {base}/mirror")
        path = fetch(
            f"{base}/{NAME}", NAME, expected=BLOB, cache_dir=tmp_path, progress=False,
            use_mirrors=True,
        )  # fmt: skip
    assert path.read_bytes() == CONTENT
    asked = [name for name, _ in host.requests]
    assert asked == [f"/none/{NAME}", f"/mirror/{NAME}", f"/mirror/{NAME}", f"/{NAME}"]


@pytest.mark.parametrize("written", ["address", "path", "home"])
def test_a_mirror_in_a_folder(tmp_path, monkeypatch, written):
    folder = tmp_path / "my mirror"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    text = {"address": folder.as_uri(), "path": str(folder), "home": "~/my mirror"}[written]
    monkeypatch.setenv(MIRROR_VARIABLE, text)
    path = fetch(
        "http://127.0.0.1:9/x", NAME, expected=BLOB, cache_dir=tmp_path, progress=False,
        use_mirrors=True,
    )  # fmt: skip
    assert path.read_bytes() == CONTENT


def test_a_file_without_a_hash_is_checked_against_its_first_self(run, tmp_path):
    path, _ = run("well", expected=None)
    assert files(tmp_path) == [NAME, f"{NAME}.sha256"]
    assert run("well", expected=None)[1].requests == []  # from the cache
    damaged = bytearray(CONTENT)
    damaged[1000] ^= 0xFF
    for content in (damaged, CONTENT[:100]):
        path.write_bytes(content)
        again, host = run("well", expected=None)
        assert len(host.requests) == 1
        assert again.read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_taken(run, tmp_path):
    folder = cache_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"my own")
    path, host = run("well", expected=None)
    assert path.read_bytes() == b"my own"
    assert host.requests == []
