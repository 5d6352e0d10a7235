"""Every network of the library as a table row, beside its hand-written PyTorch twin."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from benchmarks import twins
from keras_mg import applications
from keras_mg.applications._records import NETWORKS, Form
from keras_mg.applications.attributes import APASCAL_LEVELS
from tests.support.arrays import channels_last_to, numpy, randomize, relative_difference

CIFAR, IMAGENET, MNIST, GREY28 = (32, 32, 3), (224, 224, 3), (64, 64, 1), (28, 28, 1)
# Smaller images give the same arithmetic: an ImageNet network's coarsest grid still has pixels.
SMALL = {CIFAR: (32, 32, 3), IMAGENET: (32, 64, 3), MNIST: (16, 24, 1), GREY28: (28, 28, 1)}


# One per kind of network, and of these not the wide ones.
_THOROUGH = {
    "MG6", "PMG9", "RMG18", "CifarVGG6", "CifarRES12", "SegPMG", "SegPRMG", "SegUNet", "SegUMG",
    "IGC_L100M2", "IGCResNet18_C64", "IGCPlain", "IGCResNet", "IGCResNetBaseline", "MgNet",
    "ResNet20",
}  # fmt: skip
_LARGE = {
    "MgNet", "SegPMG-depth=2", "SegPRMG-depth=2",
    "IGCPlain-depth=38-primary_partitions=24-secondary_partitions=2",
    "IGCResNet-depth=20-primary_partitions=24-secondary_partitions=2",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One network and what its record does not say.

    Args:
        name: the constructor.
        twin: makes its twin, given `classes`.
        arguments: of the constructor.
        macs: millions of multiply-accumulates, where they were worked out independently.
        unread: the parts whose output reaches no output of the network, as prefixes of weights.
        quick: whether the numbers are compared in every run rather than in the slow one: of each
            family, and of each of its rules, the smallest network.
        form: what a record would say of a network that has none.
    """

    name: str
    twin: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    macs: float | None = None
    unread: frozenset[str] = frozenset()
    quick: bool = False
    form: Form | None = None

    @property
    def known(self) -> Form:
        """The record of this form; where there is none, the first form's without its parameters."""
        first, *_ = forms = NETWORKS[self.name].forms
        if self.form is not None:
            return self.form
        for form in forms:
            if form.arguments == self.arguments:
                return form
        return replace(first, parameters=0)

    @property
    def parameters(self) -> int | None:
        """Trainable parameters; None where nothing but the twin states them."""
        return self.known.parameters or None

    @property
    def image(self) -> tuple[int, int, int]:
        image = self.known.image
        assert image is not None
        return image

    @property
    def classes(self) -> int:
        classes = self.known.classes
        assert classes is not None
        return classes

    @property
    def id(self) -> str:
        settings = (f"{k}={v}".replace(" ", "") for k, v in self.arguments.items())
        return "-".join((self.name, *settings))

    @property
    def dense(self) -> bool:
        return self.name.startswith("Seg")

    @property
    def thorough(self) -> bool:
        """Whether every run has the checks of the numbers that take several networks, too."""
        return self.quick and self.name in _THOROUGH and self.id not in _LARGE

    @property
    def small(self) -> tuple[int, int, int]:
        return SMALL[self.image]

    def make(self, **arguments) -> keras.Model:
        return getattr(applications, self.name)(**self.arguments, **arguments)

    def make_twin(self):
        return self.twin(**{"outputs" if self.dense else "classes": self.classes})


def _multigrid_rows():
    table = (
        # kind, twin, layers per n, millions of multiply-accumulates
        ("MG", twins.CifarMG, (6, 11, 16, 21), (116.755, 394.513, 672.271, 950.029)),
        ("PMG", twins.CifarPMG, (9, 16, 23, 30), (None,) * 4),
        ("RMG", twins.CifarRMG, (12, 22, 32, 42), (459.836, 1015.352, 1570.868, 2126.384)),
        ("PRMG", twins.CifarPRMG, (16, 30, 44, 58), (None,) * 4),
        ("CifarVGG", twins.CifarVGG, (6, 11, 16, 21), (None,) * 4),
        ("CifarRES", twins.CifarRES, (12, 22, 32, 42), (None,) * 4),
    )
    for kind, twin, depths, macs in table:
        for n, (depth, cost) in enumerate(zip(depths, macs, strict=True), 1):
            # Of two layers per block the second is one between equal widths.
            quick = n == 1 or (n == 2 and kind in ("MG", "CifarVGG", "CifarRES"))
            yield Row(f"{kind}{depth}", partial(twin, n), macs=cost, quick=quick)


