"""Garments: shells over neck, shoulders and chest, cut along a neckline, with collars that stand or fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.body import Array, Build, Faces, clipped, torso
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.heads import HeadModel
from gen3dface.heads.normals import vertex_normals

_AXIS_Z = -0.025  # metres: the neck's axis
_SLOPE = 0.056  # metres beside it, where necks have become shoulders
_CHANCES = {"crew": 0.3, "v": 0.12, "scoop": 0.12, "turtle": 0.08, "shirt": 0.17, "suit": 0.11, "hoodie": 0.1}


@dataclass(frozen=True)
class Outfit:
    """What is worn: the cut of the neckline and linear colours, inner garment first."""

    cut: str
    colours: tuple[NDArray[np.float32], ...]
    height: float  # metres above the base of the neck at which it ends
    stripes: float  # metres a period, 0: plain
    build: Build


def random_outfit(male: float, build: Build, generator: np.random.Generator) -> Outfit:
    chances = np.array(list(_CHANCES.values()))
    names = list(_CHANCES)
    chances[names.index("scoop")] *= 2 * (1 - male)
    chances[names.index("suit")] *= 0.4 + 1.2 * male
    cut = names[generator.choice(len(names), p=chances / chances.sum())]
    stripes = generator.uniform(0.012, 0.05) if generator.random() < 0.1 else 0.0
    colours = tuple(_colour(generator, pale=cut in ("suit",) and k == 0) for k in range(2))
    return Outfit(cut, colours, float(generator.uniform(-0.008, 0.012)), float(stripes), build)


def _colour(generator: np.random.Generator, pale: bool) -> NDArray[np.float32]:
    """[3] linear: greys, blacks and whites as often as colours."""
    kind = generator.random()
    if pale or kind < 0.2:
        colour = np.full(3, generator.uniform(0.55, 0.85)) * np.exp(generator.normal(0, 0.04, 3))
    elif kind < 0.5:
        colour = np.full(3, np.exp(generator.uniform(-4.2, -1.0))) * np.exp(generator.normal(0, 0.08, 3))
    else:
        colour = np.exp(generator.uniform(-3.2, -0.7)) * np.exp(generator.normal(0, 0.6, 3))
    return np.clip(colour, 0.008, 0.85).astype(np.float32)


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
        out.append(_surface(skirt, skirt_faces, tone, 0.03, 12))
    for layer, (height_over_line, offset) in enumerate(_layers(outfit, body, base)):
        shell = body + offset * normals
        cut, cut_faces = clipped(shell, body_faces, height_over_line)
        out.append(_cloth(cut, cut_faces, outfit, layer))
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
        "turtle": (np.array([[5, -30], [5, 0], [4, 25], [4, 42], [7, 46], [10, 42], [11, 20], [11, 0]]) / 1000, 0.0),
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
    return [_cloth(vertices, faces, outfit, 0)]


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
    weight = np.exp(-((apart / 0.22) ** 2) - ((height[:, None] - neck[:, 1]) / 0.012) ** 2) * (radius < 0.1)
    return np.asarray((weight @ radius) / np.maximum(weight.sum(1), 1e-9))


def _cloth(vertices: Array, faces: Faces, outfit: Outfit, layer: int) -> LitSurface:
    colour = np.broadcast_to(outfit.colours[layer], vertices.shape).copy()
    if outfit.stripes and layer == 0:
        band = (np.floor(vertices[:, 1] / outfit.stripes) % 2).astype(bool)
        colour[band] = outfit.colours[1]
    return _surface(vertices, faces, colour, 0.02, 8)


def _surface(
    vertices: Array, faces: Faces, colour: NDArray[np.float32], specular: float, shininess: float
) -> LitSurface:
    albedo = torch.from_numpy(np.broadcast_to(colour, vertices.shape).astype(np.float32))
    return LitSurface(
        torch.from_numpy(vertices).float(), torch.from_numpy(faces), albedo, specular=specular, shininess=shininess,
        two_sided=True,
    )  # fmt: skip
