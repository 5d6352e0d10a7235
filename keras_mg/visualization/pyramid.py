"""The grids of a network: which resolutions it works on, how wide, and how they follow."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from keras_mg._files import expand, replacing
from keras_mg._private import keras as private_keras
from keras_mg.layers import arguments
from keras_mg.visualization._figures import new_figure

# From the finest grid to the coarsest; further ones get the last colour.
COLOURS = ("#2f6fde", "#1f9e89", "#e0862b", "#c8436b", "#7b52c7", "#6b7280")
_LINE = "#9aa3b2"
_TEXT = "#30343c"


class _Box(NamedTuple):
    """A feature map in the picture."""

    layer: str
    column: int  # depth, counted in layers that make a map
    sides: tuple[int, int]  # height and width
    channels: int


class _Drawing(NamedTuple):
    """What is drawn: lines go from the number of a box to that of another."""

    boxes: list[_Box]
    lines: list[tuple[int, int]]

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The resolutions, finest first."""
        sides = {box.sides for box in self.boxes}
        return sorted(sides, key=lambda side: (side[0] * side[1], side), reverse=True)


def plot_pyramid(
    model: keras.Model,
    path: str | os.PathLike = "pyramid.png",
    input_shape: Sequence[int] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """Draws the feature maps of a network: depth to the right, from the finest grid downwards.

    Each box is a feature map. Its row is its resolution, its height stands for the map's side and
    its width for its channels, whose number is written where it changes. A layer that works on
    several grids is a column of boxes; a network that is no multigrid network has one row per
    resolution all the same. Lines lead from what a layer reads to what it gives: of a layer with
    several inputs, to each output from the inputs of its own and of neighbouring resolutions. What
    neither changes a map's shape nor has a kernel (batch norm, activation, dropout, sum) is not
    drawn, and neither are padding and vectors; a model inside the model is one layer.

    Args:
        model: functional or sequential `keras.Model` whose input are images.
        path: the PNG file to write. It is replaced in one step. Defaults to "pyramid.png".
        input_shape: shape of an image without the batch axis. Defaults to the model's own; to be
            given where its sides are None.
        title: string above the picture. Defaults to none.

    Returns:
        The path of the file.

    Raises:
        ValueError: if `model` is no model of layers, has no feature maps, or if their sides are
            not known.
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:
        >>> import keras_mg
        >>> model = keras_mg.applications.SegPMG()
        >>> keras_mg.visualization.plot_pyramid(model, "grids.png", title="SegPMG").name
        'grids.png'
    """
    figure = _figure(_read(model, input_shape), title)
    target = expand(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return target


def _read(model: Any, input_shape: Sequence[int] | None) -> _Drawing:
    """The boxes and lines of a model."""
    graph = model
    if isinstance(model, keras.Sequential) and model.built:
        graph = private_keras.graph_of(model) or model
    nodes = private_keras.nodes(graph) if isinstance(graph, keras.Model) else []
    if not nodes:
        kind = type(model).__name__
        more = " that is not built" if isinstance(model, keras.Sequential) else ""
        raise ValueError(
            "The grids are read from the layers of a functional or sequential Keras model, as "
            "`keras.Model(inputs, outputs)` makes one and the constructors of "
            f"`keras_mg.applications` do. Received: {kind}{more}"
        )
    sizes = _sizes(graph, nodes, input_shape)
    boxes: list[_Box] = []
    lines: list[tuple[int, int]] = []
    drawn: dict[int, int] = {}  # by tensor: its box, or the one whose map it still is
    for node in nodes:
        read = [drawn[id(tensor)] for tensor in node.input_tensors if id(tensor) in drawn]
        maps = [tensor for tensor in node.outputs if id(tensor) in sizes]
        if read and not node.is_input and _keeps(node, [boxes[n] for n in read], maps, sizes):
            deepest = max(read, key=lambda number: boxes[number].column)
            drawn.update(dict.fromkeys(map(id, maps), deepest))
            continue
        column = 1 + max((boxes[number].column for number in read), default=-1)
        for tensor in maps:
            height, width, channels = sizes[id(tensor)]
            lines += [(number, len(boxes)) for number in dict.fromkeys(read)]
            drawn[id(tensor)] = len(boxes)
            boxes.append(_Box(node.operation.name, column, (height, width), channels))
    if not boxes:
        raise ValueError(
            "There is nothing to draw: no layer makes feature maps (batch, height, width, "
            f"channels). Received: {model.name!r} with inputs of shapes "
            f"{[tuple(tensor.shape) for tensor in graph.inputs]}"
        )
    return _Drawing(boxes, _between_neighbours(_Drawing(boxes, lines)))


def _sizes(graph: keras.Model, nodes: list, input_shape) -> dict[int, tuple[int, int, int]]:
    """Height, width and channels of each feature map, by the id of its tensor."""
    tensors = list({id(tensor): tensor for node in nodes for tensor in node.outputs}.values())
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if input_shape is not None:
        known = [isinstance(size, int) and size > 0 for size in input_shape]
        if len(known) != 3 or not all(known):
            raise ValueError(
                "input_shape must be the three sizes of an image, without the batch axis. "
                f"Received: input_shape={input_shape!r}"
            )
        if len(graph.inputs) != 1:
            raise ValueError(
                "input_shape can be given for a model of one input. "
                f"Received: a model of {len(graph.inputs)} inputs"
            )
        every = keras.Model(graph.inputs[0], tensors)
        shapes = every.compute_output_shape((None, *input_shape))
    data_format = next(
        (found for node in nodes if (found := getattr(node.operation, "data_format", None))),
        keras.config.image_data_format(),
    )
    sizes = {}
    for tensor, shape in zip(tensors, shapes, strict=True):
        if len(shape) == 4:
            height, width, channels = (shape[axis] for axis in arguments.axes(data_format))
            if None in (height, width, channels):
                raise ValueError(
                    "The sides of the feature maps are not known. Pass the shape of an image, such "
                    f"as input_shape=(224, 224, 3). Received: {graph.name!r} with a feature map of "
                    f"shape {tuple(shape)}"
                )
            sizes[id(tensor)] = (height, width, channels)
    return sizes


def _keeps(node, read: list[_Box], maps: list, sizes: dict[int, tuple[int, int, int]]) -> bool:
    """Whether a layer gives the maps that it is given, as far as the picture shows them."""
    layer = node.operation
    if isinstance(layer, (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)):
        return True
    if any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ())):
        return False
    given = {(*box.sides, box.channels) for box in read}
    return bool(maps) and {sizes[id(tensor)] for tensor in maps} <= given


