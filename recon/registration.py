"""The head model's own mesh laid onto a fitted surface: free views to a head that blinks and speaks.

The surface draws each outer vertex along the field's gradient, and a membrane ties neighbours together:

    min_d  sum_i w_i |d_i - t_i|^2 + lambda |L d|^2,

with displacements d, wanted ones t, the graph's Laplacian L, and lambda falling from round to round, so that the mesh
first follows as a whole and then in detail (Amberg et al., 2007, with displacements instead of affine maps). What lies
behind lids and lips is carried along.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from gen3dface.heads import HeadModel
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.bake import bake
from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.extraction import directed_edges
from gen3dface.recon.posed_model import PosedModel
from gen3dface.recon.sdf_field import SDFField
from gen3dface.recon.surface_texture import field_texture, pictures_of
from gen3dface.recon.textured_head import EYES, SKIN, Skeleton, TexturedHead
from gen3dface.render import Surface, vertex_normals

Array = NDArray[np.float64]

_STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.3)  # lambda of the rounds
_REACH = 0.03  # metres from which a surface is another part's
_ALIKE = 0.3  # cosine between a vertex's normal and the surface's, from which they are of one side
_CARRIED = {"left_eye": "eyelids", "right_eye": "eyelids", "teeth": "lips", "tongue": "lips"}
_ASIDE = 0.01  # metres from the middle from which a part belongs to one side
_ANCHOR = 1e-6  # weight that keeps vertices that nothing ties where they are


def registered(
    head: PosedModel, distances: DistanceGrid, field: SDFField, views: MultiViewOutput, model: HeadModel, size: int
) -> TexturedHead:
    """The model's mesh on the surface, with its 52 expressions, eyes and skeleton; its texture from the views.

    Args:
        head: where the views show the model. distances: of the surface. field: that they were taken from.
        size: texels a side.
    """
    moved = wrapped(head.posed, distances.to("cpu"), model)
    device = field.gain.device
    surface = Surface(*(t.to(device) for t in (head.posed + moved, model.faces, model.uvs, model.uv_faces)))
    eyes = model.regions["left_eye"] | model.regions["right_eye"]
    inner = inner_parts(model)
    base = field_texture(surface, field, size)
    base = _painted(base, surface, inner_colours(model).to(device), inner.to(device))
    baked = bake(surface, pictures_of(views, device), base, (~inner | eyes).to(device))
    return TexturedHead(
        (head.rest + moved).numpy(),
        model.faces.numpy(),
        model.uvs.numpy(),
        model.uv_faces.numpy(),
        baked.pixels(),
        morph_names=model.expression_names,
        morph_deltas=(model.expression_basis @ head.turn.T).numpy(),
        morph_weights=head.expression.numpy(),
        skeleton=_skeleton(head, moved, model),
        materials=(SKIN, EYES),
        face_materials=eyes[model.faces].all(1).numpy().astype(np.int64),
        confidence=baked.confidences(),
    )


def wrapped(posed: Tensor, distances: DistanceGrid, model: HeadModel) -> Tensor:
    """[V, 3] metres by which the model's vertices [V, 3] are moved to lie on the surface."""
    outer, faces = ~inner_parts(model), model.faces
    membrane = _membrane(faces.numpy(), len(posed))
    moved = torch.zeros_like(posed)
    for stiffness in _STIFFNESS:
        at = posed + moved
        wanted, weight = _drawn(at, vertex_normals(at, faces), distances)
        weight = weight * outer.numpy()
        total = moved.double().numpy() + wanted
        tied = sparse.diags(weight + _ANCHOR) + stiffness * (membrane.T @ membrane)
        moved = torch.from_numpy(spsolve(tied.tocsc(), weight[:, None] * total)).float()
    return _carried(moved, membrane, outer, model)


def _membrane(faces: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    """[V, V] a vertex less the mean of its neighbours."""
    edges = directed_edges(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), shape=(count, count)).sign()
    degree = np.maximum(np.asarray(near.sum(1)).ravel(), 1)
    return (sparse.identity(count) - sparse.diags(1 / degree) @ near).tocsr()


def _drawn(points: Tensor, normals: Tensor, distances: DistanceGrid) -> tuple[Array, Array]:
    """Where the surface wants points [P, 3] moved, [P, 3] metres, and whether it is theirs [P]."""
    reach = distances.step * torch.eye(3)
    slope = torch.stack([distances(points + axis) - distances(points - axis) for axis in reach], 1)
    slope = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-9)
    apart = distances(points)
    within = points.abs().amax(1) < distances.side / 2 - 2 * distances.step
    own = within & (apart.abs() < _REACH) & ((slope * normals).sum(1) > _ALIKE)
    return (-apart[:, None] * slope).double().numpy(), own.double().numpy()


def _carried(moved: Tensor, membrane: sparse.csr_matrix, outer: Tensor, model: HeadModel) -> Tensor:
    """What lies behind lids and lips runs on as a membrane; eyeballs, teeth and tongue go each as a whole."""
    free, held = (~outer).nonzero()[:, 0].numpy(), outer.nonzero()[:, 0].numpy()
    rows = membrane[free]
    tied = (rows[:, free] + _ANCHOR * sparse.identity(len(free))).tocsc()
    out = moved.clone()
    out[~outer] = torch.from_numpy(spsolve(tied, -rows[:, held] @ moved[outer].double().numpy())).float()
    for name, around in _CARRIED.items():
        part, near = model.regions[name], model.regions[around] & outer
        middle = model.template[part, 0].mean()
        beside = model.template[:, 0] * middle.sign() > 0 if middle.abs() > _ASIDE else torch.ones_like(near)
        out[part] = moved[near & beside].mean(0)
    return out


def _painted(base: Tensor, surface: Surface, colours: Tensor, where: Tensor) -> Tensor:
    """A texture [3, S, S] with vertices' colours [V, 3] on the vertices [V]."""
    texels = rasterize_uv(surface.uvs, surface.uv_faces, base.shape[-1])
    mask = texels.scatter(texels.gather(where.float()[:, None], surface.faces))[..., 0] > 0.5
    painted = texels.scatter(texels.gather(colours, surface.faces)).permute(2, 0, 1)
    return torch.where(mask, painted, base)


def _skeleton(head: PosedModel, moved: Tensor, model: HeadModel) -> Skeleton:
    """The model's skeleton; the eyes' joints go with the eyes."""
    joints = head.joints.clone()
    for name in ("left_eye", "right_eye"):
        joints[model.joint_names.index(name)] += moved[model.regions[name]].mean(0)
    return Skeleton(model.joint_names, model.joint_parents, joints.numpy(), model.skinning_weights.numpy())
