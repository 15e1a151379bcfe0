"""The messages of TensorFlow Serving, built when imported: no generated code, no TensorFlow.

They live in a descriptor pool of their own, so that they may stand beside `tensorflow` and `tensorflow_serving` in
one process whatever versions those have, and a client needs only `protobuf` and `numpy`. Only fields that packshot
uses are declared; protobuf carries the others along untouched.

Sources of the field numbers: tensorflow/core/framework/{tensor,tensor_shape,types}.proto and, in tensorflow/serving
2.21, apis/{model,predict,prediction_log}.proto,
config/{model_server_config,file_system_storage_path_source,monitoring_config}.proto and
servables/tensorflow/session_bundle_config.proto.
"""

import math

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

# Message -> fields, as "type name = number". `?` joins a oneof, `*` repeats, and `map` means a map from string.
_MESSAGES = {
    "tensorflow.TensorShapeProto": ("* tensorflow.TensorShapeProto.Dim dim = 2", "bool unknown_rank = 3"),
    "tensorflow.TensorShapeProto.Dim": ("int64 size = 1", "string name = 2"),
    "tensorflow.TensorProto": (
        "tensorflow.DataType dtype = 1",
        "tensorflow.TensorShapeProto tensor_shape = 2",
        "int32 version_number = 3",
        "bytes tensor_content = 4",
        "* float float_val = 5",
        "* double double_val = 6",
        "* int32 int_val = 7",
        "* bytes string_val = 8",
        "* int64 int64_val = 10",
        "* bool bool_val = 11",
        "* int32 half_val = 13",
        "* uint32 uint32_val = 16",
        "* uint64 uint64_val = 17",
    ),
    "tensorflow.serving.ModelSpec": (
        "string name = 1",
        "?version_choice google.protobuf.Int64Value version = 2",
        "string signature_name = 3",
        "?version_choice string version_label = 4",
    ),
    "tensorflow.serving.PredictRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "map tensorflow.TensorProto inputs = 2",
        "* string output_filter = 3",
    ),
    "tensorflow.serving.PredictResponse": (
        "map tensorflow.TensorProto outputs = 1",
        "tensorflow.serving.ModelSpec model_spec = 2",
    ),
    "tensorflow.serving.PredictLog": (
        "tensorflow.serving.PredictRequest request = 1",
        "tensorflow.serving.PredictResponse response = 2",
    ),
    "tensorflow.serving.PredictionLog": ("?log_type tensorflow.serving.PredictLog predict_log = 6",),
    "tensorflow.serving.ModelServerConfig": ("?config tensorflow.serving.ModelConfigList model_config_list = 1",),
    "tensorflow.serving.ModelConfigList": ("* tensorflow.serving.ModelConfig config = 1",),
    "tensorflow.serving.ModelConfig": (
        "string name = 1",
        "string base_path = 2",
        "string model_platform = 4",
        "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy model_version_policy = 7",
        "map int64 version_labels = 8",
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig": (),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy": (
        "?policy_choice tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest latest = 100",
        "?policy_choice tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.All all = 101",
        "?policy_choice "
        "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific specific = 102",
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest": ("uint32 num_versions = 1",),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.All": (),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific": ("* int64 versions = 1",),
    "tensorflow.serving.BatchingParameters": (
        "google.protobuf.Int64Value max_batch_size = 1",
        "google.protobuf.Int64Value batch_timeout_micros = 2",
        "google.protobuf.Int64Value max_enqueued_batches = 3",
        "google.protobuf.Int64Value num_batch_threads = 4",
        "google.protobuf.StringValue thread_pool_name = 5",
        "* int64 allowed_batch_sizes = 6",
        "bool pad_variable_length_inputs = 7",
        "google.protobuf.BoolValue enable_large_batch_splitting = 8",
        "google.protobuf.Int64Value max_execution_batch_size = 9",
    ),
    "tensorflow.serving.PrometheusConfig": ("bool enable = 1", "string path = 2"),
    "tensorflow.serving.MonitoringConfig": ("tensorflow.serving.PrometheusConfig prometheus_config = 1",),
}
_DATA_TYPE = {
    "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
    "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17,
    "DT_COMPLEX128": 18, "DT_HALF": 19, "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23,
}  # fmt: skip
_Field = descriptor_pb2.FieldDescriptorProto


def _add_field(message, full_name, line):
    *marks, type_name, name, _, number = line.split()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if marks == ["*"]:
        field.label = _Field.LABEL_REPEATED
    elif marks and marks[0].startswith("?"):
        choices = [choice.name for choice in message.oneof_decl]
        if marks[0][1:] not in choices:
            choices.append(marks[0][1:])
            message.oneof_decl.add(name=choices[-1])
        field.oneof_index = choices.index(marks[0][1:])
    elif marks == ["map"]:
        entry_name = name.title().replace("_", "") + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, None, "string key = 1")
        _add_field(entry, None, f"{type_name} value = 2")
        field.label, type_name = _Field.LABEL_REPEATED, f"{full_name}.{entry_name}"
    if "." not in type_name:
        field.type = getattr(_Field, f"TYPE_{type_name.upper()}")
    else:
        field.type = _Field.TYPE_ENUM if type_name == "tensorflow.DataType" else _Field.TYPE_MESSAGE
        field.type_name = f".{type_name}"


