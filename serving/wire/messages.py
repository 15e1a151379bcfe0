"""The messages of TensorFlow Serving, built on import: no generated code, no TensorFlow.

They have their own descriptor pool, so they do not clash with any version of `tensorflow` and `tensorflow_serving` in
the same process. A client needs only `protobuf` and `numpy`. Only fields that packshot uses are declared; protobuf
keeps the others unchanged.

Sources of the field numbers: tensorflow/core/framework/{tensor,tensor_shape,types}.proto,
tensorflow/core/protobuf/{meta_graph,error_codes}.proto and tensorflow/core/example/{example,feature}.proto; and in
tensorflow/serving 2.21 apis/*.proto, util/status.proto,
config/{model_server_config,file_system_storage_path_source,logging_config,log_collector_config,monitoring_config,
ssl_config}.proto and servables/tensorflow/session_bundle_config.proto.
"""

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

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
    "tensorflow.TensorInfo": (
        "?encoding string name = 1",
        "tensorflow.DataType dtype = 2",
        "tensorflow.TensorShapeProto tensor_shape = 3",
    ),
    "tensorflow.SignatureDef": (
        "map tensorflow.TensorInfo inputs = 1",
        "map tensorflow.TensorInfo outputs = 2",
        "string method_name = 3",
        "map tensorflow.TensorProto defaults = 4",
    ),
    "tensorflow.BytesList": ("* bytes value = 1",),
    "tensorflow.FloatList": ("* float value = 1",),
    "tensorflow.Int64List": ("* int64 value = 1",),
    "tensorflow.Feature": (
        "?kind tensorflow.BytesList bytes_list = 1",
        "?kind tensorflow.FloatList float_list = 2",
        "?kind tensorflow.Int64List int64_list = 3",
    ),
    "tensorflow.Features": ("map tensorflow.Feature feature = 1",),
    "tensorflow.Example": ("tensorflow.Features features = 1",),
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
    "tensorflow.serving.ExampleList": ("* tensorflow.Example examples = 1",),
    "tensorflow.serving.ExampleListWithContext": (
        "* tensorflow.Example examples = 1",
        "tensorflow.Example context = 2",
    ),
    "tensorflow.serving.Input": (
        "?kind tensorflow.serving.ExampleList example_list = 1",
        "?kind tensorflow.serving.ExampleListWithContext example_list_with_context = 2",
    ),
    "tensorflow.serving.Class": ("string label = 1", "float score = 2"),
    "tensorflow.serving.Classifications": ("* tensorflow.serving.Class classes = 1",),
    "tensorflow.serving.ClassificationResult": ("* tensorflow.serving.Classifications classifications = 1",),
    "tensorflow.serving.ClassificationRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "tensorflow.serving.Input input = 2",
    ),
    "tensorflow.serving.ClassificationResponse": (
        "tensorflow.serving.ClassificationResult result = 1",
        "tensorflow.serving.ModelSpec model_spec = 2",
    ),
    "tensorflow.serving.Regression": ("float value = 1",),
    "tensorflow.serving.RegressionResult": ("* tensorflow.serving.Regression regressions = 1",),
    "tensorflow.serving.RegressionRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "tensorflow.serving.Input input = 2",
    ),
    "tensorflow.serving.RegressionResponse": (
        "tensorflow.serving.RegressionResult result = 1",
        "tensorflow.serving.ModelSpec model_spec = 2",
    ),
    "tensorflow.serving.InferenceTask": ("tensorflow.serving.ModelSpec model_spec = 1", "string method_name = 2"),
    "tensorflow.serving.MultiInferenceRequest": (
        "* tensorflow.serving.InferenceTask tasks = 1",
        "tensorflow.serving.Input input = 2",
    ),
    "tensorflow.serving.InferenceResult": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "?result tensorflow.serving.ClassificationResult classification_result = 2",
        "?result tensorflow.serving.RegressionResult regression_result = 3",
    ),
    "tensorflow.serving.MultiInferenceResponse": ("* tensorflow.serving.InferenceResult results = 1",),
    "tensorflow.serving.SignatureDefMap": ("map tensorflow.SignatureDef signature_def = 1",),
    "tensorflow.serving.GetModelMetadataRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "* string metadata_field = 2",
    ),
    "tensorflow.serving.GetModelMetadataResponse": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "map google.protobuf.Any metadata = 2",
    ),
    "tensorflow.serving.StatusProto": ("tensorflow.error.Code error_code = 1", "string error_message = 2"),
    "tensorflow.serving.GetModelStatusRequest": ("tensorflow.serving.ModelSpec model_spec = 1",),
    "tensorflow.serving.ModelVersionStatus": (
        "int64 version = 1",
        "tensorflow.serving.ModelVersionStatus.State state = 2",
        "tensorflow.serving.StatusProto status = 3",
    ),
    "tensorflow.serving.GetModelStatusResponse": ("* tensorflow.serving.ModelVersionStatus model_version_status = 1",),
    "tensorflow.serving.ReloadConfigRequest": ("tensorflow.serving.ModelServerConfig config = 1",),
    "tensorflow.serving.ReloadConfigResponse": ("tensorflow.serving.StatusProto status = 1",),
    "tensorflow.serving.PredictLog": (
        "tensorflow.serving.PredictRequest request = 1",
        "tensorflow.serving.PredictResponse response = 2",
    ),
    "tensorflow.serving.ClassifyLog": (
        "tensorflow.serving.ClassificationRequest request = 1",
        "tensorflow.serving.ClassificationResponse response = 2",
    ),
    "tensorflow.serving.RegressLog": (
        "tensorflow.serving.RegressionRequest request = 1",
        "tensorflow.serving.RegressionResponse response = 2",
    ),
    "tensorflow.serving.MultiInferenceLog": (
        "tensorflow.serving.MultiInferenceRequest request = 1",
        "tensorflow.serving.MultiInferenceResponse response = 2",
    ),
    "tensorflow.serving.PredictionLog": (
        "?log_type tensorflow.serving.ClassifyLog classify_log = 2",
        "?log_type tensorflow.serving.RegressLog regress_log = 3",
        "?log_type tensorflow.serving.MultiInferenceLog multi_inference_log = 4",
        "?log_type tensorflow.serving.PredictLog predict_log = 6",
    ),
    "tensorflow.serving.ModelServerConfig": (
        "?config tensorflow.serving.ModelConfigList model_config_list = 1",
        "?config google.protobuf.Any custom_model_config = 2",
    ),
    "tensorflow.serving.ModelConfigList": ("* tensorflow.serving.ModelConfig config = 1",),
    "tensorflow.serving.ModelConfig": (
        "string name = 1",
        "string base_path = 2",
        "tensorflow.serving.ModelType model_type = 3",
        "string model_platform = 4",
        "tensorflow.serving.LoggingConfig logging_config = 6",
        "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy model_version_policy = 7",
        "map int64 version_labels = 8",
    ),
    "tensorflow.serving.LoggingConfig": (
        "tensorflow.serving.LogCollectorConfig log_collector_config = 1",
        "tensorflow.serving.SamplingConfig sampling_config = 2",
    ),
    "tensorflow.serving.LogCollectorConfig": ("string type = 1", "string filename_prefix = 2"),
    "tensorflow.serving.SamplingConfig": ("double sampling_rate = 1",),
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
    "tensorflow.serving.SSLConfig": (
        "string server_key = 1",
        "string server_cert = 2",
        "string custom_ca = 3",
        "bool client_verify = 4",
    ),
}
_ENUMS = {
    "tensorflow.DataType": {
        "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
        "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17,
        "DT_COMPLEX128": 18, "DT_HALF": 19, "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23,
    },
    "tensorflow.error.Code": {
        "OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
        "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10,
        "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "DATA_LOSS": 15,
        "UNAUTHENTICATED": 16,
    },
    "tensorflow.serving.ModelType": {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2},
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
    },
}  # fmt: skip
_Field = descriptor_pb2.FieldDescriptorProto
_KNOWN = (any_pb2, wrappers_pb2)


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
        field.type = _Field.TYPE_ENUM if type_name in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".{type_name}"


