"""Batch norm by the statistics of all processes, as an expert writes it around one sum each way.

`torch.nn.SyncBatchNorm` does the same on GPUs, and refuses tensors of a CPU.
"""

from __future__ import annotations

import torch
from torch import distributed, nn


@torch.library.custom_op("benchmarks::sum_of_all", mutates_args=())
def _sum_in_graphs(values: torch.Tensor) -> torch.Tensor:
    result = values.clone()
    distributed.all_reduce(result)
    return result


@_sum_in_graphs.register_fake
def _(values):
    return torch.empty_like(values)


def _sum(values: torch.Tensor) -> torch.Tensor:
    """The sum over the processes of a tensor that nobody else holds."""
    if torch.compiler.is_compiling():
        return _sum_in_graphs(values)
    distributed.all_reduce(values)
    return values


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, epsilon):
        if torch.compiler.is_compiling():
            variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        else:
            mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        own = x.shape[0] * x.shape[2] * x.shape[3]
        count = mean.new_full((1,), own)
        sums = _sum(torch.cat([mean * own, (variance + mean * mean) * own, count]))
        (mean, square), count = (sums[:-1] / sums[-1]).chunk(2), sums[-1]
        variance = (square - mean * mean).clamp(min=0)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance, count)
        y = torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, epsilon, True)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, variance, count = ctx.saved_tensors
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.epsilon, [True] * 3
        )
        along_mean, along_x = (_sum(torch.cat([by_bias, by_weight])) / count).chunk(2)
        deviation = torch.rsqrt(variance + ctx.epsilon)
        factor = weight * deviation
        slope = factor * deviation * along_x
        offset = factor * along_mean - mean * slope
        shape = (1, -1, 1, 1)
        by_x = by_x - torch.addcmul(offset.reshape(shape), x, slope.reshape(shape))
        return by_x, by_weight, by_bias, None


class SyncBatchNorm(nn.BatchNorm2d):
    """Trains by the statistics of all processes."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return y


def synchronized(network: nn.Module) -> nn.Module:
    """A network whose batch norms are of this kind; their weights are the same tensors."""
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            other = SyncBatchNorm(child.num_features, child.eps, child.momentum)
            other.load_state_dict(child.state_dict())
            setattr(network, name, other.to(child.weight.device))
        else:
            synchronized(child)
    return network
