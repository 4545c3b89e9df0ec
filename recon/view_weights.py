"""How much each view counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.errors import ReconstructionError
from gen3dface.pipelines.output import MultiViewOutput

_PHOTO = 8.0  # against 1 for what the photo did not see
_NARROW = 12  # power of the cosine: half as much 19 degrees beside the photo, 1.2 times 1 at 45


def photo_weights(views: MultiViewOutput) -> Tensor:
    """[N] the nearer a view is to the photo's direction the more; all 1 where no head, and so no photo, is known.

    Views made from a photo show the photo itself from where it was taken, and what was made up from elsewhere.
    """
    if views.head is None:
        return torch.ones(len(views))
    photo, centres = (F.normalize(c.to("cpu").centers.float(), dim=1) for c in (views.head.camera, views.cameras))
    return 1 + (_PHOTO - 1) * (centres @ photo[0]).clamp(0, 1) ** _NARROW


def checked_weights(weights: Tensor | Sequence[float] | None, count: int) -> Tensor:
    """[N] on the CPU, 1 on average; None: all alike. Raises `ReconstructionError`: other than N numbers above 0."""
    found = torch.ones(count) if weights is None else torch.as_tensor(weights, dtype=torch.float32).detach().cpu()
    if found.shape != (count,) or not bool((torch.isfinite(found) & (found > 0)).all()):
        raise ReconstructionError(f"The weights of {count} views must be {count} numbers above 0.")
    return found / found.mean()
