"""The head model's own mesh laid onto a fitted surface: free views to a head that blinks and speaks.

The surface draws each outer vertex to the plane through its nearest vertex, and a membrane ties neighbours together:

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
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.bake import BakedTexture, Picture, bake
from gen3dface.heads import HeadModel
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize_uv
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.large_steps import graph_laplacian
from gen3dface.recon.normal_map import baked_normals
from gen3dface.recon.posed_model import PosedModel
from gen3dface.recon.surface_texture import ColourAt, pictures_of, plain_texture
from gen3dface.recon.textured_head import EYES, SKIN, Skeleton, TexturedHead
from gen3dface.render import Surface, vertex_normals

Array = NDArray[np.float64]

_STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.3)  # lambda of the rounds
_CANDIDATES = 8  # nearest vertices among which one of the same side is looked for
_REACH = 0.03  # metres from which a surface is another part's
_ALIKE = 0.3  # cosine between a vertex's normal and the surface's, from which they are of one side
_CARRIED = {"left_eye": "eyelids", "right_eye": "eyelids", "teeth": "lips", "tongue": "lips"}
_ASIDE = 0.01  # metres from the middle from which a part belongs to one side
_ANCHOR = 1e-6  # weight that keeps vertices that nothing ties where they are


def registered(
    head: PosedModel,
    mesh: Mesh,
    colour_at: ColourAt,
    views: MultiViewOutput,
    model: HeadModel,
    size: int,
    weights: Tensor | None = None,
) -> TexturedHead:
    """The model's mesh on the surface, with its 52 expressions, eyes and skeleton; its texture from the views.

    Args:
        head: where the views show the model. mesh: the surface. colour_at: its colours where no view sees it.
        size: texels a side. weights: [N] of the views (default: all alike).
    """
    moved = wrapped(head.posed, mesh, model)
    device, eyes = views.masks.device, model.regions["left_eye"] | model.regions["right_eye"]
    surface = Surface(*(t.to(device) for t in (head.posed + moved, model.faces, model.uvs, model.uv_faces)))
    baked = _baked(surface, colour_at, pictures_of(views, weights), model, eyes, size)
    outer = ~inner_parts(model).to(device)
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
        normal_map=baked_normals(surface, mesh, size, outer),
    )


def _baked(
    surface: Surface, colour_at: ColourAt, pictures: list[Picture], model: HeadModel, eyes: Tensor, size: int
) -> BakedTexture:
    """The model's texture: what lies within is painted, the rest and the eyes [V] are from the pictures."""
    device, inner = surface.vertices.device, inner_parts(model)
    base = plain_texture(surface, colour_at, size)
    base = _painted(base, surface, inner_colours(model).to(device), inner.to(device))
    return bake(surface, pictures, base, (~inner | eyes).to(device))


def wrapped(posed: Tensor, mesh: Mesh, model: HeadModel) -> Tensor:
    """[V, 3] metres by which the model's vertices [V, 3] are moved to lie on the surface."""
    outer, faces = ~inner_parts(model), model.faces
    membrane, surface = _membrane(faces.numpy(), len(posed)), _Surface(mesh)
    moved = torch.zeros_like(posed)
    for stiffness in _STIFFNESS:
        at = posed + moved
        wanted, weight = surface.draws(at, vertex_normals(at, faces))
        weight = weight * outer.numpy()
        total = moved.double().numpy() + wanted
        tied = sparse.diags(weight + _ANCHOR) + stiffness * (membrane.T @ membrane)
        moved = torch.from_numpy(spsolve(tied.tocsc(), weight[:, None] * total)).float()
    return _carried(moved, membrane, outer, model)


def _membrane(faces: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    """[V, V] a vertex less the mean of its neighbours."""
    laplacian = graph_laplacian(faces, count)
    return (sparse.diags(1 / np.maximum(laplacian.diagonal(), 1)) @ laplacian).tocsr()


class _Surface:
    """A mesh that draws points to it."""

    def __init__(self, mesh: Mesh) -> None:
        self.vertices = mesh.vertices.double().numpy()
        self.normals = vertex_normals(mesh.vertices, mesh.faces).double().numpy()
        self.tree = cKDTree(self.vertices)

    def draws(self, points: Tensor, normals: Tensor) -> tuple[Array, Array]:
        """Where the surface wants points [P, 3] moved, [P, 3] metres, and whether it is theirs [P]."""
        at, facing = points.double().numpy(), normals.double().numpy()
        apart, rows = self.tree.query(at, _CANDIDATES)
        alike = (self.normals[rows] * facing[:, None]).sum(-1) > _ALIKE
        first = np.argmax(alike, 1)  # the nearest of those on the same side
        line = np.arange(len(at))
        nearest, own = rows[line, first], alike[line, first] & (apart[line, first] < _REACH)
        normal = self.normals[nearest]
        return ((self.vertices[nearest] - at) * normal).sum(1, keepdims=True) * normal, own.astype(np.float64)


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
