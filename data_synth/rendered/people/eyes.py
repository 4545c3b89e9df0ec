"""Eyeballs and the inside of the mouth, painted into a person's texture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.skin_library import SIZE
from gen3dface.data_synth.rendered.people.traits import Traits
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.photo.colour import srgb_to_linear
from gen3dface.raster import rasterize_uv

_IRIS_RADIUS, _IRIS_SPREAD = 0.00585, 0.04  # metres and share; Ruefer et al. 2005: 11.7 +- 0.4 mm across
# sRGB of irises and how often eyes of pale people have them
_IRISES = {
    "brown": ((92, 58, 36), 0.3),
    "hazel": ((118, 92, 52), 0.17),
    "green": ((104, 122, 84), 0.13),
    "blue": ((104, 136, 164), 0.28),
    "grey": ((130, 142, 148), 0.12),
}
_DARK_BROWN = (58, 36, 26)


@dataclass(frozen=True)
class _Tiles:
    """Texels of the eyeballs and the mouth's inside."""

    eye: NDArray[np.bool_]  # [SIZE, SIZE]
    angle: NDArray[np.float32]  # [E] degrees from the axis
    turn: NDArray[np.float32]  # [E] radians around it
    inner: NDArray[np.bool_]  # [SIZE, SIZE] sockets, mouth, teeth, tongue
    inner_colour: NDArray[np.float32]  # [I, 3] linear


@cache
def _tiles() -> _Tiles:
    model = load_head_model()
    texels = rasterize_uv(model.uvs, model.uv_faces, SIZE)
    eye_vertices = model.regions["left_eye"] | model.regions["right_eye"]
    arms = model.template.clone()
    for name in ("left_eye", "right_eye"):
        arms[model.regions[name]] -= model.joints[model.joint_names.index(name)]
    face = texels.face.clamp(min=0)
    eye = (eye_vertices[model.faces].all(1)[face] & texels.mask).numpy()
    arm = texels.interpolate(arms, model.faces).numpy()[eye]
    inner_faces = inner_parts(model)[model.faces].all(1) & ~eye_vertices[model.faces].all(1)
    inner = (inner_faces[face] & texels.mask).numpy()
    colour = texels.interpolate(inner_colours(model), model.faces).numpy()[inner]
    return _Tiles(
        eye,
        np.degrees(np.arctan2(np.hypot(arm[:, 0], arm[:, 1]), arm[:, 2])).astype(np.float32),
        np.arctan2(arm[:, 1], arm[:, 0]).astype(np.float32),
        inner,
        srgb_to_linear(colour),
    )


def random_iris(traits: Traits, generator: np.random.Generator) -> NDArray[np.float32]:
    """[3] linear."""
    chance = np.array([c for _, c in _IRISES.values()])
    pale = max(1 - 2.5 * traits.melanin - 0.9 * traits.asian, 0.0)
    if generator.random() < pale:
        colour = list(_IRISES.values())[generator.choice(len(chance), p=chance / chance.sum())][0]
    else:
        colour = _DARK_BROWN if generator.random() < 0.7 else _IRISES["brown"][0]
    linear = srgb_to_linear(np.array(colour, np.float32) / 255)
    return np.asarray(linear * np.exp(generator.normal(0, 0.2) + generator.normal(0, 0.07, 3)), np.float32)


def random_iris_angle(model: HeadModel, identity: NDArray[np.float64], generator: np.random.Generator) -> float:
    """Degrees from an eye's axis to the rim of the iris.

    Irises are nearly of one size in all people, whatever the size of the head: what a photo tells of that.

    Args:
        identity: [K] coefficients of `model`, whose eyeballs grow and shrink with the head.
    """
    rest = (model.template, model.mesh(torch.from_numpy(identity).float()).vertices)
    eye = model.regions["left_eye"]
    plain, grown = ((v[eye] - v[eye].mean(0)).norm(dim=1).mean().item() for v in rest)
    centre = model.joints[model.joint_names.index("left_eye")]
    eyeball = (model.template[eye] - centre).norm(dim=1).median().item() * grown / plain
    radius = _IRIS_RADIUS * np.exp(generator.normal(0, _IRIS_SPREAD))
    return float(np.degrees(np.arcsin(min(radius / eyeball, 0.9))))


def paint_eyes(
    texture: NDArray[np.float32], iris: NDArray[np.float32], iris_angle: float, traits: Traits,
    tone: NDArray[np.float32], generator: np.random.Generator,
) -> None:  # fmt: skip
    """Eyes, sockets, teeth, tongue and gums into a linear texture [SIZE, SIZE, 3], in place."""
    tiles = _tiles()
    texture[tiles.eye] = _eyeball(tiles, iris, iris_angle, traits, generator)
    light = np.clip(tone.mean() / 0.36, 0.35, 1.1)
    teeth = tiles.inner_colour.mean(1) > 0.5
    inner = tiles.inner_colour * light
    whiteness = generator.uniform(0.72, 0.98) * np.array([1, 0.97 - 0.08 * traits.age, 0.9 - 0.22 * traits.age])
    inner[teeth] = 0.72 * whiteness
    texture[tiles.inner] = inner


def _eyeball(
    tiles: _Tiles, iris: NDArray[np.float32], iris_angle: float, traits: Traits, generator: np.random.Generator
) -> NDArray[np.float32]:
    """[E, 3]: sclera with a blush toward the corners, a rim around a streaked iris, a pupil."""
    angle, turn = tiles.angle[:, None], tiles.turn
    streaks = cv2.resize(generator.standard_normal((1, 40), np.float32), (400, 1), interpolation=cv2.INTER_CUBIC)[0]
    place = ((turn + np.pi) / (2 * np.pi) * 399).astype(int)
    white = np.array([0.72, 0.69, 0.66]) * generator.uniform(0.85, 1.05) * (1 - 0.1 * traits.age)
    blush = np.clip((angle - 32) / 40, 0, 1) * generator.uniform(0.1, 0.5)
    sclera = white * (1 - blush * np.array([0.2, 0.6, 0.6]))
    inside = angle / iris_angle
    lit = iris * (0.75 + 0.5 * np.clip(1 - inside, 0, 1)) * np.exp(0.22 * streaks[place])[:, None]
    rim = np.clip((inside - 0.8) / 0.2, 0, 1) * generator.uniform(0.4, 0.85)
    disc = lit * (1 - rim)
    pupil = generator.uniform(0.3, 0.5)
    disc = np.where(inside < pupil, 0.004, disc)
    share = np.clip((inside - 0.96) / 0.08, 0, 1)
    return np.asarray(disc * (1 - share) + sclera * share, np.float32)
