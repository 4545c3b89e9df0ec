"""Views and photo to a textured, animatable head in the head model's own topology."""

from __future__ import annotations

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.bake import BakedTexture, Picture, bake
from gen3dface.estimators import HeadFit
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.heads.anatomy import inner_parts
from gen3dface.photo import Portrait
from gen3dface.photo.trust import trusted_matte
from gen3dface.pipelines.appearance import photo_texture
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.recon.textured_head import EYES, SKIN, Skeleton, TexturedHead
from gen3dface.render import ramp

logger = logging.getLogger(__name__)

_PHOTO_PRIORITY = 30.0  # against 1 for a view: where the photo sees, it is the truth
_VIEW_EDGE = 0.5  # coverage of a view's pixel from which it is trusted


def reconstruct(
    portrait: Portrait,
    fit: HeadFit,
    views: MultiViewOutput,
    *,
    model: HeadModel | None = None,
    texture_size: int = 1024,
) -> TexturedHead:
    """The head of a photo, ready to export.

    Args:
        portrait: the photo. fit: its estimated head, with the hair's outline.
        views: pictures of the same head from all around; a texture that they bring along shows where they do not.
        model: the head model that `fit` belongs to (default: OpenHead). texture_size: texels a side.
    """
    model = model or load_head_model()
    surface = fit.surface(model)
    base = views.texture
    if base is None or base.shape[-1] != texture_size:
        base = photo_texture(portrait, fit.camera, surface, model, texture_size).colour
    outer = F.pad(~inner_parts(model), (0, len(surface.vertices) - len(model.template)), value=True)
    baked = bake(surface, [_photo_picture(portrait, fit), *_view_pictures(views)], base, outer)
    return assemble(fit, model, baked)


def assemble(fit: HeadFit, model: HeadModel, baked: BakedTexture) -> TexturedHead:
    """The head at rest with its texture, 52 expressions and skeleton; the photo's expression is its starting pose."""
    head, whole = fit.neutral_mesh(model), fit.surface(model, neutral=True)
    added = len(whole.vertices) - len(head.vertices)
    eye = torch.cat([model.regions["left_eye"] | model.regions["right_eye"], torch.zeros(added, dtype=torch.bool)])
    return TexturedHead(
        whole.vertices.numpy(),
        whole.faces.numpy(),
        whole.uvs.numpy(),
        whole.uv_faces.numpy(),
        baked.pixels(),
        morph_names=model.expression_names,
        morph_deltas=F.pad(model.expression_basis, (0, 0, 0, added)).numpy(),
        morph_weights=fit.expression.numpy(),
        skeleton=_skeleton(model, head.joints, added),
        materials=(SKIN, EYES),
        face_materials=eye[whole.faces].all(1).numpy().astype(np.int64),
        confidence=baked.confidences(),
    )


def _skeleton(model: HeadModel, joints: Tensor, added: int) -> Skeleton:
    """The model's skeleton; hanging hair goes with the head, which the neck's joint turns."""
    stiff = torch.zeros(added, len(model.joint_names))
    stiff[:, model.joint_names.index("neck")] = 1
    weights = torch.cat([model.skinning_weights, stiff])
    return Skeleton(model.joint_names, model.joint_parents, joints.numpy(), weights.numpy())


def _photo_picture(portrait: Portrait, fit: HeadFit) -> Picture:
    image = torch.from_numpy(portrait.image.copy()).permute(2, 0, 1).float() / 255
    return Picture(image, trusted_matte(portrait), fit.camera, _PHOTO_PRIORITY)


def _view_pictures(views: MultiViewOutput) -> list[Picture]:
    alpha = ramp(views.masks[:, 0], (_VIEW_EDGE, 1))
    return [Picture(i, a, c) for i, a, c in zip(views.tensor(), alpha, views.cameras, strict=True)]
