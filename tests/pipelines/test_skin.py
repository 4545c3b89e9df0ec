"""Skin that the photo does not show, on a real portrait whose ears hair leaves free."""

import pytest
import torch

from gen3dface.cameras import Cameras, rig
from gen3dface.openness import openness
from gen3dface.pipelines.appearance import PARTS, vertex_parts
from gen3dface.pipelines.preview import Preview, preview
from gen3dface.pipelines.skin import with_even_skin
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import show_values
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
    made, _ = with_even_skin(shown.colour.clone(), shown.coverage, subject, views)
    ears = seen(subject, views, subject.model.regions["ears"])[:, 0]
    values = torch.ones(len(subject.surface.vertices), 1)
    values[: len(subject.vertices), 0] = openness(subject.vertices, subject.model.faces)
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
    made, _ = with_even_skin(given.clone(), shown.coverage, subject, views)
    covered = (ears > 0.99).expand_as(given)
    assert (made - given)[covered].abs().mean() < 0.005
