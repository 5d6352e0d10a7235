"""A tiny network of every family, whose outputs are stored: `python -m tests.support.tiny`.

Their weights come from a formula, so that an input and an output are all there is to store. What
the command stores is computed by torch; `tests/applications/test_tiny.py` says what it is worth.
"""

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from keras_mg import applications as zoo
from keras_mg.applications import _builder, _igc, _multigrid, multigrid_baselines, resnet
from keras_mg.applications._multigrid import Block, Network

FOLDER = Path(__file__).resolve().parents[1] / "data" / "tiny"
LAST = {"data_format": "channels_last"}
LOGITS = {**LAST, "classifier_activation": None}


def classifier(trunk, shape):
    """A family's trunk at widths that its constructors do not offer."""
    return _builder.classifier(
        "tiny",
        trunk,
        shape,
        zero_bias=True,
        include_top=True,
        weights=None,
        skip_mismatch=False,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=5,
        classifier_activation=None,
        name="tiny",
        pyramid_outputs=False,
        data_format="channels_last",
        dtype=None,
    )


def multigrid_network(kind, residual, start=(), shortcut="A"):
    """Three blocks: a pool, a merging pool, and kernels of side 1 on the coarsest grid."""
    blocks = (
        Block((4, 3, 2), 0 if start else 1, pool=True),
        Block((5, 4, 3), 1, (3, 3, 1), pool=True, merge=True),
        Block((6, 4), 2, (3, 1), pool=True, merge=True),
    )
    network = Network(kind, (4, 3, 2), blocks, residual, start, shortcut)
    return classifier(partial(_multigrid.trunk, network), (32, 32, 3))


def progressive(layers=1):
    return tuple(Block(widths, layers) for widths in ((2,), (3, 2), (4, 3, 2)))


def segmentation_network(shortcut):
    """As PR-MG-seg: widths that grow with the grids in use, no pooling, the coarsest is read."""
    start = tuple(Block((width,) * n, 1) for n, width in enumerate((2, 3, 4), 1))
    blocks = (Block((4, 4, 6), 1), Block((4, 6, 8), 2))
    network = Network("imagenet", (4, 3, 2), blocks, True, start, shortcut)
    return classifier(partial(_multigrid.trunk, network), (32, 32, 3))


def imagenet_igc(primary, secondary):
    stages = (
        _igc.Stage(8, 1, 1, primary and primary[0], (secondary[0],) * 2),
        _igc.Stage(16, 2, 2, primary and primary[1], (secondary[1],) * 2),
    )
    network = _igc.Network("imagenet", 4 if primary == (4, 8) else 8, stages)
    return classifier(partial(_igc.residual_trunk, network), (32, 32, 3))


MNIST = {"input_shape": (10, 7, 1), **LOGITS}
IMAGENET = {"input_shape": (32, 24, 3), **LOGITS}
DENSE = {"outputs": 3, "filters": (4, 3, 2, 2), "input_shape": (16, 8, 1), **LOGITS}
UNET = {"outputs": 3, "filters": (4, 8, 8, 12), "input_shape": (16, 8, 1), **LOGITS}
SMALL = {"input_shape": (8, 12, 3), **LOGITS}

