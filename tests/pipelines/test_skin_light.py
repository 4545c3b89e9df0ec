"""Light that is known, found again on a head's skin."""

import pytest
import torch

from gen3dface.heads import load_head_model
from gen3dface.openness import Openness, openness
from gen3dface.pipelines.skin_light import light_on_skin, lit, unlit

ALBEDO = torch.tensor([0.6, 0.42, 0.33])


@pytest.fixture(scope="module")
def found() -> Openness:
    head = load_head_model()
    return openness(head.template, head.faces)


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    return load_head_model().regions["face"].float()


@pytest.mark.parametrize("light", [(0.5, 0.3, 0.0), (-0.3, 0.6, 0.0), (0.0, 0.8, 0.0)])
def test_the_light_comes_back_from_a_face_with_a_beard(
    light: tuple[float, float, float], found: Openness, face: torch.Tensor
) -> None:
    """A fifth of the skin, the lowest, is half as bright: much nearer to the truth than what is taken without skin."""
    given, usual = torch.tensor(light), light_on_skin(torch.zeros(len(face), 3), torch.zeros_like(face), found)
    colours = lit(ALBEDO.expand(len(face), 3), given, found)
    height = load_head_model().template[:, 1]
    colours[height < height[face > 0].quantile(0.2)] *= 0.5
    assert (light_on_skin(colours, face, found) - given).norm() < 0.45 * (usual - given).norm()


def test_without_skin_or_light_it_comes_from_above(found: Openness, face: torch.Tensor) -> None:
    for colours, trust in ((torch.rand(len(face), 3), torch.zeros_like(face)), (torch.zeros(len(face), 3), face)):
        light = light_on_skin(colours, trust, found)
        assert light[1] > 0 and light[0] == light[2] == 0


def test_an_open_sphere_is_lit_by_two_thirds_of_the_light() -> None:
    """Lambert's irradiance of 1 + g . w on a surface with normal n is 1 + 2 / 3 g . n, as a share of even light's."""
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    light = torch.tensor([0.3, 0.4, 0.1])
    sphere = Openness(torch.ones(50), normals * 2 / 3)
    colours = lit(ALBEDO.expand(50, 3), light, sphere)
    torch.testing.assert_close(colours, ALBEDO * (1 + normals @ light * 2 / 3)[:, None])
    torch.testing.assert_close(unlit(colours, light, sphere), ALBEDO.expand(50, 3))
