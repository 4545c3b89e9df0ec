"""Hanging hair from masks that are drawn, so that its outline is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from gen3dface.estimators import HeadFit
from gen3dface.estimators.hanging_hair import HangingHair, hanging_hair
from gen3dface.photo import Portrait
from gen3dface.raster import rasterize, rasterize_uv
from tests.synthetic_head import SyntheticHead, synthetic_head


def _with_hair(head: SyntheticHead, sides: tuple[float, ...], outer: float = 0.11) -> Portrait:
    """The head's photo with hair from the ears down to the picture's edge, from the face to `outer` metres."""
    y, x = np.mgrid[: head.portrait.height, : head.portrait.width] + 0.5
    per_metre = (head.fit.camera.intrinsics[0, 0, 0] / head.fit.camera.centers[0].norm()).item()
    across, up = (x - head.portrait.width / 2) / per_metre, (head.portrait.height / 2 - y) / per_metre
    hair = np.zeros_like(x, bool)
    for side in sides:
        hair |= (across * side > 0.045) & (across * side < outer) & (up < 0.05)
    face = rasterize(
        head.surface.vertices,
        head.surface.faces[head.model.regions["face"][head.surface.faces].all(-1)],
        head.fit.camera,
    ).mask.numpy()
    parts = np.where(hair & ~face, 1, head.portrait.parts)
    return replace(head.portrait, parts=parts.astype(np.uint8), matte=np.maximum(head.portrait.matte, hair * 1.0))


def _made(sides: tuple[float, ...]) -> tuple[SyntheticHead, Portrait, HangingHair | None]:
    head = synthetic_head(0.0)
    portrait = _with_hair(head, sides)
    return head, portrait, hanging_hair(portrait, head.fit.mesh(head.model), head.fit.camera, head.model)


def test_no_hair_hangs_where_none_is_shown() -> None:
    assert _made(())[2] is None


def test_the_curtain_is_closed_and_turned_outward() -> None:
    _, _, hair = _made((-1.0, 1.0))
    assert hair is not None
    mesh = trimesh.Trimesh(hair.vertices.numpy(), hair.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 1e-4


def test_its_outline_is_the_masks() -> None:
    head, portrait, hair = _made((-1.0, 1.0))
    assert hair is not None
    drawn = rasterize(hair.vertices, hair.faces, head.fit.camera).mask.numpy()
    rows = np.arange(portrait.height)[:, None]
    below = (rows > portrait.height * 0.6) & (rows < portrait.height * 0.9)
    wanted = (portrait.parts == 1) & below
    assert (drawn & wanted).sum() > 0.9 * wanted.sum()
    background = (portrait.matte < 0.5) & below
    assert (drawn & background).sum() < 0.03 * wanted.sum()


def test_hair_on_both_sides_closes_behind_the_neck_and_stays_outside_of_it() -> None:
    head, _, hair = _made((-1.0, 1.0))
    assert hair is not None
    behind = (hair.vertices[:, 0].abs() < 0.02) & (hair.vertices[:, 1] < -0.08)
    assert behind.any()
    neck = head.surface.vertices[head.model.regions["neck"]]
    nape = neck[(neck[:, 0].abs() < 0.02) & (neck[:, 1] < -0.07), 2].min()
    assert hair.vertices[behind, 2].min() < nape
    one_side = _made((1.0,))[2]
    assert one_side is not None
    assert one_side.vertices[:, 0].min() > 0


def test_a_fit_keeps_its_hair_through_a_file_and_into_the_surface(tmp_path: Path) -> None:
    head, _, hair = _made((-1.0, 1.0))
    assert hair is not None
    fit = replace(head.fit, hair=hair)
    fit.save(tmp_path / "fit.safetensors")
    again = HeadFit.load(tmp_path / "fit.safetensors").hair
    assert again is not None
    assert torch.equal(again.vertices, hair.vertices)
    surface = fit.surface(head.model)
    assert len(surface.vertices) == len(head.model.template) + len(hair.vertices)
    assert surface.uvs.min() >= 0
    assert surface.uvs.max() <= 1
    # charts do not overlap: the hair lies below every texel of the head
    assert surface.uvs[len(head.surface.uvs) :, 1].max() < surface.uvs[: len(head.surface.uvs), 1].min()


def test_the_hairs_charts_do_not_overlap_and_no_triangle_spans_them() -> None:
    _, _, hair = _made((-1.0, 1.0))
    assert hair is not None
    corners = hair.uvs[hair.uv_faces]
    edges = torch.cat([corners[:, 0] - corners[:, 1], corners[:, 1] - corners[:, 2], corners[:, 2] - corners[:, 0]])
    assert edges.norm(dim=-1).max() < 0.08
    a, b = (corners[:, 1] - corners[:, 0]), (corners[:, 2] - corners[:, 0])
    area = 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum()
    covered = rasterize_uv(hair.uvs, hair.uv_faces, 1024).mask.float().mean()
    assert abs(area - covered) < 0.02 * covered
