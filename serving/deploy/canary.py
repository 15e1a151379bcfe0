"""Canary deployment: a new version is loaded and then labelled, so that every label points to a loaded version.

A server accepts a label only for a version that is AVAILABLE, and a config replaces the one before as a whole. So every
move is a separate config: first the version, then the label; on the way back first the label, then the version. The
labels `stable` and `canary` always exist, so that clients can be divided between them. Both point to the same version
unless there is a canary. `previous` is the version to which a promoted canary can be rolled back.

The file is written after the server has accepted the config. A server that reads the file from time to time
(model_config_file_poll_wait_seconds) arrives at the same config.

Source: ServerCore::ReloadConfig and UpdateModelVersionLabelMap in tensorflow/serving model_servers/server_core.cc.
"""

import contextlib
import os
from typing import NamedTuple

from google.protobuf import text_format

from data import files
from data.errors import UserError
from serving.client.calls import VersionStatus
from serving.client.client import Client
from serving.wire.errors import NotFound, ServingError
from serving.wire.messages import ModelServerConfig

STABLE, CANARY, PREVIOUS = "stable", "canary", "previous"


class CannotMove(UserError):
    """The config, or what the server has loaded, does not allow the move; the message says why."""


class Served(NamedTuple):
    """State of a version in the server, and its labels in the config."""

    status: VersionStatus
    labels: list[str]


