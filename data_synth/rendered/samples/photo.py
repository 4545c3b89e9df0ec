"""From a render to a photo: matte and parts that a network would have to guess, and a camera's own faults."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.cameras import Cameras
from gen3dface.data_synth.rendered.renderer import Views
from gen3dface.photo.parts import BACKGROUND, FACE_SKIN, HAIR
from gen3dface.raster import rasterize

Picture = NDArray[np.float32]


def labelled_parts(
    views: Views, vertices: torch.Tensor, faces: torch.Tensor, labels: torch.Tensor, camera: Cameras
) -> NDArray[np.uint8]:
    """uint8 [H, W] codes of `photo.parts` where the render covers more than half of a pixel.

    vertices [V, 3], faces [F, 3] and labels [F] of all surfaces. Strands are hair, but on the face they are what
    segmenters call the face: brows, lashes, beards.
    """
    seen = rasterize(vertices, faces, camera, cull_back=False)
    under = torch.where(seen.mask, labels[seen.face.clamp(min=0)], BACKGROUND)
    hair, alpha = views.hair[0, 0], views.rgba[0, 3]
    close = seen.depth - views.depth[0] < _ON_SKIN
    hairy = (hair > 0.5) & ~((under == FACE_SKIN) & close & (hair < 0.98))
    out = torch.where(hairy | ((under == BACKGROUND) & (hair > 0.25)), HAIR, under)
    return torch.where(alpha > 0.5, out, BACKGROUND).numpy().astype(np.uint8)


_ON_SKIN = 0.006  # metres above the skin up to which strands count as its own


def as_photo(views: Views, backdrop: Picture, generator: np.random.Generator) -> NDArray[np.uint8]:
    """sRGB bytes [S, S, 3] of the first view before a backdrop."""
    colour, alpha = views.rgba[0, :3].permute(1, 2, 0).numpy(), views.rgba[0, 3].numpy()[..., None]
    picture = alpha * colour + (1 - alpha) * backdrop
    return spoiled(picture, generator)


def spoiled(picture: Picture, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, white balance, contrast, lens blur, noise of the sensor, JPEG."""
    scale = len(picture) / 256
    out = picture.astype(np.float32) ** float(np.exp(generator.normal(0, 0.12)))
    cast = np.exp(generator.normal(0, 0.035, 3) + generator.normal(0, 0.04) * np.array([1, 0, -1])).astype(np.float32)
    out = out * cast * float(np.exp(generator.normal(0, 0.06)))
    if generator.random() < 0.03:
        out = np.repeat(out.mean(-1, keepdims=True), 3, -1)
    if generator.random() < 0.55:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), generator.uniform(0.3, 0.9) * scale))
    if generator.random() < 0.2:
        out = out + 0.7 * (out - cv2.GaussianBlur(out, (0, 0), 1.0 * scale))  # a phone's sharpening
    noise = generator.exponential(0.008)
    grain = generator.standard_normal(out.shape, np.float32)
    if generator.random() < 0.5:
        grain = 1.5 * cv2.GaussianBlur(grain, (0, 0), 0.7)
    pixels = np.clip((out + noise * grain) * 255 + 0.5, 0, 255).astype(np.uint8)
    if generator.random() < 0.8:
        quality = int(generator.integers(55, 97))
        _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        pixels = np.ascontiguousarray(decoded[..., ::-1])
    return np.asarray(pixels, np.uint8)