def _between_neighbours(drawing: _Drawing) -> list[tuple[int, int]]:
    """The lines, without those that jump over a resolution where others do not."""
    row = {sides: i for i, sides in enumerate(drawing.rows)}
    apart = {
        (a, b): abs(row[drawing.boxes[a].sides] - row[drawing.boxes[b].sides])
        for a, b in drawing.lines
    }
    nearest: dict[int, int] = {}
    for (_, b), distance in apart.items():
        nearest[b] = min(distance, nearest.get(b, distance))
    return [(a, b) for (a, b), distance in apart.items() if distance <= max(1, nearest[b])]


def _figure(drawing: _Drawing, title: str | None):
    """The picture of boxes and lines."""
    boxes, rows = drawing.boxes, drawing.rows
    columns = 1 + max(box.column for box in boxes)
    # Areas fall by four from grid to grid; heights by less, so that the coarsest can be seen.
    heights = [max(0.30, (s[0] * s[1] / (rows[0][0] * rows[0][1])) ** 0.25) for s in rows]
    tops = [sum(heights[:i]) + 0.45 * i for i in range(len(rows))]
    depth = tops[-1] + heights[-1]
    unit = min(0.42, 21 / columns)  # inches per column
    width = max(4.5, unit * columns + 1.3)
    height = 0.85 * depth + 0.75 + (0.4 if title else 0.1)
    figure = new_figure(figsize=(width, height), dpi=110, facecolor="white")
    axes = figure.add_axes(
        (
            0.95 / width,
            0.55 / height,
            1 - 1.1 / width,
            1 - (0.75 + (0.4 if title else 0.1)) / height,
        )
    )
    widest = max(box.channels for box in boxes)
    sharing: dict[tuple, list[int]] = {}  # the boxes of a column and row, one above the other
    for number, box in enumerate(boxes):
        sharing.setdefault((box.column, box.sides), []).append(number)
    corners = {}
    for (column, sides), numbers in sharing.items():
        row = rows.index(sides)
        share = heights[row] / len(numbers)
        for lane, number in enumerate(numbers):
            breadth = 0.16 + 0.56 * (boxes[number].channels / widest) ** 0.5
            gap = 0.08 * share if len(numbers) > 1 else 0
            corners[number] = (
                column - breadth / 2,
                tops[row] + lane * share + gap,
                breadth,
                share - 2 * gap,
            )
    for a, b in drawing.lines:
        left, right = corners[a], corners[b]
        axes.plot(
            [left[0] + left[2], right[0]],
            [left[1] + left[3] / 2, right[1] + right[3] / 2],
            color=_LINE,
            linewidth=0.8,
            zorder=1,
            solid_capstyle="round",
        )
    _draw_boxes(axes, drawing, corners)
    axes.set(
        xlim=(-0.6, columns - 0.4),
        ylim=(depth + 0.1, -0.32),
        yticks=[top + size / 2 for top, size in zip(tops, heights, strict=True)],
        yticklabels=[f"{h}×{w}" for h, w in rows],  # noqa: RUF001 (as sizes are written)
    )
    axes.set_xlabel("depth, in layers", fontsize=9, color=_TEXT)
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.tick_params(length=0, labelsize=8.5, colors=_TEXT)
    axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12, color=_TEXT, y=1 - 0.12 / height, va="top")
    return figure


def _whole_numbers():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, nbins=12)


def _draw_boxes(axes, drawing: _Drawing, corners: dict[int, tuple]) -> None:
    from matplotlib.patches import Rectangle

    rows = drawing.rows
    written: dict[tuple[int, int], int] = {}  # the channels last written in a row
    for number in sorted(corners, key=lambda n: (drawing.boxes[n].column, corners[n][1])):
        box, (x, y, breadth, size) = drawing.boxes[number], corners[number]
        colour = COLOURS[min(rows.index(box.sides), len(COLOURS) - 1)]
        axes.add_patch(Rectangle((x, y), breadth, size, facecolor=colour, linewidth=0, zorder=2))
        if written.get(box.sides) != box.channels:
            axes.text(
                *(x + breadth / 2, y - 0.03, str(box.channels)),
                ha="center",
                va="bottom",
                fontsize=7,
                color=_TEXT,
                zorder=3,
            )
        written[box.sides] = box.channels
