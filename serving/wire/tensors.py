"""Converts arrays to TensorProto and back as a server does, without TensorFlow."""

import math

import numpy as np

from .messages import DATA_TYPES, TensorProto

MOST_BYTES = 2**31  # of a tensor: the limit of a message
MOST_AXES = 64  # of a NumPy array
MOST_FILLED = 2**26  # bytes of a tensor beyond the values that were sent: a small request must not use up the memory

# Types of tensors: DataType -> NumPy type, and the field of the values if they are not in tensor_content.
_KINDS = {
    DATA_TYPES[name]: (np.dtype(dtype), field)
    for name, dtype, field in (
        ("DT_FLOAT", "<f4", "float_val"),
        ("DT_DOUBLE", "<f8", "double_val"),
        ("DT_INT32", "<i4", "int_val"),
        ("DT_UINT8", "u1", "int_val"),
        ("DT_INT16", "<i2", "int_val"),
        ("DT_INT8", "i1", "int_val"),
        ("DT_STRING", "O", "string_val"),
        ("DT_INT64", "<i8", "int64_val"),
        ("DT_BOOL", "?", "bool_val"),
        ("DT_UINT16", "<u2", "int_val"),
        ("DT_HALF", "<f2", "half_val"),
        ("DT_UINT32", "<u4", "uint32_val"),
        ("DT_UINT64", "<u8", "uint64_val"),
    )
}
_NUMBERS = {dtype: number for number, (dtype, _) in _KINDS.items()}


# Fields whose wire form is the array itself; the others are varints.
_PACKED = {"float_val": "<f4", "double_val": "<f8"}
_NUMBER_OF = {field.name: field.number for field in TensorProto.DESCRIPTOR.fields}
_LENGTH_DELIMITED = 2  # wire type


def tensor_to_proto(array: np.ndarray):
    """The TensorProto of an array: numbers as `tensor_content`, `bytes` and `str` (in UTF-8) as `string_val`.

    Give bytes in an array of dtype object: NumPy's `S` arrays drop trailing zeros. Raises ValueError for a type that a
    request cannot hold.
    """
    array, proto = _head(array)
    if array.dtype.hasobject:
        proto.string_val.extend(text.encode() if isinstance(text, str) else text for text in array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()
    return proto


def tensor_to_wire(array: np.ndarray, typed: bool) -> bytes:
    """As `tensor_to_proto`, serialized; with `typed` numbers go into the field of their type, as in a server's answer.

    Packing such a field with NumPy is twenty times as fast as filling it value by value.
    """
    array, proto = _head(array)
    if not typed or array.dtype.hasobject or not array.size:
        return tensor_to_proto(array).SerializeToString()
    field = _KINDS[proto.dtype][1]
    payload = array.astype(_PACKED[field]).tobytes() if field in _PACKED else _to_varints(array)
    return proto.SerializeToString() + delimited(_NUMBER_OF[field], payload)


def delimited(number: int, content: bytes) -> bytes:
    """A field of a message on the wire: tag, length and `content`."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _head(array):
    """The array in its stored dtype, and its TensorProto without the values."""
    array = np.asarray(array)
    dtype = np.dtype(object) if array.dtype.kind in "OSU" else array.dtype.newbyteorder("<")
    if dtype not in _NUMBERS:
        raise ValueError(f"a tensor cannot hold {array.dtype}; cast it first")
    proto = TensorProto(dtype=_NUMBERS[dtype])
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return array.astype(dtype, copy=False), proto


def proto_to_tensor(proto) -> np.ndarray:
    """The array of a TensorProto, read as a server reads it: strings as `bytes` in an array of dtype object.

    If values are missing, the last one is repeated (up to MOST_FILLED bytes) or zeros are used; surplus values are cut.
    Raises ValueError for an unknown type, a shape that is not fully known or larger than a message, and a
    `tensor_content` of the wrong length. The array is a writable copy.
    """
    if proto.dtype not in _KINDS:
        raise ValueError(f"no tensor of DataType {proto.dtype} can be read")
    dtype, field = _KINDS[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape of the tensor is not fully known")
    size = math.prod(shape)
    if size * dtype.itemsize > MOST_BYTES or len(shape) > MOST_AXES:
        raise ValueError(f"a tensor of the shape {shape} is too large")
    if proto.tensor_content and not dtype.hasobject:
        if len(proto.tensor_content) != size * dtype.itemsize:
            raise ValueError(f"tensor_content has {len(proto.tensor_content)} bytes, which do not make {shape}")
        return np.frombuffer(bytearray(proto.tensor_content), dtype).reshape(shape)
    values = _typed_values(proto, dtype, field)[:size]
    if len(values) == size:
        return values.reshape(shape)
    if (size - len(values)) * dtype.itemsize > MOST_FILLED:
        raise ValueError(f"a tensor of the shape {shape} needs more values than the {len(values)} that were sent")
    filled = np.full(size, values[-1] if len(values) else b"" if dtype.hasobject else 0, dtype)
    filled[: len(values)] = values
    return filled.reshape(shape)


def _typed_values(proto, dtype, field):
    if dtype.hasobject:
        values = np.empty(len(proto.string_val), object)
        values[:] = proto.string_val
        return values
    alone = TensorProto()
    getattr(alone, field).MergeFrom(getattr(proto, field))
    wire = alone.SerializeToString()
    if not wire:
        return np.zeros(0, dtype)
    # Tag and length are varints; what follows them is the whole field.
    ends = np.flatnonzero(np.frombuffer(wire[:16], np.uint8) < 128)
    packed = wire[ends[1] + 1 :]
    if field in _PACKED:
        return np.frombuffer(bytearray(packed), dtype)
    values = _from_varints(packed)
    return values.astype(np.uint16).view(dtype) if field == "half_val" else values.astype(dtype)


def _varint(number):
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _to_varints(array):
    """The values as protobuf varints: 7 bits a byte, low bits first, the top bit set in all bytes but the last."""
    values = array.view(np.uint16) if array.dtype == np.float16 else array
    values = values.ravel()
    if values.dtype.itemsize == 1 and values.dtype.kind in "bu":
        return _octets_to_varints(values.view(np.uint8))
    values = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(np.uint64)
    columns, shown = [values & 127], [np.ones(len(values), bool)]
    while (values := values >> np.uint64(7)).any():
        columns.append(values & 127)
        shown.append(values != 0)
        columns[-2] = columns[-2] | shown[-1].astype(np.uint64) << np.uint64(7)
    return np.stack(columns, axis=1).astype(np.uint8)[np.stack(shown, axis=1)].tobytes()


def _octets_to_varints(values):
    """As `_to_varints`, for pixels: a byte below 128 is one byte, any other is followed by a 1."""
    high = values >> 7
    ends = np.cumsum(high, dtype=np.int64)
    packed = np.ones(len(values) + int(ends[-1]), np.uint8)
    packed[np.arange(len(values)) + ends - high] = values
    return packed.tobytes()


def _from_varints(packed):
    """The values of protobuf varints, uint64 (negative numbers in two's complement), or uint16 if all are small."""
    octets = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(octets < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])
    longest = int((ends - starts).max(initial=0)) + 1
    if longest <= 2:  # pixels
        low = octets[starts].astype(np.uint16)
        return np.where(ends > starts, (low & 127) | octets[ends].astype(np.uint16) << 7, low)
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        inside = starts + place <= ends
        part = octets[np.minimum(starts + place, len(octets) - 1)].astype(np.uint64) & np.uint64(127)
        values |= np.where(inside, part << np.uint64(7 * place), np.uint64(0))
    return values
