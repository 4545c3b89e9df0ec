"""What the field is before and while it learns."""

import torch

from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.fit_field import snapshot
from gen3dface.recon.sdf_field import SDFField

BALL = DistanceGrid.of(lambda p: p.norm(dim=1) - 0.1, 33)
POINTS = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) * 0.3 - 0.15


def _field() -> SDFField:
    torch.manual_seed(0)
    return SDFField(BALL, views=3)


def test_it_starts_as_the_head_it_was_given() -> None:
    assert torch.equal(_field().distances(POINTS), BALL(POINTS))


def test_silent_levels_say_nothing() -> None:
    """What the finest levels hold changes nothing until they are counted."""
    field = _field()
    field.levels = 5
    before = field.measured(POINTS)[1]
    first = int(field.encoding.origin[5])
    with torch.no_grad():
        field.encoding.table[first:] += 1
    assert torch.equal(field.measured(POINTS)[1], before)
    field.levels = 6
    assert not torch.equal(field.measured(POINTS)[1], before)


def test_exposures_leave_the_common_colour_alone() -> None:
    """All views brighter by the same factor is no exposure but a brighter head."""
    field = _field()
    colours = torch.rand(3, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        field.gain += 0.7
        field.offset -= 0.2
    torch.testing.assert_close(field.exposed(colours, torch.arange(3)), colours)
    with torch.no_grad():
        field.gain[0] += 0.3
    factor = torch.tensor([0.2, -0.1, -0.1]).exp()
    torch.testing.assert_close(field.exposed(colours, torch.arange(3)), colours * factor[:, None])


def test_a_snapshot_is_the_field_near_the_surface_and_its_start_elsewhere() -> None:
    field = _field()
    with torch.no_grad():
        field.geometry[-1].bias[0] = 0.5  # 5 mm outside everywhere
    found = snapshot(field, BALL, 33, band=0.03)
    near = BALL.values.abs() < 0.03
    torch.testing.assert_close(found.values[near], BALL.values[near] + 0.005)
    assert torch.equal(found.values[~near], BALL.values[~near])
