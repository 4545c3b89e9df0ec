"""Feature volume and frusta: what they depend on."""

import pytest
import torch

from gen3dface.errors import ConfigError
from gen3dface.models.conditioner import SceneGeometry, VolumeConditioner
from gen3dface.models.mesh_network import mesh_geometry, voxelize
from tests.models.small import VOLUMES, ellipsoid, ring, small_conditioner

N, FEATURE = 3, 8
MESH_AND_DENSE = {"dense_channels": (8, 16), "view_fusion": "mean"}


def prepared(model: VolumeConditioner, order: list[int] | None = None, **more: object) -> SceneGeometry:
    cameras = [c[:, order or slice(None)] for c in ring(N)]
    return model.geometry(*cameras, 32, FEATURE, ellipsoid(), **more)  # type: ignore[arg-type]


SAMPLE = torch.randn(1, N, 4, FEATURE, FEATURE, generator=torch.Generator().manual_seed(0))
VIEW = torch.randn(1, N, 4, generator=torch.Generator().manual_seed(1))
STEP = torch.tensor([300])


@pytest.mark.parametrize("settings", [{}, MESH_AND_DENSE])
@torch.no_grad()
def test_permuting_views_permutes_the_frusta(settings: dict[str, object]) -> None:
    model, order = small_conditioner(**settings), [2, 0, 1]
    base = model(SAMPLE, STEP, VIEW, prepared(model))
    moved = model(SAMPLE[:, order], STEP, VIEW[:, order], prepared(model, order))
    assert [tuple(v.shape) for v in base] == [(1, N, VOLUMES[0], 4, 8, 8), (1, N, VOLUMES[1], 2, 4, 4)]
    for a, b in zip(base, moved, strict=True):
        torch.testing.assert_close(b, a[:, order], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_concatenated_views_depend_on_their_order() -> None:
    model = small_conditioner(mesh_channels=None, dense_channels=(8, 16), num_views=N)
    base, moved = (model(SAMPLE[:, o], STEP, VIEW[:, o], prepared(model, o)) for o in ([0, 1, 2], [2, 0, 1]))
    assert (moved[0] - base[0][:, [2, 0, 1]]).abs().max() > 1e-3


@torch.no_grad()
def test_two_branches_are_added() -> None:
    both = small_conditioner(**MESH_AND_DENSE)
    geometry, time = prepared(both), both.time_embedding(STEP)
    volume = both.volume(SAMPLE, time, VIEW, geometry.volume)
    mesh, dense = both.volume.mesh, both.volume.dense
    assert mesh is not None and dense is not None and geometry.volume.mesh is not None
    each = both.volume.unproject(both.volume.encode(SAMPLE, time, VIEW), geometry.volume)
    expected = mesh(both.volume.at_vertices(each, geometry.volume), geometry.volume.mesh) + dense(each.mean(1), time)
    torch.testing.assert_close(volume, expected)


@torch.no_grad()
def test_the_mesh_volume_is_zero_away_from_the_head() -> None:
    model = small_conditioner(voxel_size=0.005)
    volume = model.volume(SAMPLE, model.time_embedding(STEP), VIEW, prepared(model).volume)
    assert volume[..., 0, :, :].abs().max() == 0 and volume[..., 4, 4, :].abs().max() > 0


@torch.no_grad()
def test_the_photo_enters_the_volume_and_its_frame_has_a_frustum() -> None:
    model = small_conditioner(photo_channels=5, **MESH_AND_DENSE)
    photo_camera = (ring(N)[0][:, :1], ring(N)[1][:, :1])
    with pytest.raises(ConfigError, match="photo_camera"):
        prepared(model)
    geometry = prepared(model, photo_camera=photo_camera, frustum_photo=True)
    view = torch.cat([VIEW, torch.zeros(1, 1, 4)], 1)
    found = [
        model(SAMPLE, STEP, view, geometry, photo_volume=model.volume.unproject_photo(features, geometry.volume))
        for features in (torch.zeros(1, 5, FEATURE, FEATURE), torch.randn(1, 5, FEATURE, FEATURE))
    ]
    assert found[0][0].shape[1] == N + 1
    assert (found[0][0] - found[1][0]).abs().max() > 1e-3


@torch.no_grad()
def test_vertex_features_enter_and_are_asked_for() -> None:
    model = small_conditioner(vertex_channels=2)
    geometry, features = prepared(model), torch.randn(1, 300, 2)
    base = model(SAMPLE, STEP, VIEW, geometry, features)
    assert (model(SAMPLE, STEP, VIEW, geometry, features + 1)[0] - base[0]).abs().max() > 1e-3
    with pytest.raises(ConfigError, match="vertex features"):
        model(SAMPLE, STEP, VIEW, geometry)


@torch.no_grad()
def test_heads_of_a_batch_do_not_mix() -> None:
    model, heads = small_conditioner(), torch.cat([ellipsoid(), ellipsoid(seed=5) * 0.8])
    both = model.geometry(*ring(N, 2), 32, FEATURE, heads)
    alone = model.geometry(*ring(N), 32, FEATURE, heads[:1])
    sample, view = SAMPLE.repeat(2, 1, 1, 1, 1), VIEW.repeat(2, 1, 1)
    together = model(sample, STEP.repeat(2), view, both)[0][:1]
    single = model(SAMPLE, STEP, VIEW, alone)[0]
    # the batch's grid is as large as its largest head, here the first
    torch.testing.assert_close(together, single, atol=1e-4, rtol=1e-4)


def test_voxels_of_known_points() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.304]]])
    coordinates, low, shape = voxelize(points, 0.01)
    assert coordinates[0].tolist() == [[0, 0, 0], [30, 20, 10], [30, 20, 10]]
    assert low.tolist() == [[0, 0, 0]]
    assert shape == (32, 24, 12)
    geometry = mesh_geometry(points, 0.01, 8, 0.4)
    assert geometry.owner.tolist() == [0, 1, 1] and len(geometry.stages[0].indices) == 2


def test_bad_heads_and_settings() -> None:
    model = small_conditioner()
    with pytest.raises(ConfigError, match="finite"):
        model.geometry(*ring(N), 32, FEATURE, ellipsoid() * torch.nan)
    with pytest.raises(ConfigError, match="metres"):
        model.geometry(*ring(N), 32, FEATURE, ellipsoid() * 1000)
    with pytest.raises(ConfigError, match="vertices"):
        model.geometry(*ring(N), 32, FEATURE)
    for settings in (
        {"mesh_channels": None},
        {"dense_channels": (16, 32)},
        {"view_fusion": "sum", "dense_channels": (8, 16)},
        {"photo_channels": 3},
    ):
        with pytest.raises(ConfigError):
            small_conditioner(**settings)
