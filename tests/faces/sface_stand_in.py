"""A small ONNX network with SFace's interface, for tests: 112 x 112 pixels -> 128 numbers that depend on coarse colors. Written without ``onnx``."""

import struct

import numpy as np

SHAPE = (1, 3, 112, 112)
_POOL = 14
_CENTER = np.repeat([90.0, 120.0, 120.0], 8 * 8)
"""Mean of the synthetic faces by channel: what is subtracted, so that two people's vectors are not similar."""
_INNER = np.pad(np.ones((4, 4)), 2)
"""The middle of the aligned face: its rim is the same for all synthetic faces."""
_MATRIX = (np.random.default_rng(0).normal(size=(3, 8, 8, 128)) * _INNER[..., None]).reshape(-1, 128).astype(np.float32)


def slow_embedding(rgb):
    """The definition: the unit vector of an aligned face of 112 x 112 pixels in RGB."""
    pooled = rgb.astype(float).reshape(8, _POOL, 8, _POOL, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    vector = (pooled - _CENTER) @ _MATRIX
    return vector / np.linalg.norm(vector)


def stand_in_weights():
    """The network as the bytes of an ONNX file: average pooling, subtraction of the mean, projection."""
    pool = _node("AveragePool", ["data"], "pooled", _ints("kernel_shape", [_POOL, _POOL]) + _ints("strides", [_POOL, _POOL]))
    nodes = pool + _node("Flatten", ["pooled"], "flat") + _node("Gemm", ["flat", "matrix", "bias"], "fc1")
    bias = (-_CENTER @ _MATRIX).astype(np.float32)
    tensors = _tensor("matrix", _MATRIX) + _tensor("bias", bias)
    graph = nodes + _bytes(2, b"stand-in") + tensors + _value(11, "data", SHAPE) + _value(12, "fc1", (1, 128))
    return _int(1, 7) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _int(2, 11))


def _varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _int(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, data):
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _ints(name, values):
    return _bytes(5, _bytes(1, name.encode()) + b"".join(_int(8, value) for value in values) + _int(20, 7))


def _node(kind, inputs, output, attributes=b""):
    return _bytes(1, b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode()) + _bytes(4, kind.encode()) + attributes)


def _tensor(name, array):
    dims = b"".join(_int(1, size) for size in array.shape)
    return _bytes(5, dims + _int(2, 1) + _bytes(8, name.encode()) + _bytes(9, struct.pack(f"<{array.size}f", *array.ravel().tolist())))


def _value(field, name, shape):
    dims = b"".join(_bytes(1, _int(1, size)) for size in shape)
    return _bytes(field, _bytes(1, name.encode()) + _bytes(2, _bytes(1, _int(1, 1) + _bytes(2, dims))))
