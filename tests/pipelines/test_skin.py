"""Skin that the photo does not show, on a real portrait whose ears hair leaves free."""

from dataclasses import replace

import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.heads import HeadModel
from gen3dface.openness import openness
from gen3dface.pipelines.appearance import PARTS, vertex_parts
from gen3dface.pipelines.preview import Preview, preview
from gen3dface.pipelines.skin import with_even_skin
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import Surface, box_max, show_values
from tests.pipelines.needs import example_subject

SIZE = 96


@pytest.fixture(scope="module")
def subject() -> Subject:
    return example_subject("obama", SIZE)


@pytest.fixture(scope="module")
def views() -> Cameras:
    return rig("head360", SIZE)[::2]


@pytest.fixture(scope="module")
def shown(subject: Subject, views: Cameras) -> Preview:
    return preview(subject, views)


def seen(subject: Subject, views: Cameras, chosen: torch.Tensor) -> torch.Tensor:
    """[N, 1, S, S] bool: pixels well inside some vertices [V] of the head."""
    values = torch.zeros(len(subject.surface.vertices), 1)
    values[: len(chosen), 0] = chosen.float()
    return show_values(subject.surface, values, views) > 0.99


def part(subject: Subject, name: str) -> torch.Tensor:
    parts = vertex_parts(subject.portrait, subject.fit.camera, subject.surface, subject.model)
    return parts[:, PARTS.index(name)] > 0.9


def test_skin_loses_its_marks_and_comes_into_the_photo_s_light(
    subject: Subject, views: Cameras, shown: Preview
) -> None:
    """Views that are evenly darker and noisy: cheeks and neck are smooth and bright again, hair and clothes stay."""
    noise = 0.1 * torch.randn(shown.colour.shape, generator=torch.Generator().manual_seed(0))
    given = torch.lerp(torch.ones(()), 0.8 * shown.colour + noise, shown.coverage).clamp(0, 1)
    made, _ = with_even_skin(given, shown.coverage, subject, views)
    regions = subject.model.regions
    skin = seen(subject, views, (regions["face"] | regions["neck"]) & part(subject, "skin")[: len(subject.vertices)])
    assert skin.sum() > 1000
    before, after = ((pictures - shown.colour).abs().mean(1, keepdim=True)[skin].mean() for pictures in (given, made))
    assert after < 0.5 * before
    for name in ("hair", "clothes"):
        kept = seen(subject, views, part(subject, name)).expand_as(given)
        assert kept.sum() > 300
        assert (made - given)[kept].abs().mean() < 0.01, name


def test_ears_are_shaded_by_their_folds(subject: Subject, views: Cameras, shown: Preview) -> None:
    """The projection's ears are flat; now where an ear is less open it is darker."""
    made, _ = with_even_skin(shown.colour, shown.coverage, subject, views)
    ears = seen(subject, views, subject.model.regions["ears"])[:, 0]
    values = torch.ones(len(subject.surface.vertices), 1)
    values[: len(subject.vertices), 0] = openness(subject.vertices, subject.model.faces).share
    open_ = show_values(subject.surface, values, views)[:, 0]
    assert ears.sum() > 200
    before, after = (
        torch.corrcoef(torch.stack([open_[ears], pictures.mean(1)[ears]]))[0, 1] for pictures in (shown.colour, made)
    )
    assert after > 0.6 > 0.2 > before, (before, after)


def test_hair_over_ears_stays(subject: Subject, views: Cameras, shown: Preview) -> None:
    hair = shown.colour.permute(1, 0, 2, 3)[:, seen(subject, views, part(subject, "hair"))[:, 0]].median(1).values
    ears = torch.zeros(len(subject.surface.vertices), 1)
    ears[: len(subject.vertices), 0] = subject.model.regions["ears"].float()
    ears = show_values(subject.surface, ears, views)
    given = torch.lerp(shown.colour, hair[:, None, None].expand_as(shown.colour), (ears > 0).float())
    made, _ = with_even_skin(given, shown.coverage, subject, views)
    covered = (ears > 0.99).expand_as(given)
    assert (made - given)[covered].abs().mean() < 0.005