def _unread_by_the_classifier(last: int, shortcuts: bool = False) -> frozenset[str]:
    """Of PR-MG-seg, whose classifier reads grid 3 of the last layer of its third block.

    There grid 3 of the second convolution sees grids 2 and 3 of the first, and these see grids 1
    to 3 of the layer before: of that one only the finest grid is without a reader.
    """
    unread = {f"block3_layer{last}/conv2_grid_{i}" for i in (0, 1, 2)}
    unread |= {f"block3_layer{last}/conv1_grid_{i}" for i in (0, 1)}
    unread |= {f"block3_layer{last - 1}/conv2_grid_0"}
    if shortcuts:
        unread |= {f"block3_layer{last}/shortcut_grid_{i}" for i in (0, 1, 2)}
        unread |= {f"block3_layer{last - 1}/shortcut_grid_0"}
    return frozenset(unread)


def _segmentation_rows():
    for name, last in (("PRMGSeg30", 2), ("PRMGSeg52", 3)):
        for shortcut in "ABC":
            yield Row(
                name,
                partial(getattr(twins, name), shortcut=shortcut),
                # The default is left out once, so that the table has the network as it comes.
                {} if shortcut == "B" else {"shortcut": shortcut},
                unread=_unread_by_the_classifier(last, shortcut == "C"),
                quick=name == "PRMGSeg30",
            )


def _dropped_grids(layer: str, depth: int) -> frozenset[str]:
    """Of SegPMG and SegPRMG: the coarsest grid leaves before the next layer could read it.

    Of a residual layer that is the second convolution alone: what the first one makes of the
    coarsest grid is seen by the second one's next finer grid.
    """
    leaving = (("block3", 3), ("end3", 2), ("end2", 1))
    return frozenset(f"{name}_layer{depth}/{layer}grid_{i}" for name, i in leaving)


# Of U-MG the last 1x1 mg-conv makes maps on three grids, of which the finest is taken; it sees the
# two finest grids of the layer before.
_UMG_UNREAD = frozenset(("predictions/grid_1", "predictions/grid_2", "up0/grid_2"))


def _dense_rows():
    for depth in (1, 2):
        own = {} if depth == 1 else {"depth": depth}
        for name, parts, macs in (("SegPMG", "", 1606.5), ("SegPRMG", "conv2_", 3168.8)):
            yield Row(
                name,
                partial(getattr(twins, name), n=depth),
                own,
                macs if depth == 1 else None,
                _dropped_grids(parts, depth),
                quick=True,
            )
    yield Row("SegUNet", twins.SegUNet, macs=1238.1, quick=True)
    yield Row("SegUMG", twins.SegUMG, macs=1911.0, unread=_UMG_UNREAD, quick=True)


def _igc_rows():
    for name, macs in (
        ("IGC_L100M2", 1264.8),
        ("IGC_L16M16", 2266.0),
        ("IGC_L4M32", 1944.6),
        ("IGCResNet18_C64", 1814.1),
        ("IGCResNet18_C69", 2098.6),
    ):
        yield Row(name, getattr(twins, name), macs=macs, quick=True)
    for name, twin, depth, primary, secondary in (
        ("IGCPlain", twins.plain_igc, 38, 24, 2),
        ("IGCPlain", twins.plain_igc, 8, 8, 2),
        ("IGCResNet", twins.resnet_igc, 20, 24, 2),
        # Depths whose blocks do not divide by three: 1, 2, 2 and 1, 1, 2 of them.
        ("IGCResNet", twins.resnet_igc, 12, 4, 6),
        ("IGCResNet", twins.resnet_igc, 10, 6, 4),
    ):
        own = {"depth": depth, "primary_partitions": primary, "secondary_partitions": secondary}
        yield Row(name, partial(twin, depth, primary, secondary), own, quick=True)
    for name, twin, depth in (
        ("IGCPlainBaseline", twins.plain_baseline, 38),
        ("IGCResNetBaseline", twins.resnet_baseline, 20),
    ):
        yield Row(name, partial(twin, depth, 48), {"depth": depth, "width": 48}, quick=True)


def _mgnet_row(form=None, quick=False, **own):
    twin = {
        "iterations": (2, 2, 2, 2), "filters": 256, "share_smoother": True, "stem": "cifar"
    } | {k: v for k, v in own.items() if k != "classes"}  # fmt: skip
    return Row("MgNet", partial(twins.MgNet, **twin), own, quick=quick, form=form)


def _mgnet_rows():
    for form in NETWORKS["MgNet"].forms:
        yield _mgnet_row(**form.arguments, quick=not form.arguments)
    narrow = {"iterations": (1, 3, 1), "filters": (8, 24, 16), "classes": 10}
    for image, own in (
        (GREY28, {"stem": "mnist"}),
        (CIFAR, {"share_smoother": False}),
        (IMAGENET, {"stem": "imagenet"}),
    ):
        yield _mgnet_row(Form(0, image=image, classes=10), quick=True, **narrow, **own)


