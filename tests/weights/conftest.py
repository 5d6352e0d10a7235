import pytest

from keras_mg.weights import _download as download_module
from keras_mg.weights._download import MIRROR_VARIABLE, OFFLINE_VARIABLE, fetch
from tests.weights.downloads import BLOB, CONTENT, NAME
from tests.weights.server import Host, serving


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(download_module, "RETRY_WAIT", 0.0)
    for name in (MIRROR_VARIABLE, OFFLINE_VARIABLE, "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path):
    """Fetches the file from a host of a behaviour; gives the path and the host."""

    def run(behave, expected=BLOB, content=CONTENT, **kwargs):
        host = Host({NAME: content}, behave)
        with serving(host) as base:
            path = fetch(
                f"{base}/{NAME}", NAME, expected=expected, cache_dir=tmp_path,
                progress=False, **kwargs,
            )  # fmt: skip
        return path, host

    return run
