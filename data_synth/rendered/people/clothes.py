"""Garments: shells over neck, shoulders and chest, cut along a neckline, with collars that stand or fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.body import Array, Build, Faces, clipped, torso
from gen3dface.data_synth.rendered.people.fabric import Fabric, random_fabric
from gen3dface.data_synth.rendered.people.surfaces import cloth_surface, plain_surface
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.heads import HeadModel
from gen3dface.heads.normals import vertex_normals

_AXIS_Z = -0.025  # metres: the neck's axis
_TIGHT = 0.008  # metres: of the skin at one azimuth, the nearer to the axis counts; chin and shoulders lie further out
_SLOPE = 0.062  # metres beside it, where necks have become shoulders
_CHANCES = {"crew": 0.3, "v": 0.12, "scoop": 0.12, "turtle": 0.08, "shirt": 0.17, "suit": 0.11, "hoodie": 0.1}


@dataclass(frozen=True)
class Outfit:
    """What is worn: the cut of the neckline and the fabrics, inner garment first."""

    cut: str  # one of _CHANCES
    fabrics: tuple[Fabric, ...]
    height: float  # metres above the base of the neck at which it ends
    build: Build


def random_outfit(male: float, build: Build, generator: np.random.Generator, cut: str | None = None) -> Outfit:
    """cut: drawn where None."""
    names, chances = list(_CHANCES), np.array(list(_CHANCES.values()))
    chances[names.index("scoop")] *= 2 * (1 - male)
    chances[names.index("suit")] *= 0.4 + 1.2 * male
    drawn = names[generator.choice(len(names), p=chances / chances.sum())]
    cut = cut or drawn
    first = random_fabric(generator, pale=cut == "suit", plain=cut in ("suit", "hoodie", "turtle"))
    fabrics = (first, random_fabric(generator, plain=True)) if cut == "suit" else (first,)
    return Outfit(cut, fabrics, float(generator.uniform(-0.01, 0.006)), build)


def dress(vertices: torch.Tensor, model: HeadModel, outfit: Outfit, tone: NDArray[np.float32]) -> list[LitSurface]:
    """Garments over a posed head [V, 3], and the skin of shoulders and chest that they leave open.

    tone: [3] linear, of that skin.
    """
    outer = model.regions["neck"] | model.regions["shoulders"] | model.regions["face"]
    faces = model.faces[outer[model.faces].all(1)].numpy()
    points = vertices.double().numpy()
    skirt, skirt_faces = torso(points, model.collar.numpy(), outfit.build)
    body = np.concatenate([points, skirt])
    body_faces = np.concatenate([faces, skirt_faces + len(points)])
    normals = _smooth_normals(body, body_faces, model.collar.numpy(), len(points))
    base = _neck_base(points, model)
    out = []
    if outfit.cut in ("scoop", "v"):
        out.append(plain_surface(skirt, skirt_faces, tone, 0.03, 12))
    for layer, (height_over_line, offset) in enumerate(_layers(outfit, body, base)):
        shell = body + offset * normals
        cut, cut_faces = clipped(shell, body_faces, height_over_line)
        out.append(cloth_surface(cut, cut_faces, outfit.fabrics[layer]))
    return out + _collars(outfit, points, model, base)


def _neck_base(points: Array, model: HeadModel) -> float:
    """Height of the slope from neck to shoulder."""
    shoulders = points[model.regions["shoulders"].numpy()]
    return float(shoulders[np.abs(shoulders[:, 0]) > _SLOPE, 1].max())


def _smooth_normals(body: Array, faces: Faces, collar: NDArray[np.int64], first: int) -> Array:
    """[B, 3] the bust's and the skirt's edges share their normals."""
    found = vertex_normals(torch.from_numpy(body), torch.from_numpy(faces)).numpy()
    edge = first + np.arange(len(collar))
    both = found[collar] + found[edge]
    found[collar] = found[edge] = both / np.linalg.norm(both, axis=1, keepdims=True)
    return np.asarray(found)


def _azimuth(points: Array) -> Array:
    """Radians from the front, 0 .. pi."""
    return np.abs(np.arctan2(points[:, 0], points[:, 2] - _AXIS_Z))


def _layers(outfit: Outfit, body: Array, base: float) -> list[tuple[Array, float]]:
    """For each garment from the inside: height above its neckline [B], and how far it stands off (metres)."""
    turn, y = _azimuth(body), body[:, 1]
    front = np.clip(1 - turn / 1.1, 0, 1)
    crew = base + outfit.height - 0.028 * np.clip(np.cos(turn), 0, 1) + 0.008 * np.clip(-np.cos(turn), 0, 1)
    lines = {
        "crew": [crew],
        "v": [crew - 0.09 * front],
        "scoop": [crew - 0.055 * np.sqrt(np.clip(np.cos(turn), 0, 1)) - 0.012],
        "turtle": [crew],
        "shirt": [crew - 0.03 * np.clip(1 - turn / 0.35, 0, 1)],
        "suit": [crew - 0.02 * np.clip(1 - turn / 0.35, 0, 1), crew - 0.008 - 0.17 * np.clip(1 - turn / 0.75, 0, 1)],
        "hoodie": [crew - 0.004],
    }[outfit.cut]
    return [(y - line, 0.004 + 0.006 * layer) for layer, line in enumerate(lines)]


def _collars(outfit: Outfit, points: Array, model: HeadModel, base: float) -> list[LitSurface]:
    """What stands around the neck."""
    line = base + outfit.height
    profiles: dict[str, tuple[Array, float]] = {  # outward and upward metres along the strip; how far open in front
        "turtle": (np.array([[5, -30], [5, 0], [4, 25], [4, 42], [7, 46], [10, 42], [11, 20], [9, -34]]) / 1000, 0.0),
        "shirt": (np.array([[5, -12], [4, 8], [5, 26], [9, 32], [14, 27], [19, 8], [24, -8]]) / 1000, 0.16),
        "suit": (np.array([[5, -12], [4, 8], [5, 26], [9, 32], [14, 27], [19, 8], [23, -6]]) / 1000, 0.14),
        "hoodie": (np.array([[6, -14], [10, 4], [20, 16], [36, 18], [48, 6], [52, -16], [44, -40]]) / 1000, 0.3),
        "crew": (np.array([[5, -6], [3, 2], [4, 5], [7, 4], [8, -6]]) / 1000, 0.0),
    }
    if outfit.cut not in profiles:
        return []
    profile, opening = profiles[outfit.cut]
    turn = np.linspace(opening, 2 * np.pi - opening, 97)
    vertices, faces = _strip(turn, profile, points, model, line)
    return [cloth_surface(vertices, faces, outfit.fabrics[0])]


def _strip(turn: Array, profile: Array, points: Array, model: HeadModel, line: float) -> tuple[Array, Faces]:
    """A band around the neck: profile [P, 2] outward and upward, at azimuths [C]."""
    front = np.clip(np.cos(turn), 0, 1)
    height = line - 0.028 * front + 0.008 * np.clip(-np.cos(turn), 0, 1)
    radius = _neck_radius(turn, height, points, model)
    rows = []
    for outward, upward in profile:
        r = np.maximum(radius, 0.045) + outward
        rows.append(np.column_stack([r * np.sin(turn), height + upward, _AXIS_Z + r * np.cos(turn)]))
    columns = len(turn)
    a = (np.arange(len(profile) - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + columns, a + 1], -1), np.stack([a + 1, a + columns, a + columns + 1], -1)])
    return np.concatenate(rows), faces


def _neck_radius(turn: Array, height: Array, points: Array, model: HeadModel) -> Array:
    """[C] distance of the neck's skin from its axis, near a height, smooth around."""
    chosen = (model.regions["neck"] | model.regions["shoulders"]).numpy()
    neck = points[chosen]
    angle = np.arctan2(neck[:, 0], neck[:, 2] - _AXIS_Z)
    radius = np.hypot(neck[:, 0], neck[:, 2] - _AXIS_Z)
    apart = np.abs((turn[:, None] - angle + np.pi) % (2 * np.pi) - np.pi)
    weight = np.exp(-((apart / 0.22) ** 2) - ((height[:, None] - neck[:, 1]) / 0.012) ** 2) * np.exp(-radius / _TIGHT)
    return np.asarray((weight @ radius) / np.maximum(weight.sum(1), 1e-9))
