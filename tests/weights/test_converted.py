"""A published tag from the first asking to the last: fetch, convert once, keep, check."""

import dataclasses
import shutil

import keras
import pytest

from keras_mg.applications import IGC_L100M2, IGCPlain
from keras_mg.weights import DownloadError, load, registry, sources, verification, verify
from keras_mg.weights.converted import find_converted, layout_digest
from keras_mg.weights.download import MIRROR_VARIABLE, cache_folder
from keras_mg.weights.hashing import file_hash
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
            registry.REGISTRY[0],
            network=NETWORK,
            tag="digits",
            address=f"{base}/small-0095.params",
            filename="small-0095.params",
            hash=file_hash(source, "git"),
            classes=10,
        )
        for module in (registry, sources, verification):
            monkeypatch.setattr(module, "REGISTRY", (record,))
        yield record, host


def build(**kwargs):
    return IGCPlain(8, 8, 2, **kwargs)


def get(model, tmp_path, **kwargs):
    kwargs = {"network": NETWORK, "cache_dir": tmp_path / "cache", "progress": False, **kwargs}
    return load(model, "digits", **kwargs)


def folder(tmp_path):
    return cache_folder(tmp_path / "cache")


def test_fetched_once_converted_once(tmp_path, published, source):
    record, host = published
    reference = values(build(weights=source))
    assert_equal(get(build(), tmp_path), reference)
    path = find_converted(build(), record, tmp_path / "cache")
    assert path is not None
    time = path.stat().st_mtime_ns
    host.behave = "missing"
    (folder(tmp_path) / "small-0095.params").unlink()
    assert_equal(get(build(), tmp_path), reference)
    assert path.stat().st_mtime_ns == time
    assert len(host.requests) == 1


def test_keras_itself_reads_the_converted_file(tmp_path, published, source):
    get(build(), tmp_path)
    model = build()
    model.load_weights(find_converted(model, published[0], tmp_path / "cache"))
    assert_equal(model, values(build(weights=source)))


@pytest.mark.parametrize("first", [True, False])
def test_one_converted_file_serves_trunk_and_whole(tmp_path, published, source, first):
    whole = values(build(weights=source))
    for include_top in (first, not first):
        model = get(build(include_top=include_top), tmp_path)
        assert_equal(model, whole if include_top else whole[:-2])
    assert len(list(folder(tmp_path).glob("*.weights.h5"))) == 1
    assert len(published[1].requests) == 1


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


def test_a_damaged_converted_file_is_not_loaded(tmp_path, published, source):
    get(build(), tmp_path)
    path = find_converted(build(), published[0], tmp_path / "cache")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert find_converted(build(), published[0], tmp_path / "cache") is None
    assert_equal(get(build(), tmp_path), values(build(weights=source)))
    assert find_converted(build(), published[0], tmp_path / "cache") == path


def test_another_layout_is_another_file():
    assert layout_digest(build()) == layout_digest(build(include_top=False))
    assert layout_digest(build()) == layout_digest(build(classes=3))
    assert layout_digest(build()) != layout_digest(IGCPlain(11, 8, 2))


def test_a_wrong_file_on_the_host(tmp_path, published, monkeypatch):
    from keras_mg.weights import download

    monkeypatch.setattr(download, "RETRY_WAIT", 0.0)
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


def test_a_full_disk_while_converting_still_loads(tmp_path, published, source, monkeypatch):
    from keras_mg.weights import converted

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted, "write_h5", full)
    assert_equal(get(build(), tmp_path), values(build(weights=source)))
    assert sorted(p.suffix for p in folder(tmp_path).iterdir()) == [".lock", ".params"]


def test_keras_home_is_the_cache(tmp_path, published, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    load(build(), "digits", network=NETWORK, progress=False)
    assert len(list(folder(tmp_path).glob("*.weights.h5"))) == 1


def test_verify(tmp_path, published):
    def states():
        return [check.state for check in verify(tmp_path / "cache")]

    assert states() == ["absent"]
    get(build(), tmp_path)
    assert states() == ["good", "good"]
    for path in folder(tmp_path).iterdir():
        path.write_bytes(b"damaged")
    assert states() == ["damaged", "damaged"]


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
