"""Step and view embeddings at values worked out by hand."""

import math

import pytest
import torch

from gen3dface.errors import ConfigError
from gen3dface.models.embeddings import timestep_sinusoid, view_embedding

ANGLES = (torch.tensor([[90.0, 0.0]]), torch.tensor([[30.0, -10.0]]), torch.tensor([0.0]), torch.tensor([10.0]))


def test_sinusoid_is_cosine_first() -> None:
    found = timestep_sinusoid(torch.tensor([0, 3]), 4)
    expected = [[1, 1, 0, 0], [math.cos(3), math.cos(0.03), math.sin(3), math.sin(0.03)]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_relative_view() -> None:
    found = view_embedding(*ANGLES)
    torch.testing.assert_close(found, torch.tensor([[[math.radians(20), 1, 0, 0], [math.radians(-20), 0, 1, 0]]]))


def test_sync_turns_the_elevation_and_frontal_drops_all_angles() -> None:
    sync, frontal = view_embedding(*ANGLES, "sync"), view_embedding(*ANGLES, "frontal")
    torch.testing.assert_close(sync[..., 0], -view_embedding(*ANGLES)[..., 0])
    torch.testing.assert_close(frontal, torch.tensor([0.0, 0, 1, 0]).expand(1, 2, 4))


def test_unknown_convention() -> None:
    with pytest.raises(ConfigError, match="view convention"):
        view_embedding(*ANGLES, "other")  # type: ignore[arg-type]
