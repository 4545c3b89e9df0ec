"""Views from a folder: this package's own, NeRF's or COLMAP's, brought into the head's cube."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ReconstructionError
from gen3dface.photo.decode import decode_image
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.distance_grid import SIDE

MOST_VIEWS = 256
_MOST_BYTES = 64 << 20  # of a text file
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")  # NeRF's synthetic scenes leave them out


def load_views(folder: str | Path, size: int = 512) -> MultiViewOutput:
    """Read a folder of views.

    `cameras.json` is this package's own (`MultiViewOutput.save`, the folders of `gen3dface head`); `transforms.json` is
    NeRF's; `cameras.txt` and `images.txt`, in the folder or its `sparse/0`, are COLMAP's. Pictures have alpha, or masks
    in `masks/`. Scenes from elsewhere have units and an origin of their own: the point that the cameras look at becomes
    the origin, and what a picture spans there becomes 0.4 m.

    Args:
        size: pixels of a view's longer side; larger pictures are reduced to it.

    Raises:
        ReconstructionError, CameraError, ImageDecodeError: something is missing, damaged, or outside of the folder.
    """
    from gen3dface.recon.colmap_scene import colmap_views, text_folder
    from gen3dface.recon.nerf_scene import nerf_views

    folder = Path(folder)
    if (folder / "cameras.json").is_file():
        return MultiViewOutput.load(folder)
    if (folder / "transforms.json").is_file():
        return nerf_views(folder, size)
    if text_folder(folder) is not None:
        return colmap_views(folder, size)
    raise ReconstructionError(
        f"'{folder}' holds no views: no cameras.json, no transforms.json (NeRF), no cameras.txt (COLMAP)."
    )


def joined(folder: Path, pictures: list[tuple[Tensor, Tensor]], cameras: list[Cameras]) -> MultiViewOutput:
    """One output of N pictures with masks and N cameras, in the head's cube."""
    if len({tuple(image.shape) for image, _ in pictures}) > 1:
        raise ReconstructionError(f"The pictures of {folder} differ in size; bring them to one.")
    images, masks = (torch.stack(parts) for parts in zip(*pictures, strict=True))
    poses, intrinsics = (torch.cat([getattr(c, n) for c in cameras]) for n in ("world_to_camera", "intrinsics"))
    together = Cameras(poses, intrinsics, *images.shape[-2:])
    together.check_finite()
    return MultiViewOutput(images, masks, into_cube(together))


def read_picture(folder: Path, name: object, size: int) -> tuple[Tensor, Tensor]:
    """A picture [3, H, W] in 0..1 over white and its mask [1, H, W], by the name that a file of the folder gives it.

    The mask is the picture's alpha, or `masks/NAME.png` beside it; else all of it counts as covered.
    """
    path = _inside(folder, name, _SUFFIXES)
    picture = decode_image(path, size)
    rgb = torch.from_numpy(picture.rgb.copy()).permute(2, 0, 1).float() / 255
    if picture.alpha is not None:
        return rgb, torch.from_numpy(picture.alpha.copy())[None]
    beside = folder / "masks" / f"{path.stem}.png"
    if not beside.is_file():
        return rgb, torch.ones_like(rgb[:1])
    mask = torch.from_numpy(decode_image(beside, size).rgb[..., 0].copy())[None].float() / 255
    if mask.shape[1:] != rgb.shape[1:]:
        raise ReconstructionError(f"{beside} has another size than its picture.")
    return rgb * mask + 1 - mask, mask


def _inside(folder: Path, name: object, suffixes: tuple[str, ...]) -> Path:
    """A file by its name within a folder; nothing outside of it is touched."""
    if not isinstance(name, str) or not name:
        raise ReconstructionError(f"A picture of {folder} has no name.")
    root = folder.resolve()
    for suffix in suffixes:
        path = (root / (name + suffix)).resolve()
        if not path.is_relative_to(root):
            raise ReconstructionError(f"A picture's name points outside of {folder}: {name!r}.")
        if path.is_file():
            return path
    raise ReconstructionError(f"The picture {name!r} is not in {folder}.")


def read_text(path: Path) -> str:
    """A text file of bounded size."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ReconstructionError(f"{path} is too large.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ReconstructionError(f"{path} cannot be read: {error}.") from error


def into_cube(cameras: Cameras) -> Cameras:
    """The same cameras in a frame whose origin they look at, where a picture spans the cube's side.

    Raises:
        ReconstructionError: they look at no common point.
    """
    centres, forward = cameras.centers.double(), cameras.rotations[:, 2].double()
    target = _nearest_point(centres, forward)
    distance = ((target - centres) * forward).sum(1)
    if not bool((distance > 0).all()):
        raise ReconstructionError("The cameras do not look at one place; is the file in OpenGL's axes, as NeRF's are?")
    span = distance * cameras.width / cameras.intrinsics[:, 0, 0].double()
    scale = SIDE / span.median()
    moved = cameras.world_to_camera.double().clone()
    moved[:, :3, 3] = scale * ((cameras.rotations.double() @ target) + cameras.world_to_camera[:, :3, 3].double())
    return Cameras(moved.float(), cameras.intrinsics, cameras.height, cameras.width)


def _nearest_point(centres: Tensor, forward: Tensor) -> Tensor:
    """[3] the point nearest to all the optical axes, in the least-squares sense."""
    forward = F.normalize(forward, dim=1)
    across = torch.eye(3, dtype=forward.dtype) - forward[:, :, None] * forward[:, None]
    try:
        found: Tensor = torch.linalg.solve(across.sum(0), (across @ centres[..., None]).sum(0)[:, 0])
    except torch.linalg.LinAlgError as error:
        raise ReconstructionError(
            "The cameras look in one direction: no common point tells where the head is."
        ) from error
    return found
