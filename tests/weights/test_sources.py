import hashlib
import traceback
import zipfile

import pytest

from keras_mg.weights import DownloadError, WeightsError, _download, load
from keras_mg.weights._sources import find_source
from tests.weights.server import Host, serving
from tests.weights.small_nets import assert_equal, randomize, small_net, values


@pytest.fixture
def trained(tmp_path):
    model = randomize(small_net())
    model.save_weights(tmp_path / "a.weights.h5")
    return model, (tmp_path / "a.weights.h5").read_bytes()


def quiet(tmp_path):
    return {"cache_dir": tmp_path / "cache", "progress": False}


def message(source, network="RMG18", **kwargs):
    with pytest.raises(WeightsError) as caught:
        find_source(source, network, **kwargs)
    return str(caught.value)


def test_unknown_tags_list_what_there_is():
    text = message("imagnet", "IGC_L100M2")
    assert "unknown weights 'imagnet' for IGC_L100M2" in text
    assert "None, 'imagenet' or the path or address of a weights file" in text


def test_a_tag_of_other_networks():
    text = message("imagenet", "RMG18")
    assert "Nothing is published for RMG18" in text
    assert "'imagenet' is published for IGC_L100M2, " in text


def test_a_path_that_is_not_there(tmp_path):
    assert "is no file" in message(str(tmp_path / "x.weights.h5"))
    assert "is a folder" in message(tmp_path)


@pytest.mark.parametrize("source", [3, True, ["a"], b"bytes"])
def test_other_types(source):
    assert "Received: " in message(source)


def test_other_schemes():
    assert "addresses may begin with http, https, file, hf" in message("ftp://host/a")


@pytest.mark.parametrize(
    "address",
    [
        "http://me:hunter2@[bad/x",
        "https://me:hunter2@host\u2100/x?token=hunter2",
        "file://me:hunter2@[bad/x",
        "hf://[bad/x",
        "http://me:hunter2@host\udcff/x",  # a file name that is no UTF-8
        f"http://me:hunter2@{'a' * 300}/x",
        "http://me:hunter2@host:port/x",
        "hf://hunter2@owner/net/file",
        "file://me:hunter2@host/x",
    ],
)
def test_a_malformed_address_is_refused_without_its_password(tmp_path, address):
    with pytest.raises(WeightsError, match="no valid address|expected hf://|there is no file") as e:
        find_source(address, "RMG18", **quiet(tmp_path))
    assert "hunter2" not in "".join(traceback.format_exception(e.value, limit=0))
    assert not list(tmp_path.rglob("*.part"))


def test_a_malformed_mirror_is_passed_over(tmp_path, trained, monkeypatch):
    (tmp_path / "a.weights.h5").write_bytes(trained[1])
    address = (tmp_path / "a.weights.h5").as_uri()
    monkeypatch.setenv(_download.MIRROR_VARIABLE, "http://me:hunter2@[bad")
    options = {"cache_dir": tmp_path / "cache", "progress": False, "use_mirrors": True}
    assert _download.fetch(address, "a", **options).read_bytes() == trained[1]
    with pytest.raises(DownloadError, match=r"http://\[bad/b: this is no valid address") as caught:
        _download.fetch(f"{address}x", "b", **options)
    assert "hunter2" not in str(caught.value)


