"""Light that is known is taken off."""

import numpy as np
import pytest
import torch

from gen3dface.data_synth.rendered.people.delight import delight, fit_light, harmonics


def _sphere(count: int = 4000) -> torch.Tensor:
    """Unit normals toward the camera."""
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    normals[:, 2] = normals[:, 2].abs()
    return normals


def test_a_lit_sphere_of_one_colour_becomes_even() -> None:
    normals = _sphere()
    albedo = torch.tensor([0.5, 0.3, 0.2])
    light = (
        0.7 + 0.15 * normals[:, 0] + 0.1 * normals[:, 1] + 0.1 * normals[:, 2] + 0.05 * normals[:, 0] * normals[:, 1]
    )
    colour = albedo * light[:, None]
    even = delight(colour, normals, fit_light(colour.mean(1), normals), strength=1.0)
    assert (even / even.mean(0)).std(0).max() < 0.01
    assert torch.allclose(even.mean(0) / even.mean(), albedo / albedo.mean(), atol=1e-3)


def test_the_fit_gives_the_light_back_despite_marks() -> None:
    normals = _sphere()
    truth = torch.tensor([0.6, 0.1, 0.15, 0.05, 0.02, -0.03, 0.02, 0.0, 0.04], dtype=torch.float64)
    brightness = harmonics(normals.double()) @ truth
    brightness[::15] *= 0.3  # dark hair over one point in fifteen
    found = fit_light(brightness, normals)
    assert np.allclose(harmonics(normals.double()) @ found, harmonics(normals.double()) @ truth, atol=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_less_strength_takes_less_off(strength: float) -> None:
    normals = _sphere()
    light = 0.7 + 0.2 * normals[:, 0]
    colour = light[:, None].expand(-1, 3)
    even = delight(colour, normals, fit_light(light, normals), strength)
    left = (even[:, 0] / even[:, 0].median()).log().std() / (light / light.median()).log().std()
    assert left == pytest.approx(1 - strength, abs=0.05)
