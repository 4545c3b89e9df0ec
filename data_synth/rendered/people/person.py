"""A person: everything about them that no camera and no light changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.body import random_build
from gen3dface.data_synth.rendered.people.clothes import Outfit, dress, random_outfit
from gen3dface.data_synth.rendered.people.complexion import choose_skins, paint_skin, skin_tone
from gen3dface.data_synth.rendered.people.expressions import (
    follow_lids,
    gaze_rotations,
    random_expression,
    random_gaze,
)
from gen3dface.data_synth.rendered.people.eyes import paint_eyes, random_iris
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.rendered.people.traits import Traits, random_identity, random_traits
from gen3dface.data_synth.rendered.scene import LitSurface
from gen3dface.heads import HeadMesh, HeadModel
from gen3dface.heads.anatomy import inner_parts

_SKIN_WRAP = (0.22, 0.1, 0.06)  # light bleeds furthest in red


@dataclass(frozen=True)
class Person:
    """Who is drawn, in the head model's frame."""

    traits: Traits
    identity: torch.Tensor  # [K]
    expression: torch.Tensor  # [E]
    rotations: torch.Tensor  # [J, 3]
    texture: torch.Tensor  # [3, S, S] linear albedo
    tone: NDArray[np.float32]  # [3] linear, of the cheeks
    hair_colour: NDArray[np.float32]  # [3] linear
    outfit: Outfit
    licences: tuple[str, ...]

    def mesh(self, model: HeadModel) -> HeadMesh:
        """The posed head."""
        return model.mesh(self.identity, self.expression, self.rotations)


def random_person(
    skins: tuple[Skin, ...], model: HeadModel, toward: tuple[float, float], generator: np.random.Generator
) -> Person:
    """toward: yaw to the subject's left and pitch down, degrees, of the camera that takes the photo."""
    traits = random_traits(generator)
    identity = random_identity(traits, generator)
    gaze = random_gaze(generator, toward)
    expression = random_expression(model.expression_names, generator)
    expression = follow_lids(expression, model.expression_names, *gaze)
    tone = skin_tone(traits.melanin, generator)
    hair = random_hair_colour(traits, generator)
    chosen = choose_skins(skins, traits, generator)
    texture = paint_skin(chosen, traits, tone, hair, generator)
    paint_eyes(texture, random_iris(traits, generator), traits, tone, generator)
    return Person(
        traits,
        torch.from_numpy(identity).float(),
        torch.from_numpy(expression).float(),
        torch.from_numpy(gaze_rotations(model, *gaze)).float(),
        torch.from_numpy(texture).permute(2, 0, 1).contiguous(),
        tone,
        hair,
        random_outfit(traits.male, random_build(traits.male, traits.heavy, generator), generator),
        tuple(sorted({skin.source.licence for skin in chosen.values()})),
    )


# linear albedo: black, dark brown, brown, light brown, blond, red
_HAIRS = np.array(
    [[0.012, 0.010, 0.009], [0.035, 0.022, 0.015], [0.085, 0.05, 0.03], [0.17, 0.11, 0.065], [0.42, 0.29, 0.16],
     [0.22, 0.075, 0.025]]
)  # fmt: skip
_GREY = np.array([0.45, 0.45, 0.45])


def random_hair_colour(traits: Traits, generator: np.random.Generator) -> NDArray[np.float32]:
    """[3] linear: dark for dark skin, grey with age, sometimes dyed."""
    pale = np.array([0.1, 0.24, 0.24, 0.2, 0.16, 0.06])
    dark = np.array([0.72, 0.23, 0.04, 0.005, 0.005, 0.0])
    share = np.clip(1.9 * traits.melanin + 0.9 * traits.asian, 0, 1)
    chances = share * dark + (1 - share) * pale
    colour = _HAIRS[generator.choice(len(_HAIRS), p=chances / chances.sum())]
    colour = colour * np.exp(generator.normal(0, 0.2) + generator.normal(0, 0.08, 3))
    grey = np.clip(generator.normal((traits.years - 50) / 28, 0.25), 0, 1)
    if traits.male < 0.5 and generator.random() < 0.55:  # dyed
        grey *= 0.15
    if generator.random() < 0.02:
        colour = np.exp(generator.normal(-2.5, 0.7, 3))
    return np.clip(colour + grey * (_GREY - colour), 0.005, 0.8).astype(np.float32)


@cache
def _face_sets(name: str) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Faces, texture faces and vertices of skin, eyes and inner parts of a head model, renumbered."""
    from gen3dface.heads import load_head_model

    model = load_head_model(name)
    eyes = (model.regions["left_eye"] | model.regions["right_eye"])[model.faces].all(1)
    mouth = (inner_parts(model) & ~model.regions["eye_sockets"])[model.faces].all(1) & ~eyes
    sets = {}
    for part, chosen in {"skin": ~(eyes | mouth), "eyes": eyes, "mouth": mouth}.items():
        used, faces = torch.unique(model.faces[chosen], return_inverse=True)
        sets[part] = (faces, model.uv_faces[chosen], used)
    return sets


def surfaces(person: Person, model: HeadModel) -> list[LitSurface]:
    """Skin, eyes, mouth and clothes, to be lit."""
    mesh = person.mesh(model)
    normals = mesh.normals()
    specular = {"skin": (0.035, 22.0), "eyes": (0.06, 180.0), "mouth": (0.03, 40.0)}
    out = []
    for part, (faces, uv_faces, used) in _face_sets(model.name).items():
        dark = mouth_openness(mesh, model)[used] if part == "mouth" else None
        out.append(
            LitSurface(
                mesh.vertices[used], faces, person.texture, model.uvs, uv_faces, normals[used], *specular[part],
                wrap=_SKIN_WRAP if part == "skin" else (0.0, 0.0, 0.0), occlusion=dark,
            )
        )  # fmt: skip
    return out + dress(mesh.vertices, model, person.outfit, person.tone)


def mouth_openness(mesh: HeadMesh, model: HeadModel) -> torch.Tensor:
    """[V] in 0..1: how dark it is inside the mouth, more behind the lips."""
    lips = mesh.vertices[model.regions["lips"], 2].quantile(0.7)
    return 1 - ((mesh.vertices[:, 2] - lips + 0.05) / 0.05).clamp(0.08, 1)
