import dataclasses
import math
import re

import pytest

from keras_mg import applications
from keras_mg.weights import WeightsError, WeightsInfo, register_weights, weights_info
from keras_mg.weights._hashing import check_form
from keras_mg.weights._published import PUBLISHED

EVERY = tuple(record for record in weights_info() if isinstance(record, WeightsInfo))


def test_the_five_checkpoints_of_the_igc_authors():
    assert {(r.network, r.tag) for r in EVERY} == {
        ("IGC_L100M2", "imagenet"),
        ("IGC_L16M16", "imagenet"),
        ("IGC_L4M32", "imagenet"),
        ("IGCResNet18_C64", "imagenet"),
        ("IGCResNet18_C69", "imagenet"),
    }


@pytest.mark.parametrize("record", EVERY, ids=lambda r: r.network)
def test_a_record_is_complete(record):
    assert check_form(record.hash) == record.hash
    assert record.address.startswith("https://")
    assert record.address.endswith(f"/{record.filename}")
    assert record.source_commit in record.address
    assert re.fullmatch(r"[0-9a-f]{40}", record.source_commit)
    assert record.licence
    assert record.channel_order == "RGB"
    assert len(record.mean) == len(record.std) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.hash = "git:0"


@pytest.mark.parametrize("record", EVERY, ids=lambda r: r.network)
def test_a_record_agrees_with_its_network(record):
    construct = getattr(applications, record.network)
    model = construct()
    assert model.output_shape == (None, record.classes)
    assert model.input_shape[1:3] == record.input_size
    assert sum(math.prod(v.shape) for v in model.trainable_weights) == record.parameters


def test_preprocessing_is_the_records():
    for record in EVERY:
        assert record.mean == applications.igc.IMAGENET_MEAN
        assert record.std == applications.igc.IMAGENET_STD


def test_files_have_different_names_and_hashes():
    """Mirrors and the cache folder keep them side by side."""
    assert len({r.filename for r in EVERY}) == len(EVERY)
    assert len({r.hash for r in EVERY}) == len(EVERY)


def test_asking():
    assert isinstance(weights_info("IGC_L100M2", "imagenet"), WeightsInfo)
    assert weights_info("IGC_L100M2") == (weights_info("IGC_L100M2", "imagenet"),)
    assert weights_info("RMG18") == ()
    with pytest.raises(WeightsError, match="no published weights 'x'.*IGC_L100M2 'imagenet'"):
        weights_info("IGC_L100M2", "x")


def test_registering(monkeypatch):
    monkeypatch.delitem(PUBLISHED, ("RMG18", "mine"), raising=False)  # afterwards, too
    first = EVERY[0]
    mine = dataclasses.replace(first, network="RMG18", tag="mine", filename="mine.h5")
    assert register_weights(mine) is mine
    assert weights_info("RMG18") == (mine,)
    register_weights(mine)  # the same again
    assert weights_info()[-2:] == (EVERY[-1], mine)
    with pytest.raises(WeightsError, match="another record for RMG18 'mine' .mine.h5."):
        register_weights(dataclasses.replace(mine, filename="other.h5"))
    with pytest.raises(WeightsError, match="another record for IGC_L100M2.*Received: RMG18 'b'"):
        register_weights(dataclasses.replace(mine, tag="b", filename=first.filename))
    with pytest.raises(WeightsError, match="hexadecimal digits"):
        register_weights(dataclasses.replace(mine, tag="c", filename="c", hash="md5:0"))
