"""Before eyes, nose and mouth there is air: what a network draws there in profiles is taken away."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.pipelines.subjects import Subject
from gen3dface.raster import rasterize

_ACROSS = 1.3  # of the distance of the eyes' middles
_PROFILE = 55.0  # degrees from the front from which the outline runs there; before, hair hangs beside cheeks
_NEAR = 0.02  # of a view's side by which noses and lips may stand out farther than the estimated head's


@torch.no_grad()
def cleared(images: Tensor, masks: Tensor, subject: Subject, views: Cameras) -> tuple[Tensor, Tensor]:
    """Views [N, 3, S, S] over white and coverage [N, 1, S, S] without what floats before the middle of the face.

    A pixel off the head belongs to the nearest pixel of its outline. Fringes, beards and hair beside cheeks stay.
    """
    surface, middle = subject.surface, _middle_of_face(subject)
    if not middle.any():
        return images, masks
    kept = torch.ones_like(masks)
    for row in (views.azimuths.abs() > _PROFILE).nonzero()[:, 0].tolist():
        view = views[[row]]
        seen = rasterize(surface.vertices, surface.faces, view, cull_back=True)
        before = seen.interpolate(middle, surface.faces)[..., 0].numpy() > 0.5
        apart, (y, x) = distance_transform_edt(~seen.mask.numpy(), return_indices=True)
        kept[row, 0][torch.from_numpy(before[y, x] & (apart > _NEAR * views.width))] = 0
    return 1 - (1 - images) * kept, masks * kept


def _middle_of_face(subject: Subject) -> Tensor:
    """[V, 1] 1 at the face's vertices from the brows to the lips, between the eyes' outer corners.

    Nowhere for heads that do not say where these are.
    """
    regions, height = subject.model.regions, subject.vertices[:, 1]
    chosen = torch.zeros(len(subject.surface.vertices), 1)
    if not all(name in regions and regions[name].any() for name in ("lips", "brows", "right_eye", "left_eye")):
        return chosen
    right, left = (subject.vertices[regions[name], 0].mean() for name in ("right_eye", "left_eye"))
    across = (2 * subject.vertices[:, 0] - right - left).abs() < _ACROSS * (left - right)
    low, high = height[regions["lips"]].amin(), height[regions["brows"]].amax()
    chosen[: len(height), 0] = (regions["face"] & across & (height > low) & (height < high)).float()
    return chosen
