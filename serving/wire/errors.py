"""What comes instead of an answer: one exception for each code of gRPC, with the server's sentence.

Over REST several codes share a status; `from_http` picks the one a caller most likely has to deal with.
Source: tensorflow/serving util/net_http and servables/tensorflow/http_rest_api_handler; the statuses of proxies from
RFC 9110.
"""

from .messages import CODES


class BadCall(ValueError):
    """A call that cannot be made as it was asked for: its target, its keys or its inputs. Nothing was sent."""


class ServingError(Exception):
    """What a server, or the way to it, gave instead of an answer.

    `code` is the number gRPC and TensorFlow have for it, `name` the word (as "NOT_FOUND"), `message` the sentence.
    """

    code = CODES["UNKNOWN"]

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message

    @property
    def name(self) -> str:
        return _NAMES[self.code]


class Cancelled(ServingError):
    """The call was given up before it was answered."""

    code = CODES["CANCELLED"]


class Unknown(ServingError):
    """An error without a code that is known here."""

    code = CODES["UNKNOWN"]


class InvalidArgument(ServingError):
    """The request does not fit the signature: names, types, shapes, or bytes that are no picture."""

    code = CODES["INVALID_ARGUMENT"]


class DeadlineExceeded(ServingError):
    """No answer came in time."""

    code = CODES["DEADLINE_EXCEEDED"]


class NotFound(ServingError):
    """The server has no such model, or no such version of it."""

    code = CODES["NOT_FOUND"]


class AlreadyExists(ServingError):
    """What was to be made is there."""

    code = CODES["ALREADY_EXISTS"]


class PermissionDenied(ServingError):
    """The server, or what stands before it, knows the caller and refuses."""

    code = CODES["PERMISSION_DENIED"]


class ResourceExhausted(ServingError):
    """Out of memory or quota, or a message larger than somebody on the way allows."""

    code = CODES["RESOURCE_EXHAUSTED"]


class FailedPrecondition(ServingError):
    """Not in this state: an unknown signature, a label on a version that is not loaded, a variable that is missing."""

    code = CODES["FAILED_PRECONDITION"]


class Aborted(ServingError):
    """Given up by the server for another call's sake."""

    code = CODES["ABORTED"]


class OutOfRange(ServingError):
    """A value beyond what there is."""

    code = CODES["OUT_OF_RANGE"]


class Unimplemented(ServingError):
    """The server does not know the call; an operation the model needs is missing."""

    code = CODES["UNIMPLEMENTED"]


class Internal(ServingError):
    """Something is broken on the other side."""

    code = CODES["INTERNAL"]


class Unavailable(ServingError):
    """No server can be reached, or it has no room at the moment. The only error that is worth the same call again."""

    code = CODES["UNAVAILABLE"]


class DataLoss(ServingError):
    """Stored data is damaged."""

    code = CODES["DATA_LOSS"]


class Unauthenticated(ServingError):
    """Who is calling is not known: a token is missing or stale."""

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
    """The error of a gRPC code; `Unknown` for a number that is none."""
    return _KINDS.get(code, Unknown)(message)


def from_http(status: int, message: str) -> ServingError:
    """The error of an HTTP status; 400 can be one of three codes and becomes `InvalidArgument`."""
    return _STATUSES.get(status, Unknown)(message)
