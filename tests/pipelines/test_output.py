"""Views survive a round trip through a folder."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from gen3dface.cameras import rig
from gen3dface.errors import CameraError, OutputError
from gen3dface.pipelines import MultiViewOutput


def _views() -> MultiViewOutput:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=generator) / 255
    masks = torch.randint(0, 256, (3, 1, 8, 8), generator=generator) / 255
    return MultiViewOutput(images, masks, rig("head360", 8)[:3])


def test_save_and_load_are_inverse(tmp_path: Path) -> None:
    views = _views()
    views.save(tmp_path)
    again = MultiViewOutput.load(tmp_path)
    torch.testing.assert_close(again.images, views.images)
    torch.testing.assert_close(again.masks, views.masks)
    torch.testing.assert_close(again.cameras.world_to_camera, views.cameras.world_to_camera)


def test_transforms_name_the_pictures_in_the_order_of_the_cameras(tmp_path: Path) -> None:
    views = _views()
    views.save(tmp_path)
    frames = json.loads((tmp_path / "transforms.json").read_text())["frames"]
    for i, frame in enumerate(frames):
        with Image.open(tmp_path / frame["file_path"]) as image:
            assert image.getpixel((0, 0)) == tuple((views.images[i, :, 0, 0] * 255).round().int().tolist())
        centre = torch.tensor(frame["transform_matrix"])[:3, 3]
        torch.testing.assert_close(centre, views.cameras.centers[i])


def test_wrong_shapes_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="do not fit"):
        MultiViewOutput(torch.zeros(3, 3, 8, 8), torch.zeros(3, 1, 8, 8), rig("head360", 16)[:3])
    with pytest.raises(OutputError, match="holds no views"):
        MultiViewOutput.load(tmp_path)


def test_alpha_is_the_mask() -> None:
    views = _views()
    assert views.pil()[0].mode == "RGB"
    picture = views.pil(alpha=True)[1]
    assert picture.getpixel((2, 3))[3] == round(views.masks[1, 0, 3, 2].item() * 255)
