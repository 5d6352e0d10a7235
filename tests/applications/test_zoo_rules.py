"""The odd rules of the networks, each worked out by hand."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_mg import applications as zoo
from keras_mg.applications.igc_cifar import residual_blocks
from tests.support.arrays import numpy

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the meta device is torch's"
)

LAST = {"data_format": "channels_last"}


def inner(model, *names):
    """The model's layers of these names as outputs."""
    return keras.Model(model.inputs, [model.get_layer(name).output for name in names])


def shapes(model, prefix=""):
    """The shapes of the kernels below `prefix`, by path."""
    return {
        v.path.removesuffix("/kernel"): tuple(v.shape)
        for v in model.weights
        if v.name == "kernel" and v.path.startswith(prefix)
    }


def run(model, images):
    outputs = model(keras.ops.convert_to_tensor(images), training=False)
    return [numpy(y) for y in keras.tree.flatten(outputs)]


def silence(layer):
    """Make the batch norms of a layer give zero."""
    for variable in layer.weights:
        if variable.name in ("gamma", "beta"):
            variable.assign(np.zeros(variable.shape))


def random_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_the_first_stage_of_l16m16_keeps_the_width_of_the_stem():
    """No projection there: with its IGCs silenced a block gives its input (no ReLU'd minus)."""
    model = zoo.IGC_L16M16(include_top=False, input_shape=(32, 32, 3), **LAST)
    projections = {name.split("/")[0] for name in shapes(model) if "/shortcut" in name}
    assert projections == {"stage2_block1", "stage3_block1", "stage4_block1"}
    for name in ("stage1_block1", "stage1_block2"):
        silence(model.get_layer(name))
    stem, stage = run(inner(model, "stem_pool", "stage1_block2"), random_images(1, 32, 32, 3))
    assert stem.shape == (1, 8, 8, 256)
    assert stem.any()
    np.testing.assert_array_equal(stage, stem)


def test_the_first_stage_of_the_other_igc_networks():
    """L100M2 widens at once, in a projection without stride; L4M32 does not."""
    with keras.device("meta"):
        wide = zoo.IGC_L100M2(include_top=False, input_shape=(32, 32, 3), **LAST)
        narrow = zoo.IGC_L4M32(include_top=False, input_shape=(32, 32, 3), **LAST)
    # 100 groups of one channel each, which become two.
    assert shapes(wide)["stage1_block1/shortcut"] == (1, 1, 1, 200)
    assert wide.get_layer("stage1_block1").output.shape == (None, 8, 8, 200)
    assert "stage1_block1/shortcut" not in shapes(narrow)
    # 4 groups of 128 / 4 = 32 channels; the stride is 2.
    assert shapes(narrow)["stage2_block1/shortcut"] == (1, 1, 32, 256)
    assert narrow.get_layer("stage2_block1").output.shape == (None, 4, 4, 256)


def test_group_counts_of_the_igc_networks():
    """Primary kernels see inputs / L channels, secondary ones outputs / S."""
    with keras.device("meta"):
        l100m2, l16m16 = zoo.IGC_L100M2(**LAST), zoo.IGC_L16M16(**LAST)
        plain, residual = zoo.IGCPlain(8, 24, 2, **LAST), zoo.IGCResNet(8, 24, 2, **LAST)
    # L doubles with the stage (800 in the fourth) and S stays 2.
    assert shapes(l100m2)["stage4_block1/igc1/primary"] == (3, 3, 1, 1600)
    assert shapes(l100m2)["stage4_block2/igc1/primary"] == (3, 3, 2, 1600)
    assert shapes(l100m2)["stage4_block1/igc1/secondary"] == (1, 1, 800, 1600)
    # L stays 16 and S is outputs / 16, so that a secondary kernel sees 16 channels.
    assert shapes(l16m16)["stage4_block1/igc1/primary"] == (3, 3, 64, 2048)
    assert shapes(l16m16)["stage4_block1/igc1/secondary"] == (1, 1, 16, 2048)
    # Plain: M = 2, 4, 8, at once in the widening block.
    assert [shapes(plain)[f"stage{s}_block1/secondary"][2] for s in (1, 2, 3)] == [24, 24, 24]
    # Residual: the first IGC of a widening pair still counts its S by its input, 48 / 24 = 2.
    assert shapes(residual)["stage2_block1/igc1/secondary"] == (1, 1, 48, 96)
    assert shapes(residual)["stage2_block1/igc2/secondary"] == (1, 1, 24, 96)
    assert shapes(residual)["stage3_block1/igc1/secondary"] == (1, 1, 48, 192)


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(8, (1, 1, 1)), (10, (1, 1, 2)), (12, (1, 2, 2)), (14, (2, 2, 2)), (18, (2, 3, 3)),
     (20, (3, 3, 3)), (38, (6, 6, 6)), (40, (6, 6, 7))],
)  # fmt: skip
def test_residual_igc_networks_deal_out_their_blocks(depth, blocks):
    assert residual_blocks(depth) == blocks
    assert 2 + 2 * sum(blocks) == depth


