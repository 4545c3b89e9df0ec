"""`MultiViewOutput`: views from all around, with what is needed to use them; it can be saved between stages."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ImageDecodeError, OutputError
from gen3dface.estimators import HeadFit
from gen3dface.photo.decode import decode_image

logger = logging.getLogger(__name__)

_MOST_BYTES = 16 << 20  # of the cameras' file
_MOST_PIXELS = 1 << 28  # of all views
_MOST_SIDE = 1 << 16

OutputType = Literal["pil", "pt", "np", "latent"]


@dataclass(frozen=True)
class MultiViewOutput:
    """N views of one head.

    Args:
        images: over white. Tensor [N, 3, H, W] in 0..1 ("pt"), a list of N pictures ("pil"), an array [N, H, W, 3] in
            0..1 ("np"), or the latents ("latent"); `tensor` gives the first from any of the first three.
        masks: [N, 1, H, W] coverage in 0..1; the mesh's silhouettes where there are latents alone.
        cameras: of the views, H x W. head: the estimated head they belong to, if any.
        latents: [N, C, h, w] scaled, if a diffusion model made the views.
        texture: [3, S, S] in 0..1 of the head, if the views are pictures of it; `save` leaves it out.
    """

    images: Any
    masks: Tensor
    cameras: Cameras
    head: HeadFit | None = None
    latents: Tensor | None = None
    texture: Tensor | None = None

    def __post_init__(self) -> None:
        n, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        images = _shape(self.images)
        fits = len(self.images) == n if self._is_latent() else images == (n, 3, height, width)
        if not fits or self.masks.shape != (n, 1, height, width):
            raise CameraError(
                f"{n} cameras of {height} x {width} px do not fit images {images} and masks {tuple(self.masks.shape)}."
            )

    def __len__(self) -> int:
        return len(self.cameras)

    def tensor(self) -> Tensor:
        """The views as a tensor [N, 3, H, W] in 0..1, whatever `images` holds. Raises `OutputError` for latents."""
        if self._is_latent():
            raise OutputError("These views are latents; decode them, or ask the pipeline for another output_type.")
        if isinstance(self.images, Tensor):
            return self.images
        if isinstance(self.images, np.ndarray):
            return torch.from_numpy(self.images).permute(0, 3, 1, 2)
        pixels = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in self.images])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def to_tuple(self) -> tuple[Any, ...]:
        """(images, masks, cameras, head, latents)."""
        return self.images, self.masks, self.cameras, self.head, self.latents

    def pil(self, alpha: bool = False) -> list[Image.Image]:
        """The views as PIL images: over white, or with their masks as alpha (`alpha=True`)."""
        images = self.tensor()
        return to_pil(torch.cat([images, self.masks.to(images)], 1) if alpha else images)

    def _is_latent(self) -> bool:
        return self.latents is not None and self.images is self.latents

    def save(self, folder: str | Path) -> None:
        """Write `views/`, `masks/`, `cameras.json`, `transforms.json` and the head as `head.safetensors`."""
        folder = Path(folder)
        names = [f"{i:03d}.png" for i in range(len(self))]
        try:
            for part, images in (("views", self.pil()), ("masks", self._mask_images())):
                (folder / part).mkdir(parents=True, exist_ok=True)
                for name, image in zip(names, images, strict=True):
                    image.save(folder / part / name)
            (folder / "cameras.json").write_text(json.dumps(self.cameras.to_dict()))
            nerf = self.cameras.to_nerf([f"views/{n}" for n in names])
            (folder / "transforms.json").write_text(json.dumps(nerf, indent=1))
            if self.head is not None:
                self.head.save(folder / "head.safetensors")
        except OSError as error:
            raise OutputError(f"The views cannot be written to {folder}: {error.strerror or error}.") from error

    @classmethod
    def load(cls, folder: str | Path) -> MultiViewOutput:
        """Read what `save` wrote (8-bit pictures).

        Raises:
            OutputError: a file is missing, damaged, too large, or its pictures are not of the cameras' size.
            CameraError, EstimationError: the cameras or the head are damaged.
        """
        folder = Path(folder)
        try:
            cameras = Cameras.from_dict(json.loads(_text(folder / "cameras.json")))
            if len(cameras) * cameras.height * cameras.width > _MOST_PIXELS:
                raise ValueError(f"{len(cameras)} views of {cameras.height} x {cameras.width} px are too many pixels")
            views, masks = (
                torch.stack([_read(folder / part / f"{i:03d}.png", cameras) for i in range(len(cameras))])
                for part in ("views", "masks")
            )
        except (OSError, ValueError, RecursionError, RuntimeError, ImageDecodeError) as error:
            raise OutputError(f"{folder} holds no views as written by MultiViewOutput.save: {error}.") from error
        head = folder / "head.safetensors"
        return cls(views, masks[:, :1], cameras, HeadFit.load(head) if head.exists() else None)

    def _mask_images(self) -> list[Image.Image]:
        arrays = self.masks[:, 0].mul(255).round().to(torch.uint8).cpu().numpy()
        return [Image.fromarray(a) for a in arrays]


def to_pil(images: Tensor) -> list[Image.Image]:
    """Pictures [N, 3 or 4, H, W] in 0..1, rounded to 8 bits."""
    arrays = images.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(a) for a in arrays]


def as_output_type(images: Tensor, output_type: OutputType) -> Any:
    """Pictures [N, 3, H, W] in 0..1 as `MultiViewOutput.images` of a type."""
    if output_type == "pil":
        return to_pil(images)
    return images.permute(0, 2, 3, 1).cpu().numpy() if output_type == "np" else images


def _shape(images: Any) -> tuple[int, ...]:
    """[N, 3, H, W] of pictures in any form."""
    if isinstance(images, Tensor):
        return tuple(images.shape)
    if isinstance(images, np.ndarray):
        return tuple(images.transpose(0, 3, 1, 2).shape)
    sizes = {(len(image.getbands()), image.height, image.width) for image in images}
    return (len(images), *sizes.pop()) if len(sizes) == 1 else (len(images),)


def _text(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is too large")
    return path.read_text()


def _read(path: Path, cameras: Cameras) -> Tensor:
    """[3, H, W] in 0..1."""
    pixels = decode_image(path, _MOST_SIDE).rgb
    if pixels.shape[:2] != (cameras.height, cameras.width):
        raise ValueError(f"{path.name} is {pixels.shape[0]} x {pixels.shape[1]} px, not as its camera says")
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
