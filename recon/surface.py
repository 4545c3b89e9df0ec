"""Views to a textured surface of free topology: whatever the views show, hair, hats and collars included."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.errors import AssetError, ConfigError, ReconstructionError
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.agreement import STRAYS, Agreement, Explained, check_agreement
from gen3dface.recon.checked import require_counts, require_one_of
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.exposure import Exposures
from gen3dface.recon.extraction import Mesh, extract_mesh
from gen3dface.recon.fit_field import FieldConfig, fit_field, snapshot
from gen3dface.recon.fit_mesh import MeshConfig, fit_mesh
from gen3dface.recon.found_face import find_face, with_face
from gen3dface.recon.posed_model import PosedModel
from gen3dface.recon.registration import registered
from gen3dface.recon.surface_texture import ColourAt, colours_of_field, colours_of_mesh, textured
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.recon.view_folder import has_masks
from gen3dface.recon.view_weights import checked_weights, photo_weights
from gen3dface.render import box_max

logger = logging.getLogger(__name__)

_LEAST_VIEWS = 3
_RIM = 0.02  # of a picture's width that outlines which count nothing are off
_EXPLAINED = 0.5  # share of the colours' variance that a surface of matching views explains, at least
_BRIGHTEST = 1.5  # what overshoots 0..1 by more is of another range


@dataclass(frozen=True)
class SurfaceConfig:
    """How a surface is made.

    Args:
        method: "mesh": the start's own triangles are moved until the views agree. "field": a NeuS2-style field is
            fitted, ten times as long, and its surface extracted. mesh, field: how either is fitted.
        resolution: of the field's grid, corners a side, that the mesh is taken from. faces: triangles.
        texture_size: texels a side.
        topology: "free": one closed mesh of whatever the views show. "registered": the head model's own mesh laid onto
            it, with expressions, eyes and skeleton.
    """

    method: Literal["mesh", "field"] = "mesh"
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    resolution: int = 192
    faces: int = 30_000
    texture_size: int = 1024
    topology: Literal["free", "registered"] = "free"

    def __post_init__(self) -> None:
        """Raises `ConfigError`: an unknown method or topology, or no sizes."""
        require_one_of(self, "method", ("mesh", "field"))
        require_one_of(self, "topology", ("free", "registered"))
        require_counts(self, resolution=8, faces=4, texture_size=16)
        if not isinstance(self.mesh, MeshConfig) or not isinstance(self.field, FieldConfig):
            raise ConfigError("SurfaceConfig: mesh must be a MeshConfig, field a FieldConfig.")


@dataclass(frozen=True)
class FittedSurface:
    """What the views say of their surface."""

    mesh: Mesh  # closed, on the CPU
    colour_at: ColourAt
    head: PosedModel | None  # the head model where the views show it; None: no face was found
    seen: MultiViewOutput  # the views that fit together, at one exposure: they colour the surface
    exposures: Exposures  # that brought them to it
    weights: Tensor  # [N] of these views


def reconstruct_surface(
    views: MultiViewOutput,
    config: SurfaceConfig = SurfaceConfig(),
    *,
    model: HeadModel | None = None,
    weights: Tensor | Sequence[float] | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> TexturedHead:
    """A textured mesh of what the views show.

    Args:
        views: at least three, with masks. Where they know their head, the surface starts from it, else from what the
            masks carve, with the head model's face and ears where the pictures show a face. model: that `views.head`
            belongs to, or that is fitted (default: OpenHead).
        weights: [N] numbers above 0, how much each view counts in shape and texture (default: `photo_weights`, the more
            the nearer to the photo that the head was estimated from; all alike where there was none).
        device: where the surface is fitted and the texture baked (default: the CPU). The same seed gives the same
            bytes on the CPU alone.

    Raises:
        ReconstructionError: too few views, empty masks, numbers that are none, or views that do not fit together.
    """
    model = model or load_head_model()
    weights = photo_weights(views) if weights is None else weights
    found = fit_surface(views, config, model=model, weights=weights, progress=progress, device=device)
    size, counts = config.texture_size, found.weights
    if config.topology == "free":
        return textured(found.mesh, found.colour_at, found.seen, size, counts)
    assert found.head is not None  # else `fit_surface` had raised
    return registered(found.head, found.mesh, found.colour_at, found.seen, model, size, counts)


def fit_surface(
    views: MultiViewOutput,
    config: SurfaceConfig,
    *,
    model: HeadModel | None = None,
    weights: Tensor | Sequence[float] | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> FittedSurface:
    """The surface that the views ask for, without its texture; by default all count alike.

    Arguments and errors are those of `reconstruct_surface`.
    """
    views, model = _on_device(views, torch.device(device or "cpu")), model or load_head_model()
    _check(views.tensor().float(), views)
    counts = checked_weights(weights, len(views))
    belongs = torch.ones(len(views), dtype=torch.bool)
    while True:
        fitted, explained, kept = _fitted(views, belongs, counts, config, model, progress)
        strays = kept[explained.strays]
        belongs[strays] = False
        missing = len(views) - len(kept) + len(strays)  # for their masks and for their colours
        few = missing <= STRAYS * len(views)
        if few and not len(strays) and explained.overall >= _EXPLAINED:
            return fitted
        if not few or not len(strays):
            raise ReconstructionError(
                f"No surface explains the views: their colours agree by {max(explained.overall, 0):.0%} only, and "
                f"{missing} of {len(views)} do not fit the others. Are they paired with each other's "
                "cameras, mirrored, or the cameras in another convention?"
            )
        for view in strays.tolist():
            logger.warning("the colours of view %d are not what the others show there; it is left out", view)


def _fitted(
    views: MultiViewOutput, belongs: Tensor, weights: Tensor, config: SurfaceConfig, model: HeadModel, progress: bool
) -> tuple[FittedSurface, Explained, Tensor]:
    """The surface of the views that belong to each other, how well it explains them, and which they are."""
    rows = belongs.nonzero()[:, 0]
    agreement = check_agreement(views.masks[rows], views.cameras[rows], STRAYS * len(views) - int((~belongs).sum()))
    for view in rows[~agreement.trusted.cpu()].tolist():
        logger.warning("view %d does not fit the others and is left out", view)
    kept = rows[agreement.trusted.cpu()]
    images, masks, cameras = views.tensor()[kept].float(), views.masks[kept], views.cameras[kept]
    seen = replace(views, images=_without_rims(images, masks, agreement), masks=masks, cameras=cameras)
    start, head = _start(seen, model)
    if head is None and config.topology == "registered":
        raise ReconstructionError(
            "The views show no face, so the head model's topology has no place in them: ask for topology 'free'."
        )
    fit = _fit_mesh if config.method == "mesh" else _fit_field
    mesh, colour_at, exposures, explained = fit(seen, start, config, agreement.outline_weight, weights[kept], progress)
    matched = replace(seen, images=exposures.matched(seen.tensor(), masks))
    return FittedSurface(mesh, colour_at, head, matched, exposures, weights[kept]), explained, kept


def _fit_mesh(
    views: MultiViewOutput,
    start: DistanceGrid,
    config: SurfaceConfig,
    outline_weight: float,
    weights: Tensor,
    progress: bool,
) -> tuple[Mesh, ColourAt, Exposures, Explained]:
    steps = replace(config.mesh, mask=outline_weight * config.mesh.mask)
    begun = extract_mesh(start, config.faces)
    found = fit_mesh(views.tensor(), views.masks, views.cameras, begun, steps, progress, weights)
    return found.mesh, colours_of_mesh(found.mesh, found.colours), found.exposures, found.explained


def _fit_field(
    views: MultiViewOutput,
    start: DistanceGrid,
    config: SurfaceConfig,
    outline_weight: float,
    weights: Tensor,
    progress: bool,
) -> tuple[Mesh, ColourAt, Exposures, Explained]:
    steps = replace(config.field, mask=outline_weight * config.field.mask)
    device = views.masks.device
    found = fit_field(views.tensor(), views.masks, views.cameras, start, steps, weights, progress, device)
    mesh = extract_mesh(snapshot(found.field, start, config.resolution), config.faces)
    return mesh, colours_of_field(found.field), found.field.exposures(), found.explained


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


def _start(views: MultiViewOutput, model: HeadModel) -> tuple[DistanceGrid, PosedModel | None]:
    """From the estimated head, or from what the masks carve and the face that the pictures show."""
    if views.head is not None:
        surface = views.head.surface(model)
        device = views.masks.device
        grid = DistanceGrid.from_mesh(surface.vertices.to(device), surface.faces.to(device), views.cameras)
        return grid, PosedModel.of_fit(views.head, model)
    images, masks, cameras = views.tensor(), views.masks, views.cameras
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
        if float(values.max()) > _BRIGHTEST:
            raise ReconstructionError(f"The {name} of the views reach {float(values.max()):g}; they must be in 0..1.")
    if not has_masks(views):
        raise ReconstructionError(
            "The views have neither alpha nor masks, so nothing tells the head from what lies behind it: give pictures "
            "with alpha, or masks in masks/."
        )
