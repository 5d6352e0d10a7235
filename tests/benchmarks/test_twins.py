"""The hand-written PyTorch twins: counts, shapes, order of modules, initialisation, and rules."""

import ast
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")

from benchmarks import twins  # noqa: E402
from benchmarks.twins import igc, mgnet, multigrid  # noqa: E402
from benchmarks.twins import resnet as torch_resnet  # noqa: E402

nn = torch.nn
LEAVES = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Linear)
CIFAR, IMAGENET, MNIST = (3, 32, 32), (3, 224, 224), (1, 64, 64)


class Row(NamedTuple):
    name: str
    build: Callable[[], nn.Module]
    parameters: int
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]
    macs: int | None = None  # multiply-accumulates of one image, rounded to 10,000
    dead: frozenset[str] = frozenset()  # modules whose output reaches no output of the network


# Grids that nothing reads: what the published networks compute (and count) in vain.
PRMG_SEG_DEAD = (
    "stages.2.{l2}.conv2.grids.0 stages.2.{l1}.conv1.grids.0 stages.2.{l1}.conv1.grids.1"
    " stages.2.{l1}.conv2.grids.0 stages.2.{l1}.conv2.grids.1 stages.2.{l1}.conv2.grids.2"
)
DEAD_30 = frozenset(PRMG_SEG_DEAD.format(l2=0, l1=1).split())
DEAD_52 = frozenset(PRMG_SEG_DEAD.format(l2=1, l1=2).split())
DEAD_PMG = frozenset(f"blocks.{b}.0.grids.{g}" for b, g in ((2, 3), (3, 2), (4, 1)))
DEAD_PRMG = frozenset(f"blocks.{b}.0.conv2.grids.{g}" for b, g in ((2, 3), (3, 2), (4, 1)))
DEAD_UMG = frozenset(("up.2.conv.grids.2", "last.grids.1", "last.grids.2"))

MG_COUNTS = (8_344_164, 20_460_948, 32_577_732, 44_694_516)
PMG_COUNTS = (8_462_196, 20_602_212, 32_742_228, 44_882_244)
RMG_COUNTS = (20_555_748, 44_789_316, 69_022_884, 93_256_452)
PRMG_COUNTS = (20_602_212, 44_882_244, 69_162_276, 93_442_308)
MG_MACS = (116_750_000, 394_510_000, 672_270_000, 950_030_000)
RMG_MACS = (459_840_000, 1_015_350_000, 1_570_870_000, 2_126_380_000)
RESNET_COUNTS = (271_886, 466_766, 661_646, 856_526, 1_733_486)

MGNET = partial(twins.MgNet, classes=100)
MGNET_IMAGENET = partial(twins.MgNet, (3, 4, 6, 3), (128, 256, 512, 1024), False, classes=1000)

ROWS = [
    *(
        Row(f"{make}-{n}", partial(getattr(twins, make), n), count, CIFAR, (100,), macs)
        for make, counts, all_macs in (
            ("CifarMG", MG_COUNTS, MG_MACS),
            ("CifarPMG", PMG_COUNTS, [None] * 4),
            ("CifarRMG", RMG_COUNTS, RMG_MACS),
            ("CifarPRMG", PRMG_COUNTS, [None] * 4),
        )
        for n, (count, macs) in enumerate(zip(counts, all_macs, strict=True), start=1)
    ),
    Row("CifarVGG-1", partial(twins.CifarVGG, 1), 10_016_908, CIFAR, (100,)),
    Row("CifarRES-1", partial(twins.CifarRES, 1), 9_499_236, CIFAR, (100,)),
    Row("RMG18", twins.RMG18, 15_847_752, IMAGENET, (1000,)),
    Row("RMG34", twins.RMG34, 32_899_176, IMAGENET, (1000,), 5_760_280_000),
    *(
        Row(
            f"{name}-{shortcut}",
            partial(getattr(twins, name), shortcut=shortcut),
            count,
            IMAGENET,
            (1000,),
            dead=dead,
        )
        for name, shortcut, count, dead in (
            ("PRMGSeg30", "A", 31_905_432, DEAD_30),
            ("PRMGSeg30", "B", 32_138_952, DEAD_30),
            ("PRMGSeg52", "A", 60_463_560, DEAD_52),
            ("PRMGSeg52", "B", 60_697_080, DEAD_52),
        )
    ),
    Row("SegPMG", twins.SegPMG, 605_718, MNIST, (10, 64, 64), dead=DEAD_PMG),
    Row("SegPRMG", twins.SegPRMG, 1_199_886, MNIST, (10, 64, 64), dead=DEAD_PRMG),
    Row("SegUNet", twins.SegUNet, 3_791_518, MNIST, (10, 64, 64)),
    Row("SegUMG", twins.SegUMG, 5_903_290, MNIST, (10, 64, 64), dead=DEAD_UMG),
    Row("IGC_L100M2", twins.IGC_L100M2, 8_637_900, IMAGENET, (1000,)),
    Row("IGC_L16M16", twins.IGC_L16M16, 13_528_296, IMAGENET, (1000,)),
    Row("IGC_L4M32", twins.IGC_L4M32, 12_251_240, IMAGENET, (1000,)),
    Row("IGCResNet18_C64", twins.IGCResNet18_C64, 11_689_512, IMAGENET, (1000,)),
    Row("IGCResNet18_C69", twins.IGCResNet18_C69, 13_542_457, IMAGENET, (1000,)),
    Row("plain_igc-38", partial(twins.plain_igc, 38, 24, 2), 317_242, CIFAR, (10,)),
    Row("plain_igc-8", partial(twins.plain_igc, 8, 8, 2), 12_570, CIFAR, (10,)),
    Row("resnet_igc-20", partial(twins.resnet_igc, 20, 24, 2), 164_410, CIFAR, (10,)),
    Row("MgNet-Bl", MGNET, 8_301_924, CIFAR, (100,)),
    Row("MgNet-Bli", partial(MGNET, share_smoother=False), 10_661_220, CIFAR, (100,)),
    Row("MgNet-3x3", MGNET_IMAGENET, 71_255_144, (3, 64, 64), (1000,)),
    Row("MgNet-7x7", partial(MGNET_IMAGENET, stem="imagenet"), 71_270_504, IMAGENET, (1000,)),
    *(
        Row(name, getattr(twins, name), count, CIFAR, (10,))
        for name, count in zip(
            ("ResNet20", "ResNet32", "ResNet44", "ResNet56", "ResNet110"),
            RESNET_COUNTS,
            strict=True,
        )
    ),
]


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request):
    return request.param


