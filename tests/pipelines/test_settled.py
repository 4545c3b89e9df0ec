"""What the photo settles in made views, on a real portrait."""

import pytest
import torch

from gen3dface.cameras import Cameras, rig
from gen3dface.evaluation.consistency import adjacent_errors
from gen3dface.heads.skinning import rotation_matrices
from gen3dface.pipelines.appearance import padded
from gen3dface.pipelines.consensus import agreed
from gen3dface.pipelines.preview import preview
from gen3dface.pipelines.settled import settled, unveiled
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import box_max, show_values
from tests.pipelines.needs import example_subject

SIZE = 96


@pytest.fixture(scope="module")
def subject() -> Subject:
    return example_subject("astronaut", SIZE)


def nothing(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(count, 3, SIZE, SIZE), torch.zeros(count, 1, SIZE, SIZE)


def test_from_where_it_was_taken_the_photo_is_the_view(subject: Subject) -> None:
    """With the crop's own camera the photo comes back, hair beyond the mesh included, whatever the network said."""
    camera, crop = subject.crop.camera, subject.crop
    image, mask = settled(*nothing(1), subject, Cameras(camera.world_to_camera, camera.intrinsics, SIZE, SIZE))
    middle = slice(SIZE // 8, -SIZE // 8)
    apart = (image[0] - crop.image)[:, middle, middle].abs().mean()
    assert apart < 0.02
    assert (mask[0] - crop.alpha)[:, middle, middle].abs().mean() < 0.02
    mesh = preview(subject, camera).coverage[0] > 0
    assert (mask[0] * ~mesh).sum() > 10  # the outline of the head is the photo's, not the mesh's


@pytest.mark.parametrize(("turned", "own"), [(7.0, 1.0), (13.0, 0.0)])
def test_next_to_its_own_place_the_photo_is_all_or_nothing(subject: Subject, turned: float, own: float) -> None:
    """A veil of a network's beside the head is gone, or stays: half of the photo's outline in it would be a ghost."""
    camera = subject.crop.camera
    around = torch.eye(4)
    around[:3, :3] = rotation_matrices(torch.tensor([0, turned, 0]).deg2rad())
    view = Cameras(camera.world_to_camera @ around, camera.intrinsics, SIZE, SIZE)
    beside = slice(SIZE // 4, SIZE // 3)  # rows of the brow, where the photo shows a wall on either side
    away = (box_max(preview(subject, view).coverage[0, 0], SIZE // 10) == 0)[beside, SIZE // 8 : -SIZE // 8]
    assert away.sum() > 20
    _, masks = settled(torch.full((1, 3, SIZE, SIZE), 0.6), torch.full((1, 1, SIZE, SIZE), 0.4), subject, view)
    left = masks[0, 0, beside, SIZE // 8 : -SIZE // 8][away]
    torch.testing.assert_close(left, torch.full_like(left, 0.4 * (1 - own)), atol=0.01, rtol=0)


def test_a_quarter_turn_away_the_face_alone_is_the_photo_s(subject: Subject) -> None:
    views = rig("head360", SIZE)[[2, 8]]
    shown = preview(subject, views, texels=8)  # sharper than what a network is told
    images, masks = settled(*nothing(2), subject, views)
    taken = (masks > 0.99) & (shown.coverage > 0.999)
    assert 100 < taken[0].sum() < shown.coverage[0].sum() / 2 and taken[1].sum() == 0
    torch.testing.assert_close(images * taken, shown.colour * taken, atol=0.02, rtol=0)


def test_eyes_and_teeth_are_the_photo_s(subject: Subject) -> None:
    """An open smile seen from both sides: teeth that the photo shows are not drawn anew, nor are eyes."""
    views = rig("head360", SIZE)[[1, 15]]
    shown = preview(subject, views, texels=8)
    regions = subject.model.regions
    inside = padded(regions["teeth"] | regions["left_eye"] | regions["right_eye"], subject.surface)
    there = show_values(subject.surface, inside[:, None].float(), views) > 0.99
    there &= (shown.trust() > 0.4) & (shown.coverage > 0.999)
    images, _ = settled(*nothing(2), subject, views)
    assert there.sum() > 20
    apart = (images - shown.colour).abs() * there
    assert apart.sum() < 0.02 * 3 * there.sum()


def test_a_veil_is_no_coverage() -> None:
    """Three hundredths of black everywhere: white is left, and what is solid stays."""
    images, masks = torch.full((1, 3, 30, 30), 0.97), torch.full((1, 1, 30, 30), 0.03)
    images[..., :20, :20], masks[..., :20, :20] = 0.25, 1.0
    images, masks = unveiled(images, masks)
    assert (images[..., 20:, 20:] == 1).all() and (masks[..., 20:, 20:] == 0).all()
    torch.testing.assert_close(images[..., :20, :20], torch.full((1, 3, 20, 20), 0.25))


def test_views_that_agree_stay_and_others_come_nearer(subject: Subject) -> None:
    """The textured head seen from eight sides agrees with itself; with every other view darker it does not."""
    views = rig("head360", SIZE)[::2]
    shown = preview(subject, views)
    kept = agreed(shown.colour, shown.coverage, subject.surface, views)
    assert (kept - shown.colour).abs().mean() < 0.004
    darker = torch.tensor([1.0, 0.7] * 4)[:, None, None, None]
    given = shown.colour * darker * shown.coverage + 1 - shown.coverage
    made = agreed(given, shown.coverage, subject.surface, views)
    before, after = (
        adjacent_errors(pictures, shown.coverage, views, subject.surface).nanmean() for pictures in (given, made)
    )
    assert after < 0.85 * before


def test_what_few_views_vouch_for_is_not_darkened(subject: Subject) -> None:
    """Views of one grey stay that grey, also where their coverage wavers about what counts as solid."""
    views = rig("head360", SIZE)[::2]
    grey = torch.full((8, 3, SIZE, SIZE), 0.8)
    masks = 0.96 + 0.04 * torch.rand(8, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(agreed(grey, masks, subject.surface, views), grey, atol=0.003, rtol=0)


def test_in_profile_the_face_ends_where_the_head_ends(subject: Subject) -> None:
    """A veil over the whole picture goes before nose and eyes, and stays behind the head and above it."""
    views = rig("head360", SIZE)[[1, 4, 12]]
    shown = preview(subject, views, texels=8)
    coverage = torch.maximum(shown.coverage, torch.tensor(0.4))
    images, masks = settled(0.5 * coverage.expand(-1, 3, -1, -1) + 1 - coverage, coverage, subject, views)
    eyes = views.project(subject.vertices[subject.model.regions["left_eye"]].mean(0, keepdim=True))[0][:, 0]
    row = int(eyes[1, 1])
    inside = shown.coverage[:, 0, row] > 0
    first = inside.int().argmax(1)
    last = SIZE - 1 - inside.flip(1).int().argmax(1)
    before = [(1, slice(0, int(first[1]) + 1)), (2, slice(int(last[2]), None))]
    behind = [(1, slice(int(last[1]) + 4, None)), (2, slice(0, int(first[2]) - 3))]
    for view, columns in before:
        outline = shown.colour[view, :, row, columns], shown.coverage[view, 0, row, columns]
        assert (outline[1] == 0).any() and (outline[1] > 0).any()
        torch.testing.assert_close((images[view, :, row, columns], masks[view, 0, row, columns]), outline)
    for view, columns in behind:
        assert (masks[view, 0, row, columns] == 0.4).all()
    off = shown.coverage == 0
    assert (masks[off & (torch.arange(SIZE) < 4)[:, None]] == 0.4).all()
    assert (masks[0][off[0]] == 0.4).all(), "before profiles hair may hang beside the cheeks"


def test_beside_bare_skin_there_is_air_and_things_stay(subject: Subject) -> None:
    """A fringe of half coverage around the head goes beside bare skin, and stays elsewhere and around solid things."""
    views = rig("head360", SIZE)[[3, 12]]
    shown = preview(subject, views, texels=8)
    solid = shown.coverage[:, 0] > 0.999
    fringe = torch.stack([box_max(head.float(), 2) for head in solid])[:, None] / 2
    masks = torch.maximum(fringe, shown.coverage)
    bare = torch.zeros(2, 1, SIZE, SIZE)
    bare[0, :, : SIZE // 3] = 1  # of the first view the top of the head
    made = settled(shown.colour, masks, subject, views, bare)[1]
    beside = (fringe == 0.5) & (shown.coverage == 0) & (torch.arange(SIZE) < SIZE // 3 - 3)[:, None]
    assert beside[0].sum() > 50 and (made[0][beside[0]] == 0).all()
    assert (made[1][beside[1]] == 0.5).all()
    row = int(solid[0].any(1).int().argmax())
    column = int(solid[0, row].int().argmax())
    masks[0, :, row - 8 : row - 4, column - 3 : column + 4] = 1
    made = settled(shown.colour, masks, subject, views, bare)[1]
    assert beside[0, 0, row - 1, column] and made[0, 0, row - 1, column] == 0.5
