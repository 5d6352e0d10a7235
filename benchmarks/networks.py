"""The networks that are timed: ours, the hand-written twin, and a batch for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import torch

import keras_mg
from benchmarks import twins


@dataclass(frozen=True)
class Network:
    """A network as a table row."""

    name: str
    ours: Callable[[], keras.Model]
    twin: Callable[[], torch.nn.Module]
    image: tuple[int, int, int]  # height, width, channels
    classes: int
    batch: int  # images per step on a CPU
    gpu_batch: int
    maps: bool = False  # whether the targets are maps of `classes` channels


TINY_FILTERS = (8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 32)  # strides 2 where the width changes


def _tiny_strides() -> list[int]:
    before = (TINY_FILTERS[0], *TINY_FILTERS)
    return [1 if i == o else 2 for i, o in zip(before, TINY_FILTERS, strict=False)]


def _tiny() -> keras.Model:
    x = images = keras.Input((8, 8, 3))
    for filters, strides in zip(TINY_FILTERS, _tiny_strides(), strict=True):
        x = keras_mg.layers.ConvNormActivation(filters, strides=strides)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras_mg.Model(images, keras.layers.Dense(10)(x))


def _tiny_twin() -> torch.nn.Module:
    modules: list[torch.nn.Module] = []
    channels = 3
    for filters, strides in zip(TINY_FILTERS, _tiny_strides(), strict=True):
        convolution = torch.nn.Conv2d(channels, filters, 3, strides, 1, bias=False)
        modules += [convolution, torch.nn.BatchNorm2d(filters), torch.nn.ReLU(inplace=True)]
        channels = filters
    pool = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*modules, *pool, torch.nn.Linear(channels, 10))


NETWORKS = {
    n.name: n
    for n in (
        Network(
            "RMG18",
            lambda: keras_mg.applications.RMG18(classifier_activation=None),
            twins.RMG18,
            (224, 224, 3),
            1000,
            batch=4,
            gpu_batch=128,
        ),
        Network(
            "RMG34",
            lambda: keras_mg.applications.RMG34(classifier_activation=None),
            twins.RMG34,
            (224, 224, 3),
            1000,
            batch=4,
            gpu_batch=128,
        ),
        Network(
            "IGC_L100M2",
            lambda: keras_mg.applications.IGC_L100M2(classifier_activation=None),
            twins.IGC_L100M2,
            (224, 224, 3),
            1000,
            batch=4,
            gpu_batch=128,
        ),
        Network(
            "MgNet",
            lambda: keras_mg.applications.MgNet(classifier_activation=None),
            lambda: twins.MgNet(classes=100),
            (32, 32, 3),
            100,
            batch=8,
            gpu_batch=512,
        ),
        Network(
            "SegPMG",
            lambda: keras_mg.applications.SegPMG(classifier_activation=None),
            twins.SegPMG,
            (64, 64, 1),
            10,
            batch=8,
            gpu_batch=256,
            maps=True,
        ),
        # So small that nearly all of its time is Python's and the dispatcher's.
        Network(
            "ResNet20",
            lambda: keras_mg.applications.ResNet20(classifier_activation=None),
            twins.ResNet20,
            (32, 32, 3),
            10,
            batch=32,
            gpu_batch=512,
        ),
        Network("tiny", _tiny, _tiny_twin, (8, 8, 3), 10, batch=2, gpu_batch=2),
    )
}
FLAGSHIPS = ("RMG18", "IGC_L100M2", "MgNet")
TIMED = (*FLAGSHIPS, "RMG34", "SegPMG", "tiny")


@dataclass(frozen=True)
class Batch:
    """One batch in both layouts."""

    images: torch.Tensor  # channels last
    targets: torch.Tensor  # class numbers, or maps with channels last
    maps: bool

    @property
    def nchw(self) -> torch.Tensor:
        """The images as the twin takes them: a view, channels-last in memory."""
        return self.images.permute(0, 3, 1, 2)

    @property
    def twin_targets(self) -> torch.Tensor:
        return self.targets.permute(0, 3, 1, 2) if self.maps else self.targets


def make_batch(network: Network, size: int, device: str, seed: int = 0) -> Batch:
    """A random batch: the arithmetic takes the same time whatever the images show."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((size, *network.image), generator=generator)
    if network.maps:
        shape = (size, *network.image[:2], network.classes)
        targets = (torch.rand(shape, generator=generator) > 0.8).float()
    else:
        targets = torch.randint(network.classes, (size,), generator=generator)
    return Batch(images.to(device), targets.to(device), network.maps)


def keras_loss(network: Network) -> Any:
    if network.maps:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def twin_loss(network: Network) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if network.maps:
        return torch.nn.functional.binary_cross_entropy_with_logits
    return torch.nn.functional.cross_entropy


def make_twin(network: Network, device: str) -> torch.nn.Module:
    """The hand-written network, channels-last in memory."""
    return network.twin().to(device, memory_format=torch.channels_last)


def parameters(model: keras.Model | torch.nn.Module) -> int:
    """The number of trainable parameters of either kind of network."""
    if isinstance(model, keras.Model):
        return sum(v.value.numel() for v in model.trainable_variables)
    return sum(p.numel() for p in model.parameters())