def _build_pool():
    files = {}
    for package in ("tensorflow", "tensorflow.serving"):
        files[package] = descriptor_pb2.FileDescriptorProto(
            name=f"packshot/{package}.proto",
            package=package,
            syntax="proto3",
            dependency=[wrappers_pb2.DESCRIPTOR.name],
        )
    files["tensorflow.serving"].dependency.append(files["tensorflow"].name)
    enum = files["tensorflow"].enum_type.add(name="DataType")
    for name, number in _DATA_TYPE.items():
        enum.value.add(name=name, number=number)
    messages = {}
    for full_name, lines in _MESSAGES.items():
        parent, _, name = full_name.rpartition(".")
        message = files[parent].message_type.add() if parent in files else messages[parent].nested_type.add()
        messages[full_name] = message
        message.name = name
        for line in lines:
            _add_field(message, full_name, line)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    for file in files.values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _build_pool()


def _class(full_name):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


TensorProto = _class("tensorflow.TensorProto")
TensorShapeProto = _class("tensorflow.TensorShapeProto")
ModelSpec = _class("tensorflow.serving.ModelSpec")
PredictRequest = _class("tensorflow.serving.PredictRequest")
PredictResponse = _class("tensorflow.serving.PredictResponse")
PredictionLog = _class("tensorflow.serving.PredictionLog")
ModelServerConfig = _class("tensorflow.serving.ModelServerConfig")
BatchingParameters = _class("tensorflow.serving.BatchingParameters")
MonitoringConfig = _class("tensorflow.serving.MonitoringConfig")

# What a tensor may hold: DataType, NumPy type, and the field of the values when they do not come as tensor_content.
_KINDS = {
    _DATA_TYPE[name]: (np.dtype(dtype), field)
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


def tensor_to_proto(array: np.ndarray):
    """The TensorProto of an array: numbers as `tensor_content`, `bytes` and `str` (in UTF-8) as `string_val`.

    Give bytes in an array of dtype object: NumPy's own `S` arrays drop zeros at the end. Raises ValueError for a type
    that has no place in a request.
    """
    array = np.asarray(array)
    dtype = np.dtype(object) if array.dtype.kind in "OSU" else array.dtype.newbyteorder("<")
    if dtype not in _NUMBERS:
        raise ValueError(f"a tensor cannot hold {array.dtype}; cast it first")
    proto = TensorProto(dtype=_NUMBERS[dtype])
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype.hasobject:
        proto.string_val.extend(text.encode() if isinstance(text, str) else text for text in array.ravel().tolist())
    else:
        proto.tensor_content = array.astype(dtype, copy=False).tobytes()
    return proto


def proto_to_tensor(proto) -> np.ndarray:
    """The array a TensorProto holds, read as the server reads it: strings as `bytes` in an array of dtype object.

    Too few values repeat the last one, none are zeros, and too many are cut. Raises ValueError for a type that is not
    known, a shape that is not, and a `tensor_content` of the wrong length. The array is the caller's to change.
    """
    if proto.dtype not in _KINDS:
        raise ValueError(f"no tensor of DataType {proto.dtype} can be read")
    dtype, field = _KINDS[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape of the tensor is not fully known")
    if proto.tensor_content and not dtype.hasobject:
        if len(proto.tensor_content) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor_content has {len(proto.tensor_content)} bytes, which do not make {shape}")
        return np.frombuffer(bytearray(proto.tensor_content), dtype).reshape(shape)
    values = list(getattr(proto, field)[: math.prod(shape)])
    if field == "half_val":
        values = np.array(values, np.uint16).view(dtype)
    filled = np.full(math.prod(shape), values[-1] if len(values) else b"" if dtype.hasobject else 0, dtype)
    filled[: len(values)] = values
    return filled.reshape(shape)
