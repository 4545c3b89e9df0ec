"""What needs no network: pixels that the photo shows, in views that were made from it.

A person is known by the face. Where the photo or its mirror image shows it, a view takes these pixels as the mesh
carries them there, and in profile the mesh's outline. Where a view is nearly the photo's own, it takes all of the
photo, beyond the mesh's outline too.
"""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.heads.anatomy import inner_parts
from gen3dface.models.copy_gate import own_view
from gen3dface.models.precision import exactly
from gen3dface.pipelines.appearance import padded
from gen3dface.pipelines.preview import SOLID, Preview, preview
from gen3dface.pipelines.profile import before_face, before_skin
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import box_max, ramp, sample_image, show_values

_TEXELS = 8  # of the texture's side for a pixel of the views' side: sharper than what the network is told
# the photo's trust in a pixel between which it comes to settle it: where it only grazes skin, shade makes that dark
_CLEAR = (0.12, 0.35)
_CLOSED = 1 / 64  # of the view's side: half the width of lines, as of lids and lips, across which the face is one
_FRAME = 0.03  # of the photo's longer side over which it fades at its frame
# how far a view is the photo's own, between which it comes to take all of the photo (10.5 and 8.6 degrees from it): a
# mixture of two outlines is a ghost, and further off what stands beyond the mesh is no longer where it belongs
_OWN = (0.7, 0.85)
_VEIL = 0.06  # coverage below which a network means none


@torch.no_grad()
@exactly
def settled(
    images: Tensor, masks: Tensor, subject: Subject, views: Cameras, bare: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Views [N, 3, S, S] over white and coverage [N, 1, S, S] with the photo where it is the better witness.

    Args:
        bare: [N, 1, S, S] in 0..1, where the views show bare skin of the face.
    """
    shown = preview(subject, views, _TEXELS)
    solid = shown.coverage > SOLID
    sure = torch.maximum(_clear(shown, _face_in(subject, views)) * solid, before_face(subject, views, solid))
    if bare is not None:
        sure = torch.maximum(sure, before_skin(bare, masks, solid, views))
    images, masks = torch.lerp(images, shown.colour, sure), torch.lerp(masks, shown.coverage, sure)
    own = ramp(own_view(views, subject.fit.camera), _OWN)
    for row in own.nonzero()[:, 0].tolist():
        colour, alpha, framed = _photo_from(subject, views[[row]], shown.position[row])
        images[row] = torch.lerp(images[row], colour, own[row] * framed)
        masks[row] = torch.lerp(masks[row], alpha, own[row] * framed)
    return images, masks


def unveiled(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Without the faint coverage all around that a network leaves."""
    kept = ramp(masks, (_VEIL, 1))
    return 1 - (1 - images) * kept / masks.clamp(min=1e-3), kept


def _clear(shown: Preview, face: Tensor) -> Tensor:
    """[N, 1, S, S] in 0..1: how far the photo settles a pixel of the face [N, 1, S, S]."""
    sure = ramp(shown.trust(), _CLEAR)
    reach = round(_CLOSED * sure.shape[-1])
    closed = torch.stack([-box_max(-box_max(s[0], reach), reach) for s in sure])[:, None]
    return closed * face


def _face_in(subject: Subject, views: Cameras) -> Tensor:
    """[N, 1, S, S] in 0..1: where the views show the face, with eyes and teeth."""
    face = padded((subject.model.regions["face"] | inner_parts(subject.model)).float(), subject.surface)
    return show_values(subject.surface, face[:, None], views)


def _photo_from(subject: Subject, view: Cameras, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The photo from a place next to its own.

    By the mesh's depth; beyond its outline, that of the outline's nearest point.

    Args:
        position: [3, S, S] of the mesh, metres, 0 off it.

    Returns:
        colour [3, S, S] over white; the matte [1, S, S]; 1 within the photo's frame, falling to 0 at it, [1, S, S].
    """
    inside = position.abs().sum(0) > 0
    y, x = distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    nearest = position[:, torch.from_numpy(y), torch.from_numpy(x)].flatten(1).T
    at = torch.stack(torch.meshgrid(*(torch.arange(n) + 0.5 for n in inside.shape), indexing="ij")[::-1], -1)
    points = view.unproject(at.reshape(1, -1, 2), view.project(nearest)[1])[0]
    fine, camera = subject.fine, subject.fit.camera
    found = sample_image(torch.cat([fine.image, fine.alpha]), fine.camera.project(points)[0][0])
    pixels, size = camera.project(points)[0][0], torch.tensor([camera.width, camera.height])
    margin = torch.minimum(pixels, size - pixels).amin(1) / (_FRAME * max(camera.width, camera.height))
    colour, alpha, framed = (t.T.reshape(-1, *inside.shape) for t in (found[:, :3], found[:, 3:], margin[:, None]))
    return colour, alpha, framed.clamp(0, 1)
