import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from keras_mg.weights import WeightsError
from keras_mg.weights._sniff import detect
from tests.weights.mxnet_writer import file_bytes
from tests.weights.small_nets import small_net


def write(folder, kind):
    path = folder / "weights"
    if kind == "weights.h5":
        small_net().save_weights(folder / "a.weights.h5")
        (folder / "a.weights.h5").rename(path)
    elif kind == "keras":
        small_net().save(folder / "a.keras")
        (folder / "a.keras").rename(path)
    elif kind == "mxnet":
        path.write_bytes(file_bytes({"arg:a": np.ones(2, "f4")}))
    elif kind == "safetensors":
        save_file({"a": np.ones(2, "f4")}, path)
    else:
        torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=kind != "old torch")
    return path


@pytest.mark.parametrize(
    "kind", ["weights.h5", "keras", "mxnet", "safetensors", "torch", "old torch"]
)
def test_formats_without_a_suffix(tmp_path, kind):
    assert detect(write(tmp_path, kind)) == kind.removeprefix("old ")


def test_a_bare_pickle_is_left_to_the_safe_reader(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert detect(path) == "torch"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>404", "not a weights file.*first bytes are b'<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1", "not a weights file"),
        (b"PK\x03\x04rest", "damaged zip archive"),
        (b"\x12\x01" + bytes(6) + b"\x01" + bytes(7), "reserved field is not 0"),
    ],
)
def test_other_files(tmp_path, content, words):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        detect(path)
    assert str(caught.value).startswith(str(path))


def test_another_archive(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="neither a .keras file.*readme.txt"):
        detect(path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("pipe", "is no file"), ("none", "is no file"), (".", "is a folder")):
        with pytest.raises(WeightsError, match=reason):
            detect(tmp_path / name)
