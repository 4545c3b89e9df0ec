"""Draws a subject: deferred shading by random light, a random background, and a random camera's faults."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.cameras import Cameras
from gen3dface.heads import vertex_normals
from gen3dface.raster import Fragments

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]


def shade(
    fragments: Fragments, albedo: Array, normals: Array, camera: Cameras, gloss: NDArray, rng: np.random.Generator
) -> Array:
    """Linear radiance [H, W, 3]: second-order spherical harmonics, up to two distant lights and their highlights."""
    n = normals @ camera.rotations[0].numpy().astype(np.float64).T  # camera frame: y down, z away
    n /= np.linalg.norm(n, axis=-1, keepdims=True) + 1e-9
    light = _harmonics(n, rng)
    shine = np.zeros((*n.shape[:2], 1))
    for _ in range(rng.integers(0, 3)):
        direction = _random_direction(rng)
        colour = rng.uniform(0.1, 0.7) * np.exp(rng.normal(0, 0.1, 3))
        light += np.clip(n @ direction, 0, None)[..., None] * colour
        half = direction + np.array([0, 0, -1.0])
        half /= np.linalg.norm(half)
        shine += (np.clip(n @ half, 0, None) ** rng.uniform(8, 60))[..., None] * rng.uniform(0, 0.12)
    shown = albedo**2.2 * light + shine * gloss[..., None]
    return (
        shown
        * (rng.uniform(0.35, 0.65) / (np.median(shown[fragments.mask.numpy()].mean(-1)) ** (1 / 2.2) + 0.05)) ** 2.2
    )


def _harmonics(n: Array, rng: np.random.Generator) -> Array:
    x, y, z = np.moveaxis(n, -1, 0)
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)
    spread = np.array([0, 0.35, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.06]) * rng.uniform(0.2, 0.8)
    grey = rng.normal(0, spread)
    grey[0], grey[2], grey[3] = 0.8, grey[2] - 0.12, grey[3] - 0.2
    return np.clip(basis @ (grey[:, None] * np.exp(rng.normal(0, 0.08, 3))), 0.05, None)


def _random_direction(rng: np.random.Generator) -> Array:
    """Toward a light in front of or beside the face; camera frame."""
    d = np.array([rng.normal(0, 0.8), -abs(rng.normal(0.3, 0.4)), -rng.uniform(0.2, 1.0)])
    return d / np.linalg.norm(d)


def interpolate(fragments: Fragments, values: Array, faces: torch.Tensor) -> Array:
    return fragments.interpolate(torch.from_numpy(values).float(), faces).numpy().astype(np.float64)


def mesh_normals(vertices: torch.Tensor, faces: torch.Tensor) -> Array:
    return vertex_normals(vertices, faces).numpy().astype(np.float64)


def sample_texture(
    fragments: Fragments, uvs: torch.Tensor, uv_faces: torch.Tensor, texture: NDArray[np.float32]
) -> Array:
    """[H, W, 3]; the texture's first row is at v = 1."""
    side = len(texture)
    at = fragments.interpolate(uvs, uv_faces).numpy()
    x, y = at[..., 0] * side - 0.5, (1 - at[..., 1]) * side - 0.5
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)


def background(size: int, rng: np.random.Generator) -> Array:
    """Smooth colour, a gradient, or clutter, float [S, S, 3] in 0..1."""
    out = np.broadcast_to(rng.random(3) * rng.uniform(0.2, 1), (size, size, 3)).copy()
    for cells in rng.choice([2, 4, 9, 30], rng.integers(0, 4), replace=False):
        out += cv2.resize(rng.normal(0, 0.15, (cells, cells, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 6)):
        a, b = rng.integers(0, size, (2, 2)).tolist()
        cv2.rectangle(out, a, b, rng.random(3).tolist(), -1)
    return np.clip(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 8)), 0, 1)


def compose(shown: Array, mask: NDArray[np.bool_], behind: Array) -> Array:
    """Display-referred [H, W, 3] in 0..1, with a soft edge."""
    soft = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.7)[..., None]
    front = np.clip(shown, 0, 1) ** (1 / 2.2)
    filled = np.where(mask[..., None], front, cv2.GaussianBlur(front, (0, 0), 1.5))
    return soft * filled + (1 - soft) * behind


def spoil(picture: Array, rng: np.random.Generator) -> Picture:
    """Colour cast, contrast, blur, noise, JPEG."""
    out = (picture * rng.uniform(0.9, 1.1, 3)) ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.1:
        out = np.repeat(out.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.6:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.0))
    out = out + rng.normal(0, 1, out.shape) * rng.uniform(0, 0.02)
    encoded = cv2.imencode(
        ".jpg", np.clip(out * 255, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 97))]
    )
    return np.asarray(cv2.imdecode(encoded[1], cv2.IMREAD_COLOR), np.uint8)
