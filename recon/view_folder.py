"""Views from a folder: this package's own, NeRF's or COLMAP's, brought into the head's cube."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError, ReconstructionError
from gen3dface.photo.decode import DecodedImage, decode_image
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.distance_grid import SIDE

MOST_VIEWS = 256
_MOST_BYTES = 64 << 20  # of a text file
_SAID = 100  # characters of a name that messages repeat
_MASKED = 0.98  # share of all pictures that masks cover at most
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


def has_masks(views: MultiViewOutput) -> bool:
    """Whether anything tells the head from what lies behind it: pictures without alpha or masks count as covered."""
    return float(views.masks.mean()) <= _MASKED


def joined(folder: Path, pictures: list[tuple[Tensor, Tensor]], cameras: list[Cameras]) -> MultiViewOutput:
    """One output of N pictures with masks and N cameras, in the head's cube."""
    if len({tuple(image.shape) for image, _ in pictures}) > 1:
        raise ReconstructionError(f"The pictures of {folder} differ in size; bring them to one.")
    images, masks = (torch.stack(parts) for parts in zip(*pictures, strict=True))
    poses, intrinsics = (torch.cat([getattr(c, n) for c in cameras]) for n in ("world_to_camera", "intrinsics"))
    together = Cameras(poses, intrinsics, *images.shape[-2:])
    together.check_finite()
    focal = intrinsics.diagonal(dim1=1, dim2=2)[:, :2].amin(1)
    if bool((focal <= 0).any()):
        raise CameraError(f"View {int(focal.argmin())} of {folder} has a focal length of 0 or below.")
    return MultiViewOutput(images, masks, into_cube(together))


def read_pictures(folder: Path, names: Sequence[object], size: int) -> list[tuple[Tensor, Tensor]]:
    """Pictures [3, H, W] in 0..1 over white and masks [1, H, W], by the names that a file of the folder gives them.

    A mask is the picture's alpha, or its file in `masks/`; where no picture has any, all of them count as covered.
    """
    paths = [_inside(folder, name) for name in names]
    pictures = [decode_image(path, size) for path in paths]
    files = [_mask_file(folder, path) if p.alpha is None else None for path, p in zip(paths, pictures, strict=True)]
    _check_masks(paths, [p.alpha is not None for p in pictures], files)
    return [_with_mask(picture, file) for picture, file in zip(pictures, files, strict=True)]


def read_picture(folder: Path, name: object, size: int) -> tuple[Tensor, Tensor]:
    """One of them alone."""
    return read_pictures(folder, [name], size)[0]


def _with_mask(picture: DecodedImage, file: Path | None) -> tuple[Tensor, Tensor]:
    """The picture and its mask, from its alpha or a file."""
    rgb = torch.from_numpy(picture.rgb.copy()).permute(2, 0, 1).float() / 255
    if picture.alpha is not None:
        return rgb, torch.from_numpy(picture.alpha.copy())[None]
    if file is None:
        return rgb, torch.ones_like(rgb[:1])
    mask = torch.from_numpy(decode_image(file, max(rgb.shape)).rgb[..., 0].copy())[None].float() / 255
    if mask.shape[1:] != rgb.shape[1:]:
        raise ReconstructionError(f"{file} has another size than its picture.")
    return rgb * mask + 1 - mask, mask


def _mask_file(folder: Path, picture: Path) -> Path | None:
    """`masks/` holds it under the picture's path, with .png for its suffix or after it (COLMAP's way).

    The path is the whole one, the one below its first folder (`images/`), or the bare name.
    """
    root = folder.resolve()
    path = picture.relative_to(root)
    places = [path, Path(*path.parts[1:]), Path(path.name)] if len(path.parts) > 1 else [path]
    for place in places:
        for name in (place.with_name(f"{place.name}.png"), place.with_suffix(".png")):
            found = (root / "masks" / name).resolve()
            if found.is_file() and found.is_relative_to(root) and found != picture:
                return found
    return None


def _check_masks(pictures: Sequence[Path], alphas: Sequence[bool], files: Sequence[Path | None]) -> None:
    """Raises `ReconstructionError`: two pictures share a mask, or one has none and others do."""
    owners: dict[Path, Path] = {}
    for picture, file in zip(pictures, files, strict=True):
        if file and owners.setdefault(file, picture) != picture:
            raise ReconstructionError(
                f"{owners[file]} and {picture} have one mask, {file}; sort masks into folders as the pictures are."
            )
    bare = [p for p, alpha, file in zip(pictures, alphas, files, strict=True) if not alpha and not file]
    if bare and len(bare) < len(pictures):
        raise ReconstructionError(f"{bare[0]} has neither alpha nor a mask in masks/, though others have.")


def _inside(folder: Path, name: object) -> Path:
    """A file by its name within a folder; nothing outside of it is touched."""
    if not isinstance(name, str) or not name:
        raise ReconstructionError(f"A picture of {folder} has no name.")
    root, said = folder.resolve(), repr(name[:_SAID])
    try:
        for suffix in _SUFFIXES:
            path = (root / (name + suffix)).resolve()
            if not path.is_relative_to(root):
                raise ReconstructionError(f"A picture's name points outside of {folder}: {said}.")
            if path.is_file():
                return path
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, half a surrogate pair, links in a circle
        raise ReconstructionError(f"No picture can be named {said} ({type(error).__name__}).") from error
    raise ReconstructionError(f"The picture {said} is not in {folder}.")


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
