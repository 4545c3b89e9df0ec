"""In profile faces end where the estimated head ends: before eyes, nose and mouth there is air, and beyond bare skin.

Networks fray these outlines and draw faint lines before them.
"""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.pipelines.appearance import padded
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import box_max, show_values

_ACROSS = 1.3  # of the distance of the eyes' middles
_PROFILE = 55.0  # degrees from the front from which the outline runs there; before, hair hangs beside cheeks
_SIDEWAYS = (50.0, 120.0)  # degrees between which bare skin runs along the outline of the face
# of the view's side beyond the outline: frayed edges reach that far; further out is a thing: hair, a hat, glasses
_FRINGE = 1 / 32
_AROUND = 3 / 64  # of the view's side around such things that stay as they are


def before_face(subject: Subject, views: Cameras, solid: Tensor) -> Tensor:
    """[N, 1, S, S] 1 off the head and on its outline where views from the side show the middle of the face.

    A pixel off the head belongs to the nearest pixel of its outline. Fringes, beards and hair beside cheeks stay out.

    Args:
        solid: [N, 1, S, S] bool, pixels that the estimated head fills.
    """
    aside = views.azimuths.abs() > _PROFILE
    return aside[:, None, None, None] * beyond(show_values(subject.surface, _middle_of_face(subject), views), solid)


def beyond(shown: Tensor, solid: Tensor) -> Tensor:
    """[N, 1, S, S] 1 off the head where its outline's nearest pixel has a value [N, 1, S, S] above a half, else 0."""
    found = torch.zeros(solid.shape)
    for row in solid.flatten(1).any(1).nonzero()[:, 0].tolist():
        y, x = distance_transform_edt(~solid[row, 0].numpy(), return_distances=False, return_indices=True)
        found[row, 0] = (shown[row, 0] > 0.5)[torch.from_numpy(y), torch.from_numpy(x)] & ~solid[row, 0]
    return found


def before_skin(share: Tensor, masks: Tensor, solid: Tensor, views: Cameras) -> Tensor:
    """[N, 1, S, S] 1 off the head beside bare skin of the face, where views from the side have nothing solid there.

    Args:
        share: [N, 1, S, S] in 0..1 where the head shows bare skin of the face. masks: the views' coverage.
        solid: pixels that the estimated head fills, bool. All [N, 1, S, S].
    """
    aside = (views.azimuths.abs() > _SIDEWAYS[0]) & (views.azimuths.abs() < _SIDEWAYS[1])
    fringe, around = (round(share * views.height) for share in (_FRINGE, _AROUND))
    near = torch.stack([box_max(head.float(), fringe) > 0.5 for head in solid[:, 0]])[:, None]
    things = torch.stack([box_max(thing.float(), around) for thing in ((masks > 0.5) & ~near)[:, 0]])[:, None]
    return aside[:, None, None, None] * (things < 0.5) * beyond(share, solid)


def _middle_of_face(subject: Subject) -> Tensor:
    """[V, 1] 1 at the face's vertices from the brows to the lips, between the eyes' outer corners.

    Nowhere for heads that do not say where these are.
    """
    regions, height = subject.model.regions, subject.vertices[:, 1]
    if not all(regions[name].any() for name in ("lips", "brows", "right_eye", "left_eye")):
        return torch.zeros(len(subject.surface.vertices), 1)
    right, left = (subject.vertices[regions[name], 0].mean() for name in ("right_eye", "left_eye"))
    across = (2 * subject.vertices[:, 0] - right - left).abs() < _ACROSS * (left - right)
    low, high = height[regions["lips"]].amin(), height[regions["brows"]].amax()
    middle = regions["face"] & across & (height > low) & (height < high)
    return padded(middle.float(), subject.surface)[:, None]
