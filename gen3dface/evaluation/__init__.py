"""How good a head is: metrics and their protocols."""

from gen3dface.evaluation.identity import IdentityEmbedder, cosine
from gen3dface.evaluation.lpips import LPIPS

__all__ = ["LPIPS", "IdentityEmbedder", "cosine"]
