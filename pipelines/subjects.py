"""What a call is about: photos, the heads in them, and the crops that the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gen3dface.errors import ConfigError, HeadError
from gen3dface.estimators import Estimator, HeadFit, load_estimator
from gen3dface.heads import HEAD_MODELS, HeadModel, load_head_model
from gen3dface.photo import Portrait, load_portrait
from gen3dface.photo.decode import ImageSource
from gen3dface.pipelines.photo_crop import PhotoCrop, crop_photo
from gen3dface.render import Surface

_SMALLEST, _LARGEST = 0.1, 0.6  # metres, of a head's longest side, shoulders and hair included
_FARTHEST = 0.15  # metres from the origin to the middle of the head's box
_FINE = 2  # times the network's resolution

PhotoInput: TypeAlias = "ImageSource | Portrait"


@dataclass(frozen=True)
class Subject:
    """One photo and its head."""

    portrait: Portrait
    fit: HeadFit
    model: HeadModel
    surface: Surface  # the posed head with hanging hair after it
    vertices: Tensor  # [V, 3] the head alone, in the topology of `model`
    crop: PhotoCrop  # at the network's resolution
    fine: PhotoCrop  # the same square with more pixels, to be looked up in


def load_subjects(
    images: PhotoInput | Sequence[PhotoInput],
    heads: HeadFit | Sequence[HeadFit] | None,
    model: HeadModel | None,
    size: int,
    side: float,
    estimator: Estimator | None = None,
) -> list[Subject]:
    """Photos to subjects; heads that are not given are estimated.

    Args:
        images: photos or portraits, one or several. heads: as many, or None.
        model: of all heads (default: the estimator's, or the bundled one that the heads name).
        estimator: of heads that are not given (default: the default one with `model`).
        size: of the crops in pixels. side: of the crops in metres at the head's depth.

    Raises:
        ConfigError: the numbers of photos and heads differ, or there are none.
        HeadError: a head is not finite, not in metres, or not around the origin.
        HeadModelError: heads belong to another model than the one that is given.
    """
    photos: list[PhotoInput] = list(images) if isinstance(images, (list, tuple)) else [images]  # type: ignore[list-item]
    fits = [heads] if isinstance(heads, HeadFit) else [None] * len(photos) if heads is None else list(heads)
    if not photos or len(fits) != len(photos):
        raise ConfigError(f"Got {len(photos)} photos and {len(fits)} heads; pass one head for each photo, or none.")
    if estimator is not None and (heads is not None or (model is not None and model is not estimator.model)):
        raise ConfigError("An estimator finds heads of its own model: pass it without heads and without head_model.")
    estimator = estimator or load_estimator(head=model or _named_model(fits))
    return [_subject(photo, fit, estimator, size, side) for photo, fit in zip(photos, fits, strict=True)]


def _named_model(fits: Sequence[HeadFit | None]) -> HeadModel:
    """The model that the first head names where it comes with the package, else the default one."""
    name = fits[0].model_name if fits[0] is not None else ""
    return load_head_model(name) if name in HEAD_MODELS else load_head_model()


def _subject(photo: PhotoInput, fit: HeadFit | None, estimator: Estimator, size: int, side: float) -> Subject:
    portrait, model = photo if isinstance(photo, Portrait) else load_portrait(photo), estimator.model
    fit = fit or estimator(portrait)
    vertices = fit.mesh(model).vertices
    check_head(vertices, portrait.source)
    if (fit.camera.height, fit.camera.width) != (portrait.height, portrait.width):
        raise ConfigError(
            f"{portrait.source}: the head was estimated in a photo of {fit.camera.height} x {fit.camera.width} px, "
            f"this one has {portrait.height} x {portrait.width}; pass the head that belongs to it."
        )
    crop, fine = (crop_photo(portrait, fit.camera, pixels, side) for pixels in (size, _FINE * size))
    return Subject(portrait, fit, model, fit.surface(model), vertices, crop, fine)


def check_head(vertices: Tensor, name: str = "head") -> None:
    """Raise `HeadError` unless vertices [V, 3] are finite, in metres and around the origin."""
    if not torch.isfinite(vertices).all():
        raise HeadError(f"{name}: the head has vertices that are not finite numbers; estimate it again.")
    low, high = vertices.amin(0), vertices.amax(0)
    longest = (high - low).max().item()
    if not _SMALLEST <= longest <= _LARGEST:
        raise HeadError(
            f"{name}: the head's longest side is {longest:.3g} m, expected {_SMALLEST} to {_LARGEST} m; "
            "heads are in metres (the peers' unit is 2.5 to the metre)."
        )
    away = ((low + high) / 2).norm().item()
    if away > _FARTHEST:
        raise HeadError(
            f"{name}: the head's middle lies {away:.3g} m from the origin, expected at most {_FARTHEST} m; "
            "its pose belongs into the camera."
        )
