"""Parametric heads: the HeadModel interface and the bundled OpenHead."""

from gen3dface.heads.model import HeadMesh, HeadModel
from gen3dface.heads.normals import vertex_normals
from gen3dface.heads.registry import HEAD_MODELS, load_head_model

__all__ = ["HEAD_MODELS", "HeadMesh", "HeadModel", "load_head_model", "vertex_normals"]
