"""Hair from the matte: push scalp and neck outward until the head's outline is the photo's.

A photo shows where hair ends against the background. Vertices on the head's outline are measured against it, along
their own outward direction; all others follow by the smoothest displacement (a bilaplacian least-squares problem).
The topology stays, so expressions and skeleton do too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.heads import HeadMesh, HeadModel
from gen3dface.photo import Portrait
from gen3dface.photo.parts import BODY_SKIN, FACE_SKIN, HAIR
from gen3dface.raster import rasterize
from gen3dface.render import sample_image, vertex_normals
from gen3dface.texture import edge_laplacian, solve_symmetric

_ROUNDS = 3
_STEP = 0.001  # metres between samples along an outward ray
_INWARD, _OUTWARD = 0.02, 0.11  # metres that the outline may move
_RIM = 0.25  # cosine at which a vertex counts half as lying on the outline
_NO_RIM = 1e-4  # weight from which a vertex is far enough from the outline to be left out
_OFF_OUTLINE = 0.006  # metres outward at which an outline vertex must have left the mesh's own shadow
_COVERED = 0.5  # share of an ear's vertices on hair from which it counts as hidden
_SIDE = 512  # px of the masks that are searched


@dataclass(frozen=True)
class SilhouetteTarget:
    """What the photo says about the outline: [H, W] bool masks in the camera's pixels."""

    hair: Tensor  # hair of this person
    head: Tensor  # hair or skin of this person


def hair_offsets(portrait: Portrait, mesh: HeadMesh, camera: Cameras, model: HeadModel) -> Tensor:
    """Offsets [V, 3] in metres that give a fitted head (in the photo's pose) the outline of its hair.

    An ear that the photo shows as hair is smoothed away under it.
    """
    person = torch.from_numpy(portrait.matte > 0.5)
    parts = torch.from_numpy(portrait.parts)
    hair = (parts == HAIR) & person
    target = SilhouetteTarget(hair, hair | (((parts == BODY_SKIN) | (parts == FACE_SKIN)) & person))
    movable = (
        model.regions["scalp"] | (model.regions["skull"] & ~model.regions["face"]) | model.regions["ears"]
    ).float()
    hidden = _hidden_ears(mesh.vertices, model.regions["ears"], camera, hair)
    return fit_silhouette(mesh.vertices, mesh.faces, movable, camera, target, model.regions["ears"], hidden)


def fit_silhouette(
    vertices: Tensor,
    faces: Tensor,
    movable: Tensor,
    camera: Cameras,
    target: SilhouetteTarget,
    loose: Tensor,
    hidden: Tensor,
) -> Tensor:
    """Offsets [V, 3] in metres that bring the mesh's outline to the photo's.

    Args:
        vertices: [V, 3] world, in the photo's expression. faces: [F, 3].
        movable: [V] in 0..1, how freely a vertex may follow the hair (0 on the face).
        camera: the photo's (N = 1). target: the photo's masks.
        loose: [V] bool, vertices that go along with their surroundings and measure nothing (ears).
        hidden: [V] bool, vertices to smooth away first (ears under hair).
    """
    masks, small = _shrink(target, camera)
    laplacian = edge_laplacian(faces, len(vertices))
    base = _smoothed_away(vertices, hidden, laplacian)
    outward = _outward(base, faces, loose, laplacian)
    offset = torch.zeros(len(vertices))
    for _ in range(_ROUNDS):
        moved = base + offset[:, None] * outward
        distance, weight = _outline_distance(moved, faces, outward, small, masks, (movable > 0) & ~loose)
        offset = _smoothest(offset + distance, weight * movable, movable, laplacian)
    return base - vertices + offset[:, None] * outward


def _hidden_ears(vertices: Tensor, ears: Tensor, camera: Cameras, hair: Tensor) -> Tensor:
    """[V] bool: the ears, a side at a time, of which the photo shows mostly hair."""
    xy, _ = camera.project(vertices)
    covered = sample_image(hair[None].float(), xy[0])[:, 0]
    out = torch.zeros_like(ears)
    for side in (vertices[:, 0] > 0, vertices[:, 0] <= 0):
        ear = ears & side
        out |= ear & (covered[ear].mean() > _COVERED)
    return out


def _smoothed_away(vertices: Tensor, hidden: Tensor, laplacian: scipy.sparse.csr_matrix) -> Tensor:
    """Vertices with the hidden ones on the smoothest surface through the others around them."""
    if not hidden.any():
        return vertices
    hold = torch.where(hidden, 0.0, 1e4).double().numpy()
    matrix = laplacian.T @ laplacian + scipy.sparse.diags(hold + 1e-9)
    solved = solve_symmetric(matrix, hold[:, None] * vertices.double().numpy())
    return torch.where(hidden[:, None], torch.from_numpy(solved).float(), vertices)


