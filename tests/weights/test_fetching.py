"""A published tag from the first asking to the last: fetch, keep, check."""

import dataclasses
import shutil

import keras
import pytest

from keras_mg.applications import IGC_L100M2, IGCPlain
from keras_mg.weights import DownloadError, _download, load, verify, weights_info
from keras_mg.weights._download import MIRROR_VARIABLE, cache_folder
from keras_mg.weights._hashing import file_hash
from keras_mg.weights._published import PUBLISHED
from tests.weights.mxnet_writer import fixture, write_fixture
from tests.weights.server import Host, serving
from tests.weights.small_nets import assert_equal, values

NETWORK = "IGCPlain"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "published.params"
    write_fixture(path, fixture("plain_igc_d8L8M2"), "v0")
    return path


@pytest.fixture
def published(tmp_path, source, monkeypatch):
    """A small network with a published tag, on a host that counts."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    host = Host({"small-0095.params": source.read_bytes()})
    with serving(host) as base:
        record = dataclasses.replace(
            weights_info("IGC_L100M2", "imagenet"),
            network=NETWORK,
            tag="digits",
            address=f"{base}/small-0095.params",
            filename="small-0095.params",
            hash=file_hash(source, "git"),
            classes=10,
        )
        monkeypatch.setitem(PUBLISHED, (NETWORK, "digits"), record)
        yield record, host


def build(**kwargs):
    return IGCPlain(8, 8, 2, **kwargs)


def get(model, tmp_path, **kwargs):
    kwargs = {"network": NETWORK, "cache_dir": tmp_path / "cache", "progress": False, **kwargs}
    return load(model, "digits", **kwargs)


def folder(tmp_path):
    return cache_folder(tmp_path / "cache")


def test_fetched_once(tmp_path, published, source):
    reference = values(build(weights=source))
    for _ in range(2):
        assert_equal(get(build(), tmp_path), reference)
    assert_equal(get(build(include_top=False), tmp_path), reference[:-2])
    assert len(published[1].requests) == 1
    assert sorted(p.suffix for p in folder(tmp_path).iterdir()) == [".lock", ".params"]


@pytest.mark.parametrize("again", [False, True])
def test_other_classes(tmp_path, published, source, again):
    if again:
        get(build(), tmp_path)
    with pytest.raises(ValueError, match="classes=3 was asked for.*for 10 classes"):
        get(build(classes=3), tmp_path)
    model = build(classes=3)
    head = values(model)[-2:]
    with pytest.warns(UserWarning, match="predictions"):
        get(model, tmp_path, skip_mismatch=True)
    assert_equal(model, values(build(weights=source))[:-2] + head)


def test_a_wrong_file_on_the_host(tmp_path, published, monkeypatch):
    monkeypatch.setattr(_download, "RETRY_WAIT", 0.0)
    published[1].behave = "wrong"
    model = build()
    before = values(model)
    with pytest.raises(DownloadError, match="does not have the hash git:"):
        get(model, tmp_path)
    assert_equal(model, before)
    assert [p.suffix for p in folder(tmp_path).iterdir()] == [".lock"]


def test_offline_with_the_file_put_there(tmp_path, published, source):
    record, host = published
    with pytest.raises(DownloadError, match="offline") as caught:
        get(build(), tmp_path, offline=True)
    place = folder(tmp_path) / record.filename
    assert f"at {place}" in str(caught.value)
    place.parent.mkdir(parents=True)
    shutil.copy(source, place)
    assert_equal(get(build(), tmp_path, offline=True), values(build(weights=source)))
    assert host.requests == []


def test_a_mirror(tmp_path, published, source, monkeypatch):
    record, host = published
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    shutil.copy(source, mirror / record.filename)
    monkeypatch.setenv(MIRROR_VARIABLE, mirror.as_uri())
    assert_equal(get(build(), tmp_path), values(build(weights=source)))
    assert host.requests == []


def test_keras_home_is_the_cache(tmp_path, published, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    load(build(), "digits", network=NETWORK, progress=False)
    assert (folder(tmp_path) / "small-0095.params").is_file()


def test_verify(tmp_path, published):
    def states():
        return {(c.network, c.tag): c.state for c in verify(tmp_path / "cache")}

    assert set(states().values()) == {"absent"}
    assert set(states()) == set(PUBLISHED)
    get(build(), tmp_path)
    assert states()[NETWORK, "digits"] == "good"
    (folder(tmp_path) / "small-0095.params").write_bytes(b"damaged")
    assert states()[NETWORK, "digits"] == "damaged"
    assert states()["IGC_L100M2", "imagenet"] == "absent"


def test_through_the_constructor(tmp_path, published, source, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    keras.utils.clear_session()
    assert_equal(build(weights="digits"), values(build(weights=source)))


def test_another_number_of_classes_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(ValueError, match="classes=7 was asked for, and the published head is for"):
        load(
            IGC_L100M2(classes=7),
            "imagenet",
            network="IGC_L100M2",
            cache_dir=tmp_path,
            offline=True,
        )
    assert not list(tmp_path.iterdir())