class Canary:
    """Moves the labels of one model, in a server reached by `client` (over gRPC) and in the file it was started with.

    `path` is a models.config, read on construction. Raises CannotMove if it is invalid, a server would refuse it, or it
    does not have the model; OSError if there is no such file.
    """

    def __init__(self, client: Client, path: str | os.PathLike, model: str):
        self._client, self._path, self._model = client, os.fspath(path), model
        self._config = _read(self._path)
        self._entry(self._config)

    def status(self) -> list[Served]:
        """The versions in the server, the newest first."""
        labels = self._labels()
        return [
            Served(one, sorted(label for label, number in labels.items() if number == one.version))
            for one in self._client.status(self._model)
        ]

    def prepare(self) -> int:
        """Label the served version as both `stable` and `canary`, keep to it, and return it.

        Afterwards clients can use the labels. No version is loaded.
        """
        labels = self._labels()
        stable = labels[STABLE] if STABLE in labels else self._newest()
        self._move({STABLE: stable, CANARY: labels.get(CANARY, stable)})
        return stable

    def start(self, version: int, timeout: float | None) -> int:
        """Load `version` in addition to the stable one, wait until it is AVAILABLE, and label it `canary`.

        Returns the stable version: the labelled one, or the newest loaded one. The `previous` version is unloaded. If the
        version is not AVAILABLE within `timeout` seconds, or the wait is interrupted, the old config is restored in the
        server and the file, and the ServingError is raised. Raises CannotMove if there is another canary, or no stable
        version.
        """
        labels = self._labels()
        stable = labels[STABLE] if STABLE in labels else self._newest(besides=version)
        if labels.get(CANARY, stable) not in (stable, version):
            raise CannotMove(
                f"version {labels[CANARY]} of {self._model} is the canary now; promote it or roll it back first"
            )
        if version == stable:
            raise CannotMove(f"version {version} of {self._model} is the stable one")
        before, known = self._config, self._known(version)
        self._move({STABLE: stable, PREVIOUS: None}, add=version, drop=labels.get(PREVIOUS))
        try:
            self._client.wait_available(self._model, version, timeout=timeout, unless=known)
        except BaseException:  # Ctrl-C too
            self._apply(before)
            raise
        self._move({CANARY: version})
        return stable

    def promote(self, version: int | None = None) -> tuple[int, int]:
        """Move `stable` to the canary: (from, to). The former stable version stays loaded, as `previous`.

        Raises CannotMove if there is no canary, it is not `version`, or it is not AVAILABLE.
        """
        labels = self._labels()
        stable, canary = labels.get(STABLE), labels.get(CANARY)
        if canary is None or canary == stable:
            raise CannotMove(f"{self._model} has no canary; start one first")
        if version not in (None, canary):
            raise CannotMove(f"the canary of {self._model} is version {canary}, not {version}")
        self._require(canary)
        self._move({STABLE: canary, PREVIOUS: stable})
        return stable, canary

    def rollback(self) -> tuple[int, int]:
        """Move both labels to the version before the canary, then unload the canary: (from, to).

        Before `promote` that is the stable version, after it the previous one. Raises CannotMove if there is none, or it
        is not AVAILABLE.
        """
        labels = self._labels()
        canary = labels.get(CANARY)
        back = labels.get(PREVIOUS) if labels.get(STABLE) == canary else labels.get(STABLE)
        if canary is None or back is None:
            raise CannotMove(f"{self._model} has no canary; there is nothing to roll back")
        self._require(back)
        self._move({STABLE: back, CANARY: back, PREVIOUS: None})
        self._move({}, drop=canary)
        return canary, back

    def _entry(self, config):
        for entry in config.model_config_list.config:
            if entry.name == self._model:
                return entry
        have = ", ".join(entry.name for entry in config.model_config_list.config)
        raise CannotMove(f"{self._path} has no model {self._model}; it has: {have}")

    def _labels(self):
        return dict(self._entry(self._config).version_labels)

    def _newest(self, besides=None):
        """The newest loaded version, which answers clients that name none."""
        loaded = [one.version for one in self._client.status(self._model) if one.state == "AVAILABLE"]
        others = [number for number in loaded if number != besides]
        if not others and loaded:
            raise CannotMove(
                f"the server has no version of {self._model} loaded besides {besides}, which it took by itself; "
                "with `prepare` it keeps to the one it has before the next comes"
            )
        if not others:
            raise CannotMove(f"the server has loaded no version of {self._model}")
        return max(others)

    def _known(self, version):
        """The server's status of the version; None if the server does not have it."""
        try:
            (known,) = self._client.status(self._model, version=version)
        except NotFound:
            return None
        return known

    def _require(self, version):
        known = self._known(version)
        if known is None or known.state != "AVAILABLE":
            state = "not known to the server" if known is None else known.state
            raise CannotMove(f"a label needs an AVAILABLE version, and {version} of {self._model} is {state}")

    def _move(self, labels, add=None, drop=None):
        """Change the server, then the file: set `labels` (None removes one), add and drop versions.

        Versions listed in the config stay; versions that the policies `latest` and `all` kept stay only with a label.
        """
        config = ModelServerConfig()
        config.CopyFrom(self._config)
        entry = self._entry(config)
        for label, version in labels.items():
            if version is not None:
                entry.version_labels[label] = version
            elif label in entry.version_labels:
                del entry.version_labels[label]
        listed = {*entry.model_version_policy.specific.versions, add} - {drop, None}
        entry.model_version_policy.specific.versions[:] = sorted(listed | set(entry.version_labels.values()))
        self._apply(config)

    def _apply(self, config):
        try:
            self._client.reload(config)
        except ServingError:
            # A server may have applied a part of the refused config.
            with contextlib.suppress(ServingError):
                self._client.reload(self._config)
            raise
        self._config = config
        try:
            files.write(self._path, text_format.MessageToString(config).encode())
        except OSError as error:
            raise OSError(f"the server has taken the change, but {self._path} could not be written: {error}") from error


def _read(path):
    try:
        config = text_format.Parse(files.read(path).decode(), ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise CannotMove(f"{path} is not a valid models.config: {error}") from error
    names = [entry.name for entry in config.model_config_list.config]
    if not names:
        raise CannotMove(f"{path} lists no models (model_config_list)")
    for entry in config.model_config_list.config:
        if not entry.name or names.count(entry.name) > 1:
            raise CannotMove(f"{path} has the model {entry.name!r} twice, or one without a name")
        # The server keeps an entry without a platform, and then refuses every later config too.
        if not entry.model_platform and not entry.model_type:
            raise CannotMove(f'the model {entry.name} in {path} needs a model_platform: "tensorflow"')
        if not entry.base_path.startswith("/") and not files.is_remote(entry.base_path):
            raise CannotMove(f"the base_path of {entry.name} in {path} is not absolute: {entry.base_path!r}")
    return config
