"""TensorFlow's C API: the functions of a session, from the library in the installed TensorFlow.

Source: tensorflow/c/{c_api,tf_tensor,tf_status,tf_buffer,tf_tstring}.h of TensorFlow 2.20 and 2.21.
"""

import ctypes
import functools
import os
import re
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p

import tensorflow as tf

TSTRING_BYTES = 24  # sizeof(TF_TString)


class Buffer(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


class Output(ctypes.Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


_NAME = re.compile(r"libtensorflow_cc(\.so|(\.so)?\.\d+|\.\d+\.dylib|\.dylib)")
_PROTOTYPES = {
    "TF_NewStatus": (c_void_p,),
    "TF_DeleteStatus": (None, c_void_p),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_DeleteGraph": (None, c_void_p),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_NewBuffer": (POINTER(Buffer),),
    "TF_NewBufferFromString": (POINTER(Buffer), c_char_p, c_size_t),
    "TF_DeleteBuffer": (None, POINTER(Buffer)),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_DeleteSessionOptions": (None, c_void_p),
    "TF_LoadSessionFromSavedModel": (
        *(c_void_p, c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int),
        *(c_void_p, POINTER(Buffer), c_void_p),
    ),
    "TF_CloseSession": (None, c_void_p, c_void_p),
    "TF_DeleteSession": (None, c_void_p, c_void_p),
    "TF_SessionRun": (
        *(None, c_void_p, POINTER(Buffer), POINTER(Output), POINTER(c_void_p), c_int),
        *(POINTER(Output), POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_AllocateTensor": (c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
    "TF_DeleteTensor": (None, c_void_p),
    "TF_TensorType": (c_int, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (c_int64, c_void_p, c_int),
    "TF_TensorByteSize": (c_size_t, c_void_p),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_StringInit": (None, c_void_p),
    "TF_StringCopy": (None, c_void_p, c_char_p, c_size_t),
    "TF_StringGetDataPointer": (c_void_p, c_void_p),
    "TF_StringGetSize": (c_size_t, c_void_p),
    "TF_StringDealloc": (None, c_void_p),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The library with its functions declared. Raises OSError if the installed TensorFlow does not have it."""
    # TensorFlow has already loaded it: this returns the same library. Its symbols must not become global.
    loaded = ctypes.CDLL(_path(os.path.dirname(tf.__file__)))
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _path(package):
    """Path of the library in TensorFlow's folder: libtensorflow_cc.so.2 on Linux, libtensorflow_cc.2.dylib on macOS."""
    found = [name for name in sorted(os.listdir(package)) if _NAME.fullmatch(name)]
    if not found:
        raise OSError(
            f"the TensorFlow in {package} has no libtensorflow_cc, which exporting, sampling and serving need; TensorFlow's own wheels "
            "for Linux and macOS have it (those for Windows do not: use WSL 2)"
        )
    return os.path.join(package, found[-1])
