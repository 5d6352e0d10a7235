"""What trained networks look at, side by side: saliency of canvases of their recipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from keras_mg._files import expand
from keras_mg.layers.arguments import positive_int
from keras_mg.recipes import _runs
from keras_mg.recipes.opening import Opened, open_network
from keras_mg.recipes.recipe import Recipe
from keras_mg.visualization.saliency import (
    Saliency,
    gradient_saliency,
    occlusion_saliency,
    write_saliency,
)
from keras_mg.visualization.saliency_plot import plot_saliency

_METHODS = ("occlusion", "gradient")


class _Examples(NamedTuple):
    images: np.ndarray  # (images, height, width), ink from 0 to 1
    maps: list[int]  # which of the network's maps is looked at


def saliency(
    networks: Sequence[str | os.PathLike | tuple[Recipe, str | os.PathLike]],
    output_dir: str | os.PathLike,
    images: int = 4,
    split: Literal["test", "validation"] = "test",
    data_dir: str | os.PathLike | None = None,
    seed: int = 0,
    jit_compile: bool | str = "auto",
    report: Callable[[str], object] = lambda text: None,
) -> list[Path]:
    """Finds out what networks that give maps look at, and draws them side by side.

    The first canvases of the data are looked at by occlusion, with the settings of the multigrid
    paper, and by gradients. Of a network that names digits, the map is that of the class with the
    most pixels. `output_dir` gets, per network, `saliency-NAME.h5` (see `write_saliency`) and, per
    canvas, `saliency-idNNNNN.png`. A canvas for which an output has no bounding box is left out of
    that network's file and column.

    Args:
        networks: folders of finished runs, or pairs of a `Recipe` and a weights file; all of one
            task, so that they see the same canvases.
        output_dir: folder, made if it is not there.
        images: int, canvases to look at. Defaults to 4.
        split: "test" or "validation". Defaults to "test".
        data_dir: folder of prepared tensorflow-datasets; see `load_images`.
        seed: int, of the noise, which is the same for every network. Defaults to 0.
        jit_compile: of `model.compile`. Defaults to "auto".
        report: called with what was written, for people. By default nothing is said.

    Returns:
        The paths of the files.

    Raises:
        ValueError: if a network gives no maps of canvases, the networks do not see the same ones,
            or none has a bounding box to look at.
        FileNotFoundError: if the data are not there.
        ImportError: if matplotlib is not installed.
    """
    if not networks:
        raise ValueError("There must be a network to look at. Received none")
    _runs.check_drawing()
    opened = []
    for each in networks:
        what, weights = each if isinstance(each, tuple) else (each, None)
        opened.append(open_network(what, weights, split, data_dir, None))
    examples = [_examples(each, positive_int("images", images)) for each in opened]
    for network, seen in zip(opened, examples, strict=True):
        if seen.images.shape != examples[0].images.shape or not np.allclose(
            seen.images, examples[0].images, atol=1e-5
        ):
            raise ValueError(
                "Networks that are drawn side by side must see the same canvases. Received: "
                f"{opened[0].recipe.name}, {network.recipe.name}"
            )
    found = [
        _look(network, seen, seed, jit_compile)
        for network, seen in zip(opened, examples, strict=True)
    ]
    folder = expand(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    names = _names(opened)
    written, said = [], []
    for name, by_method in zip(names, found, strict=True):
        path = folder / f"saliency-{name}.h5"
        written.append(write_saliency(path, by_method["occlusion"], by_method["gradient"]))
        missing = len(examples[0].images) - len(by_method["occlusion"])
        if missing:
            said.append(f"{name}: {missing} canvases have no output to look at.")
    for number in range(len(examples[0].images)):
        columns = {
            f"{name}\n{method}": by_method[method][number]
            for name, by_method in zip(names, found, strict=True)
            for method in _METHODS
            if number in by_method[method]
        }
        if columns:
            path = folder / f"saliency-id{number:05d}.png"
            written.append(plot_saliency(path, columns))
    if len(written) == len(opened):
        raise ValueError(
            f"No output has a bounding box in the {len(examples[0].images)} canvases: are the "
            f"networks trained? Received: {', '.join(names)}"
        )
    said.append(f"Written to {folder.resolve()}: {', '.join(path.name for path in written)}")
    report("\n".join(said))
    return written


def _examples(opened: Opened, count: int) -> _Examples:
    normalization: Any = getattr(opened.recipe.data, "normalization", None)
    if normalization is None:
        raise ValueError(
            "Saliency is of networks that give maps of canvases. Received: "
            f"{opened.recipe.name}, whose data are {type(opened.recipe.data).__name__}"
        )
    mean, std = normalization
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1
    images: list[np.ndarray] = []
    maps: list[int] = []
    for i in range(len(opened.data)):
        if len(images) >= count:
            break
        x, y = opened.data[i]
        ink = np.squeeze(np.asarray(x, "float64"), axis) * std + mean
        images += list(np.clip(ink, 0, 1).astype("float32"))
        maps += np.moveaxis(np.asarray(y), axis, -1).sum((1, 2)).argmax(-1).tolist()
    return _Examples(np.stack(images[:count]), maps[:count])


def _look(
    opened: Opened, examples: _Examples, seed: int, jit_compile: bool | str
) -> dict[str, dict[int, Saliency]]:
    """What was found, by method and by the canvas's number."""
    mean, std = opened.recipe.data.normalization  # type: ignore[union-attr]
    opened.model.compile(jit_compile=jit_compile)
    found: dict[str, dict[int, Saliency]] = {method: {} for method in _METHODS}
    for number, (image, output_map) in enumerate(zip(examples.images, examples.maps, strict=True)):
        occluded = occlusion_saliency(
            opened.model, image, mean, std, output_map, seed=(seed, number)
        )
        gradient = gradient_saliency(opened.model, image, mean, std, output_map)
        if occluded is not None and gradient is not None:
            found["occlusion"][number], found["gradient"][number] = occluded, gradient
    return found


def _names(opened: Sequence[Opened]) -> list[str]:
    """The recipes' names; of several networks by one recipe the second is NAME-2."""
    names: list[str] = []
    for each in opened:
        before = sum(other.recipe.name == each.recipe.name for other in opened[: len(names)])
        names.append(each.recipe.name + (f"-{before + 1}" if before else ""))
    return names