def on_meta(build):
    with torch.device("meta"):
        return build()


def leaves(net):
    return [(name, m) for name, m in net.named_modules() if isinstance(m, LEAVES)]


def test_parameter_count(row):
    net = on_meta(row.build)
    assert sum(p.numel() for p in net.parameters()) == row.parameters


def test_output_shape_and_multiply_accumulates(row):
    net = on_meta(row.build).eval()
    macs = 0

    def count(module, inputs, output):
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            macs += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += module.weight.numel()

    for _, module in leaves(net):
        module.register_forward_hook(count)
    output = net(torch.empty(2, *row.input_shape, device="meta"))
    assert output.shape == (2, *row.output_shape)
    if row.macs is not None:
        assert round(macs, -4) == row.macs


def test_modules_are_registered_in_the_order_of_the_forward_pass(row):
    net = on_meta(row.build)
    names = {module: name for name, module in leaves(net)}
    calls = []
    for module in names:
        module.register_forward_hook(lambda m, i, o: calls.append(m))
    net(torch.empty(2, *row.input_shape, device="meta"))
    assert [names[m] for m in dict.fromkeys(calls)] == list(names.values())


def test_every_weight_that_an_output_depends_on_gets_a_gradient(row):
    net = on_meta(row.build)
    net(torch.empty(2, *row.input_shape, device="meta")).sum().backward()
    without = {name.rsplit(".", 2)[0] for name, p in net.named_parameters() if p.grad is None}
    assert without == row.dead


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (partial(twins.CifarPMG, 1), CIFAR),
        (partial(twins.CifarRES, 1), CIFAR),
        (twins.RMG18, (3, 64, 96)),
        (partial(twins.SegPRMG, widths=(8, 8, 8, 8), n=2), MNIST),
        (twins.SegUMG, MNIST),
        (partial(twins.resnet_igc, 8, 6, 4), CIFAR),
        (partial(twins.MgNet, filters=[8, 16, 8, 24], stem="mnist"), (1, 28, 28)),
        (twins.ResNet20, CIFAR),
    ],
)
def test_channels_last_gives_the_same_numbers_and_stays_channels_last(build, shape):
    torch.manual_seed(0)
    net = build().eval()
    image = torch.randn(2, *shape)
    with torch.no_grad():
        expected = net(image)
        net = net.to(memory_format=torch.channels_last)
        seen = []
        for _, module in leaves(net):
            if not isinstance(module, nn.Linear):
                module.register_forward_hook(lambda m, i, o: seen.append(i[0]))
        actual = net(image.to(memory_format=torch.channels_last))
    assert (actual - expected).abs().max() <= 2e-5 * expected.abs().max()
    # A 1x1 map has no layout, so what is upsampled from one may come out in either.
    large = [x for x in seen if x.shape[-1] > 2]
    assert large
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in large)