def test_progressive_widths_of_prmgseg():
    """The grids in use take the width of the finest of them; a new one comes from the stem."""
    with keras.device("meta"):
        model = zoo.PRMGSeg30(shortcut="A", input_shape=(64, 64, 3), **LAST)
        projecting = zoo.PRMGSeg30(shortcut="C", input_shape=(64, 64, 3), **LAST)

    def widths(name):
        return [tuple(g.shape[1:]) for g in keras.tree.flatten(model.get_layer(name).output)]

    assert widths("stem") == [(16, 16, 64), (8, 8, 32), (4, 4, 16), (2, 2, 8)]
    for i in (1, 2):
        assert widths(f"start1_layer{i}") == [(2, 2, 8)]
        assert widths(f"start2_layer{i}") == [(4, 4, 16), (2, 2, 16)]
        assert widths(f"start3_layer{i}") == [(8, 8, 32), (4, 4, 32), (2, 2, 32)]
        assert [w[-1] for w in widths(f"start4_layer{i}")] == [64, 64, 64, 64]
        assert [w[-1] for w in widths(f"block1_layer{i}")] == [64, 64, 64, 128]
        assert [w[-1] for w in widths(f"block2_layer{i}")] == [64, 64, 128, 256]
        assert [w[-1] for w in widths(f"block3_layer{i}")] == [64, 128, 256, 512]
    # start2_layer1: grids of 16 and 8 channels come in, so each first convolution sees 24, each
    # second one 16 + 16 = 32.
    assert shapes(model, "start2_layer1") == {
        "start2_layer1/conv1_grid_0": (3, 3, 24, 16),
        "start2_layer1/conv1_grid_1": (3, 3, 24, 16),
        "start2_layer1/conv2_grid_0": (3, 3, 32, 16),
        "start2_layer1/conv2_grid_1": (3, 3, 32, 16),
    }
    # Kernels, biases, gammas and betas: 2 * (9 * 24 * 16 + 48) + 2 * (9 * 32 * 16 + 48). C adds
    # the shortcuts 16 -> 16 and 8 -> 16.
    own = 2 * (9 * 24 * 16 + 48) + 2 * (9 * 32 * 16 + 48)
    assert trainable(model.get_layer("start2_layer1")) == own == 16_320
    with_shortcuts = trainable(projecting.get_layer("start2_layer1"))
    assert with_shortcuts == own + (16 * 16 + 48) + (8 * 16 + 48) == 16_800


def trainable(layer):
    return sum(int(np.prod(v.shape)) for v in layer.trainable_variables)