def test_a_file_named_as_a_tag(tmp_path, monkeypatch, trained):
    """`./imagenet` is a file, `imagenet` the tag."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").write_bytes(trained[1])
    assert find_source("imagenet", "IGC_L100M2").record is not None
    assert find_source("./imagenet", "IGC_L100M2").path is not None


def test_an_address(tmp_path, trained):
    host = Host({"some/a.weights.h5": trained[1]})
    with serving(host) as base:
        for _ in range(2):
            model = load(small_net(), f"{base}/some/a.weights.h5", **quiet(tmp_path))
            assert_equal(model, values(trained[0]))
    assert len(host.requests) == 1


def test_an_address_with_a_hash(tmp_path, trained):
    digest = hashlib.sha256(trained[1]).hexdigest()
    with serving(Host({"a": trained[1]})) as base:
        model = load(small_net(), f"{base}/a#sha256={digest}", **quiet(tmp_path))
        assert_equal(model, values(trained[0]))


def test_an_address_with_another_hash(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(_download, "RETRY_WAIT", 0.0)
    with (
        serving(Host({"a": trained[1]})) as base,
        pytest.raises(DownloadError, match="does not have the hash sha256:0000"),
    ):
        load(small_net(), f"{base}/a#sha256={'0' * 64}", **quiet(tmp_path))


def test_a_fragment_that_is_no_hash():
    assert "hexadecimal digits. Received: 'sha256:part'" in message("https://host/a#sha256=part")
    assert "may end in '#sha256='" in message("https://host/a#token=secret")
    assert "secret" not in message("https://host/a#token=secret")


@pytest.mark.parametrize("text", ["//me:secret@host/a", "me:secret@host/a?token=secret"])
def test_an_address_without_its_scheme_is_refused_without_its_password(text):
    found = message(text)
    assert "is no file" in found
    assert "secret" not in found


def test_a_file_address_with_a_hash(tmp_path, trained):
    path = tmp_path / "a.weights.h5"
    digest = hashlib.sha256(trained[1]).hexdigest()
    load(small_net(), f"{path.as_uri()}#sha256={digest}")
    assert "does not have the hash" in message(f"{path.as_uri()}#sha256={'0' * 64}")


def test_a_file_address_to_nothing(tmp_path):
    assert "there is no file" in message((tmp_path / "x").as_uri())
    assert "there is no file" in message("file://elsewhere/etc/hosts")


def test_offline_address(tmp_path):
    text = message("https://host/net.pth", offline=True, cache_dir=tmp_path)
    assert "offline" in text
    assert "net.pth" in text
    assert str(tmp_path) in text


def test_a_log_in_page_is_not_kept(tmp_path, trained):
    name = "a?token=secret"
    host = Host({name: b"<html>Please log in</html>"})
    with serving(host) as base:
        with pytest.raises(WeightsError, match="not a weights file") as caught:
            load(small_net(), f"{base}/{name}", **quiet(tmp_path))
        assert "secret" not in str(caught.value)
        host.files[name] = trained[1]
        model = load(small_net(), f"{base}/{name}", **quiet(tmp_path))
    assert_equal(model, values(trained[0]))
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_file_with_a_damaged_array_is_not_kept(tmp_path, trained):
    """It opens: only reading every array shows the damage."""
    trained[0].save(tmp_path / "a.keras")
    good = (tmp_path / "a.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        place = archive.getinfo("model.weights.h5").header_offset + 9000
    damaged = bytearray(good)
    damaged[place] ^= 4
    host = Host({"a": bytes(damaged)})
    with serving(host) as base:
        with pytest.raises(WeightsError, match="damaged zip archive"):
            load(small_net(), f"{base}/a", **quiet(tmp_path))
        host.files["a"] = good
        model = load(small_net(), f"{base}/a", **quiet(tmp_path))
    assert_equal(model, values(trained[0]))


@pytest.mark.parametrize(
    "text", ["a" * 5000, "a\0b.h5", "~nosuchuser/a.h5", "file:///a%00b", "http://a\0b/c"]
)
def test_paths_that_are_none(tmp_path, text):
    with pytest.raises(WeightsError):
        find_source(text, "net", cache_dir=tmp_path, progress=False, offline=True)


@pytest.mark.parametrize("path", ["a/b/../../c/d", "a/b/./c", "a/b//c", "../b/c", "a/b\\..\\c"])
def test_an_address_of_the_hub_stays_in_its_repository(path):
    with pytest.raises(WeightsError, match="expected hf://owner/repository"):
        find_source(f"hf://{path}", "net")
