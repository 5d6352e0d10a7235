"""The library's arithmetic once more, from its definitions, on torch tensors in NCHW.

Nothing here calls a convolution, pooling, batch norm or interpolation of torch: windows are cut
out, multiplied and summed, so a wrong default of such a function cannot hide on both sides.
"""

import torch


def pad(x, before, after, value):
    """`before` rows and columns at the start, `after` at the end."""
    n, c, h, w = x.shape
    y = x.new_full((n, c, h + before + after, w + before + after), value)
    y[:, :, before : before + h, before : before + w] = x
    return y


def windows(x, size, strides):
    """All windows: (N, C, rows, columns, size, size)."""
    return x.unfold(2, size, strides).unfold(3, size, strides)


def conv2d(x, kernel, bias=None, strides=1, groups=1):
    """HWIO `kernel`, `size // 2` zeros on each side."""
    size, _, inputs, outputs = kernel.shape
    seen = windows(pad(x, size // 2, size // 2, 0.0), size, strides)
    each = outputs // groups
    parts = [
        torch.einsum(
            "nchwij,ijco->nohw",
            seen[:, g * inputs : (g + 1) * inputs],
            kernel[..., g * each : (g + 1) * each],
        )
        for g in range(groups)
    ]
    y = torch.cat(parts, 1)
    return y if bias is None else y + bias[:, None, None]


def conv2d_transpose(x, kernel, bias=None, strides=2):
    """A (height, width, out, in) `kernel` whose side is `strides`: nothing overlaps."""
    size = kernel.shape[0]
    assert size == strides
    n, _, h, w = x.shape
    y = torch.einsum("nchw,ijoc->nohiwj", x, kernel).reshape(n, -1, h * size, w * size)
    return y if bias is None else y + bias[:, None, None]


def add_channels(x, shortcut):
    """`x + shortcut`, the shortcut zero-padded or cut at the end of its channels."""
    y = torch.zeros_like(x)
    width = min(x.shape[1], shortcut.shape[1])
    y[:, :width] = shortcut[:, :width]
    return x + y


def normalize(x, mean, variance, gamma, beta, epsilon):
    scale = gamma / torch.sqrt(variance + epsilon)
    return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]


def max_pool(x, size=2, strides=2, padding=0, ceil_mode=True):
    """Minus infinity around; ceil mode: as much more at the end as a last window may lack."""
    y = pad(x, padding, padding + (strides - 1 if ceil_mode else 0), -torch.inf)
    return windows(y, size, strides).amax((4, 5))


def average_pool(x, size):
    rows, columns = (s // size for s in x.shape[2:])
    return windows(x, size, size).mean((4, 5))[:, :, :rows, :columns]


def upsample(x, height, width):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]


def interleave(x, groups):
    """Channel a * (C / groups) + b goes to b * groups + a."""
    channels = x.shape[1]
    target = [0] * channels
    for a in range(groups):
        for b in range(channels // groups):
            target[b * groups + a] = a * (channels // groups) + b
    return x[:, target]


def resample_concat(grids):
    mixed = []
    for i, x in enumerate(grids):
        parts = [max_pool(grids[i - 1])] if i else []
        parts.append(x)
        if i + 1 < len(grids):
            parts.append(upsample(grids[i + 1], *x.shape[2:]))
        mixed.append(torch.cat(parts, 1))
    return mixed


def pool_grids(grids, merge=False, drop_coarsest=False):
    if drop_coarsest:
        grids = grids[:-1]
    if merge:
        *finer, second, last = grids
        return [*map(max_pool, finer), torch.cat([max_pool(second), last], 1)]
    return [max_pool(x) for x in grids]


ACTIVATIONS = {None: lambda x: x, "relu": lambda x: x.clamp(min=0.0), "tanh": torch.tanh}


class Tape:
    """Hands out the weights of a layer in their order, which must be that of the forward pass.

    Args:
        weights: `(name, tensor)` pairs, in the layer's order.
        training: whether batch norm takes the batch's statistics.
    """

    def __init__(self, weights, training=False, momentum=0.9):
        self.weights = list(weights)
        self.training = training
        self.momentum = momentum
        self.position = 0
        self.statistics = []  # what each moving mean and variance becomes, in order

    def take(self, kind):
        name, value = self.weights[self.position]
        assert name.endswith(kind), f"weight {self.position} is {name}, not a {kind}"
        self.position += 1
        return value

    def assert_used_up(self):
        assert self.position == len(self.weights)

    def convolution(self, x, size, filters, bias=False, strides=1, groups=1):
        kernel = self.take("kernel")
        assert kernel.shape == (size, size, x.shape[1] // groups, filters)
        return conv2d(x, kernel, self.take("bias") if bias else None, strides, groups)

    def norm(self, x, epsilon, activation=None, residual=None):
        gamma, beta, mean, variance = map(
            self.take, ("gamma", "beta", "moving_mean", "moving_variance")
        )
        if self.training:
            values = x.transpose(0, 1).flatten(1)
            count = values.shape[1]
            old = (mean, variance)
            mean = values.sum(1) / count
            squares = ((values - mean[:, None]) ** 2).sum(1)
            variance = squares / count
            new = (mean, squares / max(count - 1, 1))
            self.statistics += [
                (self.momentum * o + (1 - self.momentum) * n).detach()
                for o, n in zip(old, new, strict=True)
            ]
        y = normalize(x, mean, variance, gamma, beta, epsilon)
        if residual is not None:
            y = y + residual
        return ACTIVATIONS[activation](y)


# One function per layer, with the layer's own arguments and documented defaults; tensors in lists.


def convolution(
    tape,
    inputs,
    filters,
    kernel_size=3,
    strides=1,
    groups=1,
    use_bias=False,
    kernel_initializer=None,
):
    (x,) = inputs
    return [tape.convolution(x, kernel_size, filters, use_bias, strides, groups)]


def conv_norm_activation(
    tape,
    inputs,
    activation="relu",
    epsilon=1e-5,
    momentum=0.9,
    gamma_initializer="ones",
    **settings,
):
    (x,) = convolution(tape, inputs, **settings)
    return [tape.norm(x, epsilon, activation)]


def transposed_conv_norm_activation(
    tape, inputs, filters, activation="relu", epsilon=1e-5, momentum=0.9
):
    (x,) = inputs
    kernel, bias = tape.take("kernel"), tape.take("bias")
    assert kernel.shape == (2, 2, filters, x.shape[1])
    return [tape.norm(conv2d_transpose(x, kernel, bias), epsilon, activation)]


def residual_block(
    tape,
    inputs,
    filters,
    strides=1,
    shortcut="A",
    norm_after_add=False,
    use_bias=False,
    activation="relu",
    epsilon=1e-5,
    momentum=0.9,
    gamma_initializer="ones",
    kernel_initializer=None,
):
    (x,) = inputs
    skip = x[:, :, ::strides, ::strides]
    if shortcut == "B" and (strides > 1 or x.shape[1] != filters):
        skip = tape.norm(tape.convolution(x, 1, filters, use_bias, strides), epsilon)
    y = tape.norm(tape.convolution(x, 3, filters, use_bias, strides), epsilon, "relu")
    y = tape.convolution(y, 3, filters, use_bias)
    if norm_after_add:
        return [tape.norm(add_channels(y, skip), epsilon, activation)]
    return [ACTIVATIONS[activation](add_channels(tape.norm(y, epsilon), skip))]


def norm_activation(
    tape, inputs, activation="relu", epsilon=1e-5, momentum=0.9, gamma_initializer="ones"
):
    (x,) = inputs
    return [tape.norm(x, epsilon, activation)]


def max_pool_layer(tape, inputs, pool_size, strides=2, padding=0):
    (x,) = inputs
    return [max_pool(x, pool_size, strides, padding, ceil_mode=False)]


def multigrid_input(tape, inputs, filters, kind="cifar", epsilon=1e-5, momentum=0.9):
    (image,) = inputs
    grids = []
    for i, width in enumerate(filters):
        x = average_pool(image, 2**i)
        if kind == "cifar":
            x = tape.norm(tape.convolution(x, 3, width, bias=True), epsilon, "relu")
        else:
            x = tape.norm(tape.convolution(x, 7, width, bias=True, strides=2), epsilon, "relu")
            x = max_pool(x, 3, 2, 1, ceil_mode=False)
        grids.append(x)
    return grids


def _per_grid(value, filters):
    return [value] * len(filters) if isinstance(value, int) else value


def multigrid_conv(
    tape,
    grids,
    filters,
    kernel_size=3,
    activation="relu",
    drop_coarsest=False,
    dropout=0.0,
    epsilon=1e-5,
    momentum=0.9,
):
    if drop_coarsest:
        grids = grids[:-1]
    sizes = _per_grid(kernel_size, filters)
    return [
        tape.norm(tape.convolution(x, size, width, bias=True), epsilon, activation)
        for x, size, width in zip(resample_concat(grids), sizes, filters, strict=True)
    ]


def _shortcut(tape, x, width, kind, epsilon):
    given = x.shape[1]
    if kind == "C" or (kind == "B" and given != width) or given > width:
        return tape.norm(tape.convolution(x, 1, width, bias=True), epsilon)
    return x


def multigrid_residual(
    tape,
    grids,
    filters,
    kernel_size=3,
    shortcut="A",
    activation="relu",
    drop_coarsest=False,
    dropout=0.0,
    epsilon=1e-5,
    momentum=0.9,
):
    if drop_coarsest:
        grids = grids[:-1]
    shortcuts = [
        _shortcut(tape, x, width, shortcut, epsilon)
        for x, width in zip(grids, filters, strict=True)
    ]
    inner = multigrid_conv(tape, grids, filters, kernel_size, epsilon=epsilon)
    outer = multigrid_conv(tape, inner, filters, kernel_size, activation=None, epsilon=epsilon)
    return [
        ACTIVATIONS[activation](add_channels(x, s)) for x, s in zip(outer, shortcuts, strict=True)
    ]


def multigrid_transposed_conv(tape, grids, filters, **settings):
    outputs = []
    for x, width in zip(grids, filters, strict=True):
        (y,) = transposed_conv_norm_activation(tape, [x], width, **settings)
        if outputs:  # at most half of the finer grid's sides, rounded up
            height, columns = ((s + 1) // 2 for s in outputs[-1].shape[2:])
            y = y[:, :, :height, :columns]
        outputs.append(y)
    return outputs


def multigrid_pool(tape, grids, merge=False, drop_coarsest=False):
    return pool_grids(grids, merge, drop_coarsest)


def igc_block(
    tape,
    inputs,
    filters,
    primary_partitions,
    secondary_partitions,
    strides=1,
    activation="relu",
    epsilon=2e-5,
    momentum=0.9,
    residual=None,
):
    (x,) = inputs
    x = tape.convolution(x, 3, filters, strides=strides, groups=primary_partitions)
    x = interleave(x, primary_partitions)
    x = tape.convolution(x, 1, filters, groups=secondary_partitions)
    x = interleave(x, secondary_partitions)
    return [tape.norm(x, epsilon, activation, residual)]


def igc_residual(
    tape,
    inputs,
    filters,
    primary_partitions,
    secondary_partitions,
    strides=1,
    project=None,
    epsilon=2e-5,
    momentum=0.9,
):
    (x,) = inputs
    first, second = (
        (secondary_partitions,) * 2
        if isinstance(secondary_partitions, int)
        else secondary_partitions
    )
    skip = x
    if project or (project is None and (strides > 1 or x.shape[1] != filters)):
        skip = tape.convolution(x, 1, filters, strides=strides, groups=primary_partitions)
        skip = tape.norm(skip, epsilon)
    y = igc_block(tape, [x], filters, primary_partitions, first, strides, epsilon=epsilon)
    (y,) = igc_block(tape, y, filters, primary_partitions, second, epsilon=epsilon, activation=None)
    return [ACTIVATIONS["relu"](y + skip)]


def mgnet_smoother(
    tape,
    inputs,
    filters,
    iterations=2,
    share_smoother=True,
    return_residual=True,
    epsilon=1e-5,
    momentum=0.9,
):
    """The paper's formula, with f and A as it has them."""
    *start, r = inputs
    u = start[0] if start else torch.zeros_like(r)
    operator = tape.take("kernel")
    f = r + conv2d(u, operator)
    smoother = None
    for i in range(iterations):
        x = tape.norm(f - conv2d(u, operator), epsilon, "relu")
        if i == 0 or not share_smoother:
            smoother = tape.take("kernel")
        u = u + tape.norm(conv2d(x, smoother), epsilon, "relu")
    return [u, f - conv2d(u, operator)] if return_residual else [u]


def mgnet_restriction(tape, inputs, filters, epsilon=1e-5, momentum=0.9):
    """Of u and r; `tests/layers/test_mgnet_restriction.py` has the paper's form with f and A."""
    return [tape.norm(tape.convolution(x, 3, filters, strides=2), epsilon, "relu") for x in inputs]
