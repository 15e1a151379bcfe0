"""Exceptions for the error codes of gRPC, with the server's message.

Over REST several codes share a status; `from_http` picks the most likely one.
Source: tensorflow/serving util/net_http and servables/tensorflow/http_rest_api_handler; the statuses of proxies from
RFC 9110.
"""

from .messages import CODES


class BadCall(ValueError):
    """A call with an invalid target, key or input. Nothing was sent."""


class ServingError(Exception):
    """An error from a server, or from the connection to it.

    `code` is its number in gRPC and TensorFlow, `name` its name (such as "NOT_FOUND"), `message` its sentence.
    """

    code = CODES["UNKNOWN"]

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message

    @property
    def name(self) -> str:
        return _NAMES[self.code]


class Cancelled(ServingError):
    """The call was cancelled before the answer came."""

    code = CODES["CANCELLED"]


class Unknown(ServingError):
    """An error with an unknown code."""

    code = CODES["UNKNOWN"]


class InvalidArgument(ServingError):
    """The request does not fit the signature: its names, types or shapes, or bytes that are not a picture."""

    code = CODES["INVALID_ARGUMENT"]


class DeadlineExceeded(ServingError):
    """No answer came in time."""

    code = CODES["DEADLINE_EXCEEDED"]


class NotFound(ServingError):
    """The server has no such model, or no such version of it."""

    code = CODES["NOT_FOUND"]


class AlreadyExists(ServingError):
    """The object to be created exists."""

    code = CODES["ALREADY_EXISTS"]


class PermissionDenied(ServingError):
    """The server, or a proxy before it, knows the caller and refuses."""

    code = CODES["PERMISSION_DENIED"]


class ResourceExhausted(ServingError):
    """Out of memory or quota, or a message larger than the server or a proxy allows."""

    code = CODES["RESOURCE_EXHAUSTED"]


class FailedPrecondition(ServingError):
    """The server is not in the right state: an unknown signature, a label on a version that is not loaded, a variable that is missing."""

    code = CODES["FAILED_PRECONDITION"]


class Aborted(ServingError):
    """The server gave up the call because of another one."""

    code = CODES["ABORTED"]


class OutOfRange(ServingError):
    """A value beyond the valid range."""

    code = CODES["OUT_OF_RANGE"]


class Unimplemented(ServingError):
    """The server does not have the method, or lacks an operation that the model needs."""

    code = CODES["UNIMPLEMENTED"]


class Internal(ServingError):
    """The server failed."""

    code = CODES["INTERNAL"]


class Unavailable(ServingError):
    """No server can be reached, or it is overloaded. The only error after which a call is sent again."""

    code = CODES["UNAVAILABLE"]


class DataLoss(ServingError):
    """Stored data is damaged."""

    code = CODES["DATA_LOSS"]


class Unauthenticated(ServingError):
    """The caller is not authenticated: a token is missing or has expired."""

    code = CODES["UNAUTHENTICATED"]


_NAMES = {number: name for name, number in CODES.items()}
_KINDS = {kind.code: kind for kind in ServingError.__subclasses__()}
_STATUSES = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    408: DeadlineExceeded,
    409: Aborted,
    413: ResourceExhausted,
    429: ResourceExhausted,
    499: Cancelled,
    500: Internal,
    501: Unimplemented,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def from_code(code: int, message: str) -> ServingError:
    """The error of a gRPC code; `Unknown` for any other number."""
    return _KINDS.get(code, Unknown)(message)


def from_http(status: int, message: str) -> ServingError:
    """The error of an HTTP status; 400 stands for three codes and becomes `InvalidArgument`."""
    return _STATUSES.get(status, Unknown)(message)
