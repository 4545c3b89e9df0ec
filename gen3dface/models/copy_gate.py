"""The copy gate: where the photo shows a pixel, take it; elsewhere, trust the network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.models.precision import exactly

_SLOPE, _MIDDLE = 10.0, 0.25  # the gate before learning: half open at a visibility of 0.25
_HIDDEN = 0.05  # visibility below which nothing is copied
_DOUBTFUL, _CLEAR = 0.25, 0.5  # visibility between which the network's say fades
_SAME, _OTHER = 5.0, 20.0  # degrees between a view and the photo's: nothing is left to decide up to the first


def copy_gate(logits: Tensor, visibility: Tensor) -> Tensor:
    """sigmoid(logits + 10 (visibility - 0.25)), and 0 where visibility < 0.05; all of one shape.

    Visibility is in 0..1, and up to 1 more where the view is the photo's own (`own_view`) or the photo shows the pixel
    clearly (`clearly_seen`): there it settles the matter.
    """
    return (logits + _SLOPE * (visibility - _MIDDLE)).sigmoid() * (visibility >= _HIDDEN)


def clearly_seen(visibility: Tensor) -> Tensor:
    """How far the photo shows a pixel too well for anything else to be asked, 0..1, of visibilities in 0..1.

    A person is known by the face: what a network redraws there, however little it errs, is somebody else.
    """
    return _smoothstep((visibility - _DOUBTFUL) / (_CLEAR - _DOUBTFUL))


@exactly
def own_view(views: Cameras, photo: Cameras) -> Tensor:
    """How far each of N views is the photo's own: [N] in 0..1, by the angle between them as seen from the head.

    Where the photo was taken from nearly the same place it is the truth for every pixel, the empty ones included,
    whatever the network thinks: the angular weight of unstructured lumigraphs (Buehler et al., 2001).
    """
    cosine = F.cosine_similarity(views.centers, photo.centers, dim=-1).clamp(-1, 1)
    return _smoothstep((_OTHER - cosine.acos().rad2deg()) / (_OTHER - _SAME))


def blend_copy(clean: Tensor, copied: Tensor, gate: Tensor) -> Tensor:
    """g copied + (1 - g) clean.

    Args:
        clean, copied: [..., C, h, w] predicted and projected clean latents.
        gate: [..., G, h, w] in 0..1, G divides C. With a pixel codec of factor f, G = f^2 holds one gate a pixel,
            which all its colours share; with a learned autoencoder G = 1.
    """
    # a colour's f^2 channels lie together, so the gates repeat as a block
    repeats = [1] * (gate.ndim - 3) + [clean.shape[-3] // gate.shape[-3], 1, 1]
    spread = gate.repeat(repeats)
    return spread * copied + (1 - spread) * clean


def _smoothstep(share: Tensor) -> Tensor:
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)
