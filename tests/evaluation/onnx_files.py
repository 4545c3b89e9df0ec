"""The smallest ONNX files, written byte by byte (protocol buffers): a network whose answer is known."""

from __future__ import annotations

from pathlib import Path


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _tensor(field: int, name: str, shape: tuple[int, ...]) -> bytes:
    """A graph's input or output of float32."""
    dimensions = b"".join(_text(1, _number(1, size)) for size in shape)
    return _text(field, _text(1, name) + _text(2, _text(1, _number(1, 1) + _text(2, dimensions))))


def _node(kind: str, source: str, target: str) -> bytes:
    return _text(1, _text(1, source) + _text(2, target) + _text(4, kind))


def global_average(path: Path, shape: tuple[int, int, int], pooled: bool = True) -> Path:
    """Writes a network from [1, *shape] to each channel's average [1, C], or to all values [1, C * H * W]."""
    nodes = _node("GlobalAveragePool", "x", "means") if pooled else b""
    nodes += _node("Flatten", "means" if pooled else "x", "y")
    size = shape[0] if pooled else shape[0] * shape[1] * shape[2]
    graph = nodes + _text(2, "net") + _tensor(11, "x", (1, *shape)) + _tensor(12, "y", (1, size))
    path.write_bytes(_number(1, 8) + _text(7, graph) + _text(8, _number(2, 13)))
    return path
