"""What a host can make of a process that fetches: nothing endless, nothing outside its folder."""

import io
import os

import pytest

from keras_mg.weights import DownloadError
from keras_mg.weights import _download as download_module
from keras_mg.weights import _transfer as transfer_module
from keras_mg.weights._download import MIRROR_VARIABLE, cache_folder, fetch
from keras_mg.weights._transfer import LIMIT_VARIABLE
from tests.weights.downloads import BLOB, CONTENT, NAME, fail, nothing_left

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.mark.parametrize("expected", [BLOB, None])
def test_an_endless_file_ends_at_the_limit(run, tmp_path, monkeypatch, expected):
    monkeypatch.setenv(LIMIT_VARIABLE, "1000000")
    message = fail(run, "endless", expected=expected)
    assert "it has more than 1000000 bytes" in message
    assert nothing_left(tmp_path)


def test_a_file_larger_than_published_is_not_asked_for_its_bytes(run, tmp_path):
    assert f"it has more than {len(CONTENT) - 1} bytes" in fail(run, "well", size=len(CONTENT) - 1)
    assert nothing_left(tmp_path)
    assert run("well", size=len(CONTENT))[0].read_bytes() == CONTENT


def test_a_limit_is_a_number(run, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "2 GB")
    assert "must be a number of bytes. Received: '2 GB'" in fail(run, "well")


def test_a_trickle_is_given_up(run, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_module, "PATIENCE", 0.05)
    monkeypatch.setattr(transfer_module, "LEAST_SPEED", 1e6)
    monkeypatch.setattr(download_module, "ATTEMPTS", 2)
    assert "came slower than 1e+06 bytes per second" in fail(run, "trickle", expected=None)
    assert nothing_left(tmp_path)


def test_a_length_that_is_none(run, tmp_path):
    assert "states a length that is no number" in fail(run, "odd length")
    assert nothing_left(tmp_path)


def test_a_redirection_from_https_to_http_is_not_followed(tmp_path, monkeypatch):
    import requests

    asked = []

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            asked.append(request.url)
            response = requests.Response()
            response.status_code = 302
            response.url, response.request = request.url, request
            response.raw = io.BytesIO()
            response.headers["location"] = "http://plain.example/a"
            return response

        def close(self):
            pass

    monkeypatch.setattr(requests.Session, "get_adapter", lambda *_, **__: Adapter())
    with pytest.raises(DownloadError, match="leads from https to an address without"):
        fetch("https://safe.example/a", NAME, expected=BLOB, cache_dir=tmp_path, progress=False)
    assert asked == ["https://safe.example/a"]
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("place", [".part", ".sha256"])
def test_what_is_a_link_is_not_written_through(run, tmp_path, place):
    precious = tmp_path / "precious"
    precious.write_bytes(CONTENT[:100])
    link = cache_folder(tmp_path) / f"{NAME}{place}"
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    assert run("well", expected=BLOB if place == ".part" else None)[0].read_bytes() == CONTENT
    assert precious.read_bytes() == CONTENT[:100]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that have names")
@pytest.mark.parametrize("place", [".part", ".sha256"])
def test_a_pipe_is_not_waited_for(run, tmp_path, place):
    pipe = cache_folder(tmp_path) / f"{NAME}{place}"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    assert run("well", expected=None)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "folder"), [("a\0b", "kept"), (NAME, "a\0b")])
def test_names_that_no_file_has(tmp_path, name, folder):
    with pytest.raises(DownloadError, match="no file has this name"):
        fetch("http://127.0.0.1:9/x", name, cache_dir=tmp_path / folder, progress=False)


@pytest.mark.parametrize("place", ["", ".part", ".sha256"])
def test_a_folder_in_the_place_of_a_file(run, tmp_path, place):
    folder = cache_folder(tmp_path) / f"{NAME}{place}"
    folder.mkdir(parents=True)
    message = fail(run, "well", expected=None)
    assert "folder" in message or "cannot be written" in message
    assert folder.is_dir()


@pytest.mark.parametrize("address", ["file:///a%00b", "http://[::1/a"])
def test_addresses_that_are_none(tmp_path, monkeypatch, address):
    monkeypatch.setattr(download_module, "ATTEMPTS", 1)
    monkeypatch.setenv(MIRROR_VARIABLE, address)
    with pytest.raises(DownloadError):
        fetch(
            "http://127.0.0.1:9/x", NAME, expected=BLOB, cache_dir=tmp_path, progress=False,
            use_mirrors=True,
        )  # fmt: skip
    assert nothing_left(tmp_path)