@pytest.mark.parametrize("final_relu", [True, False])
def test_the_last_block_of_resnet20_narrows_to_the_first_ten_channels(final_relu):
    model = zoo.ResNet20(final_relu=final_relu, include_top=False, input_shape=(8, 8, 3), **LAST)
    last = model.get_layer("stage3_block3")
    assert [s[2:] for s in shapes(model, "stage3_block3").values()] == [(64, 10), (10, 10)]
    silence(last)  # and with it the first norm: what is left is the shortcut
    before, after = run(inner(model, "stage3_block2", last.name), random_images(2, 8, 8, 3))
    assert before.shape == (2, 2, 2, 64)
    assert after.shape == (2, 2, 2, 10)
    expected = before[..., :10]
    np.testing.assert_array_equal(after, np.maximum(expected, 0) if final_relu else expected)
    assert final_relu or (expected < 0).any()


def test_the_last_block_of_a_stage_of_resnet20_widens_and_strides():
    model = zoo.ResNet20(final_relu=False, include_top=False, input_shape=(8, 8, 3), **LAST)
    widening = {
        name.split("/")[0]: s[2:]
        for name, s in shapes(model, "stage").items()
        if name.endswith("conv1") or s[2] != s[3]
    }
    assert widening["stage1_block3"] == (16, 32)
    assert widening["stage2_block3"] == (32, 64)
    silence(model.get_layer("stage1_block3"))
    before, after = run(inner(model, "stage1_block2", "stage1_block3"), random_images(2, 8, 8, 3))
    np.testing.assert_array_equal(after[..., :16], before[:, ::2, ::2])
    assert after.shape == (2, 4, 4, 32)
    assert not after[..., 16:].any()


def test_segpmg_drops_the_coarsest_grid_before_it_is_resampled():
    model = zoo.SegPMG(input_shape=(8, 8, 1), classifier_activation=None, **LAST)
    # Grids of 64, 32, 16 and 8 channels. The last but one of those in use sees no coarser one:
    # 32 + 16, then 64 + 32, then 64 alone.
    assert shapes(model, "block3_layer1")["block3_layer1/grid_2"] == (3, 3, 32 + 16 + 8, 16)
    assert shapes(model, "end3_layer1") == {
        "end3_layer1/grid_0": (3, 3, 64 + 32, 64),
        "end3_layer1/grid_1": (3, 3, 64 + 32 + 16, 32),
        "end3_layer1/grid_2": (3, 3, 32 + 16, 16),
    }
    assert shapes(model, "end2_layer1")["end2_layer1/grid_1"] == (3, 3, 64 + 32, 32)
    assert shapes(model, "predictions") == {"predictions/grid_0": (3, 3, 64, 10)}
    images = random_images(1, 8, 8, 1)
    (before,) = run(model, images)
    (logits,) = run(inner(model, "predictions"), images)
    assert (logits < 0).any(), "the last layer has no ReLU"
    for layer, grid, is_read in (("block3_layer1", 3, False), ("block3_layer1", 2, True)):
        (beta,) = (v for v in model.weights if v.path == f"{layer}/grid_{grid}/beta")
        beta.assign(beta + 3.0)
        (after,) = run(model, images)
        assert np.array_equal(before, after) != is_read


def test_the_last_layer_of_segprmg():
    """1x1 kernels in both convolutions, a ReLU between them, a projection, none after the sum."""
    model = zoo.SegPRMG(input_shape=(8, 8, 1), classifier_activation=None, **LAST)
    assert shapes(model, "predictions") == {
        "predictions/shortcut_grid_0": (1, 1, 64, 10),
        "predictions/conv1_grid_0": (1, 1, 64, 10),
        "predictions/conv2_grid_0": (1, 1, 10, 10),
    }
    assert (run(model, random_images(1, 8, 8, 1))[0] < 0).any()
    # Elsewhere no width shrinks, so there is no other projection.
    assert sum("shortcut" in name for name in shapes(model)) == 1


