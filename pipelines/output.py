"""`MultiViewOutput`: views from all around, with what is needed to use them; it can be saved between stages."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, OutputError
from gen3dface.estimators import HeadFit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MultiViewOutput:
    """N views of one head.

    Args:
        images: [N, 3, H, W] in 0..1, over white. masks: [N, 1, H, W] coverage in 0..1.
        cameras: of the views, H x W. head: the estimated head they belong to, if any.
    """

    images: Tensor
    masks: Tensor
    cameras: Cameras
    head: HeadFit | None = None

    def __post_init__(self) -> None:
        n, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        if self.images.shape != (n, 3, height, width) or self.masks.shape != (n, 1, height, width):
            raise CameraError(
                f"{n} cameras of {height} x {width} px do not fit images {tuple(self.images.shape)} and masks "
                f"{tuple(self.masks.shape)}."
            )

    def __len__(self) -> int:
        return len(self.cameras)

    def pil(self, alpha: bool = False) -> list[Image.Image]:
        """The views as PIL images: over white, or with their masks as alpha (`alpha=True`)."""
        pixels = (torch.cat([self.images, self.masks], 1) if alpha else self.images).mul(255).round()
        arrays = pixels.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(a) for a in arrays]

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
        """Read what `save` wrote (8-bit pictures)."""
        folder = Path(folder)
        try:
            cameras = Cameras.from_dict(json.loads((folder / "cameras.json").read_text()))
            views, masks = (
                [_read(folder / part / f"{i:03d}.png", mode) for i in range(len(cameras))]
                for part, mode in (("views", "RGB"), ("masks", "L"))
            )
        except (OSError, ValueError) as error:
            raise OutputError(f"{folder} holds no views as written by MultiViewOutput.save: {error}.") from error
        head = folder / "head.safetensors"
        return cls(torch.stack(views), torch.stack(masks), cameras, HeadFit.load(head) if head.exists() else None)

    def _mask_images(self) -> list[Image.Image]:
        arrays = self.masks[:, 0].mul(255).round().to(torch.uint8).cpu().numpy()
        return [Image.fromarray(a) for a in arrays]


def _read(path: Path, mode: str) -> Tensor:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert(mode), dtype=np.float32) / 255
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
