"""What an output region of a network looks at: occlusion by noise, and gradients.

The measure is that of Ke, Maire and Yu, "Multigrid Neural Architectures" (CVPR 2017,
https://arxiv.org/abs/1611.07661): a patch of noise is slid over the input, and where it changes the
output at a point, the change is written down where the patch lay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_mg import ops
from keras_mg._files import expand, replacing
from keras_mg.layers.arguments import not_negative, positive_int

# The points that are looked at, in the order of the saved masks.
POINTS = (
    "centre",
    "top left",
    "middle left",
    "bottom left",
    "top right",
    "middle right",
    "bottom right",
)
LEVEL = 0.4  # the least output of a pixel that belongs to the bounding box


class Saliency(NamedTuple):
    """What the seven points of one output map look at."""

    points: np.ndarray  # (7, height, width), bool: the 3x3 pixels of each point
    saliency: np.ndarray  # (7, height, width), float32
    inputs: np.ndarray  # (positions + 1, height, width), float32: the clean one, then the occluded
    outputs: np.ndarray  # likewise, of the network


def find_points(output, level: float = LEVEL) -> np.ndarray | None:
    """The seven points of an output map.

    They are the centre of the bounding box of what reaches `level`, and the top, the middle and the
    bottom of its left and its right edge, each of 3x3 pixels; where these would leave the map, they
    are moved inside. Middles between two pixels are rounded down.

    Args:
        output: numbers `(height, width)`.
        level: float, the least value of a pixel in the box. Defaults to 0.4.

    Returns:
        bool `(7, height, width)`, in the order of `POINTS`; None where less than two rows or two
        columns of the map reach `level`.

    Raises:
        ValueError: for another shape, or a side of less than 3.

    Example:

    >>> from keras_mg.visualization import find_points
    >>> import numpy as np
    >>> output = np.zeros((8, 8))
    >>> output[2:7, 3:6] = 1
    >>> points = find_points(output)
    >>> [tuple(int(i) for i in np.argwhere(point).mean(0)) for point in points]
    [(4, 4), (2, 3), (4, 3), (6, 3), (2, 5), (4, 5), (6, 5)]
    """
    output = np.asarray(output)
    if output.ndim != 2 or min(output.shape) < 3:
        raise ValueError(
            f"An output map must be (height, width), of 3 or more. Received shape: {output.shape}"
        )
    reached = output >= level
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    if min(len(rows), len(columns)) < 2:
        return None
    (top, bottom), (left, right) = ((int(i[0]), int(i[-1])) for i in (rows, columns))
    middle, between = (top + bottom) // 2, (left + right) // 2
    places = [(middle, between)]
    places += [(y, x) for x in (left, right) for y in (top, middle, bottom)]
    points = np.zeros((len(places), *output.shape), bool)
    for point, place in zip(points, places, strict=True):
        y, x = (min(max(i, 1), side - 2) for i, side in zip(place, output.shape, strict=True))
        point[y - 1 : y + 2, x - 1 : x + 2] = True
    return points


def occlusion_saliency(
    model: keras.Model,
    image,
    mean: float = 0.0,
    std: float = 1.0,
    output_map: int = 0,
    patch: int = 8,
    stride: int = 2,
    level: float = LEVEL,
    threshold: float = 0.1,
    seed: int | Sequence[int] = 0,
    batch_size: int = 64,
) -> Saliency | None:
    """Where noise in the input changes the output at seven points.

    A patch of noise, uniform from 0 to 1 and drawn anew for every position, is slid over the image.
    At each position and point of the clean output, the impact is the largest change of the output
    among the 3x3 pixels of the point; one of at least `threshold` is added to the point's map over
    the area of the patch.

    Args:
        model: a network of grey images that gives maps of the image's size.
        image: numbers from 0 to 1, `(height, width)`.
        mean: float, subtracted from the image, noise included, before the network sees it. Defaults
            to 0.
        std: float, what it is divided by then. Defaults to 1.
        output_map: int, which of the network's maps is looked at. Defaults to 0.
        patch: int, side of the noise in pixels. Defaults to 8.
        stride: int, pixels from one position to the next. Defaults to 2.
        level: float, of the bounding box; see `find_points`. Defaults to 0.4.
        threshold: float, the least impact that counts. Defaults to 0.1.
        seed: int or ints, of the noise. Defaults to 0.
        batch_size: int, occluded images that the network sees at once. Defaults to 64.

    Returns:
        `Saliency`, or None where the clean output has no bounding box.

    Raises:
        ValueError: for an image or a network of another kind, or an argument out of its range.

    Example:

    >>> from keras_mg.visualization import occlusion_saliency
    >>> import keras, numpy as np
    >>> image = np.zeros((16, 16), "float32")
    >>> image[4:9, 5:12] = 1
    >>> itself = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Identity()])
    >>> found = occlusion_saliency(itself, image)
    >>> found.inputs.shape, found.saliency.shape  # 5 x 5 positions, and the clean image
    ((26, 16, 16), (7, 16, 16))

    Reference:
        - [Multigrid Neural Architectures, Ke et al., 2017](https://arxiv.org/abs/1611.07661)
    """
    patch, stride = positive_int("patch", patch), positive_int("stride", stride)
    not_negative("threshold", threshold)
    image = _checked(model, image, output_map)
    if patch > min(image.shape):
        raise ValueError(f"patch={patch} must fit the image. Received an image: {image.shape}")

    def outputs_of(inputs: np.ndarray) -> np.ndarray:
        x = _as_input(model, inputs, mean, std)
        outputs = model.predict(x, batch_size=batch_size, verbose=0)
        return _one_map(model, outputs, output_map).astype("float32")

    clean = outputs_of(image[None])
    points = find_points(clean[0], level)
    if points is None:
        return None
    height, width = image.shape
    places = [
        (slice(y, y + patch), slice(x, x + patch))
        for y in range(0, height - patch + 1, stride)
        for x in range(0, width - patch + 1, stride)
    ]
    noise = np.random.default_rng(seed).random((len(places), patch, patch), "float32")
    occluded = np.repeat(image[None], len(places), 0)
    for each, place, drawn in zip(occluded, places, noise, strict=True):
        each[place] = drawn
    outputs = outputs_of(occluded)
    changes = np.abs(outputs - clean)
    impacts = np.stack([changes[:, point].max(1) for point in points], 1)
    impacts[impacts < threshold] = 0
    maps = np.zeros(points.shape, "float32")
    for place, impact in zip(places, impacts, strict=True):
        maps[:, *place] += impact[:, None, None]
    return Saliency(
        points, maps, np.concatenate([image[None], occluded]), np.concatenate([clean, outputs])
    )


def gradient_saliency(
    model: keras.Model,
    image,
    mean: float = 0.0,
    std: float = 1.0,
    output_map: int = 0,
    level: float = LEVEL,
) -> Saliency | None:
    """How strongly the output at seven points depends on each pixel of the input.

    A point's map is the absolute gradient, with respect to the image, of the mean output over the
    3x3 pixels of the point.

    Args:
        model: as of `occlusion_saliency`, and so are the others.
        image: numbers from 0 to 1, `(height, width)`.
        mean: float, subtracted from the image. Defaults to 0.
        std: float, what it is divided by then. Defaults to 1.
        output_map: int, which of the network's maps is looked at. Defaults to 0.
        level: float, of the bounding box. Defaults to 0.4.

    Returns:
        `Saliency`, whose only input and output are the clean ones; None where the output has no
        bounding box.

    Raises:
        ValueError: for an image or a network of another kind.

    Example:

    >>> from keras_mg.visualization import gradient_saliency
    >>> import keras, numpy as np
    >>> image = np.zeros((16, 16), "float32")
    >>> image[4:9, 5:12] = 1
    >>> double = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Rescaling(2.0)])
    >>> float(gradient_saliency(double, image).saliency[0].sum())
    2.0

    Reference:
        - [Deep Inside Convolutional Networks, Simonyan et al., 2013](https://arxiv.org/abs/1312.6034)
    """
    image = _checked(model, image, output_map)
    x = _as_input(model, image[None], mean, std)
    output = keras.ops.convert_to_numpy(_one_map(model, model(x, training=False), output_map))
    points = find_points(output[0], level)
    if points is None:
        return None
    weights = points.reshape(len(points), -1).astype("float32") / 9

    def at_points(x):
        y = _one_map(model, model(x, training=False), output_map)
        return keras.ops.matmul(keras.ops.convert_to_tensor(weights), keras.ops.reshape(y, (-1,)))

    gradients = keras.ops.convert_to_numpy(ops.jacobian(at_points, x))
    maps = np.abs(gradients.reshape(len(points), *image.shape)) / std
    return Saliency(points, maps.astype("float32"), image[None], output)


def write_saliency(
    path: str | os.PathLike,
    found: Mapping[int, Saliency],
    gradients: Mapping[int, Saliency] | None = None,
) -> Path:
    """Writes what was found of several images to an HDF5 file, in one step.

    An image's group is `id` and its number in five digits. Its data sets are `points` (7 masks),
    `saliency` (7 maps), `input` and `output` (the clean one first, then one per position) and, if
    they are given, `gradient` (7 maps).

    Args:
        path: the file.
        found: `Saliency` by the image's number.
        gradients: what `gradient_saliency` found, likewise. Defaults to nothing.

    Returns:
        The path of the file.

    Raises:
        OSError: if the file cannot be written. One that was there is as it was.

    Example:

    >>> from keras_mg.visualization import occlusion_saliency, write_saliency
    >>> import keras, numpy as np
    >>> image = np.pad(np.ones((4, 4), "float32"), 4)
    >>> itself = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Identity()])
    >>> write_saliency("occluded.h5", {7: occlusion_saliency(itself, image)}).name
    'occluded.h5'
    """
    import h5py

    target = expand(path)
    try:
        with replacing(target) as part, h5py.File(part, "w") as file:
            for number, each in sorted(found.items()):
                group = file.create_group(f"id{number:05d}")
                arrays = {
                    "points": each.points.astype("uint8"),
                    "saliency": each.saliency,
                    "input": each.inputs,
                    "output": each.outputs,
                }
                if gradients is not None and number in gradients:
                    arrays["gradient"] = gradients[number].saliency
                for name, array in arrays.items():
                    group.create_dataset(name, data=array, compression="gzip", compression_opts=1)
    except RuntimeError as error:  # what h5py raises on a full disk
        raise OSError(f"{target} cannot be written: {error}") from error
    return target


def _checked(model: keras.Model, image, output_map: int) -> np.ndarray:
    """The image as float32, once image and model are found to fit."""
    image = np.asarray(image, "float32")
    if image.ndim != 2 or not image.size or image.min() < 0 or image.max() > 1:
        shown = f"{image.shape}" + (f", {image.min()} to {image.max()}" if image.size else "")
        raise ValueError(
            f"An image must be (height, width), of numbers from 0 to 1. Received: {shown}"
        )
    shapes: tuple[Any, Any] = model.input_shape, model.output_shape
    if not all(isinstance(shape, tuple) and len(shape) == 4 for shape in shapes) or (
        1 not in shapes[0][1::2]
    ):
        raise ValueError(
            "The network must make maps of grey images. Received: "
            f"{model.name}, from {shapes[0]} to {shapes[1]}"
        )
    maps = shapes[1][_channel_axis(model)]
    if not 0 <= output_map < maps:
        raise ValueError(
            f"output_map must be one of the network's {maps} maps. Received: {output_map}"
        )
    return image


def _channel_axis(model: keras.Model) -> int:
    return 1 if model.input_shape[1] == 1 else 3


def _as_input(model: keras.Model, images: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.expand_dims((images - np.float32(mean)) / np.float32(std), _channel_axis(model))


def _one_map(model: keras.Model, outputs, output_map: int):
    return outputs[:, output_map] if _channel_axis(model) == 1 else outputs[..., output_map]