def test_the_grids_that_umg_has_not():
    with keras.device("meta"):
        model = zoo.SegUMG(outputs=7, **LAST)
    expected = {
        # Level 1 is the input layer; its pool keeps three grids.
        "stem": {0: (3, 3, 1, 64), 1: (3, 3, 1, 32), 2: (3, 3, 1, 16)},
        "down1": {0: (3, 3, 96, 128), 1: (3, 3, 112, 64), 2: (3, 3, 48, 32)},
        # Entered with 128 and 64 channels, the coarsest dropped; then with 256 alone.
        "down2": {0: (3, 3, 192, 256), 1: (3, 3, 192, 128)},
        "down3": {0: (3, 3, 256, 512)},
        # Up to the widths of entering; kernels are (height, width, out, in).
        "up2_sampling": {0: (2, 2, 256, 512)},
        "up1_sampling": {0: (2, 2, 128, 256), 1: (2, 2, 64, 128)},
        "up0_sampling": {0: (2, 2, 64, 128), 1: (2, 2, 32, 64), 2: (2, 2, 16, 32)},
        # [256 + 256, 128]: grid 1 is the skip alone.
        "up2": {0: (3, 3, 512 + 128, 256), 1: (3, 3, 512 + 128, 128)},
        # [128 + 128, 64 + 64, 32]: grid 2 is the skip alone.
        "up1": {0: (3, 3, 256 + 128, 128), 1: (3, 3, 256 + 128 + 32, 64), 2: (3, 3, 160, 32)},
        "up0": {0: (3, 3, 128 + 64, 64), 1: (3, 3, 128 + 64 + 32, 32), 2: (3, 3, 96, 16)},
        "predictions": {0: (1, 1, 96, 7), 1: (1, 1, 112, 7), 2: (1, 1, 48, 7)},
    }
    assert shapes(model) == {
        f"{layer}/grid_{grid}": shape
        for layer, grids in expected.items()
        for grid, shape in grids.items()
    }


@pytest.mark.parametrize("make", [zoo.SegUNet, zoo.SegUMG])
def test_unets_concatenate_the_skip_first(make):
    """Channels of the raised map, silenced, are the last ones."""
    model = make(filters=(8, 16, 32, 64), input_shape=(8, 8, 1), **LAST)
    silence(model.get_layer("up0_sampling"))
    names = ("stem", "up0_concat_grid_0")
    skip, *_, joined = run(inner(model, *names), random_images(1, 8, 8, 1))
    np.testing.assert_array_equal(joined[..., :8], skip)
    assert joined.shape == (1, 8, 8, 16)
    assert not joined[..., 8:].any()


def test_blocks_of_the_cifar_networks():
    """The coarsest grid of the last two blocks has 1x1 kernels, and their pools merge."""
    with keras.device("meta"):
        plain, residual = zoo.MG6(**LAST), zoo.RMG12(**LAST)
    assert shapes(plain, "block4") == {
        "block4_layer1/grid_0": (3, 3, 256 + 128, 512),
        "block4_layer1/grid_1": (3, 3, 256 + 128 + 64, 256),
        "block4_layer1/grid_2": (1, 1, 128 + 64, 128),
    }
    # 512, and the pooled 256 in front of 128; after the block the pooled 512 in front of 384.
    assert shapes(plain, "block5") == {
        "block5_layer1/grid_0": (3, 3, 512 + 384, 512),
        "block5_layer1/grid_1": (1, 1, 512 + 384, 384),
    }
    assert shapes(plain, "predictions") == {"predictions": (896, 100)}
    # A plain network's input layer is the first layer of its first block, a residual one's is not.
    assert not any(layer.name.startswith("block1_layer") for layer in plain.layers)
    assert residual.get_layer("block1_layer1")
    assert shapes(residual, "block4_layer1")["block4_layer1/conv1_grid_2"] == (1, 1, 192, 128)
    assert shapes(residual, "block4_layer1")["block4_layer1/conv2_grid_2"] == (1, 1, 384, 128)


def test_merging_poolings_put_the_finer_grid_in_front():
    model = zoo.MG6(include_top=False, **LAST, input_shape=(32, 32, 3))
    pooled, block = "block5_pool", "block5_layer1"
    images = random_images(1, 32, 32, 3)
    fine, coarse, merged = run(inner(model, block, pooled), images)
    assert (fine.shape, coarse.shape) == ((1, 2, 2, 512), (1, 1, 1, 384))
    np.testing.assert_array_equal(merged[0, 0, 0, :512], fine.max((0, 1, 2)))
    np.testing.assert_array_equal(merged[..., 512:], coarse)


