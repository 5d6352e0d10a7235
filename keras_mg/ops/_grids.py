"""Arithmetic of grids: their sizes, and moving data between neighbours of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from keras_mg.ops import _backend as backend


def halved(size: int | None) -> int | None:
    """The side of the next coarser grid: half of `size`, rounded up (None stays None)."""
    return None if size is None else -(-size // 2)


def _coarsen(x, data_format: str):
    return backend.max_pool(x, 2, 2, 0, True, data_format)


def _neighbours(grids: Sequence, i: int, data_format: str):
    """The finer neighbour of grid `i`, pooled, and its coarser one as it is; None at the ends."""
    finer = _coarsen(grids[i - 1], data_format) if i > 0 else None
    coarser = grids[i + 1] if i + 1 < len(grids) else None
    return finer, coarser


def _concatenate(finer, x, coarser, data_format: str):
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    parts = [x] if finer is None else [finer, x]
    if coarser is not None:
        height, width = x.shape[rows], x.shape[columns]
        parts.append(backend.upsample(coarser, height, width, data_format))
    return backend.concatenate(parts, data_format)


def resample_concat(grids: Sequence, data_format: str) -> list:
    """Give every grid its neighbours' channels.

    Grid `i` becomes the concatenation, in this order, of the 2x2 max-pooled (ceil mode) grid
    `i - 1`, grid `i` itself, and the nearest-neighbour upsampled grid `i + 1`; neighbours that do
    not exist are left out.

    Args:
        grids: native tensors, finest first, each side half of the one before, rounded up.
        data_format: format of the native tensors.

    Returns:
        As many tensors of the same sides.
    """
    return [resampled_grid(grids, i, data_format) for i in range(len(grids))]


def resampled_grid(grids: Sequence, i: int, data_format: str):
    """What grid `i` becomes in `resample_concat`."""
    finer, coarser = _neighbours(grids, i, data_format)
    return _concatenate(finer, grids[i], coarser, data_format)


def resample_conv(grids: Sequence, i: int, kernel, bias, padding: int, data_format: str):
    """The convolution of what grid `i` becomes in `resample_concat`.

    Args:
        grids: native tensors, finest first, each side half of the one before, rounded up.
        i: the grid's number.
        kernel: the HWIO variable.
        bias: the bias variable or None.
        padding: zeros on each of the four sides.
        data_format: format of the native tensors.

    Returns:
        A native tensor.
    """
    x = grids[i]
    finer, coarser = _neighbours(grids, i, data_format)
    if finer is None and coarser is not None and backend.splits_upsampling(x, kernel, padding):
        return backend.conv2d_upsampled(x, coarser, kernel, bias, data_format)
    x = _concatenate(finer, x, coarser, data_format)
    return backend.conv2d(x, kernel, bias, 1, padding, 1, data_format)


def crop(x, height: int, width: int, data_format: str):
    """The top left `height` x `width` pixels of a native tensor."""
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    if (x.shape[rows], x.shape[columns]) == (height, width):
        return x
    if data_format == "channels_last":
        return x[:, :height, :width, :]
    return x[:, :, :height, :width]


def pool_grids(grids: Sequence, merge: bool, drop_coarsest: bool, data_format: str) -> list:
    """Max-pool every grid by 2 (ceil mode).

    Args:
        grids: native tensors, finest first.
        merge: whether the two coarsest grids become one: the second coarsest is pooled and
            concatenated in front of the coarsest, which is not pooled.
        drop_coarsest: whether the coarsest grid is left out.
        data_format: format of the native tensors.

    Returns:
        The pooled grids, finest first; one fewer with `merge` or `drop_coarsest`.
    """
    if drop_coarsest:
        grids = grids[:-1]
    if not merge:
        return [_coarsen(x, data_format) for x in grids]
    pooled = [_coarsen(x, data_format) for x in grids[:-1]]
    return [*pooled[:-1], backend.concatenate([pooled[-1], grids[-1]], data_format)]
