"""Batch norm by the statistics of the rows of all processes (torch).

Forward, each process sends, in double precision, the number of its samples and per channel their
sum and the sum of their squares, made of its own mean and variance: differences of large numbers
then cost no figures. Backward, it sends two numbers per channel.
"""

from __future__ import annotations

import torch

from keras_mg.distribution.collectives import gradient_over_processes, sum_over_processes

_HALF = (torch.float16, torch.bfloat16)


def _combined(mean, variance, samples):
    """Mean and variance of all processes' samples, and their number, in double precision.

    Few operators: in a small network each takes as long as its arithmetic in a large one.
    """
    own = torch.stack((mean, variance)).double()
    own[1].addcmul_(own[0], own[0])
    sums = torch.cat((own.view(-1), own.new_ones(1))).mul_(samples)
    sums = sum_over_processes(sums)
    samples = sums[-1]
    mean, square = (sums[:-1] / samples).chunk(2)
    return mean, torch.addcmul(square, mean, mean, value=-1).clamp_(min=0), samples


def _statistics(x):
    """Mean and biased variance per channel."""
    if torch.compiler.is_compiling():
        return torch.var_mean(x, (0, 2, 3), correction=0)[::-1]
    # What torch's own batch norm computes: eagerly, `var_mean` of channels-last tensors takes 50
    # times as long on a CPU.
    return torch.batch_norm_update_stats(x, None, None, 0.0)


class _BatchNorm(torch.autograd.Function):
    """`(x, gamma, beta) -> (y, mean, variance, samples)`; channels are the second axis."""

    @staticmethod
    def forward(ctx, x, gamma, beta, epsilon):
        mean, variance = _statistics(x.float() if x.dtype in _HALF else x)
        mean, variance, samples = _combined(mean, variance, x.shape[0] * x.shape[2] * x.shape[3])
        own = gamma.dtype
        held = mean.to(own), variance.to(own)
        y = torch.batch_norm(
            x, gamma, beta, *held, False, 0.0, epsilon, torch.backends.cudnn.enabled
        )
        ctx.save_for_backward(x, gamma, *held, samples)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance, samples)
        return y, mean, variance, samples

    @staticmethod
    def backward(ctx, gradient, *_):
        x, gamma, mean, variance, samples = ctx.saved_tensors
        by_x, by_gamma, by_beta = torch.ops.aten.native_batch_norm_backward(
            gradient, x, gamma, mean, variance, None, None, False, ctx.epsilon, [True, True, True]
        )
        # By the batch's own statistics, too: what a step along the mean or along `x` itself would
        # change is taken out.
        sums = gradient_over_processes(torch.cat((by_beta, by_gamma)))
        along_mean, along_x = (sums / samples.to(sums.dtype)).chunk(2)
        deviation = torch.rsqrt(variance + ctx.epsilon)
        factor = gamma * deviation
        slope, offset = factor * deviation * along_x, factor * along_mean
        mean, slope, offset = (v.reshape(1, -1, 1, 1) for v in (mean, slope, offset))
        # In this order: where the mean is large, the rest would be lost in it.
        taken = torch.addcmul(offset, x.to(gamma.dtype) - mean, slope)
        return (by_x.to(gamma.dtype) - taken).to(x.dtype), by_gamma, by_beta, None


def batch_norm(x, gamma, beta, epsilon: float):
    """`(y, mean, variance, samples)` of a native tensor, by the statistics of all processes.

    Args:
        x: `(batch, channels, height, width)`.
        gamma: `(channels,)`.
        beta: `(channels,)`.
        epsilon: float.

    Returns:
        The normalised tensor; mean, biased variance and number of samples, in double precision.
    """
    return _BatchNorm.apply(x, gamma, beta, epsilon)


class _Moments(torch.autograd.Function):
    """`(x, weights) -> (mean, variance)` along `axes`, as vectors."""

    @staticmethod
    def forward(ctx, x, weights, axes):
        if weights is None:
            mean = x.mean(axes)
            variance = (x - _along(mean, x, axes)).square().mean(axes)
            samples = x.numel() // mean.numel()
        else:
            samples = weights.sum()
            least = samples.clamp(min=1)
            mean = (x * weights).sum(axes) / least
            variance = ((x - _along(mean, x, axes)).square() * weights).sum(axes) / least
        mean, variance, samples = _combined(mean, variance, samples)
        samples = samples.clamp(min=1)
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.save_for_backward(x, weights, mean, samples)
        ctx.axes = axes
        return mean, variance

    @staticmethod
    def backward(ctx, by_mean, by_variance):
        x, weights, mean, samples = ctx.saved_tensors
        sums = gradient_over_processes(torch.cat([by_mean, by_variance]).double()) / samples
        by_mean, by_variance = (_along(v.to(x.dtype), x, ctx.axes) for v in sums.chunk(2))
        by_x = by_mean + 2 * (x - _along(mean, x, ctx.axes)) * by_variance
        return by_x if weights is None else by_x * weights, None, None


def _along(vector, x, axes):
    return vector.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def moments(x, mask, axes):
    """Mean and biased variance of the rows of all processes.

    Args:
        x: float tensor.
        mask: of the shape of `x` without its last axis, what counts; or None.
        axes: the axes to reduce, all but one.

    Returns:
        Two vectors.
    """
    weights = None
    if mask is not None:
        weights = mask.to(x.dtype).unsqueeze(-1)
        weights = weights.expand(*x.shape[:-1], 1)
    return _Moments.apply(x, weights, tuple(axes))
