"""Views to a textured surface of free topology: whatever the views show, hair, hats and collars included."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, replace
from typing import Literal

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.errors import AssetError, ReconstructionError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.agreement import Agreement, check_agreement
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import extract_mesh
from gen3dface.recon.fit_field import FieldConfig, fit_field, snapshot
from gen3dface.recon.found_face import find_face, with_face
from gen3dface.recon.posed_model import PosedModel
from gen3dface.recon.registration import registered
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.surface_texture import textured
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import box_max

logger = logging.getLogger(__name__)

_LEAST_VIEWS = 3
_RIM = 0.02  # of a picture's width that outlines which count nothing are off
_EXPLAINED = 0.5  # share of the colours' variance that a surface of matching views explains, at least


@dataclass(frozen=True)
class SurfaceConfig:
    """What is made of the field.

    Args:
        field: how it is fitted. resolution: corners a side of the grid that the mesh is taken from.
        faces: triangles. texture_size: texels a side.
        topology: "free": one closed mesh of whatever the views show. "registered": the head model's own mesh laid onto
            it, with expressions, eyes and skeleton; `resolution` is then that of the distances, `faces` says nothing.
    """

    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    resolution: int = 192
    faces: int = 30_000
    texture_size: int = 1024
    topology: Literal["free", "registered"] = "free"


@dataclass(frozen=True)
class FittedSurface:
    """What the views say of their surface."""

    field: SDFField
    start: DistanceGrid  # the distances that tell where the field is worth asking, on its device
    head: PosedModel | None  # the head model where the views show it; None: no face was found
    seen: MultiViewOutput  # the views that fit together, which colour the surface


def reconstruct_surface(
    views: MultiViewOutput,
    config: SurfaceConfig = SurfaceConfig(),
    *,
    model: HeadModel | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> TexturedHead:
    """A textured mesh of what the views show.

    Args:
        views: at least three, with masks. Where they know their head, the surface starts from it, else from what the
            masks carve, with the head model's face and ears where the pictures show a face. model: that `views.head`
            belongs to, or that is fitted (default: OpenHead).
        device: where the field is fitted and the texture baked (default: the CPU). The same seed gives the same bytes
            on the CPU alone.

    Raises:
        ReconstructionError: too few views, empty masks, numbers that are none, or views that do not fit together.
    """
    model = model or load_head_model()
    fitted = fit_surface(views, config, model=model, progress=progress, device=device)
    distances = snapshot(fitted.field, fitted.start, config.resolution)
    if config.topology == "free":
        return textured(extract_mesh(distances, config.faces), fitted.field, fitted.seen, config.texture_size)
    assert fitted.head is not None  # else `fit_surface` had raised
    return registered(fitted.head, distances, fitted.field, fitted.seen, model, config.texture_size)


def fit_surface(
    views: MultiViewOutput,
    config: SurfaceConfig,
    *,
    model: HeadModel | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> FittedSurface:
    """The field that the views ask for. Raises as `reconstruct_surface`."""
    device = torch.device(device or "cpu")
    views = _on_device(views, device)
    images = views.tensor().float()
    _check(images, views)
    agreement = check_agreement(views.masks, views.cameras)
    trusted, steps = agreement.trusted, replace(config.field, mask=agreement.outline_weight * config.field.mask)
    for view in (~trusted).nonzero()[:, 0].tolist():
        logger.warning("view %d does not fit the others and is left out", view)
    start, head = _start(views, trusted, model or load_head_model())
    if head is None and config.topology == "registered":
        raise ReconstructionError(
            "The views show no face, so the head model's topology has no place in them: ask for topology 'free'."
        )
    images = _without_rims(images, views.masks, agreement)
    fitted = fit_field(images, views.masks, views.cameras, start, steps, trusted.float(), progress, device)
    if fitted.explained < _EXPLAINED:
        raise ReconstructionError(
            f"No surface explains the views: their colours agree by {max(fitted.explained, 0):.0%} only. Are they "
            "paired with each other's cameras, mirrored, or the cameras in another convention?"
        )
    kept = trusted.nonzero()[:, 0]
    seen = replace(views, images=images[kept], masks=views.masks[kept], cameras=views.cameras[kept])
    return FittedSurface(fitted.field, start, head, seen)


def _without_rims(images: Tensor, masks: Tensor, agreement: Agreement) -> Tensor:
    """Pictures whose colours run on over the rims of masks that contradict each other: these may show background."""
    rim = round((1 - agreement.outline_weight) * _RIM * masks.shape[-1])
    if not rim:
        return images
    out = images.clone()
    for picture, mask in zip(out, masks[:, 0], strict=True):
        core = 1 - box_max(1 - mask, rim) > 0.5
        if bool(core.any()):
            row, column = distance_transform_edt(~core.cpu().numpy(), return_distances=False, return_indices=True)
            inner = picture[:, torch.from_numpy(row), torch.from_numpy(column)]
            picture.copy_(torch.where(core, picture, inner * mask + 1 - mask))
    return out


def _on_device(views: MultiViewOutput, device: torch.device) -> MultiViewOutput:
    """Views as tensors; the head that they belong to stays."""
    images, masks = views.tensor().to(device), views.masks.to(device)
    return replace(views, images=images, masks=masks, cameras=views.cameras.to(device), latents=None)


def _start(views: MultiViewOutput, trusted: Tensor, model: HeadModel) -> tuple[DistanceGrid, PosedModel | None]:
    """From the estimated head, or from what the masks carve and the face that the pictures show."""
    if views.head is not None:
        surface = views.head.surface(model)
        device = views.masks.device
        grid = DistanceGrid.from_mesh(surface.vertices.to(device), surface.faces.to(device), views.cameras)
        return grid, PosedModel.of_fit(views.head, model)
    kept = trusted.nonzero()[:, 0]
    images, masks, cameras = views.tensor()[kept].float(), views.masks[kept], views.cameras[kept]
    hull = DistanceGrid.from_masks(masks, cameras)
    try:
        face = find_face(images.cpu(), masks.cpu(), cameras.to("cpu"), model)
    except AssetError as error:
        logger.warning("no face is looked for in the views, eyes and ears will be flat: %s", error)
        return hull, None
    if face is None:
        return hull, None
    return with_face(hull.to("cpu"), face, cameras.to("cpu")).to(masks.device), face.pose


def _check(images: Tensor, views: MultiViewOutput) -> None:
    if len(views) < _LEAST_VIEWS:
        raise ReconstructionError(
            f"A surface needs at least {_LEAST_VIEWS} views from different sides, got {len(views)}."
        )
    views.cameras.check_finite()
    for name, values in (("images", images), ("masks", views.masks)):
        if not bool(torch.isfinite(values).all()):
            raise ReconstructionError(f"The {name} of the views hold NaN or infinite values.")
