"""Parametric heads: the HeadModel interface, the bundled OpenHead, and readers of models that users have."""

from gen3dface.heads.model import HeadMesh, HeadModel
from gen3dface.heads.normals import vertex_normals
from gen3dface.heads.registry import HEAD_MODELS, load_head_model
from gen3dface.heads.store import read_head_model, save_head_model

__all__ = [
    "HEAD_MODELS",
    "HeadMesh",
    "HeadModel",
    "load_head_model",
    "read_head_model",
    "save_head_model",
    "vertex_normals",
]
