"""Camera conventions against closed forms, and round trips over random cameras."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen3dface.cameras import RIGS, Cameras, orbit, rig
from gen3dface.errors import CameraError

angles = st.floats(-180, 180, allow_nan=False)
heights = st.floats(-80, 80, allow_nan=False)
offsets = st.lists(st.floats(-0.2, 0.2, allow_nan=False), min_size=3, max_size=3)


def _one(azimuth: float, elevation: float, size: int = 200) -> Cameras:
    return orbit(torch.tensor([azimuth]), torch.tensor([elevation]), radius=1.5, focal=2.0, size=size)


def test_frontal_camera_sees_left_right_up_where_opencv_says() -> None:
    camera = _one(0.0, 0.0)
    points = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.5]])
    xy, depth = camera.project(points)
    # focal 2 * 200 px at 1.5 m: 0.1 m is 26.67 px; the subject's left is on the image's right, up is toward row 0
    expected = torch.tensor([[100.0, 100], [100 + 400 / 15, 100], [100, 100 - 400 / 15], [100, 100]])
    torch.testing.assert_close(xy[0], expected)
    torch.testing.assert_close(depth[0], torch.tensor([1.5, 1.5, 1.5, 1.0]))


def test_positive_azimuth_is_the_subjects_left_and_positive_elevation_is_above() -> None:
    torch.testing.assert_close(_one(90, 0).centers[0], torch.tensor([1.5, 0, 0]), atol=1e-6, rtol=0)
    half = 1.5 * math.sqrt(0.5)
    torch.testing.assert_close(_one(0, 45).centers[0], torch.tensor([0, half, half]), atol=1e-6, rtol=0)


@given(angles, heights)
def test_angles_round_trip(azimuth: float, elevation: float) -> None:
    camera = _one(azimuth, elevation)
    turn = (camera.azimuths.item() - azimuth + 180) % 360 - 180
    assert abs(turn) < 1e-2
    assert abs(camera.elevations.item() - elevation) < 1e-2


@given(angles, heights, offsets)
@settings(deadline=None)
def test_unproject_inverts_project(azimuth: float, elevation: float, point: list[float]) -> None:
    camera = _one(azimuth, elevation)
    points = torch.tensor([point])
    torch.testing.assert_close(camera.unproject(*camera.project(points))[0], points, atol=2e-6, rtol=0)


@given(angles, heights, offsets)
@settings(deadline=None)
def test_the_ray_of_a_pixel_meets_the_points_that_project_to_its_centre(
    azimuth: float, elevation: float, point: list[float]
) -> None:
    camera = _one(azimuth, elevation, size=8)
    origin, directions = camera.rays()
    walked = origin[0] + 1.3 * directions[0].reshape(-1, 3)
    xy, _ = camera.project(walked)
    centres = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy"), -1).reshape(-1, 2) + 0.5
    torch.testing.assert_close(xy[0], centres, atol=1e-4, rtol=0)


@given(angles, heights)
def test_rotations_are_rotations(azimuth: float, elevation: float) -> None:
    rotation = _one(azimuth, elevation).rotations[0].double()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1, abs=1e-6)


def test_resize_and_crop_move_projections_as_pixels_move() -> None:
    camera = _one(20, 10)
    points = torch.tensor([[0.05, -0.02, 0.1]])
    xy, _ = camera.project(points)
    resized, _ = camera.resized(400, 100).project(points)
    torch.testing.assert_close(resized, xy * torch.tensor([0.5, 2.0]))
    cropped, _ = camera.cropped(10, 30, 50, 60).project(points)
    torch.testing.assert_close(cropped, xy - torch.tensor([10.0, 30.0]))


def test_head360_goes_round_from_the_front_and_fits_the_volume() -> None:
    cameras = rig("head360", 256)
    turn = (cameras.azimuths - torch.arange(16) * 22.5 + 180) % 360 - 180
    assert turn.abs().max() < 1e-3
    assert cameras.elevations.abs().max() < 1e-3
    side = 0.2 * torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    xy, _ = cameras[0].project(side)
    assert xy.min() == pytest.approx(0, abs=1e-3)
    assert xy.max() == pytest.approx(256, abs=1e-3)


def test_peers_rigs_have_their_published_numbers() -> None:
    sync, face = rig("sync16", 256), rig("face16", 256)
    assert sync.intrinsics[0, 0, 0].item() == pytest.approx(280)
    # the peers' unit cube is 2.5 times our metres: 1.5 -> 0.6 m, 4.5 -> 1.8 m
    assert sync.centers.norm(dim=-1).tolist() == pytest.approx([0.6] * 16)
    assert sync.elevations.tolist() == pytest.approx([30] * 16, abs=1e-3)
    assert face.intrinsics[0, 0, 0].item() == pytest.approx(1545.24)
    assert face.centers.norm(dim=-1).tolist() == pytest.approx([1.8] * 16)
    assert face.azimuths[[0, -1]].tolist() == pytest.approx([-90, 90], abs=1e-3)
    assert {name: len(make(64)) for name, make in RIGS.items()} == {
        "head360": 16,
        "orbit48": 48,
        "face16": 16,
        "sync16": 16,
        "eval40": 40,
    }


def test_dict_round_trip_and_refusals() -> None:
    cameras = rig("head360", 64)
    again = Cameras.from_dict(cameras.to_dict())
    torch.testing.assert_close(again.world_to_camera, cameras.world_to_camera)
    torch.testing.assert_close(again.intrinsics, cameras.intrinsics)
    with pytest.raises(CameraError, match="rig named 'no'"):
        rig("no")
    with pytest.raises(CameraError, match="to_dict"):
        Cameras.from_dict({"height": 4})
    with pytest.raises(CameraError, match=r"\[N,4,4\]"):
        Cameras(torch.eye(3)[None], torch.eye(3)[None], 4, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 65_537),
        ("width", float("inf")),
        ("width", 0),
        ("intrinsics", [[[float("nan")] * 3] * 3] * 16),
        ("world_to_camera", [[[float("inf")] * 4] * 4] * 16),
        ("world_to_camera", [[[10**30] * 4] * 4] * 15),
        ("world_to_camera", 1.0),
    ],
)
def test_numbers_that_no_camera_has_are_refused(name: str, value: object) -> None:
    with pytest.raises(CameraError):
        Cameras.from_dict({**rig("head360", 64).to_dict(), name: value})


def test_nerf_transforms_look_down_minus_z() -> None:
    cameras = rig("head360", 64)[4]
    frame = cameras.to_nerf(["a.png"])["frames"][0]
    pose = torch.tensor(frame["transform_matrix"])
    torch.testing.assert_close(pose[:3, 3], cameras.centers[0])
    to_origin = torch.nn.functional.normalize(-cameras.centers[0], dim=0)
    torch.testing.assert_close(-pose[:3, 2], to_origin, atol=1e-6, rtol=0)
    torch.testing.assert_close(pose[:3, 1], torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