@pytest.mark.parametrize("share_smoother", [True, False])
def test_mgnet_on_one_pixel(share_smoother):
    """There every convolution is a product with its centre weight.

    f = 1, A = 2, B = 3: u = 3 (1 - 2 * 0) = 3. Pi = 0.5, R = -1, A' = -4: u' = 1.5 and
    f' = relu(-(1 - 2 * 3)) - 4 * 1.5 = -1. B' = 1: u' = 1.5 + (-1 + 4 * 1.5) = 6.5.
    """
    model = zoo.MgNet(
        (1, 1), 1, share_smoother, input_shape=(None, None, 3), classes=1,
        classifier_activation=None, **LAST,
    )  # fmt: skip
    centres = {
        "stem": [1.0, 0.0, 0.0],
        "grid1_smoother/operator": [2.0],
        "grid1_smoother/smoother_0": [3.0],
        "grid2_restriction/feature": [0.5],
        "grid2_restriction/residual": [-1.0],
        "grid2_smoother/operator": [-4.0],
        "grid2_smoother/smoother_0": [1.0],
    }
    for variable in model.weights:
        path = variable.path.removesuffix("/kernel")
        if path in centres:
            kernel = np.zeros(variable.shape)
            kernel[1, 1, :, 0] = centres.pop(path)
            variable.assign(kernel)
    assert not centres
    model.get_layer("predictions").set_weights([np.ones((1, 1)), np.zeros(1)])
    (y,) = run(model, np.ones((1, 1, 1, 3), "float32"))
    assert y.item() == pytest.approx(6.5, rel=1e-4)  # an epsilon of 1e-5 in each norm


def test_mgnet_shares_what_it_says():
    with keras.device("meta"):
        shared, own = (zoo.MgNet((3, 1), 8, share) for share in (True, False))
    smoothers = [sum("smoother_" in name for name in shapes(m, "grid1")) for m in (shared, own)]
    assert smoothers == [1, 3]
    assert sum(v.name == "gamma" for v in shared.get_layer("grid1_smoother").weights) == 6


@pytest.mark.parametrize(
    ("make", "epsilon", "momentum"),
    [
        (zoo.MG6, 1e-3, 0.9),
        (zoo.PMG9, 1e-3, 0.9),
        (zoo.RMG12, 1e-5, 0.9),
        (zoo.PRMGSeg30, 1e-5, 0.9),
        (zoo.CifarVGG6, 1e-3, 0.9),
        (zoo.CifarRES12, 1e-5, 0.9),
        (zoo.SegPMG, 1e-3, 0.9),
        (zoo.SegPRMG, 1e-5, 0.9),
        (zoo.SegUNet, 1e-3, 0.9),
        (zoo.SegUMG, 1e-3, 0.9),
        (zoo.IGC_L100M2, 2e-5, 0.9),
        (zoo.IGCResNet18_C69, 2e-5, 0.9),
        (partial(zoo.IGCPlain, 8, 8, 2), 2e-5, 0.99),
        (partial(zoo.IGCPlainBaseline, 8, 16), 2e-5, 0.99),
        (partial(zoo.IGCResNet, 8, 8, 2), 2e-5, 0.9),
        (partial(zoo.IGCResNetBaseline, 8, 16), 2e-5, 0.9),
        (zoo.MgNet, 1e-5, 0.9),
        (zoo.ResNet20, 1e-5, 0.9),
    ],
)
def test_batch_norm_constants(make, epsilon, momentum):
    with keras.device("meta"):
        model = make()
    norms = [
        layer
        for layer in model._flatten_layers()
        if hasattr(layer, "epsilon") and any(v.name == "gamma" for v in layer._trainable_variables)
    ]
    assert norms
    assert {(layer.epsilon, layer.momentum) for layer in norms} == {(epsilon, momentum)}
    gammas = sum(v.name == "gamma" for v in model.weights)
    assert len(norms) == gammas
