"""Random faces' paint: a MakeHuman skin with other tint, brows, lips, beard shadow and blotches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.heads import HeadModel

Texture = NDArray[np.float32]
# outlines by landmark number: the subject's right and left brow, and the lips
_BROWS = ([46, 53, 52, 65, 55, 107, 66, 105, 63, 70], [276, 283, 282, 295, 285, 336, 296, 334, 293, 300])
_LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
_LIDS_UPPER = ([33, 246, 161, 160, 159, 158, 157, 173, 133], [263, 466, 388, 387, 386, 385, 384, 398, 362])
_BEARD = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 291, 270, 164, 40, 61]


SIDE = 512  # px that a skin is reduced to: the pictures show no more


def load_skins(folder: Path) -> list[NDArray[np.uint8]]:
    """All PNG images of a folder, uint8 [SIDE, SIDE, 3] RGB, in OpenHead's texture layout."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no PNG skins; tools/bake_skins.py makes them.")
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    return [np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8) for image in images]


def landmark_texels(model: HeadModel, size: int) -> NDArray[np.int32]:
    """[478, 2] x, y of the landmarks in a texture of `size` px."""
    corners = model.uvs[model.uv_faces[model.landmark_faces.clamp(min=0)]]
    uv = (corners * model.landmark_barycentric[..., None]).sum(1).numpy()
    return np.round(np.column_stack([uv[:, 0], 1 - uv[:, 1]]) * size).astype(np.int32)


def paint(
    skin: NDArray[np.uint8], texels: NDArray[np.int32], eyes: NDArray[np.bool_], hair: NDArray, rng: np.random.Generator
) -> Texture:
    """A random variation of a skin, float32 [S, S, 3] in 0..1. eyes [S, S]: texels of the eyeballs, left alone."""
    base = skin.astype(np.float32) / 255
    out = base * _tint(rng) * _blotches(len(skin), rng)
    out = out ** rng.uniform(0.85, 1.2)
    if rng.random() < 0.9:
        out = _brows(out, texels, hair, rng)
    _mix(out, _polygon(out, texels[_LIPS_OUTER], 0.8), _lip_colour(out, texels, rng), rng.uniform(0, 0.6))
    if rng.random() < 0.2:
        noise = rng.random(out.shape[:2], np.float32) * 0.6 + 0.7
        _mix(out, _polygon(out, texels[_BEARD], 5) * noise, hair, rng.uniform(0.1, 0.6))
    for line in _LIDS_UPPER:
        mask = np.zeros(out.shape[:2], np.float32)
        cv2.polylines(mask, [texels[line]], False, 1.0, int(rng.integers(1, 3)), cv2.LINE_AA)
        _mix(out, mask, hair * 0.4, rng.uniform(0, 0.6))
    iris = base ** rng.uniform(0.5, 1.0) * np.exp(rng.normal(0, 0.1, 3)).astype(np.float32)
    return np.clip(np.where(eyes[..., None], iris, out), 0, 1)


def _tint(rng: np.random.Generator) -> NDArray[np.float32]:
    return (np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.03, 3))).astype(np.float32)


def _blotches(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth changes of albedo and fine grain."""
    out = np.ones((size, size, 3), np.float32)
    for cells in (6, 24, 96):
        coarse = rng.normal(0, rng.uniform(0, 0.02), (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return out


def _brows(out: Texture, texels: NDArray[np.int32], hair: NDArray, rng: np.random.Generator) -> Texture:
    scale, colour, strength = rng.uniform(0.7, 1.1), hair * rng.uniform(0.5, 1.1), rng.uniform(0.2, 0.95)
    lift = rng.uniform(-0.1, 0.1)
    for line in _BROWS:
        points = texels[line].astype(np.float64)
        middle = (points[:5] + points[:4:-1]) / 2
        middle = np.vstack([middle, middle[::-1]])
        points = middle + (points - middle) * scale
        points[:, 1] += lift * np.ptp(points[:, 1])
        mask = _polygon(out, np.round(points).astype(np.int32), 1.0)
        _mix(out, mask * (rng.random(mask.shape, np.float32) * 0.5 + 0.6), colour, strength)
    return out


def _lip_colour(out: Texture, texels: NDArray[np.int32], rng: np.random.Generator) -> NDArray:
    x, y = texels[17]
    return np.clip(out[y, x] * rng.uniform([0.9, 0.65, 0.65], [1.2, 1.0, 1.0]), 0, 1)


def _polygon(out: Texture, points: NDArray[np.int32], blur: float) -> NDArray[np.float32]:
    mask = np.zeros(out.shape[:2], np.float32)
    cv2.fillPoly(mask, [points], 1.0, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _mix(out: Texture, mask: NDArray, colour: NDArray, strength: float) -> None:
    """Paint over `out` where the mask is, in its bounding box alone."""
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    if len(rows) == 0:
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = np.clip(mask[box] * strength, 0, 1)[..., None].astype(np.float32)
    out[box] += share * (np.asarray(colour, np.float32) - out[box])
