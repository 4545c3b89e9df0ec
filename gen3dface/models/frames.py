"""Bookkeeping of frames: N target views, and the input view as one more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.errors import ConfigError


@dataclass(frozen=True)
class Frames:
    """B heads with F frames each, folded into B F rows, a head's frames together."""

    batch: int
    views: int
    extra: bool  # the input view is the last frame

    @classmethod
    def of(cls, sample: Tensor, extra: bool) -> Frames:
        """Frames for a sample [B, N, C, h, w]."""
        if sample.ndim != 5:
            raise ConfigError(f"The sample must be [B, N, C, h, w], got {tuple(sample.shape)}.")
        return cls(sample.shape[0], sample.shape[1], extra)

    @property
    def count(self) -> int:
        """Frames a head, F."""
        return self.views + self.extra

    def append(self, sample: Tensor, input_latent: Tensor | None) -> Tensor:
        """[B, N, C, h, w] and [B, C, h, w] -> [B, F, C, h, w]."""
        if not self.extra or input_latent is None:
            return sample
        return torch.cat([sample, input_latent[:, None].to(sample.dtype)], 1)

    def pad(self, values: Tensor) -> Tensor:
        """[B, N or F, ...] -> [B, F, ...], zeros for the input frame where it has none."""
        if values.shape[1] == self.count:
            return values
        if values.shape[1] != self.views:
            raise ConfigError(f"Expected {self.views} or {self.count} frames, got {values.shape[1]}.")
        return torch.cat([values, torch.zeros_like(values[:, :1])], 1)

    def timesteps(self, timestep: Tensor | float | int, device: torch.device, clean_input: bool) -> Tensor:
        """[] or [B] -> [B F]; the input frame at step 0 when it counts as clean."""
        steps = torch.as_tensor(timestep, device=device).expand(self.batch)
        rows = steps[:, None].repeat(1, self.count)
        if self.extra and clean_input:
            rows[:, -1] = 0
        return rows.flatten()

    def tokens(self, tokens: Tensor) -> Tensor:
        """[B, T, E] for every frame, or [B, F, T, E] -> [B F, T, E]."""
        if tokens.ndim == 3:
            return tokens.repeat_interleave(self.count, 0)
        if tokens.shape[1] != self.count:
            raise ConfigError(f"Expected image tokens for {self.count} frames, got {tokens.shape[1]}.")
        return tokens.flatten(0, 1)

    def rows(self, volume: Tensor) -> Tensor | None:
        """Which of the B F rows the volumes [B', F', ...] belong to; None: all of them."""
        batch, frames = volume.shape[:2]
        if batch > self.batch or frames > self.count:
            raise ConfigError(f"Volumes for {batch} x {frames} frames, but only {self.batch} x {self.count} frames.")
        if batch == self.batch and frames == self.count:
            return None
        all_rows = torch.arange(self.batch * self.count, device=volume.device).view(self.batch, self.count)
        return all_rows[:batch, :frames].flatten()

    def targets(self, rows: Tensor) -> Tensor:
        """[B F, C, h, w] -> [B, N, C, h, w]."""
        return rows.unflatten(0, (self.batch, self.count))[:, : self.views]