def test_resample_concat_by_hand_with_an_odd_side():
    fine = torch.arange(9.0).reshape(1, 1, 3, 3)
    coarse = torch.tensor([[[[10.0, 20.0], [30.0, 40.0]]]])
    a, b = multigrid.resample_concat([fine, coarse])
    assert torch.equal(a[0, 0], fine[0, 0])
    assert a[0, 1].tolist() == [[10, 10, 20], [10, 10, 20], [30, 30, 40]]
    assert b[0, 0].tolist() == [[4, 5], [7, 8]]
    assert torch.equal(b[0, 1], coarse[0, 0])


def test_merging_pool_puts_the_pooled_grid_in_front_of_the_coarsest():
    grids = [torch.zeros(1, 1, 8, 8), torch.ones(1, 2, 4, 4), torch.full((1, 3, 2, 2), 2.0)]
    a, b = multigrid.mg_pool(grids, merge=True)
    assert a.shape == (1, 1, 4, 4)
    assert b.shape == (1, 5, 2, 2)
    assert b[0, :, 0, 0].tolist() == [1, 1, 2, 2, 2]


def test_progressive_start_gives_the_grids_in_use_the_width_of_the_finest():
    net = on_meta(twins.PRMGSeg30)
    widths = [
        [[grid[0].out_channels for grid in layer.conv1.grids] for layer in stage]
        for stage in net.start.stages
    ]
    assert widths == [[[8]] * 2, [[16] * 2] * 2, [[32] * 3] * 2, [[64] * 4] * 2]


@pytest.mark.parametrize(
    ("shortcut", "projected"),
    [("A", [False] * 3), ("B", [False, True, True]), ("C", [True] * 3)],
)
def test_shortcut_types(shortcut, projected):
    block = multigrid.MGResidual([4, 4, 2], [4, 6, 3], shortcut=shortcut)
    assert [isinstance(s, nn.Sequential) for s in block.shortcuts] == projected


def test_shortcut_a_pads_channels_at_the_end_and_projects_where_they_shrink():
    block = multigrid.MGResidual([2, 3], [4, 1]).eval()
    assert [isinstance(s, nn.Sequential) for s in block.shortcuts] == [False, True]
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    fine, _ = block([torch.ones(1, 2, 4, 4), torch.ones(1, 3, 2, 2)])
    assert fine[0, :, 0, 0].tolist() == [1, 1, 0, 0]


def test_interleave_moves_channel_l_m_to_m_l():
    x = torch.arange(6.0).reshape(1, 6, 1, 1).expand(2, 6, 2, 2)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = igc.interleave(x.contiguous(memory_format=memory_format), 2)
        assert y.is_contiguous(memory_format=memory_format)
        assert y[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
        assert torch.equal(igc.interleave(y, 3), x)


def test_secondary_groups_of_the_residual_pair_follow_its_input_and_its_output():
    net = on_meta(partial(twins.resnet_igc, 20, 24, 2))
    pairs = [(b.first.conv2.groups, b.second.conv2.groups) for b in net.body]
    assert pairs == [(2, 2)] * 3 + [(2, 4)] + [(4, 4)] * 2 + [(4, 8)] + [(8, 8)] * 2


@pytest.mark.parametrize("depth", [0, 2, 4, 7, 39])
def test_a_depth_that_does_not_fit_is_an_error(depth):
    with pytest.raises(ValueError, match=f"{depth}"):
        twins.resnet_igc(depth, 8, 2)
    with pytest.raises(ValueError, match=f"{depth}"):
        twins.plain_baseline(depth, 16)


def test_mgnet_formulas_by_hand():
    """On one pixel of one channel every convolution is a product with its centre weight."""
    net = twins.MgNet((1, 1), 1, classes=1).eval()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.eps = 0.0
    first, restrict, second = net.stages
    centres = (
        (net.stem[0], [1.0, 0.0, 0.0]),
        (first.a, [[2.0]]),
        (first.iterations[0].b, [[3.0]]),
        (restrict.pi, [[0.5]]),
        (restrict.r, [[-1.0]]),
        (second.a, [[-4.0]]),
        (second.iterations[0].b, [[1.0]]),
    )
    with torch.no_grad():
        for conv, value in centres:
            conv.weight[:, :, 1, 1] = torch.tensor(value)
        net.fc.weight.fill_(1.0)
        # f = 1, u = 3 (1 - 2 * 0) = 3; u' = 1.5, f' = -(1 - 6) - 6 = -1; u = 1.5 + (-1 + 6) = 6.5
        assert net(torch.ones(1, 3, 1, 1)).item() == pytest.approx(6.5)


def test_mgnet_shares_its_convolutions():
    shared, own = (on_meta(partial(twins.MgNet, share_smoother=s)) for s in (True, False))
    assert len({it.b for it in shared.stages[0].iterations}) == 1
    assert len({it.b for it in own.stages[0].iterations}) == 2
    with pytest.raises(ValueError, match="'vgg'"):
        mgnet.MgNet(stem="vgg")


@pytest.mark.parametrize("block", ["bn_before_add", "bn_after_add"])
@pytest.mark.parametrize("final_relu", [True, False])
def test_torch_block_variants_by_hand(block, final_relu):
    """With zero convolutions the block is its shortcut and its second batch norm, 2 x - 3."""
    unit = torch_resnet.TorchBlock(3, 2, 1, block, final_relu).eval()
    for conv in (unit.conv1, unit.conv2):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    nn.init.constant_(unit.bn2.weight, 2.0)
    nn.init.constant_(unit.bn2.bias, -3.0)
    unit.bn2.eps = 0.0
    y = unit(torch.tensor([1.0, 4.0, 9.0]).reshape(1, 3, 1, 1)).flatten()
    expected = [-2.0, 1.0] if block == "bn_before_add" else [-1.0, 5.0]
    assert y.tolist() == [max(v, 0.0) if final_relu else v for v in expected]
    with pytest.raises(ValueError, match="'before'"):
        torch_resnet.TorchResNet(3, block="before")


def test_the_last_block_of_each_torch_group_widens_and_the_last_of_all_narrows():
    blocks = on_meta(twins.ResNet20).blocks
    found = [(b.conv1.in_channels, b.conv1.out_channels, b.stride) for b in blocks]
    assert found == [(16, 16, 1)] * 2 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [
        (64, 64, 1)
    ] * 2 + [(64, 10, 1)]
    x = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).repeat(1, 16, 1, 1)
    skip = torch_resnet.TorchBlock(16, 32, 2, "bn_before_add", True).shortcut(x)
    assert skip[0, 15].tolist() == [[1, 3], [9, 11]]
    assert skip[0, 16:].abs().max() == 0


