"""Batch norm over the voxels of all processes, so that the gradients do not depend on how a batch is shared out.

`torch.nn.SyncBatchNorm` does it on GPUs alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; every process's loss depends on it, so its gradient is a sum too."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm1d):
    """`BatchNorm1d` on [S, C] whose statistics in training are those of all processes' rows together."""

    def forward(self, x: Tensor) -> Tensor:
        """x [S, C], S may differ between processes."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        values = x.float()
        sums = torch.cat([values.sum(0), values.square().sum(0), values.new_tensor([float(len(values))])])
        total: Tensor = _SumOverProcesses.apply(sums)
        width, count = values.shape[1], total[-1]
        mean = total[:width] / count
        variance = (total[width : 2 * width] / count - mean.square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach() * count.detach() / (count.detach() - 1))
        normal = (values - mean) * torch.rsqrt(variance + self.eps)
        return (normal * self.weight + self.bias).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum or 0.0
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def share_batch_norms(module: nn.Module) -> None:
    """Make every `BatchNorm1d` a `SharedBatchNorm`, weights and all; on one process nothing changes."""
    for child in module.modules():
        if type(child) is nn.BatchNorm1d:
            child.__class__ = SharedBatchNorm
