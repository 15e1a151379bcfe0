"""The calls over HTTP: paths, codes, CORS, and the page for Prometheus. A WSGI application, run by waitress.

Source: tensorflow_serving/model_servers/{http_server,http_rest_api_handler,http_rest_api_util}.cc and util/net_http.
In addition, a body longer than the largest gRPC message is refused.
"""

import gzip
import io
import json
import re
import urllib.parse
import zlib

from google.protobuf import json_format

from serving.export.session import SessionError
from serving.server import json_tensors, json_text
from serving.server.calls import Calls
from serving.server.metrics import Metrics
from serving.server.servable import invalid
from serving.wire.messages import CODES, GetModelMetadataRequest, GetModelStatusRequest, ModelSpec, SignatureDefMap

_ASK = re.compile(
    r"(?i:/v1/models/)([^/:]+)(?:(?:(?i:/versions/)(\d+))|(?:(?i:/labels/)([^/:]+)))?:(classify|regress|predict)"
)
_TELL = re.compile(
    r"(?i:/v1/models)(?:/([^/:]+))?(?:(?:(?i:/versions/)(\d+))|(?:(?i:/labels/)([^/:]+)))?(?:/((?i:metadata)))?"
)
_HOST = re.compile(r"^https?://[^/]*", re.IGNORECASE)  # as in a request through a proxy
_OURS = re.compile(r"(?i:/v1/).*", re.DOTALL)
_HTTP = {
    "OK": "200 OK", "CANCELLED": "499 Client Closed Request", "INVALID_ARGUMENT": "400 Bad Request",
    "DEADLINE_EXCEEDED": "504 Gateway Timeout", "NOT_FOUND": "404 Not Found", "ALREADY_EXISTS": "409 Conflict",
    "PERMISSION_DENIED": "403 Forbidden", "RESOURCE_EXHAUSTED": "429 Too Many Requests",
    "FAILED_PRECONDITION": "400 Bad Request", "ABORTED": "409 Conflict", "OUT_OF_RANGE": "400 Bad Request",
    "UNIMPLEMENTED": "501 Not Implemented", "UNAVAILABLE": "503 Service Unavailable", "UNAUTHENTICATED": "401 Unauthorized",
}  # fmt: skip
_STATUS = {CODES[name]: status for name, status in _HTTP.items()}
LARGEST_BODY = 2**31 - 1
_ROOM = 64 * 2**20  # bytes: limit of an unpacked gzip body, if larger than a hundred times its packed size
_FAILED = "500 Internal Server Error"
_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
]


