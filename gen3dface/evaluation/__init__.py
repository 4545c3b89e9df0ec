"""How good a head is: metrics and their protocols."""

from gen3dface.evaluation.identity import IdentityEmbedder, cosine

__all__ = ["IdentityEmbedder", "cosine"]
