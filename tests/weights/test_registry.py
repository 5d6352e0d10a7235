import dataclasses
import math
import re

import pytest

from keras_mg import applications
from keras_mg.weights import WeightsError, WeightsInfo, weights_info
from keras_mg.weights.hashing import check_form

EVERY = weights_info()


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
