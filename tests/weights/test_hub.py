"""`hf://`, against a server that answers as the Hub does."""

import contextlib
import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from keras_mg.weights import DownloadError, WeightsError, load
from keras_mg.weights._hub import parse_hub
from tests.weights.small_nets import assert_equal, randomize, small_net, values

COMMIT = "0123456789" * 4
TOKEN = "hf_secret"


@pytest.fixture
def trained(tmp_path):
    model = randomize(small_net())
    model.save_weights(tmp_path / "a.weights.h5")
    return values(model), (tmp_path / "a.weights.h5").read_bytes()


@pytest.fixture
def hub(trained, tmp_path, monkeypatch):
    """Serves the trained file; gives what was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append((self.command, self.path, self.headers.get("Authorization")))
            if "/resolve/" not in self.path:
                return self.refuse(404, "NoSuch")
            owner, repository, _, revision, file = unquote(self.path).strip("/").split("/", 4)
            if owner == "private" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.refuse(401, "RepoNotFound")
            if owner == "gated":
                return self.refuse(403, "GatedRepo")
            if owner == "broken":
                return self.refuse(400, "Whatever")
            if repository != "net":
                return self.refuse(404, "RepoNotFound")
            if revision not in ("main", "v1", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            if file not in ("model.weights.h5", "some/b c.h5"):
                return self.refuse(404, "EntryNotFound")
            self.send_response(200)
            self.send_header("Content-Length", str(len(trained[1])))
            self.send_header("ETag", hashlib.sha256(trained[1]).hexdigest())
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(trained[1])

        do_GET = do_HEAD

        def refuse(self, code, error):
            self.send_response(code)
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def fetches(asked):
    """Its library asks for other things, too."""
    return [path for method, path, _ in asked if method == "GET" and "/resolve/" in path]


def get(tmp_path, source, **kwargs):
    return load(small_net(), source, cache_dir=tmp_path / "cache", progress=False, **kwargs)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf://someone/net", ("someone/net", None, "model.weights.h5")),
        ("hf://someone/net/a/b.pth", ("someone/net", None, "a/b.pth")),
        ("hf://someone/net@v1/b.pth", ("someone/net", "v1", "b.pth")),
    ],
)
def test_addresses(source, parts):
    assert parse_hub(source) == parts


@pytest.mark.parametrize("source", ["hf://", "hf://someone", "hf://someone//b"])
def test_what_is_no_address(source):
    with pytest.raises(WeightsError, match="expected hf://owner/repository"):
        load(small_net(), source)


@pytest.mark.parametrize(
    "source", ["hf://someone/net", "hf://someone/net@v1", "hf://someone/net/some/b c.h5"]
)
def test_a_file(tmp_path, trained, hub, source):
    assert_equal(get(tmp_path, source), trained[0])
    fetched = fetches(hub)
    assert len(fetched) == 1
    assert_equal(get(tmp_path, source, offline=True), trained[0])
    assert fetches(hub) == fetched


def test_a_token(tmp_path, trained, hub, monkeypatch):
    with pytest.raises(DownloadError, match="repository private/net, or it is private.*HF_TOK"):
        get(tmp_path, "hf://private/net")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert_equal(get(tmp_path, "hf://private/net"), trained[0])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf://someone/other", "no repository someone/other"),
        ("hf://someone/net@v2", "has no revision 'v2'"),
        ("hf://someone/net/x.pth", "has no file 'x.pth'"),
        ("hf://gated/net", "asks for an agreement"),
        ("hf://broken/net", "no answer of the Hub helps"),
        ("hf://some one/net", "is no name of a repository"),
    ],
)
def test_what_is_not_there(tmp_path, hub, source, reason):
    with pytest.raises(DownloadError, match=reason):
        get(tmp_path, source)


def test_offline(tmp_path, hub):
    with pytest.raises(DownloadError, match="offline, and it is not in the cache"):
        get(tmp_path, "hf://someone/net", offline=True)
    assert hub == []


def test_a_hash(tmp_path, trained, hub):
    digest = hashlib.sha256(trained[1]).hexdigest()
    assert_equal(get(tmp_path, f"hf://someone/net#sha256={digest}"), trained[0])
    with pytest.raises(WeightsError, match="does not have the hash"):
        get(tmp_path, f"hf://someone/net#sha256={'0' * 64}")


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "keras-mg\[hf\]"'):
        get(tmp_path, "hf://someone/net")
