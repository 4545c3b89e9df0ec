"""Identity from a photo: what the landmarks tell (`regression`), and what a small network sees beside them.

Landmarks are drawn by a detector toward its own average face, alike in every picture of a person, so neither more of
them nor more photos tell more. The pixels do: where lids, lips and outlines truly lie, how light falls over a nose, and
how large the irises are, which are nearly of one size in all people. The network was trained on rendered people alone
(as Wood et al. 2021 and 2022 do), by tools/train_estimator.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.errors import EstimationError
from gen3dface.estimators.networks.face_pixels import FacePixelNetwork
from gen3dface.estimators.priors import ShapePrior
from gen3dface.estimators.regression import Regressor, bundled_regressor, mirrored, regressor_for
from gen3dface.estimators.unwrapped_face import Unwrapping

if TYPE_CHECKING:
    from gen3dface.heads import HeadModel
    from gen3dface.photo.portrait import Portrait

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PixelReader:
    """What the pixels of a face add to the regression's identity."""

    regressor: Regressor
    unwrapping: Unwrapping  # onto the regressor's reference
    network: FacePixelNetwork
    modes: Array  # [M, K] identity of a unit of each mode
    mirror: Array  # [K, K]: identity @ it is the head turned over, left for right
    covariance: Array  # [K, K] of what is left unknown, measured on pictures kept out of the training
    limit: float  # length of an answer, in modes' units, beyond which it is shortened to that

    def __call__(self, image: NDArray[np.uint8], landmarks: NDArray, blendshapes: NDArray) -> Array:
        """[K] to add to the regression's mean; of the face as it is and turned over, so that both give one head.

        Args:
            image: uint8 [H, W, 3] sRGB. landmarks: [478, 3] px. blendshapes: [52] in 0..1.
        """
        face = self.unwrapping(image, landmarks)
        told = self.regressor.features(landmarks[None], blendshapes[None])
        turned = self.regressor.features(*mirrored(landmarks[None], blendshapes[None], self.regressor.reference))
        faces = torch.from_numpy(np.stack([face, face[:, ::-1]])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            features = torch.from_numpy(np.concatenate([told, turned])).float()
            answers = self.network(self.network.normalised(faces), features).double().numpy()
        length = np.linalg.norm(answers, axis=1, keepdims=True)
        answers *= np.minimum(1, self.limit / np.maximum(length, 1e-9))
        plain, other = answers @ self.modes
        return np.asarray((plain + other @ self.mirror) / 2)


def identity_in(portrait: Portrait, model: HeadModel) -> ShapePrior | None:
    """What a photo tells of identity before any fit; None where the landmarks lie outside the training range.

    Also None for head models that there is no regression for.
    """
    regressor = regressor_for(model)
    told = None if regressor is None else regressor.predict(portrait.landmarks, portrait.blendshapes)
    if told is None:
        return None
    reader = bundled_reader()
    added = reader(portrait.image, portrait.landmarks, portrait.blendshapes)
    return replace(ShapePrior.from_covariance(told.mean + added, reader.covariance), landmarks_read=True)


@cache
def bundled_reader() -> PixelReader:
    """The reader for OpenHead that ships with the package.

    Raises:
        EstimationError: its data file is missing or damaged.
    """
    from safetensors.torch import load

    try:
        tensors = load((resources.files("gen3dface.estimators") / "data" / "pixels.safetensors").read_bytes())
        return read_reader(tensors, bundled_regressor())
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise EstimationError(
            f"The pixel reader's data file is missing or damaged; reinstall gen3dface. ({error!r})"
        ) from error


def read_reader(tensors: dict[str, torch.Tensor], regressor: Regressor) -> PixelReader:
    """A reader from its data file's tensors; raises KeyError, ValueError or RuntimeError where these are not such."""
    own = {name: tensors.pop(name).double().numpy() for name in ("modes", "mirror", "covariance", "limit")}
    network = FacePixelNetwork(len(regressor.feature_mean), len(own["modes"]))
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    )
    unwrapping = Unwrapping.onto(regressor.reference)
    network.inside.copy_(torch.from_numpy(unwrapping.inside))
    limit = float(own.pop("limit"))
    return PixelReader(regressor, unwrapping, network.eval(), **own, limit=limit)
