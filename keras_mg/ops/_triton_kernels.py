"""The Triton kernels of `triton_convolution`, which alone imports this module, when it runs one.

Tensors are channels-last in memory. A program computes a block of pixels and channels of all the
groups that it meets, with the channels along the lanes.

Sides and channels are constants of the code, and pixels are counted in 32 bits: dividing by a side
that is not known, in 64 bits, would take most of the time. Places in memory have 64.
"""

# mypy: disable-error-code="name-defined"
# (Triton marks constants by annotations that are no types.)

import importlib

# Triton comes with the builds of torch for CUDA: it is no requirement of this package's own.
triton = importlib.import_module("triton")
tl = importlib.import_module("triton.language")


@triton.jit
def convolve(
    source, weight, target,
    pixels,
    target_height: tl.constexpr, target_width: tl.constexpr,
    source_height: tl.constexpr, source_width: tl.constexpr, channels: tl.constexpr,
    group_step, target_step, source_step, row_step, column_step,
    STRIDES: tl.constexpr, PADDING: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    TARGETS: tl.constexpr, SOURCES: tl.constexpr, TRANSPOSED: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A block of target pixels and channels; a group has TARGETS of SOURCES channels each."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    here = channel < channels
    group = channel // TARGETS
    column = pixel % target_width
    row = pixel // target_width % target_height
    image = pixel // target_width // target_height
    source_channels = channels // TARGETS * SOURCES
    first = weight + group * group_step + channel % TARGETS * target_step
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for r in tl.static_range(ROWS):
        for c in tl.static_range(COLUMNS):
            if TRANSPOSED:
                y, x = row + PADDING - r, column + PADDING - c
                meets = (y >= 0) & (x >= 0) & (y % STRIDES == 0) & (x % STRIDES == 0)
                y, x = y // STRIDES, x // STRIDES
            else:
                y, x = row * STRIDES + r - PADDING, column * STRIDES + c - PADDING
                meets = (y >= 0) & (x >= 0)
            meets = meets & (y < source_height) & (x < source_width) & (pixel < pixels)
            place = ((image * source_height + y) * source_width + x).to(tl.int64) * source_channels
            for s in range(SOURCES):
                k = tl.load(first + s * source_step + r * row_step + c * column_step, here, 0.0).to(
                    tl.float32
                )
                v = tl.load(
                    source + place[:, None] + (group * SOURCES + s)[None, :],
                    meets[:, None] & here[None, :],
                    0.0,
                ).to(tl.float32)
                total += k[None, :] * v
    tl.store(
        target + pixel.to(tl.int64)[:, None] * channels + channel[None, :],
        total.to(target.dtype.element_ty),
        (pixel < pixels)[:, None] & here[None, :],
    )


@triton.jit
def sum_products(
    x, gradient, parts,
    pixels, height: tl.constexpr, width: tl.constexpr,
    source_height: tl.constexpr, source_width: tl.constexpr, channels: tl.constexpr, blocks,
    STRIDES: tl.constexpr, PADDING: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    TARGETS: tl.constexpr, SOURCES: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One kernel entry per channel, summed over this program's share of the pixels."""
    part, entry = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    here = channel < channels
    s, tap = entry // (ROWS * COLUMNS), entry % (ROWS * COLUMNS)
    r, c = tap // COLUMNS, tap % COLUMNS
    member = channel // TARGETS * SOURCES + s
    source_channels = channels // TARGETS * SOURCES
    total = tl.zeros((CHANNELS,), tl.float32)
    for block in range(part, blocks, tl.num_programs(0)):
        pixel = block * PIXELS + tl.arange(0, PIXELS)
        column = pixel % width
        row = pixel // width % height
        image = pixel // width // height
        y_in, x_in = row * STRIDES + r - PADDING, column * STRIDES + c - PADDING
        meets = (y_in >= 0) & (y_in < source_height) & (x_in >= 0) & (x_in < source_width)
        meets = (meets & (pixel < pixels))[:, None] & here[None, :]
        place = (image * source_height + y_in) * source_width + x_in
        place = place.to(tl.int64) * source_channels
        there = pixel.to(tl.int64)[:, None] * channels + channel[None, :]
        v = tl.load(x + place[:, None] + member[None, :], meets, 0.0).to(tl.float32)
        d = tl.load(gradient + there, meets, 0.0)
        total += tl.sum(v * d.to(tl.float32), 0)
    entries = SOURCES * ROWS * COLUMNS
    tl.store(parts + (part * channels + channel) * entries + entry, total, here)
