"""Reads the weights of a net of two layers out of an ONNX file, with nothing but the standard library.

A file is a protobuf message `ModelProto` (onnx.proto3 of ONNX 1.x; the numbers of its fields are below). What
we read is one shape alone, Gemm, Relu, Gemm in a row with float32 weights; anything else is refused, so that
no net is ever run that C does not compute in the same way. Bounded: in bytes, fields, and depth (four).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

BYTES_MAX = 64 << 10  # ours has about 1.5 KB
FIELDS_MAX = 4096  # of one message; packed values are one field

_FLOAT32 = 1  # TensorProto.DataType
# ModelProto
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_METADATA = 7, 8, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
# GraphProto
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_VALUE_NAME = 1
# NodeProto
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATION, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
# TensorProto
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 8, 9
_TENSOR_KNOWN = {_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW}


class OnnxError(ValueError):
    """The file is not what we read; the text says what is wrong, in one line."""


@dataclass(frozen=True, slots=True)
class Tensor:
    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layers:
    """y = relu(x @ weights[0] + biases[0]) @ weights[1] + biases[1].

    Weights are [inputs, hidden] and [hidden, outputs]. `metadata`: what the file says of itself.
    """

    weights: tuple[Tensor, Tensor]
    biases: tuple[Tensor, Tensor]
    metadata: dict[str, str]


Field = tuple[int, int | bytes]  # its number, and a varint or bytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise OnnxError("cut off")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value & (1 << 64) - 1, at + i + 1
    raise OnnxError("a number without end")


def fields(data: bytes) -> Iterator[Field]:
    """The fields of one protobuf message, in order. OnnxError where it is none."""
    at = 0
    for _ in range(FIELDS_MAX):
        if at == len(data):
            return
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise OnnxError(f"wire type {wire}")
        if length > len(data) - at:
            raise OnnxError("cut off")
        yield number, data[at : at + length]
        at += length
    if at != len(data):
        raise OnnxError(f"more than {FIELDS_MAX} fields")


def _all(message: bytes, number: int) -> list[bytes]:
    found = [value for n, value in fields(message) if n == number]
    if not all(isinstance(value, bytes) for value in found):
        raise OnnxError(f"field {number} is a number")
    return [value for value in found if isinstance(value, bytes)]


def _texts(message: bytes, number: int) -> list[str]:
    try:
        return [value.decode("utf-8") for value in _all(message, number)]
    except UnicodeDecodeError:
        raise OnnxError(f"field {number} is no text") from None


def _text(message: bytes, number: int) -> str:
    found = _texts(message, number)
    if len(found) > 1:
        raise OnnxError(f"field {number} is there {len(found)} times")
    return found[0] if found else ""


def _numbers(message: bytes, number: int) -> list[int]:
    """A repeated varint, packed or not."""
    found: list[int] = []
    for n, value in fields(message):
        if n != number:
            continue
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            found.append(one)
    return found


def _tensor(message: bytes) -> tuple[str, Tensor]:
    if _numbers(message, _TENSOR_TYPE) != [_FLOAT32]:
        raise OnnxError("a tensor that is not of float32")
    if unknown := {number for number, _ in fields(message)} - _TENSOR_KNOWN:
        raise OnnxError(f"a tensor with field {min(unknown)}")
    shape = tuple(_numbers(message, _TENSOR_DIMS))
    raw = b"".join(_all(message, _TENSOR_FLOATS) + _all(message, _TENSOR_RAW))
    count = 1
    for dim in shape[:8]:
        count *= dim
    if len(shape) > 8 or count * 4 != len(raw):
        raise OnnxError(f"a tensor of shape {shape[:8]} with {len(raw)} bytes")
    return _text(message, _TENSOR_NAME), Tensor(shape, struct.unpack(f"<{count}f", raw))


def _chain(graph: bytes) -> list[str]:
    """The names of weights and biases in order; OnnxError unless it is Gemm, Relu, Gemm from end to end."""
    ends = [_text(value, _VALUE_NAME) for n in (_GRAPH_INPUT, _GRAPH_OUTPUT) for value in _all(graph, n)]
    nodes = _all(graph, _GRAPH_NODE)
    operations = [_text(node, _NODE_OPERATION) for node in nodes[:8]]
    if operations != ["Gemm", "Relu", "Gemm"] or len(ends) != 2:
        raise OnnxError(f"not Gemm, Relu, Gemm with one input and one output: {operations}")
    at, names = ends[0], []
    for node in nodes:
        inputs, outputs = _texts(node, _NODE_INPUT), _texts(node, _NODE_OUTPUT)
        expected = 1 if _text(node, _NODE_OPERATION) == "Relu" else 3
        is_plain = not _all(node, _NODE_ATTRIBUTE) and not _text(node, _NODE_DOMAIN)
        if not is_plain or len(inputs) != expected or inputs[0] != at or len(outputs) != 1:
            raise OnnxError(f"{_text(node, _NODE_OPERATION)}: has attributes, or is not next in a row")
        names += inputs[1:]
        at = outputs[0]
    if at != ends[1] or not at:
        raise OnnxError("the last node does not make the output")
    return names


def read(model: bytes) -> Layers:
    """The weights in `model`, a whole ONNX file. OnnxError for anything but the one shape of net."""
    if len(model) > BYTES_MAX:
        raise OnnxError(f"more than {BYTES_MAX} bytes")
    graphs = _all(model, _MODEL_GRAPH)
    if len(graphs) != 1:
        raise OnnxError(f"{len(graphs)} graphs")
    opsets = _all(model, _MODEL_OPSETS)
    # Gemm and Relu are what they are here from 13 on.
    if len(opsets) != 1 or _text(opsets[0], _OPSET_DOMAIN) or not _is_opset_known(opsets[0]):
        raise OnnxError("not one set of standard operators of version 13 or later")
    names = _chain(graphs[0])
    tensors = dict(_tensor(message) for message in _all(graphs[0], _GRAPH_INITIALIZER))
    if sorted(tensors) != sorted(names):
        raise OnnxError("weights and nodes do not fit each other")
    (w0, b0, w1, b1) = (tensors[name] for name in names)
    is_fit = len(w0.shape) == len(w1.shape) == 2 and w0.shape[1] == w1.shape[0]
    if not is_fit or b0.shape != w0.shape[1:] or b1.shape != w1.shape[1:]:
        raise OnnxError(f"layers of shapes {w0.shape} {b0.shape} {w1.shape} {b1.shape}")
    entries = _all(model, _MODEL_METADATA)
    metadata = {_text(entry, _ENTRY_KEY): _text(entry, _ENTRY_VALUE) for entry in entries}
    return Layers((w0, w1), (b0, b1), metadata)


def _is_opset_known(opset: bytes) -> bool:
    return any(13 <= version <= 30 for version in _numbers(opset, _OPSET_VERSION))
