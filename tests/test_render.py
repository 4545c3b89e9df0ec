"""Rendering and image look-ups against closed forms and scipy."""

import numpy as np
import pytest
import scipy.ndimage
import torch
import trimesh

from gen3dface.cameras import orbit, rig
from gen3dface.render import Surface, box_max, box_mean, render, sample_image, sample_texture, vertex_normals


def _quad(side: float) -> Surface:
    h = side / 2
    vertices = torch.tensor([[-h, -h, 0], [h, -h, 0], [h, h, 0], [-h, h, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Surface(vertices, faces, torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]), faces)


def test_a_facing_quad_shows_its_texture_pixel_by_pixel() -> None:
    # head360 sees 0.4 m in 16 px: a quad of 0.2 m covers 8 x 8 px, one texel each
    texture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    images, masks = render(_quad(0.2), texture, rig("head360", 16)[0], supersample=1)
    torch.testing.assert_close(images[0, :, 4:12, 4:12], texture, atol=1e-4, rtol=0)
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[4:12, 4:12] = False
    assert (images[0][:, outside] == 1).all()
    assert torch.equal(masks[0, 0] == 0, outside)


def test_edges_are_blended_over_white_by_coverage() -> None:
    # 0.1875 m is 7.5 px: a border of 3.75 px means three quarters of a pixel is covered
    images, masks = render(_quad(0.1875), torch.zeros(3, 4, 4), rig("head360", 16)[0], supersample=4)
    assert masks[0, 0, 8, 4].item() == 0.75
    torch.testing.assert_close(images[0, 0], 1 - masks[0, 0])


def test_the_texture_is_looked_up_where_the_mesh_is_seen_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []

    def counting(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        looked_up.append(uv.numel() // 2)
        return sample_texture(texture, uv)

    monkeypatch.setattr("gen3dface.render.sample_texture", counting)
    render(_quad(0.2), torch.zeros(3, 4, 4), rig("head360", 16)[0], supersample=1)
    assert looked_up == [64]


def test_the_back_is_not_drawn() -> None:
    _, masks = render(_quad(0.2), torch.zeros(3, 4, 4), rig("head360", 16)[8])
    assert masks.sum() == 0


def test_normals_of_a_sphere_point_outward() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3)
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)
    normals = vertex_normals(vertices, torch.tensor(mesh.faces))
    assert ((normals * vertices).sum(-1) > 0.999).all()


def test_look_ups_hit_pixel_centres_and_v_points_up() -> None:
    image = torch.arange(12.0).reshape(1, 3, 4)
    assert sample_image(image, torch.tensor([[2.5, 1.5], [2.0, 1.5], [0.5, 2.5]]))[:, 0].tolist() == [6, 5.5, 8]
    texture = torch.tensor([[[1.0, 1], [0, 0]]])
    assert sample_texture(texture, torch.tensor([[0.5, 0.9], [0.5, 0.1]]))[:, 0].tolist() == [1, 0]


def test_box_filters_equal_scipys() -> None:
    values = np.random.default_rng(0).random((20, 31)).astype(np.float32)
    largest = scipy.ndimage.maximum_filter(values, 7, mode="nearest")
    np.testing.assert_array_equal(box_max(torch.from_numpy(values), 3).numpy(), largest)
    mean = scipy.ndimage.uniform_filter(values, 7)[3:-3, 3:-3]
    np.testing.assert_allclose(box_mean(torch.from_numpy(values), 3).numpy()[3:-3, 3:-3], mean, atol=1e-6)


def test_supersampling_keeps_the_mean() -> None:
    camera = orbit(torch.tensor([30.0]), torch.tensor([10.0]), radius=1.0, focal=2.0, size=32)
    texture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    coarse = render(_quad(0.3), texture, camera, supersample=2)[0].mean()
    fine = render(_quad(0.3), texture, camera, supersample=8)[0].mean()
    assert abs(coarse - fine) < 3e-3