def _shrink(target: SilhouetteTarget, camera: Cameras) -> tuple[Tensor, Cameras]:
    """Masks [2, H, W] of head and hair at a working size, and the camera of that size."""
    scale = min(1.0, _SIDE / max(camera.height, camera.width))
    size = (max(1, round(camera.height * scale)), max(1, round(camera.width * scale)))
    masks = F.interpolate(torch.stack([target.head, target.hair])[None].float(), size, mode="area")[0] > 0.5
    return masks.float(), camera.resized(*size)


def _outward(vertices: Tensor, faces: Tensor, loose: Tensor, laplacian: scipy.sparse.csr_matrix) -> Tensor:
    """Unit directions [V, 3]: normals smoothed over a few centimetres, so that the shell does not fold."""
    trusted = (~loose).double().numpy() + 1e-6
    normals = trusted[:, None] * vertex_normals(vertices, faces).double().numpy()
    smooth = scipy.sparse.diags(trusted) + 30 * laplacian
    return F.normalize(torch.from_numpy(solve_symmetric(smooth, normals)).float(), dim=-1)


def _outline_distance(
    vertices: Tensor, faces: Tensor, outward: Tensor, camera: Cameras, masks: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    """How far [V] each vertex is from the photo's outline (metres, outward positive), and how much to trust it [V].

    masks: [2, H, W] head and hair, 0 or 1. counted: [V] bool, vertices that are asked for; the others get zeros.
    """
    to_camera = F.normalize(camera.centers - vertices, dim=-1)
    across = outward - (outward * to_camera).sum(-1, keepdim=True) * to_camera
    across = F.normalize(across, dim=-1)
    own = rasterize(vertices, faces, camera).mask
    beyond, _ = camera.project(vertices + _OFF_OUTLINE * across)
    rim = torch.exp(-(((outward * to_camera).sum(-1) / _RIM) ** 2))
    free = sample_image(own[None].float(), beyond[0])[:, 0] < 0.5
    found, trust = torch.zeros_like(rim), torch.zeros_like(rim)
    chosen = torch.nonzero(counted & free & (rim > _NO_RIM))[:, 0]
    distance, bounded = _along_rays(vertices[chosen], across[chosen], camera, masks)
    found[chosen], trust[chosen] = distance, rim[chosen] * bounded
    return found, trust


def _along_rays(vertices: Tensor, across: Tensor, camera: Cameras, masks: Tensor) -> tuple[Tensor, Tensor]:
    """`_run_length` of rays from `vertices` along `across`, both [P, 3]."""
    steps = torch.arange(-_INWARD, _OUTWARD, _STEP)
    rays = vertices[:, None] + steps[:, None] * across[:, None]  # [P, S, 3]
    xy = camera.project(rays.reshape(-1, 3))[0][0]
    inside = (sample_image(masks, xy) > 0.5).reshape(len(vertices), len(steps), 2)
    shown = ((xy > 0) & (xy < xy.new_tensor([camera.width, camera.height]))).all(-1)
    return _run_length(steps, inside[..., 0], inside[..., 1], shown.reshape(len(vertices), len(steps)))


def _run_length(steps: Tensor, head: Tensor, hair: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Where the head ends along each ray: inward when the vertex lies outside, outward only through hair; and whether
    it ends there in the picture. Masks are [P, S], of samples `steps` [S]."""
    start = int((steps < 0).sum())
    through = torch.cummin((hair[:, start:] | _within(head[:, start:], 4)).int(), 1).values
    out = through.sum(1)
    back = torch.cummin((~head[:, : start + 1]).flip(1).int(), 1).values.sum(1)
    end = torch.where(back > 0, start - back, start + out)
    bounded = (out < through.shape[1]) & (back * _STEP < _INWARD)
    bounded &= shown.gather(1, end.clamp(0, len(steps) - 1)[:, None])[:, 0]
    return torch.where(back > 0, -back, out) * _STEP, bounded


def _within(mask: Tensor, count: int) -> Tensor:
    """The first few samples of a ray: skin at the hairline is still the head."""
    near = torch.zeros_like(mask)
    near[:, :count] = mask[:, :count]
    return near


def _smoothest(
    goal: Tensor, weight: Tensor, movable: Tensor, laplacian: scipy.sparse.csr_matrix, stiffness: float = 2.0
) -> Tensor:
    """argmin_s sum w (s - goal)^2 + stiffness |L s|^2 + sum h s^2, with h holding vertices that must stay."""
    w = weight.double().numpy()
    hold = (1 - movable.double().numpy()) * 100 + 1e-4
    matrix = scipy.sparse.diags(w + hold) + stiffness * (laplacian.T @ laplacian)
    solved = solve_symmetric(matrix, w * goal.double().numpy())
    return torch.from_numpy(np.clip(solved, -_INWARD, _OUTWARD)).float()
