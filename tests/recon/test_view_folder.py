"""Folders of views: what was saved comes back, and what cannot be trusted is refused."""

import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, Gen3DFaceError, OutputError, ReconstructionError
from gen3dface.recon.surface import SurfaceConfig, fit_surface
from gen3dface.recon.view_folder import has_masks, into_cube, load_views
from tests.recon.scenes import orbiting, pictures


def _write_nerf(folder: Path, cameras: Cameras, **changes: Any) -> dict[str, Any]:
    """Pictures with alpha and a transforms.json, as other tools write it; returns what it holds."""
    views = pictures(cameras)
    straight = (views.tensor() - 1 + views.masks) / views.masks.clamp(min=1e-6)
    rgba = torch.cat([straight * (views.masks > 0), views.masks], 1).clamp(0, 1).permute(0, 2, 3, 1)
    (folder / "images").mkdir()
    for number, picture in enumerate((rgba.numpy() * 255).round().astype(np.uint8)):
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
    data = cameras.to_nerf([f"images/{i}.png" for i in range(len(cameras))]) | changes
    (folder / "transforms.json").write_text(json.dumps(data))
    return data


def test_our_own_folder_comes_back(tmp_path: Path) -> None:
    views = pictures(orbiting(3, 32))
    views.save(tmp_path)
    found = load_views(tmp_path)
    assert (found.tensor() - views.tensor()).abs().max() <= 0.5 / 255 + 1e-6
    torch.testing.assert_close(found.cameras.world_to_camera, views.cameras.world_to_camera)


def test_a_nerf_scene_in_other_units_comes_back(tmp_path: Path) -> None:
    """Twenty times as large and moved: the cameras are ours again, and the colours lie over white."""
    cameras = orbiting(6, 32)
    data = _write_nerf(tmp_path, cameras)
    for frame in data["frames"]:
        pose = np.array(frame["transform_matrix"])
        pose[:3, 3] = 20 * pose[:3, 3] + [3, -1, 7]
        frame["transform_matrix"] = pose.tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    found = load_views(tmp_path)
    torch.testing.assert_close(found.cameras.world_to_camera, cameras.world_to_camera, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.cameras.intrinsics, cameras.intrinsics, atol=1e-3, rtol=0)
    true = pictures(cameras)
    assert (found.masks - true.masks).abs().max() < 0.003
    inner = ((true.masks == 0) | (true.masks == 1)).expand(-1, 3, -1, -1)  # edges are blended in linear light
    assert (found.tensor() - true.tensor())[inner].abs().max() < 0.003


