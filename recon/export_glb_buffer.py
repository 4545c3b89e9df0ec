"""The binary half of a GLB file: buffer views, accessors and the two chunks.

Specification: glTF 2.0, sections 3.6 (binary data) and 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAY_BUFFER = 34962
ELEMENT_ARRAY_BUFFER = 34963
COMPONENT_TYPES = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
ELEMENT_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class GlbBuffer:
    """Collects arrays and hands out the indices by which glTF's JSON refers to them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes, aligned to 4; returns the buffer view's index."""
        self.data.extend(b"\0" * (-len(self.data) % 4))
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data.extend(data)
        return len(self.views) - 1

    def accessor(self, array: NDArray[Any], target: int | None = None, *, bounds: bool = False) -> int:
        """Append an array [N, ...]; matrices [N, 4, 4] are turned to glTF's column-major order."""
        if array.ndim == 3:
            array = array.transpose(0, 2, 1)
        view = self.view(np.ascontiguousarray(array).tobytes(), target)
        return self._describe(array, {"bufferView": view}, bounds)

    def deltas(self, array: NDArray[np.float32], *, bounds: bool = False) -> int:
        """Append offsets [N, 3], mostly zero: sparse where that takes fewer bytes, without data if all are zero."""
        moved = np.flatnonzero(array.any(axis=1))
        indices = moved.astype(index_type(len(array)))
        if indices.nbytes + array[moved].nbytes >= array.nbytes:
            return self.accessor(array, ARRAY_BUFFER, bounds=bounds)
        if not len(moved):
            return self._describe(array, {}, bounds)
        sparse = {
            "count": len(moved),
            "indices": {
                "bufferView": self.view(indices.tobytes()),
                "componentType": COMPONENT_TYPES[indices.dtype.name],
            },
            "values": {"bufferView": self.view(array[moved].tobytes())},
        }
        return self._describe(array, {"sparse": sparse}, bounds)

    def _describe(self, array: NDArray[Any], source: dict[str, Any], bounds: bool) -> int:
        accessor = {
            **source,
            "componentType": COMPONENT_TYPES[array.dtype.name],
            "count": len(array),
            "type": ELEMENT_TYPES[array.shape[1:]],
        }
        if bounds:
            accessor["min"] = array.min(axis=0).tolist()
            accessor["max"] = array.max(axis=0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def pack(self, document: dict[str, Any]) -> bytes:
        """The GLB file: header, JSON chunk (padded with spaces), binary chunk (padded with zeros)."""
        binary = bytes(self.data) + b"\0" * (-len(self.data) % 4)
        document = {
            **document,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(binary)}],
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        header = struct.pack("<4sII", b"glTF", 2, total)
        return b"".join(
            [header, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(binary), b"BIN\0"), binary]
        )


def index_type(count: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type for indices below `count`; 65535 itself is reserved for restarting primitives."""
    return np.uint16 if count <= 65535 else np.uint32