def _build_pool():
    files = {}
    for package, needs in (
        ("tensorflow.error", ()),
        ("tensorflow", ()),
        ("tensorflow.serving", ("tensorflow", "tensorflow.error")),
    ):
        files[package] = descriptor_pb2.FileDescriptorProto(
            name=f"packshot/{package}.proto",
            package=package,
            syntax="proto3",
            dependency=[*(module.DESCRIPTOR.name for module in _KNOWN), *(files[need].name for need in needs)],
        )
    parents = dict(files)
    for full_name, lines in _MESSAGES.items():
        parent, _, name = full_name.rpartition(".")
        message = parents[parent].message_type.add() if parent in files else parents[parent].nested_type.add()
        parents[full_name] = message
        message.name = name
        for line in lines:
            _add_field(message, full_name, line)
    for full_name, values in _ENUMS.items():
        parent, _, name = full_name.rpartition(".")
        enum = parents[parent].enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    pool = descriptor_pool.DescriptorPool()
    for module in _KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in files.values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _build_pool()


def _class(full_name):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


TensorProto = _class("tensorflow.TensorProto")
TensorShapeProto = _class("tensorflow.TensorShapeProto")
SignatureDef = _class("tensorflow.SignatureDef")
Example = _class("tensorflow.Example")
Any = _class("google.protobuf.Any")
ModelSpec = _class("tensorflow.serving.ModelSpec")
Input = _class("tensorflow.serving.Input")
PredictRequest = _class("tensorflow.serving.PredictRequest")
PredictResponse = _class("tensorflow.serving.PredictResponse")
ClassificationRequest = _class("tensorflow.serving.ClassificationRequest")
ClassificationResponse = _class("tensorflow.serving.ClassificationResponse")
ClassificationResult = _class("tensorflow.serving.ClassificationResult")
RegressionRequest = _class("tensorflow.serving.RegressionRequest")
RegressionResponse = _class("tensorflow.serving.RegressionResponse")
RegressionResult = _class("tensorflow.serving.RegressionResult")
MultiInferenceRequest = _class("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse = _class("tensorflow.serving.MultiInferenceResponse")
SignatureDefMap = _class("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = _class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _class("tensorflow.serving.GetModelStatusResponse")
ReloadConfigRequest = _class("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = _class("tensorflow.serving.ReloadConfigResponse")
PredictionLog = _class("tensorflow.serving.PredictionLog")
ModelServerConfig = _class("tensorflow.serving.ModelServerConfig")
BatchingParameters = _class("tensorflow.serving.BatchingParameters")
MonitoringConfig = _class("tensorflow.serving.MonitoringConfig")
SSLConfig = _class("tensorflow.serving.SSLConfig")

# Service -> method -> request and response; the path of a method is /<service>/<method>.
SERVICES = {
    "tensorflow.serving.PredictionService": {
        "Predict": (PredictRequest, PredictResponse),
        "Classify": (ClassificationRequest, ClassificationResponse),
        "Regress": (RegressionRequest, RegressionResponse),
        "MultiInference": (MultiInferenceRequest, MultiInferenceResponse),
        "GetModelMetadata": (GetModelMetadataRequest, GetModelMetadataResponse),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": (GetModelStatusRequest, GetModelStatusResponse),
        "HandleReloadConfigRequest": (ReloadConfigRequest, ReloadConfigResponse),
    },
}

CODES = _ENUMS["tensorflow.error.Code"]
STATES = _ENUMS["tensorflow.serving.ModelVersionStatus.State"]
DATA_TYPES = _ENUMS["tensorflow.DataType"]
