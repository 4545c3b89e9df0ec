"""The trained networks as one module: a batch of items in, the loss out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.errors import ConfigError
from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.models.photo_encoder import PhotoEncoder
from gen3dface.models.precision import exactly
from gen3dface.pipelines import Gen3DFacePipeline, codec
from gen3dface.pipelines.conditions import Networks, encode_scene
from gen3dface.pipelines.scene import Scene
from gen3dface.pipelines.steps import denoised, scene_volumes
from gen3dface.training.config import ObjectiveConfig
from gen3dface.training.draws import Item
from gen3dface.training.identity import IdentityLoss
from gen3dface.training.latents import encode_views
from gen3dface.training.objective import add_noise, loss_weights, multiview_loss, target
from gen3dface.training.perceptual import PerceptualLoss

TRAINABLE = ("unet", "conditioner", "token_projection", "image_encoder")


class TrainingDenoiser(nn.Module):
    """A pipeline's networks with the conditions of inference, and the loss.

    The networks that are not trained are kept out of the module: no gradients, no copies in checkpoints.

    Args:
        pipe: its components are used, not copied. frozen: names of components that are not trained; the autoencoder
            and CLIP never are.
        batch_norm: `train` or `frozen`, see `TrainConfig`.
    """

    def __init__(
        self, pipe: Gen3DFacePipeline, objective: ObjectiveConfig, frozen: Sequence[str] = (), batch_norm: str = "train"
    ) -> None:
        super().__init__()
        self._objective, self._frozen_norms = objective, batch_norm == "frozen"
        self._settings, self._prediction = pipe.config, str(pipe.scheduler.config["prediction_type"])
        self._others: dict[str, Any] = {"vae": pipe.vae}
        for name in TRAINABLE:
            component = getattr(pipe, name)
            learns = component is not None and name not in frozen
            if learns and (name != "image_encoder" or isinstance(component, PhotoEncoder)):
                self.add_module(name, component.requires_grad_(True))
            else:
                self._others[name] = component
        if not any(True for _ in self.parameters()):
            raise ConfigError("Nothing is left to be trained; take a component out of `frozen`.")
        for component in self._others.values():
            if component is not None:
                component.requires_grad_(False).eval()
        vae = pipe.vae  # what a decoder learned to take out shall not be left in; a tuple, since modules are registered
        self._pictured = (vae.without_decoder() if isinstance(vae, PixelAutoencoder) else vae,)
        # in a dictionary, not registered: their weights are no part of the checkpoints
        self._losses = _picture_losses(objective, self._prediction)
        self.register_buffer("alphas", pipe.scheduler.alphas_cumprod.float().clone(), persistent=False)

    def train(self, mode: bool = True) -> TrainingDenoiser:
        """As `nn.Module.train`; frozen batch norms keep their running statistics."""
        super().train(mode)
        if self._frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()
        return self

    def move_others(self, device: torch.device) -> None:
        """Bring the networks that are not trained to a device."""
        for component in (*self._others.values(), *self._losses.values()):
            if component is not None:
                component.to(device)

    def forward(self, items: Sequence[Item]) -> Tensor:
        """The mean loss [] of B items with N views each."""
        predicted, wanted, alpha = self.predict(items)
        loss = multiview_loss(predicted, wanted, loss_weights(self._objective, self._prediction, alpha))
        pictured = self._objective.pixels or self._losses
        return loss + self._picture_terms(predicted, wanted, items) if pictured else loss

    @exactly
    def _picture_terms(self, predicted: Tensor, wanted: Tensor, items: Sequence[Item]) -> Tensor:
        """The weighted losses of what the clean latents look like."""
        made, true, total = self._decoded(predicted), self._decoded(wanted), predicted.new_zeros(())
        if self._objective.pixels:
            total = total + self._objective.pixels * (2 * made - 2 * true).square().mean()
        if "perceptual" in self._losses:
            start = sum(item.timestep for item in items)  # differs from step to step, and is the same after a resume
            total = total + self._objective.perceptual * self._losses["perceptual"](made, true, start)
        if "identity" in self._losses:  # of the heads whose photo the networks were shown
            shown = [i for i, item in enumerate(items) if item.kept[1]]
            heads = [items[i].head.unpack(made.device)[0] for i in shown]
            total = total + self._objective.identity * self._losses["identity"](made[shown], heads)
        return total

    def _decoded(self, latents: Tensor) -> Tensor:
        """Views [B, N, 3, S, S] in 0..1 of clean latents [B, N, C, h, w]."""
        images, _ = codec.decode(self._pictured[0], latents.flatten(0, 1).float())
        return images.unflatten(0, latents.shape[:2])

    def predict(self, items: Sequence[Item]) -> tuple[Tensor, Tensor, Tensor]:
        """What the networks say and what they should, both [B, N, C, h, w], and a_t [B].

        Where a view is not known the networks are taken to be right.
        """
        if len({len(item.noise) for item in items}) > 1:
            raise ConfigError("The heads of a batch have different numbers of views; set data.views.")
        device = self.get_buffer("alphas").device
        nets = self._networks(device)
        unpacked = [item.head.unpack(device) for item in items]
        scene = encode_scene(nets, [head for head, _ in unpacked])
        clean = torch.stack([_clean(nets, item, views) for item, (_, views) in zip(items, unpacked, strict=True)])
        noise = torch.stack([item.noise for item in items]).to(device)
        timestep = torch.tensor([item.timestep for item in items], device=device)
        alpha = self.get_buffer("alphas")[timestep]
        noisy = add_noise(clean, noise, alpha)
        kept = torch.tensor([item.kept for item in items], dtype=torch.float32, device=device)
        volumes = scene_volumes(nets, noisy, timestep, scene)
        if volumes is not None:
            volumes = tuple(v * _rows(kept[:, 2], v) for v in volumes)
        predicted = denoised(nets, noisy, timestep, without(scene, kept), volumes)
        wanted = target(self._prediction, clean, noise, alpha)
        known = torch.stack([_known(item, clean) for item in items])
        return torch.where(known, predicted, wanted.to(predicted)), wanted, alpha

    def _networks(self, device: torch.device) -> Networks:
        parts = {name: getattr(self, name) for name in TRAINABLE if name not in self._others} | self._others
        return Networks(**parts, config=self._settings, device=device)


def _picture_losses(objective: ObjectiveConfig, prediction: str) -> dict[str, nn.Module]:
    """By name. Raises `ConfigError` for a model that does not predict the clean sample: it has no picture."""
    asked = [name for name in ("pixels", "perceptual", "identity") if getattr(objective, name)]
    if asked and prediction != "sample":
        names = " and ".join(f"objective.{name}" for name in asked)
        raise ConfigError(f"{names} need a model that predicts the sample, not {prediction}.")
    kinds = {"perceptual": PerceptualLoss, "identity": IdentityLoss}
    return {name: kinds[name]() for name in asked if name in kinds}


def without(scene: Scene, kept: Tensor) -> Scene:
    """The scene with the dropped conditions of each head at zero, as in `Scene.guided`.

    Args:
        kept: [B, 3], 1 or 0 for (tokens, input view and projected photo, volumes); the volumes are not in the scene.
    """
    conditions = scene.conditions
    return replace(
        scene,
        tokens=scene.tokens * _rows(kept[:, 0], scene.tokens),
        input_latent=scene.input_latent * _rows(kept[:, 1], scene.input_latent),
        conditions=None if conditions is None else conditions * _rows(kept[:, 1], conditions),
    )


def _clean(nets: Networks, item: Item, views: Tensor) -> Tensor:
    """An item's clean latents [N, C, h, w], kept or encoded from its views [N, 4, S, S]."""
    kept = item.head.latents
    return encode_views(nets, views) if kept is None else kept.to(views.device).float()


def _known(item: Item, like: Tensor) -> Tensor:
    """Where something is to be learned, bool [N, 1, h, w]: latents none of whose pixels are unknown."""
    side = like.shape[-1]
    if item.head.known is None:
        return like.new_ones(len(item.noise), 1, side, side, dtype=torch.bool)
    unknown = (item.head.known < 255).float()
    return F.max_pool2d(unknown, unknown.shape[-1] // side).to(like.device) == 0


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ...] with as many axes as `like`."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