def test_hair_that_hangs_beside_the_neck_is_no_skin() -> None:
    """The hanging hair comes after the head's vertices: its pixels stay as they are, the neck's beside it do not."""
    subject = example_subject("openpeople_03", SIZE)
    count, views = len(subject.vertices), rig("head360", SIZE)[[0, 3, 8, 13]]
    surface = subject.surface
    assert len(surface.vertices) - count > 1000
    hanging = torch.zeros(len(surface.vertices), 1)
    hanging[count:] = 1
    shown = preview(subject, views)
    hair = show_values(surface, hanging, views) > 0.99
    hair &= torch.stack([-box_max(-inside.float(), 1) for inside in hair[:, 0]])[:, None] > 0
    noise = 0.1 * torch.randn(shown.colour.shape, generator=torch.Generator().manual_seed(0))
    given = torch.lerp(torch.ones(()), shown.colour + noise, shown.coverage).clamp(0, 1)
    made, face = with_even_skin(given, shown.coverage, subject, views)
    assert hair.flatten(1).sum(1).min() > 100
    assert (made - given).abs()[hair.expand_as(given)].max() == 0 and face[hair].max() == 0
    assert (made - given).abs()[(face > 0.9).expand_as(given)].mean() > 0.03


def test_heads_of_more_vertices_than_texels_get_the_same_skin(subject: Subject, views: Cameras, shown: Preview) -> None:
    """The same head in four times as many triangles: many of its vertices touch no texel of what the views show."""
    given = torch.lerp(torch.ones(()), 0.8 * shown.colour, shown.coverage)
    model, surface = subject.model, subject.surface
    assert len(surface.vertices) == len(model.template)  # no hair after the head
    dense = replace(subject, model=_denser_model(model), surface=_denser_surface(surface))
    dense = replace(dense, vertices=dense.surface.vertices)
    skin = seen(subject, views, model.regions["face"] & part(subject, "skin"))
    once, again = (with_even_skin(given, shown.coverage, s, views)[1][skin] for s in (subject, dense))
    assert once.mean() > 0.85
    assert (again < once - 0.3).float().mean() < 0.05


def _denser(values: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Values [V, C] and triangles with a vertex in the middle of every edge; the same order for the same faces."""
    made, split = trimesh.remesh.subdivide(values.double().numpy(), faces.numpy())
    return torch.from_numpy(made).float(), torch.from_numpy(split)


def _denser_surface(surface: Surface) -> Surface:
    vertices, faces = _denser(surface.vertices, surface.faces)
    return Surface(vertices, faces, *_denser(surface.uvs, surface.uv_faces))


def _denser_model(model: HeadModel) -> HeadModel:
    """Rigid, with regions where both ends of an edge are in them."""
    count = len(model.template)
    names, masks = zip(*model.regions.items(), strict=True)
    columns = torch.cat([model.template, model.skinning_weights, torch.stack(masks, 1).float()], 1)
    made, faces = _denser(columns, model.faces)
    template, weights, inside = made.split([3, model.skinning_weights.shape[1], len(names)], 1)
    uvs, uv_faces = _denser(model.uvs, model.uv_faces)
    mirror = torch.from_numpy(cKDTree(template.numpy()).query(template.numpy() * [-1, 1, 1])[1])
    mirror[:count] = model.mirror
    return replace(
        model,
        template=template,
        faces=faces,
        identity_basis=torch.zeros(0, len(template), 3),
        joint_basis=torch.zeros(0, len(model.joints), 3),
        expression_basis=torch.zeros(0, len(template), 3),
        expression_names=(),
        expression_joint_basis=None,
        skinning_weights=weights,
        uvs=uvs,
        uv_faces=uv_faces,
        regions=dict(zip(names, (inside > 0.99).unbind(1), strict=True)),
        mirror=mirror,
    )