NETWORKS = {
    "multigrid": partial(multigrid_network, "cifar", False),
    "multigrid_progressive": partial(multigrid_network, "cifar", False, progressive()),
    "multigrid_residual": partial(multigrid_network, "cifar", True),
    "multigrid_imagenet": partial(multigrid_network, "imagenet", True, (), "C"),
    "multigrid_segmentation_a": partial(segmentation_network, "A"),
    "multigrid_segmentation_b": partial(segmentation_network, "B"),
    "baseline_vgg": partial(
        classifier, partial(multigrid_baselines._trunk, (4, 6), 2, False), (12, 8, 3)
    ),
    "baseline_res": partial(
        classifier, partial(multigrid_baselines._trunk, (4, 6), 2, True), (12, 8, 3)
    ),
    "seg_pmg": partial(zoo.SegPMG, **DENSE),
    "seg_pmg_depth_2": partial(zoo.SegPMG, depth=2, **DENSE),
    "seg_prmg": partial(zoo.SegPRMG, **DENSE),
    "seg_unet": partial(zoo.SegUNet, **UNET),
    "seg_umg": partial(zoo.SegUMG, **UNET),
    "igc_imagenet_l": partial(imagenet_igc, (4, 8), (2, 2)),
    "igc_imagenet_m": partial(imagenet_igc, (2, 2), (4, 8)),
    "igc_imagenet_resnet": partial(imagenet_igc, None, (1, 1)),
    "igc_plain": partial(zoo.IGCPlain, 8, 3, 2, **SMALL),
    "igc_resnet": partial(zoo.IGCResNet, 10, 3, 2, **SMALL),
    "igc_plain_baseline": partial(zoo.IGCPlainBaseline, 8, 4, **SMALL),
    "igc_resnet_baseline": partial(zoo.IGCResNetBaseline, 10, 4, **SMALL),
    "mgnet_shared": partial(zoo.MgNet, (2, 1, 2), 4, classes=5, **SMALL),
    "mgnet_own": partial(zoo.MgNet, (1, 3), (4, 6), False, "mnist", classes=5, **MNIST),
    "mgnet_imagenet": partial(zoo.MgNet, (2, 2), (4, 6), True, "imagenet", classes=5, **IMAGENET),
    "attributes": partial(zoo.AttributeNet, version=1, classes=5, **IMAGENET),
    **{
        f"resnet_{block}{'' if final_relu else '_no_relu'}": partial(
            classifier, partial(resnet._trunk, 1, block, final_relu, False, 0.9), (8, 12, 3)
        )
        for block in resnet.BLOCKS
        for final_relu in (True, False)
    },
}  # fmt: skip


def fill(model):
    """Weights from a formula: rational numbers that depend on their place and shape alone."""
    for i, variable in enumerate(model.weights):
        random = np.random.RandomState(1000 + i)
        shape = tuple(variable.shape)
        if variable.name == "kernel":
            fan_in = np.prod(shape[:-1]) if "_sampling" not in variable.path else 4 * shape[-1]
            values = random.randint(-32, 33, size=shape) / 32 * np.sqrt(6.0 / fan_in)
        elif variable.name in ("gamma", "moving_variance"):
            values = random.randint(48, 81, size=shape) / 64
        else:
            values = random.randint(-16, 17, size=shape) / 64
        variable.assign(values.astype("float32"))
    return model


def output(name, image=None):
    """The output of a network, and its image if none is given."""
    model = fill(NETWORKS[name]())
    if image is None:
        random = np.random.RandomState(len(name))
        image = random.randint(-64, 65, size=(2, *model.input_shape[1:])).astype("float32") / 64
    return image, model.predict_on_batch(image)


def load(name):
    """The stored image and output of a network."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return stored["image"].astype("float32") / 64, stored["output"]


def difference(made, stored):
    assert made.shape == stored.shape
    return np.abs(made - stored).max() / np.abs(stored).max()


def differences():
    """Name and max |output - stored| / max |stored| of every network.

    For a process of its own: it makes the initializers of kernels give zeros, which are overwritten
    anyway. jax would compile the random numbers of every shape.
    """
    for kind in (keras.initializers.VarianceScaling, keras.initializers.RandomNormal):
        kind.__call__ = lambda self, shape, dtype=None: np.zeros(shape, dtype)
    for name in NETWORKS:
        image, stored = load(name)
        yield name, difference(output(name, image)[1], stored)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        image, made = output(name)
        # 64ths, so that a byte holds a pixel.
        pixels = (image * 64).astype("int8")
        np.savez_compressed(FOLDER / f"{name}.npz", image=pixels, output=made)


if __name__ == "__main__":
    main()