@pytest.mark.parametrize(
    ("build", "deviation"),
    [
        (partial(twins.CifarRMG, 1), lambda c: 2 / (c.kernel_size[0] ** 2 * c.out_channels)),
        (partial(twins.plain_igc, 38, 24, 2), lambda conv: 2 / conv.weight[0].numel()),
        (twins.ResNet20, lambda conv: 2 / conv.weight[0].numel()),
    ],
)
def test_initial_deviations(build, deviation):
    torch.manual_seed(0)
    net = build()
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 4000]
    assert convs
    for conv in convs:
        assert conv.weight.std().item() == pytest.approx(math.sqrt(deviation(conv)), rel=0.06)
        assert conv.bias is None or conv.bias.abs().max() == 0


def test_initial_linear_biases():
    assert twins.CifarPMG(1).fc.bias.abs().max() > 0
    assert twins.CifarPRMG(1).fc.bias.abs().max() == 0
    assert twins.plain_igc(8, 8, 2).fc.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("build", "eps", "momentum"),
    [
        (partial(twins.CifarPMG, 1), 1e-3, 0.1),
        (partial(twins.CifarVGG, 1), 1e-3, 0.1),
        (partial(twins.CifarRES, 1), 1e-5, 0.1),
        (partial(twins.PRMGSeg30, shortcut="C"), 1e-5, 0.1),
        (twins.SegUMG, 1e-3, 0.1),
        (twins.SegUNet, 1e-3, 0.1),
        (twins.SegPMG, 1e-3, 0.1),
        (twins.SegPRMG, 1e-5, 0.1),
        (twins.IGC_L4M32, 2e-5, 0.1),
        (partial(twins.resnet_baseline, 20, 16), 2e-5, 0.1),
        (partial(twins.plain_igc, 8, 8, 2), 2e-5, 0.01),
        (partial(twins.plain_baseline, 8, 16), 2e-5, 0.01),
        (twins.MgNet, 1e-5, 0.1),
        (twins.ResNet20, 1e-5, 0.1),
    ],
)
def test_batch_norm_constants(build, eps, momentum):
    norms = [m for m in on_meta(build).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(eps, momentum)}


def test_sigmoid_of_the_dense_networks():
    torch.manual_seed(0)
    for make in (twins.SegPMG, twins.SegUNet):
        net = make(widths=(8, 8, 8, 8)).eval()
        image = torch.randn(1, *MNIST)
        with torch.no_grad():
            logits = net(image)
            net.sigmoid = True
            assert torch.equal(net(image), torch.sigmoid(logits))


def test_the_twins_share_no_code_with_the_library():
    for path in Path(twins.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert not [n for n in names if n.split(".")[0] in ("keras", "keras_mg")], path.name