class Application:
    """The WSGI application.

    Args:
        calls: the `Calls` that answer.
        metrics: the metrics of the page.
        metrics_path: path of the page, "" for none.
        timeout: longest run of a model in seconds; None for no limit.
        cors: allow pages of other sites to read answers.
    """

    def __init__(
        self,
        calls: Calls,
        metrics: Metrics,
        *,
        metrics_path: str = "",
        timeout: float | None = 30.0,
        cors: bool = False,
    ):
        self._calls = calls
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._timeout = timeout
        self._cors = cors

    def __call__(self, environ, start_response):
        # To TensorFlow Serving the query is a part of the path.
        method, path = environ["REQUEST_METHOD"], _HOST.sub("", environ["REQUEST_URI"])
        headers = [("Content-Type", "application/json")]
        if self._metrics_path and path.partition("?")[0] == self._metrics_path:
            headers = [("Content-Type", "text/plain")]
            if path == self._metrics_path:
                status, text = "200 OK", self._metrics.page()
            else:
                status, text = "400 Bad Request", f"Unexpected path: {path}. Should be {self._metrics_path}"
        elif not _OURS.fullmatch(path):
            status, text, headers = (
                "404 Not Found",
                "<html><body>Not found</body></html>",
                [("Content-Type", "text/html")],
            )
        elif method == "OPTIONS" and self._cors and environ.get("HTTP_ORIGIN", "").startswith(("http://", "https://")):
            status, text = "200 OK", ""
        else:
            status, text = self._answer(method, path, environ)
        if self._cors:
            headers = headers + _CORS
        content = text.encode("utf-8", "surrogateescape")
        start_response(status, [*headers, ("Content-Length", str(len(content)))])
        return [] if method == "HEAD" else [content]  # the client would read a body as the next answer

    def _answer(self, method, path, environ):
        try:
            if method == "POST" and (match := _ASK.fullmatch(path)):
                return "200 OK", self._ask(match, environ)
            if method == "GET" and (match := _TELL.fullmatch(path)):
                return "200 OK", self._tell(match)
            raise invalid(f"Malformed request: {method} {path}")
        except _NoSuchNumber:
            return "400 Bad Request", ""
        except SessionError as error:
            return _STATUS.get(error.code, _FAILED), _error(error.message)
        except RecursionError:  # a document that can be read may be too deep to convert
            return _HTTP["INVALID_ARGUMENT"], _error("JSON Parse error: The document is nested too deeply.")
        except (MemoryError, ValueError) as error:
            return _HTTP["RESOURCE_EXHAUSTED"], _error(str(error) or "out of memory")

    def _ask(self, match, environ):
        spec = _spec(match)
        with self._calls.counted(spec.name, match[4], "REST"):
            return self._asked(match[4], spec, json_tensors.read(_body(environ)))

    def _asked(self, verb, spec, document):
        if verb == "predict":
            spec.signature_name = json_tensors.signature_name(document)
            definition = self._calls.signature(spec, spec.signature_name)
            request, by_row = json_tensors.predict_request(document, definition)
            request.model_spec.CopyFrom(spec)
            response = self._calls.predict(request, timeout=self._timeout)
            return json_tensors.predict_reply(response.outputs, by_row)
        if verb == "classify":
            request, call, reply = (
                json_tensors.classify_request(document),
                self._calls.classify,
                json_tensors.classify_reply,
            )
        else:
            request, call, reply = (
                json_tensors.regress_request(document),
                self._calls.regress,
                json_tensors.regress_reply,
            )
        spec.signature_name = request.model_spec.signature_name
        request.model_spec.CopyFrom(spec)
        return reply(call(request, timeout=self._timeout))

    def _tell(self, match):
        if not match[1]:
            raise invalid("Missing model name in request.")
        spec = _spec(match)
        options = {"always_print_fields_with_no_presence": True, "preserving_proto_field_name": True}
        if match[4] != "metadata":
            response = self._calls.get_model_status(GetModelStatusRequest(model_spec=spec))
            return json_format.MessageToJson(response, indent=1, **options)
        response = self._calls.get_model_metadata(
            GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        )
        signatures = SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        told = {
            "model_spec": json_format.MessageToDict(response.model_spec, **options),
            "metadata": {"signature_def": json_format.MessageToDict(signatures, **options)},
        }
        return json.dumps(told, indent=1)


def _error(words):
    return json_text.at(json_text.Block({"error": json_text.quoted(words)}))


class _NoSuchNumber(Exception):
    """A version number that is too large; TensorFlow Serving answers with an empty body."""


def _spec(match):
    spec = ModelSpec(name=urllib.parse.unquote(match[1]))
    if match[2]:
        if int(match[2]) >= 2**63:
            raise _NoSuchNumber
        spec.version.value = int(match[2])
    if match[3]:
        spec.version_label = urllib.parse.unquote(match[3])
    return spec


def _body(environ):
    content = environ["wsgi.input"].read()
    if "gzip" in environ.get("HTTP_CONTENT_ENCODING", ""):
        try:
            return _unzipped(content)
        except (OSError, EOFError, zlib.error) as error:
            raise invalid(f"JSON Parse error: the gzip body is damaged: {error}") from error
    return content


def _unzipped(content):
    most = min(LARGEST_BODY, max(_ROOM, 100 * len(content)))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        plain = file.read(most + 1)
    if len(plain) > most:
        raise invalid("JSON Parse error: the gzip body unfolds to more than can be taken")
    return plain
