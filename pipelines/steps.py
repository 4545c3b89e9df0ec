"""What differs from one denoising step to the next, and from one scheduler to another."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen3dface.pipelines.scene import Scene

if TYPE_CHECKING:
    from gen3dface.pipelines.conditions import Networks
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline

_MOST_ETA = 1 - 1e-4


def predict(
    pipe: Gen3DFacePipeline, latents: Tensor, t: Tensor, scene: Scene, guided: Scene, guidance: float
) -> Tensor:
    """The guided prediction u + s (c - u), [B, N, C, h, w] float32 (Ho and Salimans, 2022).

    Args:
        latents: [B, N, C, h, w] float32 at step t. guided: `scene.guided()`, both halves in one batch.
        guidance: s; at 1 the unconditional half is left out.
    """
    sample = pipe.scheduler.scale_model_input(latents, t).to(pipe.unet.dtype)
    volumes = scene_volumes(pipe, sample, t, scene)
    if guidance == 1:
        return denoised(pipe, sample, t, scene, volumes)
    conditional, unconditional = denoised(pipe, torch.cat([sample, sample]), t, guided, volumes).chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def scene_volumes(
    pipe: Gen3DFacePipeline | Networks, sample: Tensor, t: Tensor, scene: Scene
) -> tuple[Tensor, ...] | None:
    """What each view looks into at step t ([] or [B]); None for a model without volumes.

    Of the conditional half alone: the other half's are zero.
    """
    if pipe.conditioner is None or scene.geometry is None:
        return None
    return pipe.conditioner(
        sample, t.expand(len(sample)), scene.view, scene.geometry, scene.vertex_features, scene.photo_volume
    )


def denoised(
    pipe: Gen3DFacePipeline | Networks, sample: Tensor, t: Tensor, scene: Scene, volumes: Sequence[Tensor] | None
) -> Tensor:
    """The UNet's prediction [B, N, C, h, w] float32 at step t ([] or [B])."""
    return pipe.unet(
        sample,
        t,
        scene.tokens,
        volumes=volumes,
        input_latent=scene.input_latent,
        conditions=scene.conditions,
        copy=scene.copy,
        return_dict=False,
    )[0].float()


def guidance_scales(scale: float, interval: tuple[float, float], steps: int) -> list[float]:
    """The guidance scale of each step; 1, which is none, outside the interval."""
    low, high = interval[0] * steps, interval[1] * steps
    return [scale if low <= i < high else 1.0 for i in range(steps)]


def step_arguments(scheduler: Any, eta: float, generator: Any, latents: Tensor, final: bool) -> dict[str, Any]:
    """What this scheduler's step takes beyond the usual; `final`: it is the last one.

    The last step of DDIM adds no noise, as in the peers' samplers: what it added would stay in the views. From a
    schedule's terminal SNR of zero, eta = 1 leaves 1 - a - sigma^2 = 0 under DDIM's root (Song et al., 2021, eq. 12),
    which rounding makes negative: it is kept a hair below.
    """
    known = inspect.signature(scheduler.step).parameters
    found: dict[str, Any] = {}
    if "eta" in known:
        found["eta"] = min(eta, _MOST_ETA) if scheduler.config.get("rescale_betas_zero_snr") else eta
    if final and eta and "variance_noise" in known and "eta" in known:
        found["variance_noise"] = torch.zeros_like(latents)
    elif "generator" in known:
        found["generator"] = generator
    return found
