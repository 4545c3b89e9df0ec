"""Files of FLAME's true layout with invented contents, written as Python 2, chumpy and SciPy once wrote them."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from gen3dface.heads import HeadModel

# which of MediaPipe's landmarks FLAME's embedding places
MEDIAPIPE = [
    276, 282, 283, 285, 293, 295, 296, 300, 334, 336, 46, 52, 53, 55, 63, 65, 66, 70, 105, 107, 249, 263, 362, 373, 374,
    380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466, 7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161,
    163, 173, 246, 168, 6, 197, 195, 5, 4, 129, 98, 97, 2, 326, 327, 358, 0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82,
    84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375,
    402, 405, 409, 415,
]  # fmt: skip
PARENTS = (-1, 0, 1, 1, 1)


class Ch:
    """Pickled as `chumpy.ch.Ch`."""

    module = "chumpy.ch"

    def __init__(self, x: Any) -> None:
        self.x = x


class Select:
    """Pickled as `chumpy.reordering.Select`."""

    module = "chumpy.reordering"

    def __init__(self, a: Any, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


class csc_matrix:
    """Pickled as `scipy.sparse.csc.csc_matrix`."""

    module = "scipy.sparse.csc"

    def __init__(self, dense: np.ndarray) -> None:
        columns, rows = np.nonzero(dense.T)
        self._shape, self.data, self.indices = dense.shape, dense[rows, columns], rows.astype(np.int32)
        counts = np.bincount(columns, minlength=dense.shape[1])
        self.indptr, self.maxprint = np.concatenate([[0], counts.cumsum()]).astype(np.int32), 50


class _Python2Pickler(pickle._Pickler):
    """Texts and bytes alike as Python 2's `str`, and numpy where it was then."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _save_text(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_text

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "module", None) or obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    dispatch[type] = save_global


def dump_python2(value: Any) -> bytes:
    """A pickle of protocol 2 as Python 2 wrote it."""
    out = io.BytesIO()
    _Python2Pickler(out, 2).dump(value)
    return out.getvalue()


def fake_arrays(vertices: int = 40, faces: int = 70, columns: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    """FLAME's seven arrays, invented; every number is one of float32."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    regressor = np.zeros((5, vertices))
    for row in regressor:
        row[rng.choice(vertices, 6, replace=False)] = rng.dirichlet(np.ones(6)).astype(np.float32)
    weights = rng.dirichlet(np.full(5, 0.3), size=vertices).astype(np.float32).astype(np.float64)
    return {
        "v_template": 0.08 * draw(vertices, 3),
        "f": np.stack([rng.choice(vertices, 3, replace=False) for _ in range(faces)]).astype(np.uint32),
        "shapedirs": 1e-3 * draw(vertices, 3, columns),
        "posedirs": 1e-2 * draw(vertices, 3, 36),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


def arrays_of_head(head: HeadModel, seed: int = 0) -> dict[str, np.ndarray]:
    """FLAME's arrays with a real head's shape and identity (at most 300 components), shifted as FLAME is."""
    shift = np.array([0.0, 0.03, -0.02])
    template, joints = head.template.double().numpy() + shift, head.joints.double().numpy() + shift
    arrays = fake_arrays(len(template), 1, 1, seed)
    shapes = np.zeros((*template.shape, 400))
    shapes[..., : head.identity_size] = np.moveaxis(head.identity_basis.numpy(), 0, -1)
    count = len(head.expression_names)
    shapes[..., 300 : 300 + count] = np.moveaxis(head.expression_basis.numpy(), 0, -1)
    homogeneous = np.c_[template, np.ones(len(template))]
    return {
        **arrays,
        "v_template": template,
        "f": head.faces.numpy().astype(np.uint32),
        "shapedirs": shapes,
        "posedirs": 0.01 * arrays["posedirs"],
        "J_regressor": np.c_[joints, np.ones(5)] @ np.linalg.pinv(homogeneous),
        "weights": head.skinning_weights.double().numpy(),
    }


def write_pkl(path: Path, arrays: dict[str, np.ndarray], chumpy: bool = True) -> Path:
    """`generic_model.pkl`: chumpy's objects, a sparse regressor, and keys that are not needed."""
    content: dict[str, Any] = {**arrays, "J_regressor": csc_matrix(arrays["J_regressor"]), "bs_style": "lbs"}
    content["bs_type"] = "lrotmin"
    if chumpy:
        shapes = arrays["shapedirs"]
        longer = np.concatenate([shapes, shapes[..., :1]], -1)  # from which the true columns are selected
        index = np.arange(longer.size).reshape(longer.shape)[..., :-1].ravel()
        content["shapedirs"] = Select(Ch(longer), index, shapes.shape)
        content["v_template"], content["posedirs"] = Ch(arrays["v_template"]), Ch(np.asfortranarray(arrays["posedirs"]))
    path.write_bytes(dump_python2(content))
    return path


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def write_mediapipe(path: Path, faces: np.ndarray, barycentric: np.ndarray) -> Path:
    """The embedding of MediaPipe's 105 landmarks: triangles [105] and weights [105, 3]."""
    np.savez(path, lmk_face_idx=faces, lmk_b_coords=barycentric, landmark_indices=np.array(MEDIAPIPE))
    return path


def fake_landmarks(faces: int, seed: int = 1) -> dict[str, Any]:
    """What `landmark_embedding.npy` holds: numpy arrays, and for the contours PyTorch's tensors."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, shape in {"static": (51,), "full": (1, 68), "dynamic": (79, 17)}.items():
        found[f"{name}_lmk_faces_idx"] = rng.integers(0, faces, shape)
        found[f"{name}_lmk_bary_coords"] = rng.dirichlet(np.ones(3), shape).astype(np.float32)
    for key in ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"):
        found[key] = torch.from_numpy(found[key])
    return found


def write_landmarks(path: Path, found: dict[str, Any]) -> Path:
    """`landmark_embedding.npy`: one object in an array without axes."""
    np.save(path, np.array(found, dtype=object), allow_pickle=True)
    return path
