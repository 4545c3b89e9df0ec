"""A person: everything about them that no camera and no light changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.hair import HairGrower
from gen3dface.data_synth.rendered.lights import Light
from gen3dface.data_synth.rendered.people.accessories import (
    Accessories,
    random_accessories,
    without_lost_hair,
    worn,
)
from gen3dface.data_synth.rendered.people.body import random_build
from gen3dface.data_synth.rendered.people.clothes import Outfit, dress, random_outfit
from gen3dface.data_synth.rendered.people.complexion import choose_skins, paint_skin, skin_tone
from gen3dface.data_synth.rendered.people.expressions import (
    follow_lids,
    gaze_rotations,
    random_expression,
    random_gaze,
)
from gen3dface.data_synth.rendered.people.eyes import paint_eyes, random_iris, random_iris_angle
from gen3dface.data_synth.rendered.people.hairdo import Hairdo, random_hairdo
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.rendered.people.traits import Traits, random_identity, random_traits
from gen3dface.data_synth.rendered.scene import LitSurface, Scene
from gen3dface.data_synth.rendered.strands import Strands
from gen3dface.heads import HeadMesh, HeadModel, load_head_model
from gen3dface.heads.anatomy import inner_parts
from gen3dface.photo.parts import BODY_SKIN, CLOTHES, FACE_SKIN, OTHER

_GLOSS = {"skin": (0.035, 22.0), "eyes": (0.06, 180.0), "mouth": (0.03, 40.0)}  # specular, shininess
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
    hairdo: Hairdo
    outfit: Outfit
    accessories: Accessories
    licences: tuple[str, ...]

    def mesh(self, model: HeadModel) -> HeadMesh:
        """The posed head."""
        return model.mesh(self.identity, self.expression, self.rotations)


def random_person(
    skins: tuple[Skin, ...], model: HeadModel, toward: tuple[float, float], generator: np.random.Generator,
    styles: torch.Generator,
) -> Person:  # fmt: skip
    """toward: yaw to the subject's left and pitch down, degrees, of the camera that takes the photo.

    styles: on the CPU; draws hair.
    """
    traits = random_traits(generator)
    identity = random_identity(traits, generator)
    gaze = random_gaze(generator, toward)
    expression = random_expression(model.expression_names, generator)
    expression = follow_lids(expression, model.expression_names, *gaze)
    tone = skin_tone(traits.melanin, generator)
    chosen = choose_skins(skins, traits, generator)
    brows = chosen["eyes"].source.name.startswith("openpeople")
    hairdo = random_hairdo(traits, brows, generator, styles)
    texture = paint_skin(chosen, traits, tone, generator)
    iris_angle = random_iris_angle(model, identity, generator)
    paint_eyes(texture, random_iris(traits, generator), iris_angle, traits, tone, generator)
    return Person(
        traits,
        torch.from_numpy(identity).float(),
        torch.from_numpy(expression).float(),
        torch.from_numpy(gaze_rotations(model, *gaze)).float(),
        torch.from_numpy(texture).permute(2, 0, 1).contiguous(),
        tone,
        hairdo,
        random_outfit(traits.male, random_build(traits.male, traits.heavy, generator), generator),
        random_accessories(traits, hairdo.hair, generator),
        tuple(sorted({skin.source.licence for skin in chosen.values()})),
    )


@cache
def _face_sets(name: str) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Faces, texture faces and vertices of skin, eyes and inner parts of a head model, renumbered."""
    model = load_head_model(name)
    eyes = (model.regions["left_eye"] | model.regions["right_eye"])[model.faces].all(1)
    mouth = (inner_parts(model) & ~model.regions["eye_sockets"])[model.faces].all(1) & ~eyes
    sets = {}
    for part, chosen in {"skin": ~(eyes | mouth), "eyes": eyes, "mouth": mouth}.items():
        used, faces = torch.unique(model.faces[chosen], return_inverse=True)
        sets[part] = (faces, model.uv_faces[chosen], used)
    return sets


@cache
def hair_grower(name: str) -> HairGrower:
    """Of a head model, made once a process."""
    return HairGrower(load_head_model(name))


def scene_of(person: Person, model: HeadModel, light: Light, styles: torch.Generator) -> tuple[Scene, torch.Tensor]:
    """A person in some light, and what each face of all surfaces is [F]: codes of `photo.parts`."""
    mesh = person.mesh(model)
    grower = hair_grower(model.name)
    hairdo = person.hairdo
    grown = [
        without_lost_hair(grower.grow(hairdo.hair, mesh.vertices, styles), person.accessories, mesh),
        grower.grow_facial(hairdo.facial, hairdo.hair, mesh.vertices, styles),
    ]
    strands = [group for group in grown if group is not None]
    texture = grower.paint(person.texture, hairdo.hair, hairdo.facial, styles)
    head, labels = _head_surfaces(mesh, texture, model)
    clothes = dress(mesh.vertices, model, person.outfit, person.tone)
    labels += [torch.full((len(s.faces),), CLOTHES) for s in clothes]
    extras = worn(person.accessories, mesh, model)
    labels += [torch.full((len(s.faces),), OTHER) for s in extras]
    joined = Strands.joined(strands) if strands else None
    return Scene((*head, *clothes, *extras), light, joined), torch.cat(labels)


def _head_surfaces(
    mesh: HeadMesh, texture: torch.Tensor, model: HeadModel
) -> tuple[list[LitSurface], list[torch.Tensor]]:
    """Skin, eyes and mouth, to be lit, and their parts."""
    normals = mesh.normals()
    body = model.regions["neck"] | model.regions["shoulders"]
    out, labels = [], []
    for part, (faces, uv_faces, used) in _face_sets(model.name).items():
        light = mouth_openness(mesh, model)[used] if part == "mouth" else None
        wrap = _SKIN_WRAP if part == "skin" else (0.0, 0.0, 0.0)
        out.append(
            LitSurface(
                mesh.vertices[used], faces, texture, model.uvs, uv_faces, normals[used], *_GLOSS[part], wrap=wrap,
                occlusion=light,
            )
        )  # fmt: skip
        labels.append(torch.where(body[used][faces].all(1), BODY_SKIN, FACE_SKIN))
    return out, labels


def mouth_openness(mesh: HeadMesh, model: HeadModel) -> torch.Tensor:
    """[V] in 0..1: how much light comes into the mouth, less far behind the lips."""
    lips = mesh.vertices[model.regions["lips"], 2].quantile(0.7)
    return ((mesh.vertices[:, 2] - lips + 0.04) / 0.03).clamp(0.1, 1)
