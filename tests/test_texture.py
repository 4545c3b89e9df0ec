"""What pictures say of a surface, and filling where they say nothing."""

import torch

from gen3dface.cameras import Cameras, orbit
from gen3dface.raster import rasterize_uv
from gen3dface.render import Surface, sample_image
from gen3dface.texture import diffuse, edge_laplacian, fill_gutters, observe, texels_to_vertices


def _plane(z: float, half: float) -> tuple[torch.Tensor, torch.Tensor]:
    vertices = torch.tensor([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    return vertices, torch.tensor([[0, 1, 2], [0, 2, 3]])


def _scene() -> Surface:
    """A large plane at z = 0 with a small one 10 cm in front of its middle."""
    back, faces = _plane(0.0, 0.15)
    front, _ = _plane(0.1, 0.04)
    uvs = torch.zeros(8, 2)
    return Surface(torch.cat([back, front]), torch.cat([faces, faces + 4]), uvs, torch.cat([faces, faces + 4]))


def _camera(azimuth: float = 0.0) -> Cameras:
    return orbit(torch.tensor([azimuth]), torch.zeros(1), radius=1.5, focal=3.0, size=240)


def test_seen_points_take_the_pixels_they_project_to_and_hidden_ones_weigh_nothing() -> None:
    image = torch.rand(3, 240, 240, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[0.1, 0.1, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.1], [3.0, 0, 0]])
    normals = torch.tensor([[0.0, 0, 1]]).repeat(4, 1)
    seen = observe(image, torch.ones(240, 240), _camera(), _scene(), points, normals)
    xy, _ = _camera().project(points)
    torch.testing.assert_close(seen.colour, sample_image(image, xy[0]))
    # open, hidden by the small plane, on the small plane, outside the picture
    assert seen.weight.tolist() == [1, 0, 1, 0]


def test_grazing_and_averted_points_weigh_nothing_and_alpha_counts() -> None:
    points = torch.tensor([[0.1, 0.1, 0.0]]).repeat(3, 1)
    normals = torch.tensor([[0.0, 0, 1], [1, 0, 0.05], [0, 0, -1]])
    seen = observe(torch.ones(3, 240, 240), torch.full((240, 240), 0.25), _camera(), _scene(), points, normals)
    assert seen.weight.tolist() == [0.25, 0, 0]


def test_points_beside_an_outline_are_not_trusted() -> None:
    # on the large plane, 3 px beside the small one's outline as the camera sees it
    points = torch.tensor([[0.04 * 1.5 / 1.4 + 3 * 1.5 / 720, 0.0, 0.0]])
    seen = observe(torch.ones(3, 240, 240), torch.ones(240, 240), _camera(), _scene(), points, torch.eye(3)[2:])
    assert seen.weight.item() < 0.5


def test_diffusion_along_a_chain_is_linear() -> None:
    # a strip of triangles whose ends are known: the harmonic solution is a straight line
    n = 12
    faces = torch.tensor([[i, i + 1, i + 1] for i in range(n - 1)])
    values, sure = torch.zeros(n, 1), torch.zeros(n)
    values[-1], sure[0], sure[-1] = 1.0, 1e3, 1e3
    filled = diffuse(values, sure, edge_laplacian(faces, n), torch.zeros(1), pull=1e-12)
    torch.testing.assert_close(filled[:, 0], torch.linspace(0, 1, n), atol=1e-3, rtol=0)


def test_pull_brings_far_vertices_to_the_default() -> None:
    n = 200
    faces = torch.tensor([[i, i + 1, i + 1] for i in range(n - 1)])
    sure = torch.zeros(n)
    sure[0] = 1e3
    filled = diffuse(torch.ones(n, 1), sure, edge_laplacian(faces, n), torch.tensor([0.25]), pull=0.01)
    assert filled[0] > 0.99
    # decays as exp(-x sqrt(pull)): after 10 edges about 1/e
    assert abs((filled[10].item() - 0.25) / 0.75 - 0.368) < 0.02
    assert abs(filled[-1].item() - 0.25) < 1e-3


def test_texels_carry_a_linear_field_to_the_vertices() -> None:
    vertices, faces = _plane(0.0, 0.1)
    uvs = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    surface = Surface(vertices, faces, uvs, faces)
    texels = rasterize_uv(uvs, faces, 64)
    constant = torch.full((int(texels.mask.sum()), 2), 0.3)
    mean, weight = texels_to_vertices(constant, torch.full((len(constant),), 0.5), texels, surface)
    torch.testing.assert_close(mean, torch.full((4, 2), 0.3))
    torch.testing.assert_close(weight, torch.full((4,), 0.5))


def test_gutters_take_their_neighbours_colour() -> None:
    texture, known = torch.zeros(3, 9, 9), torch.zeros(9, 9, dtype=torch.bool)
    texture[:, 4, 4], known[4, 4] = torch.tensor([0.2, 0.4, 0.6]), True
    filled = fill_gutters(texture, known, steps=3)
    torch.testing.assert_close(filled, torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand(3, 9, 9))
