"""The surface of a density that is known, in the head's metres."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trimesh
from torch import Tensor

from gen3dface.data_synth.panohead.mesh import LEVEL, head_mesh
from gen3dface.data_synth.panohead.rendering import RenderingConfig
from gen3dface.errors import EstimationError
from gen3dface.similarity import Similarity

QUARTER = Similarity(0.5, torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), torch.tensor([0.0, 0.1, 0.0]))


def _ball(radius: float) -> Any:
    """A generator whose density falls from the middle of a ball around (0.1, 0, 0)."""

    def points(planes: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        away = (at - at.new_tensor([0.1, 0, 0])).norm(dim=-1, keepdim=True)
        return at, LEVEL + 200 * (radius - away)

    return SimpleNamespace(config=SimpleNamespace(rendering=RenderingConfig(crop=0.4)), points=points)


def test_a_ball_comes_out_where_it_is() -> None:
    vertices, faces = head_mesh(_ball(0.25), torch.zeros(1, 1), QUARTER, 64)
    centre = torch.tensor([0.0, 0.1, -0.05])  # 0.5 m a unit, turned and shifted
    away = (vertices - centre).norm(dim=1)
    assert (away - 0.125).abs().max() < 0.001
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy())
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * math.pi * 0.125**3, rel=0.02)


def test_no_surface_is_an_error() -> None:
    with pytest.raises(EstimationError, match="no surface"):
        head_mesh(_ball(-1.0), torch.zeros(1, 1), QUARTER, 16)
