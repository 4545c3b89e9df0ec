"""Hair: rooted on the scalp, outside the skull, as the style says, the same for the same seed."""

import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.data_synth.rendered import Strands
from gen3dface.data_synth.rendered.hair import (
    BEARD_SHARES,
    CUT_SHARES,
    FacialStyle,
    HairGrower,
    HairStyle,
    sample_facial,
    sample_style,
)
from gen3dface.data_synth.rendered.hair.colour import strand_colour
from gen3dface.data_synth.rendered.hair.locks import resample
from gen3dface.errors import ConfigError
from gen3dface.heads import HeadModel, load_head_model

CUTS = [name for name in CUT_SHARES if name != "bald"]


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


@pytest.fixture(scope="module")
def grower(model: HeadModel) -> HairGrower:
    return HairGrower(model)


def _head(model: HeadModel, seed: int) -> Tensor:
    return model.mesh(model.sample(torch.Generator().manual_seed(seed), 0.8)).vertices


def _grow(grower: HairGrower, vertices: Tensor, cut: str, seed: int = 0) -> Strands:
    generator = torch.Generator().manual_seed(seed)
    grown = grower.grow(sample_style(generator, cut), vertices, generator)
    assert grown is not None
    return grown


def _surface(vertices: Tensor, faces: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Points [M, 3] about 2 mm apart on a mesh, and the normals of their triangles."""
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    points, triangles = trimesh.sample.sample_surface(mesh, 60_000, seed=0)
    return np.asarray(points), np.asarray(mesh.face_normals[triangles])


@pytest.mark.parametrize("cut", CUTS)
def test_strands_stay_outside_the_skull(model: HeadModel, grower: HairGrower, cut: str) -> None:
    vertices = _head(model, 5)
    strands = _grow(grower, vertices, cut)
    points = strands.points[::17].reshape(-1, 3)
    assert bool(points.isfinite().all())
    surface, normals = _surface(vertices, model.faces[model.regions["skull"][model.faces].all(1)])
    distance, index = cKDTree(surface).query(points.numpy())
    height = ((points.numpy() - surface[index]) * normals[index]).sum(1)
    # a strand's inner points may cut a corner of the coarse mesh, by less than the scalp is thick
    assert ((height < -0.004) & (distance < 0.03)).mean() < 0.01


@pytest.mark.parametrize("cut", ["short", "bob", "afro"])
def test_hair_is_rooted_on_the_skin_of_the_head_at_hand(model: HeadModel, grower: HairGrower, cut: str) -> None:
    vertices = _head(model, 6)
    roots = _grow(grower, vertices, cut).points[::37, 0]
    surface, normals = _surface(vertices, model.faces)
    distance, index = cKDTree(surface).query(roots.numpy())
    height = ((roots.numpy() - surface[index]) * normals[index]).sum(1)
    assert np.abs(height).max() < 4e-4
    assert distance.max() < 4e-3  # the samples' spacing
    ears = vertices[model.regions["ears"]]
    assert torch.cdist(roots, ears).amin() > 1e-3


def test_the_same_seed_grows_the_same_hair(model: HeadModel, grower: HairGrower) -> None:
    first, second = (_grow(grower, model.template, "curly", 4) for _ in range(2))
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.colour, second.colour)
    assert not torch.equal(first.points, _grow(grower, model.template, "curly", 5).points)


def test_a_level_cut_ends_at_its_height(model: HeadModel, grower: HairGrower) -> None:
    style = HairStyle("bob", comb="parted", length=0.3, level=-0.08, points=16, gravity=0.6, reach=0.06, frizz=0.0)
    strands = grower.grow(style, model.template, torch.Generator().manual_seed(0))
    assert strands is not None
    tips = strands.points[:, -1, 1]
    assert tips.quantile(0.01).item() > -0.095
    assert tips.median().item() == pytest.approx(-0.075, abs=0.012)


def test_longer_styles_are_longer_and_the_face_stays_free(model: HeadModel, grower: HairGrower) -> None:
    buzz, short, long = (_grow(grower, model.template, cut) for cut in ("buzz", "short", "long"))
    assert buzz.lengths.median() < 0.012 < short.lengths.median() < 0.08 < long.lengths.median()
    x, y, z = long.points.unbind(-1)
    assert not bool(((x.abs() < 0.04) & (y < 0.03) & (y > -0.08) & (z > 0.07)).any())


def test_nobody_bald_has_strands(model: HeadModel, grower: HairGrower) -> None:
    style = sample_style(torch.Generator().manual_seed(0), "bald")
    assert grower.grow(style, model.template, torch.Generator().manual_seed(0)) is None


@pytest.mark.parametrize("beard", [name for name in BEARD_SHARES if name != "none"])
def test_a_beard_moves_with_the_jaw_and_spares_the_lips(model: HeadModel, grower: HairGrower, beard: str) -> None:
    style, facial = HairStyle(), FacialStyle(beard, 0.005, thickness=0.0)
    expression = torch.zeros(len(model.expression_names))
    expression[model.expression_names.index("jawOpen")] = 1.0
    opened = model.mesh(expression=expression).vertices
    closed, moved = (
        grower.grow_facial(facial, style, v, torch.Generator().manual_seed(0)) for v in (model.template, opened)
    )
    assert closed is not None and moved is not None
    lips = model.template[model.regions["lips"]]
    middle = lips[(lips[:, 0].abs() < 0.02) & (lips[:, 1] > -0.076) & (lips[:, 1] < -0.062)]
    assert torch.cdist(closed.points[:, 0], middle).amin() > 0.002
    drop = (closed.points - moved.points)[:, 0, 1]
    if beard in ("goatee", "full", "long"):
        assert drop.max() > 0.01
    else:
        assert drop.min() > -0.005


def test_brows_lie_on_the_brows_region(model: HeadModel, grower: HairGrower) -> None:
    grown = grower.grow_facial(FacialStyle(), HairStyle(), model.template, torch.Generator().manual_seed(0))
    assert grown is not None
    brows = model.template[model.regions["brows"]]
    low, high = brows.amin(0) - 0.006, brows.amax(0) + 0.006
    roots = grown.points[:, 0]
    assert bool(((roots > low) & (roots < high)).all())
    assert (roots[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_paint_darkens_the_scalp_alone(model: HeadModel, grower: HairGrower) -> None:
    generator = torch.Generator().manual_seed(0)
    style, facial = HairStyle(colour=(0.0, 0.0, 0.0), cap=1.0), FacialStyle(thickness=0.0)
    painted = grower.paint(torch.ones(3, 256, 256), style, facial, generator)[0]
    uv = torch.zeros(len(model.template), 2)
    uv[model.faces.reshape(-1)] = model.uvs[model.uv_faces.reshape(-1)]
    texel = (torch.stack([1 - uv[:, 1], uv[:, 0]]) * 256).long().clamp(0, 255)
    seen = painted[texel[0], texel[1]]
    top = model.regions["scalp"] & (model.template[:, 1] > 0.09)
    assert seen[top].quantile(0.9) < 0.05  # vertices on a seam may fall beside their chart
    face = model.regions["face"] & (model.template[:, 1] < 0.05) & (model.template[:, 0].abs() < 0.05)
    assert seen[face].min() == 1


def test_samples_cover_every_cut_and_beard() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [(sample_style(generator), sample_facial(generator)) for _ in range(400)]
    assert {style.cut for style, _ in drawn} == set(CUT_SHARES)
    assert {facial.beard for _, facial in drawn} == set(BEARD_SHARES)
    with pytest.raises(ConfigError, match="mullet"):
        sample_style(generator, "mullet")
    with pytest.raises(ConfigError, match="mutton"):
        FacialStyle("mutton")


def test_grey_is_the_share_of_grey_strands() -> None:
    style = HairStyle(colour=(0.01, 0.01, 0.01), grey=0.5, root=1.0)
    colour = strand_colour(style, torch.arange(4000), 3, torch.Generator().manual_seed(0))
    assert (colour[:, 0, 0] > 0.1).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_resampling_keeps_to_the_polyline() -> None:
    angle = torch.linspace(0, math.pi, 200)
    arc = torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)[None]
    cut = resample(arc, torch.tensor([math.pi / 2]), 5)[0]
    expected = torch.linspace(0, math.pi / 2, 5)
    np.testing.assert_allclose(cut[:, 0], expected.cos(), atol=1e-3)
    np.testing.assert_allclose(cut[:, 1], expected.sin(), atol=1e-3)
