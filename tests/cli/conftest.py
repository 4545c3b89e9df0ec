"""Small stages that do real work in little time: a real photo decoder, a small head, real files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen3dface.cameras import rig
from gen3dface.errors import NoFaceError
from gen3dface.estimators import HeadFit
from gen3dface.outputs import turntable
from gen3dface.outputs.stages import Stages
from gen3dface.photo import Portrait, decode_image
from gen3dface.pipelines import MultiViewOutput
from gen3dface.recon import TexturedHead, render_head


@pytest.fixture(scope="session")
def stages(head: TexturedHead) -> Stages:
    """The given head in the photo's mean colour; a photo that is black throughout counts as one without a face."""

    def load_portrait(photo: Path, face: int | None) -> Portrait:
        image = decode_image(photo).rgb
        if not image.any():
            raise NoFaceError(f"{photo.name}: no face was found")
        landmarks, blendshapes = np.zeros((478, 3), np.float32), np.zeros(52, np.float32)
        matte, parts = np.ones(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.uint8)
        return Portrait(image, (0, 0, 8, 8), 1.0, landmarks, blendshapes, matte, parts, photo.name, ["<i>2 faces</i>"])

    def estimate(portrait: Portrait) -> HeadFit:
        return HeadFit(
            model_name="Small",
            model_version="1",
            identity=torch.zeros(8),
            expression=torch.zeros(3),
            rotations=torch.zeros(5, 3),
            offsets=torch.zeros(192, 3),
            camera=rig("head360", 64)[0],
            visibility=torch.zeros(192),
            residual=torch.full((478,), 0.02),
            confidence=0.9,
        )

    def reconstruct(portrait: Portrait, fit: HeadFit, views: MultiViewOutput) -> TexturedHead:
        return coloured(portrait)

    def coloured(portrait: Portrait) -> TexturedHead:
        texture = np.broadcast_to(portrait.image.mean((0, 1)), head.texture.shape).astype(np.uint8)
        return replace(head, texture=texture)

    def make_views(portrait: Portrait, fit: HeadFit, size: int, seed: int) -> MultiViewOutput:
        cameras = rig("head360", size)
        images = render_head(coloured(portrait), cameras, supersample=1)
        return MultiViewOutput(images, (images < 1).any(1, keepdim=True).float(), cameras, fit)

    return Stages(load_portrait, estimate, make_views, reconstruct)


@pytest.fixture
def short_turntable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A video of few small frames."""
    monkeypatch.setattr(turntable, "FRAMES", 5)
    monkeypatch.setattr(turntable, "RENDER_SIZE", 96)
    monkeypatch.setattr(turntable, "SIZE", 64)


@pytest.fixture
def make_photo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plain picture under tmp_path; black stands for a photo without a face."""

    def make(name: str, colour: tuple[int, int, int] = (180, 120, 100)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), colour).save(path)
        return path

    return make


@pytest.fixture
def photo(make_photo: Callable[..., Path]) -> Path:
    return make_photo("photos/ada.png")
