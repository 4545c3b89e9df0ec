"""In profile eyes, nose and mouth end where the estimated head ends: before them there is air.

Networks fray these outlines and draw faint lines before them.
"""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.pipelines.subjects import Subject
from gen3dface.raster import rasterize

_ACROSS = 1.3  # of the distance of the eyes' middles
_PROFILE = 55.0  # degrees from the front from which the outline runs there; before, hair hangs beside cheeks


def before_face(subject: Subject, views: Cameras, solid: Tensor) -> Tensor:
    """[N, 1, S, S] 1 off the head and on its outline where views from the side show the middle of the face.

    A pixel off the head belongs to the nearest pixel of its outline. Fringes, beards and hair beside cheeks stay out.

    Args:
        solid: [N, 1, S, S] bool, pixels that the estimated head fills.
    """
    surface, middle = subject.surface, _middle_of_face(subject)
    found = torch.zeros(solid.shape)
    aside = (views.azimuths.abs() > _PROFILE) & solid.flatten(1).any(1)
    for row in aside.nonzero()[:, 0].tolist():
        seen = rasterize(surface.vertices, surface.faces, views[[row]], cull_back=True)
        belongs = seen.interpolate(middle, surface.faces)[..., 0] > 0.5
        y, x = distance_transform_edt(~solid[row, 0].numpy(), return_distances=False, return_indices=True)
        found[row, 0] = belongs[torch.from_numpy(y), torch.from_numpy(x)] & ~solid[row, 0]
    return found


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