def test_an_angle_of_view_and_reduced_pictures_will_do(tmp_path: Path) -> None:
    cameras = orbiting(4, 64)
    data = _write_nerf(tmp_path, cameras)
    frames = [{k: f[k] for k in ("file_path", "transform_matrix")} for f in data["frames"]]
    for frame in frames:
        frame["file_path"] = frame["file_path"].removesuffix(".png")  # as in the synthetic scenes
    written = {"camera_angle_x": data["camera_angle_x"], "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(written))
    found = load_views(tmp_path, 32)
    torch.testing.assert_close(found.cameras.intrinsics, cameras.resized(32, 32).intrinsics, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": []}, "1 to 256 frames"),
        ({"frames": [{"file_path": "../secret.png", "transform_matrix": []}]}, "points outside of"),
        ({"frames": [{"file_path": "images/9.png", "transform_matrix": []}]}, "is not in"),
        ({"frames": [{"file_path": "images/0.png", "transform_matrix": [[1, 0], [0, 1]]}]}, "expected 4 x 4"),
        ({"frames": [{"file_path": "images/0.png"}]}, "no usable camera"),
        ({"frames": [{"transform_matrix": []}]}, "has no name"),
        ({"k1": 0.4, "p1": 0.1, "camera_model": "OPENCV"}, "OPENCV with k1, p1 has distortion; undistort"),
        ({"camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE has distortion"),
        ({"is_fisheye": True}, "has distortion"),
        ({"frames": [{"file_path": "images/0\0.png"}]}, "can be named"),
        ({"frames": [{"file_path": "images/" + 5000 * "a"}]}, "can be named"),
        ({"frames": [{"file_path": "images/\ud800"}]}, "can be named"),
        ({"frames": [{"file_path": "images/0.png", "transform_matrix": [[10**400] * 4] * 4}]}, "no usable camera"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "secret.png").write_bytes(b"")
    _write_nerf(tmp_path / "scene", orbiting(3, 16), **change)
    with pytest.raises(Gen3DFaceError, match=message):
        load_views(tmp_path / "scene")


@pytest.mark.parametrize(("focal", "message"), [(10**400, "no usable"), (-48.0, "0 or below"), (0, "0 or below")])
def test_focal_lengths_that_are_none_are_refused(tmp_path: Path, focal: float, message: str) -> None:
    data = _write_nerf(tmp_path, orbiting(3, 16))
    for frame in data["frames"]:
        frame["fl_x"] = focal
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    with pytest.raises(CameraError, match=message):
        load_views(tmp_path)


def _large_png(side: int) -> bytes:
    """A PNG that says it is side x side pixels, and holds nearly nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("views/001.png", _large_png(30_000), "more than the limit"),
        ("views/001.png", _large_png(8), "8 x 8 px, not as its camera says"),
        ("masks/001.png", b"junk", "001.png"),
        ("cameras.json", b"[" * 100_000, "recursion"),
        ("cameras.json", b" " * (17 << 20), "too large"),
        ("cameras.json", b"\xff\xfe", "holds no views"),
    ],
)
def test_a_damaged_folder_of_our_own_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    pictures(orbiting(3, 16)).save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutputError, match=message):
        load_views(tmp_path)


def _write_colmap(folder: Path, cameras: Cameras, lens: str = "PINHOLE {w} {h} {fx} {fy} {cx} {cy}") -> None:
    """Opaque pictures with masks beside them, and COLMAP's text files, points and comments included."""
    views = pictures(cameras)
    views.save(folder / "saved")
    (folder / "saved" / "views").rename(folder / "images")
    (folder / "saved" / "masks").rename(folder / "masks")
    (folder / "sparse" / "0").mkdir(parents=True)
    k, size = cameras.intrinsics[0], cameras.height
    values = {"w": size, "h": size, "fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2]}
    numbers = lens.format(**{n: float(v) for n, v in values.items()})
    (folder / "sparse" / "0" / "cameras.txt").write_text(f"# Camera list\n7 {numbers}\n")
    lines = ["# Image list"]
    for number, pose in enumerate(cameras.world_to_camera.numpy()):
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        values = " ".join(str(v) for v in (w, x, y, z, *pose[:3, 3]))
        lines += [f"{number + 1} {values} 7 {number:03d}.png", "10.5 20.5 -1 11.5 21.5 4" if number % 2 else ""]
    (folder / "sparse" / "0" / "images.txt").write_text("\n".join(lines))


def test_a_colmap_scene_comes_back(tmp_path: Path) -> None:
    """Quaternions by SciPy; masks from their folder."""
    cameras = orbiting(5, 32)
    _write_colmap(tmp_path, cameras)
    found, true = load_views(tmp_path), pictures(cameras)
    torch.testing.assert_close(found.cameras.world_to_camera, cameras.world_to_camera, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.cameras.intrinsics, cameras.intrinsics, atol=1e-3, rtol=0)
    assert (found.masks - true.masks).abs().max() < 0.003
    inner = (true.masks == 1).expand(-1, 3, -1, -1)
    assert (found.tensor() - true.tensor())[inner].abs().max() < 0.003


@pytest.mark.parametrize("suffix", ["{name}.png", "{stem}.png"])
def test_masks_of_colmap_s_names_and_folders_belong_to_their_pictures(tmp_path: Path, suffix: str) -> None:
    """left/a b.png and right/a b.png: a space in the name, the same name in two folders."""
    cameras = orbiting(2, 32)
    _write_colmap(tmp_path, cameras)
    listed = tmp_path / "sparse" / "0" / "images.txt"
    for number, side in enumerate(("left", "right")):
        name = f"{side}/a b.png"
        for part, new in (("images", name), ("masks", suffix.format(name=name, stem=f"{side}/a b"))):
            (tmp_path / part / side).mkdir()
            (tmp_path / part / f"{number:03d}.png").rename(tmp_path / part / new)
        listed.write_text(listed.read_text().replace(f"{number:03d}.png", name))
    found, true = load_views(tmp_path), pictures(cameras)
    assert (true.masks[0] - true.masks[1]).abs().max() > 0.2
    assert (found.masks - true.masks).abs().max() < 0.003


def test_masks_that_are_missing_or_shared_are_named(tmp_path: Path) -> None:
    _write_colmap(tmp_path, orbiting(3, 16))
    (tmp_path / "masks" / "001.png").unlink()
    with pytest.raises(ReconstructionError, match=r"001\.png has neither alpha nor a mask"):
        load_views(tmp_path)
    listed = tmp_path / "sparse" / "0" / "images.txt"
    for number, name in ((1, "x/000.png"), (2, "y/000.png")):
        (tmp_path / "images" / name).parent.mkdir()
        (tmp_path / "images" / f"{number:03d}.png").rename(tmp_path / "images" / name)
        listed.write_text(listed.read_text().replace(f"{number:03d}.png", name))
    with pytest.raises(ReconstructionError, match="have one mask"):
        load_views(tmp_path)


def test_pictures_without_any_masks_are_refused_before_the_fit(tmp_path: Path) -> None:
    _write_colmap(tmp_path, orbiting(3, 16))
    shutil.rmtree(tmp_path / "masks")
    views = load_views(tmp_path)
    assert not has_masks(views) and has_masks(pictures(orbiting(3, 16)))
    with pytest.raises(ReconstructionError, match="neither alpha nor masks"):
        fit_surface(views, SurfaceConfig(), progress=False)


def test_a_line_of_colmap_s_that_is_none_is_refused(tmp_path: Path) -> None:
    _write_colmap(tmp_path, orbiting(3, 16))
    listed = tmp_path / "sparse" / "0" / "images.txt"
    listed.write_text(listed.read_text() + "\n4 1 0 0 0 0 0 2.png\n")
    with pytest.raises(ReconstructionError, match="a line that is none"):
        load_views(tmp_path)


def test_a_distorting_lens_is_refused(tmp_path: Path) -> None:
    _write_colmap(tmp_path, orbiting(3, 16), "SIMPLE_RADIAL {w} {h} {fx} {cx} {cy} 0.1")
    with pytest.raises(CameraError, match="undistort"):
        load_views(tmp_path)


def test_cameras_that_are_none_are_refused(tmp_path: Path) -> None:
    data = _write_nerf(tmp_path, orbiting(3, 16))
    data["frames"][1]["transform_matrix"][0][3] = float("nan")
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    with pytest.raises(CameraError, match="NaN"):
        load_views(tmp_path)
    (tmp_path / "transforms.json").write_text("[1, 2]")
    with pytest.raises(ReconstructionError, match="an object"):
        load_views(tmp_path)
    with pytest.raises(ReconstructionError, match="holds no views"):
        load_views(tmp_path / "images")


def test_cameras_that_look_away_or_alongside_are_refused() -> None:
    cameras = orbiting(4, 16)
    flipped = cameras.world_to_camera.clone()
    flipped[:, 1:3] *= -1  # OpenGL's axes taken for OpenCV's
    with pytest.raises(ReconstructionError, match="one place"):
        into_cube(Cameras(flipped, cameras.intrinsics, 16, 16))
    same = cameras[[0, 0, 0]]
    shifted = same.world_to_camera.clone()
    shifted[:, 0, 3] = torch.tensor([0.0, 0.5, 1.0])
    with pytest.raises(ReconstructionError, match="one direction"):
        into_cube(Cameras(shifted, same.intrinsics, 16, 16))