def _resnet_rows():
    table = (
        ("ResNet20", 36.26),
        ("ResNet32", 64.57),
        ("ResNet44", 92.88),
        ("ResNet56", 121.19),
        ("ResNet110", 248.59),
    )
    for name, macs in table:
        for form in NETWORKS[name].forms:
            own = dict(form.arguments)
            twin = partial(getattr(twins, name), **own)
            # Of the corrected form it was not worked out.
            cost = None if own.get("corrected") else macs
            quick = name == "ResNet20" and (not own.get("corrected") or len(own) in (1, 3))
            yield Row(name, twin, own, cost, quick=quick)


def _attribute_rows():
    for form in NETWORKS["AttributeNet"].forms:
        own = dict(form.arguments)
        levels = APASCAL_LEVELS[own["version"]] if "levels" in own else None
        twin = partial(twins.AttributeNet, **{**own, "levels": levels})
        yield Row("AttributeNet", twin, own, quick=own.get("version", 4) < 3)


ROWS = (
    *_multigrid_rows(),
    Row("RMG18", twins.RMG18, macs=2768.1, quick=True),
    Row("RMG34", twins.RMG34, macs=5760.3),
    *_segmentation_rows(),
    *_dense_rows(),
    *_igc_rows(),
    *_mgnet_rows(),
    *_resnet_rows(),
    *_attribute_rows(),
)


def frozen(value):
    return tuple(value) if isinstance(value, list) else value


@functools.cache
def _info(name, arguments):
    return applications.model_info(name, **dict(arguments))


def info(name, **arguments):
    """`model_info`, each network but once."""
    return _info(name, tuple((key, frozen(value)) for key, value in arguments.items()))


def on_meta(build):
    """A torch module without numbers."""
    import torch

    with torch.device("meta"):
        return build()


def twin_cost(row) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the twin, by hooks on its layers."""
    import torch

    net = on_meta(row.make_twin).eval()
    cost = 0

    def count(module, inputs, output):
        nonlocal cost
        if isinstance(module, torch.nn.ConvTranspose2d):
            cost += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Conv2d):
            cost += output.numel() * module.weight[0].numel()
        else:
            cost += module.weight.numel()

    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
    for module in net.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(count)
    height, width, channels = row.image
    net(torch.empty(1, channels, height, width, device="meta"))
    return sum(p.numel() for p in net.parameters()), cost


def copy_to_twin(model, net):
    """Give a twin the weights of a model: both have them in the order of the forward pass."""
    import torch

    weights = iter(model.weights)

    def fill(tensor, kind, axes=None):
        variable = next(weights)
        assert variable.name.endswith(kind), f"{variable.path} is no {kind}"
        value = numpy(variable)
        value = value if axes is None else value.transpose(axes)
        assert value.shape == tuple(tensor.shape), variable.path
        tensor.copy_(torch.tensor(np.ascontiguousarray(value)))

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                is_linear = isinstance(module, torch.nn.Linear)
                fill(module.weight, "kernel", (1, 0) if is_linear else (3, 2, 0, 1))
                if module.bias is not None:
                    fill(module.bias, "bias")
            elif isinstance(module, torch.nn.BatchNorm2d):
                fill(module.weight, "gamma")
                fill(module.bias, "beta")
                fill(module.running_mean, "moving_mean")
                fill(module.running_var, "moving_variance")
    assert next(weights, None) is None
    return net


def image(row, seed=1):
    return np.random.default_rng(seed).normal(size=(2, *row.small)).astype("float32")


def randomized(row, **arguments) -> keras.Model:
    """The network at its small image, with random weights and statistics, giving logits."""
    shape = in_format(arguments.get("data_format"), row.small)
    return randomize(row.make(input_shape=shape, classifier_activation=None, **arguments))


def in_format(data_format, shape):
    """The channels-last shape of an image in `data_format`."""
    height, width, channels = shape
    return (channels, height, width) if data_format == "channels_first" else shape


def outputs(model, images, data_format="channels_last"):
    """Channels-last images to channels-last outputs."""
    import torch

    with torch.no_grad():
        given = keras.ops.convert_to_tensor(channels_last_to(data_format, images).copy())
        made = numpy(model(given, training=False))
    return np.moveaxis(made, 1, 3) if made.ndim == 4 and data_format == "channels_first" else made


def twin_outputs(net, images):
    import torch

    with torch.no_grad():
        made = net.eval()(torch.tensor(np.moveaxis(images, 3, 1).copy())).numpy()
    return np.moveaxis(made, 1, 3) if made.ndim == 4 else made


def difference_from_twin(row, model) -> float:
    """max |ours - twin's| / max |twin's| of the logits."""
    images = image(row)
    # Its own initial weights would be overwritten at once.
    net = copy_to_twin(model, on_meta(row.make_twin).to_empty(device="cpu"))
    return relative_difference(outputs(model, images), twin_outputs(net, images))
