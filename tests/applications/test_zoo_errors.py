"""What the networks beyond the flagships refuse, and how they say it."""

from functools import partial

import keras
import pytest

from keras_mg import applications as zoo

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the meta device is torch's"
)

PLAIN = (partial(zoo.IGCPlain, primary_partitions=8, secondary_partitions=2),
         partial(zoo.IGCPlainBaseline, width=16))  # fmt: skip
RESIDUAL = (partial(zoo.IGCResNet, primary_partitions=8, secondary_partitions=2),
            partial(zoo.IGCResNetBaseline, width=16))  # fmt: skip


@pytest.fixture(autouse=True)
def meta():
    with keras.device("meta"):
        yield


@pytest.mark.parametrize("make", PLAIN)
@pytest.mark.parametrize("depth", [2, 4, 6, 7, 9, 39])
def test_depths_of_plain_igc_networks(make, depth):
    with pytest.raises(ValueError, match=rf"3 n \+ 2 with n >= 1 blocks. Received: depth={depth}$"):
        make(depth)


@pytest.mark.parametrize("make", RESIDUAL)
@pytest.mark.parametrize("depth", [2, 4, 6, 7, 9, 21])
def test_depths_of_residual_igc_networks(make, depth):
    with pytest.raises(ValueError, match=f"even and at least 8. Received: depth={depth}$"):
        make(depth)


@pytest.mark.parametrize("make", [*PLAIN, *RESIDUAL])
@pytest.mark.parametrize("depth", [0, -8, 8.0, "8", None, True])
def test_depths_that_are_no_positive_integers(make, depth):
    with pytest.raises(ValueError, match="depth must be a positive integer. Received: depth="):
        make(depth)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(zoo.IGCPlain, 8, 0, 2), "primary_partitions must be a positive integer"),
        (partial(zoo.IGCResNet, 8, 8, 2.5), "secondary_partitions must be a positive integer"),
        (partial(zoo.IGCPlainBaseline, 8, 0), "width must be a positive integer. Received: width"),
        (partial(zoo.IGCResNetBaseline, 8, -3), "width must be a positive integer"),
        (partial(zoo.PRMGSeg30, shortcut="D"), r"shortcut must be one of \('A', 'B', 'C'\).*'D'"),
        (partial(zoo.PRMGSeg52, shortcut="b"), "shortcut must be one of .*'b'"),
        (partial(zoo.ResNet20, block="before"), "block must be one of .*'bn_after_add'.*'before'"),
        (partial(zoo.ResNet110, block=None), "block must be one of .*Received: block=None"),
        (partial(zoo.SegPMG, depth=0), "depth must be a positive integer. Received: depth=0"),
        (partial(zoo.SegPRMG, outputs=0), "outputs must be a positive integer"),
        (partial(zoo.SegUNet, filters=(8, 8, 0, 8)), "filters must be a positive integer"),
    ],
)
def test_unknown_kinds_and_sizes(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        zoo.MG6, zoo.PRMG16, zoo.PRMGSeg30, zoo.CifarVGG6, zoo.CifarRES12, zoo.ResNet20,
        zoo.IGCResNet18_C64, partial(zoo.IGCPlain, 8, 8, 2), zoo.SegPMG, zoo.SegUMG,
    ],
)  # fmt: skip
def test_a_pyramid_excludes_the_top_and_pooling(make):
    with pytest.raises(ValueError, match="needs include_top=False.*include_top=True"):
        make(pyramid_outputs=True)
    with pytest.raises(ValueError, match="needs include_top=False and pooling=None.*'max'"):
        make(pyramid_outputs=True, include_top=False, pooling="max")


@pytest.mark.parametrize(
    ("make", "side", "multiple"),
    [
        (zoo.MG6, 30, 4),
        (zoo.PRMG16, 34, 4),
        (zoo.RMG18, 200, 16),
        (zoo.PRMGSeg30, 48, 32),
        (zoo.SegPMG, 20, 8),
        (zoo.SegPRMG, 60, 8),
        (zoo.SegUNet, 20, 8),
        (zoo.SegUMG, 20, 8),
    ],
)
def test_sides_that_are_no_multiple(make, side, multiple):
    channels = 1 if "Seg" in str(make) and "PRMGSeg" not in str(make) else 3
    for shape in ((side, 4 * multiple, channels), (4 * multiple, side, channels)):
        with pytest.raises(ValueError, match=f"multiples of {multiple}.*{side}"):
            make(input_shape=shape, data_format="channels_last")
    assert make(input_shape=(4 * multiple,) * 2 + (channels,), data_format="channels_last")


@pytest.mark.parametrize("make", [zoo.CifarVGG6, zoo.CifarRES12])
def test_an_image_too_small_for_five_poolings(make):
    with pytest.raises(ValueError, match="too small for this network: .* at least 32 pixels"):
        make(input_shape=(16, 16, 3), data_format="channels_last")


@pytest.mark.parametrize("make", [zoo.SegUNet, zoo.SegUMG])
@pytest.mark.parametrize("filters", [(8, 8, 16), (8, 8, 16, 16, 24)])
def test_unets_of_other_depths(make, filters):
    with pytest.raises(ValueError, match=r"filters must have one entry per level \(4 levels\)"):
        make(filters=filters)


def test_plain_mg_has_no_published_dropout():
    with pytest.raises(TypeError, match=r"MG6\(\) got an unexpected keyword argument 'dropout'"):
        zoo.MG6(dropout=True)
