"""The rasteriser against its plain twin and against closed forms."""

import pytest
import torch
import trimesh

from gen3dface.cameras import orbit, rig
from gen3dface.raster import rasterize, rasterize_reference, rasterize_uv


def _sphere(subdivisions: int) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.12)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces)


@pytest.mark.parametrize("view", [0, 3, 9])
def test_equals_the_plain_twin(view: int) -> None:
    generator = torch.Generator().manual_seed(view)
    vertices = (torch.rand(90, 3, generator=generator) - 0.5) * 0.3
    faces = torch.randint(0, 90, (150, 3), generator=generator)
    camera = rig("head360", 48)[view]
    fast, plain = rasterize(vertices, faces, camera), rasterize_reference(vertices, faces, camera)
    assert torch.equal(fast.face, plain.face)
    assert fast.mask.float().mean() > 0.2
    torch.testing.assert_close(fast.depth, plain.depth)
    torch.testing.assert_close(fast.barycentric, plain.barycentric)


def test_equals_the_plain_twin_on_a_closed_mesh() -> None:
    vertices, faces = _sphere(3)
    camera = rig("head360", 80)[1]
    fast, plain = rasterize(vertices, faces, camera), rasterize_reference(vertices, faces, camera)
    assert torch.equal(fast.face, plain.face)
    assert torch.equal(fast.depth, plain.depth)
    assert torch.equal(fast.barycentric, plain.barycentric)


def test_edges_through_centres_belong_and_the_lower_of_equal_triangles_wins() -> None:
    uvs = torch.tensor([[1.5, 1.5], [4.5, 1.5], [4.5, 5.5], [1.5, 5.5]]) / 8  # corners on the centres of texels
    square = torch.tensor([[0, 1, 2], [0, 2, 3]])
    line = torch.tensor([[0, 1, 1], [0, 0, 0]])  # no area
    seen = rasterize_uv(uvs, torch.cat([line, square, square]), 8)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:7, 1:5] = True  # v runs up
    assert torch.equal(seen.mask, expected)
    assert set(seen.face[expected].tolist()) == {2, 3}
    torch.testing.assert_close(seen.barycentric.sum(-1), expected.float())


def test_gathered_values_are_the_corners_weighted_and_scatter_lays_them_out() -> None:
    vertices, faces = _sphere(2)
    seen = rasterize(vertices, faces, rig("head360", 40)[0])
    expected = (vertices[faces[seen.face[seen.mask]]] * seen.barycentric[seen.mask][..., None]).sum(1)
    gathered = seen.gather(vertices, faces)
    torch.testing.assert_close(gathered, expected)
    image = seen.scatter(gathered, background=0.5)
    assert torch.equal(image[seen.mask], gathered)
    assert (image[~seen.mask] == 0.5).all()


def test_depth_of_a_sphere_is_the_closed_form() -> None:
    vertices, faces = _sphere(5)
    camera = rig("head360", 128)[2]
    seen = rasterize(vertices, faces, camera)
    origin, directions = camera.rays()
    towards = (directions[0] * origin[0]).sum(-1)
    root = towards**2 - origin[0].dot(origin[0]) + 0.12**2
    inner = root > 1e-3  # away from the rim, where a chord misses the sphere
    travelled = -towards - root.clamp(min=0).sqrt()
    depth = travelled * (directions[0] @ camera.rotations[0, 2])
    assert seen.mask[inner].all()
    assert (seen.depth[inner] - depth[inner]).abs().max() < 2e-4
    assert seen.mask.sum().item() == pytest.approx((root > 0).sum().item(), rel=0.01)


def test_weights_are_perspective_correct() -> None:
    # a tilted triangle: interpolated world positions must project back onto their pixels
    vertices = torch.tensor([[-0.15, -0.1, 0.2], [0.15, -0.1, -0.4], [0.0, 0.15, 0.0]])
    faces = torch.tensor([[0, 1, 2]])
    camera = orbit(torch.zeros(1), torch.zeros(1), radius=0.9, focal=2.0, size=64)
    seen = rasterize(vertices, faces, camera)
    points = seen.interpolate(vertices, faces)[seen.mask]
    xy, depth = camera.project(points)
    rows, columns = seen.mask.nonzero().T
    torch.testing.assert_close(xy[0], torch.stack([columns, rows], -1) + 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(depth[0], seen.depth[seen.mask])


def test_culling_keeps_the_picture_of_a_closed_mesh() -> None:
    vertices, faces = _sphere(3)
    camera = rig("head360", 64)[5]
    both, front = rasterize(vertices, faces, camera), rasterize(vertices, faces, camera, cull_back=True)
    assert torch.equal(both.face, front.face)
    turned = rasterize(vertices, faces.flip(-1), camera, cull_back=True)
    assert (turned.depth[turned.mask] > both.depth[turned.mask]).all()


def test_nothing_in_view_and_nothing_behind_the_camera() -> None:
    vertices, faces = _sphere(1)
    camera = rig("head360", 32)[0]
    for shift in ([5.0, 0, 0], [0, 0, 5.0]):
        seen = rasterize(vertices + torch.tensor(shift), faces, camera)
        assert not seen.mask.any()
        assert seen.depth.isinf().all()


def test_two_triangles_share_an_edge_without_gap() -> None:
    vertices = torch.tensor([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    seen = rasterize(vertices, faces, rig("head360", 64)[0]).mask
    rows, columns = seen.nonzero().T
    assert seen[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
