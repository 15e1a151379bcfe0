"""Served models and versions: watches folders, loads new versions before it unloads old ones, takes new configurations.

The states of a version are START, LOADING, AVAILABLE, UNLOADING, END. Sources, in tensorflow_serving:
model_servers/server_core.cc (reload, labels), sources/storage_path/file_system_storage_path_source.cc (versions on disk),
core/availability_preserving_policy.cc and core/aspired_versions_manager.cc (order of loads and unloads).
"""

import concurrent.futures
import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from serving.export.session import SessionError
from serving.server.servable import Servable
from serving.wire.messages import CODES, STATES

_NUMBER = re.compile(r"\s*\+?0*([0-9]{1,19})\s*", re.ASCII)  # what TensorFlow Serving parses as an int64; 00000007 is 7
_LARGEST = 2**63 - 1
PLATFORM = "tensorflow"
_TENSORFLOW = 1  # the deprecated ModelType
_BRACKETS = " (TensorFlow, and so TensorFlow Serving, reads [ and ] in a path as a pattern: rename the folder)"


@dataclass
class Version:
    """A version of a model, loaded or not. `state` is a name of `serving.wire.messages.STATES`."""

    model: str
    number: int
    path: str
    state: str = "START"
    error: SessionError | None = None
    servable: Servable | None = None
    users: int = 0  # requests in progress
    wanted: bool = True  # by the configuration and the last search of the folders

    @property
    def state_number(self) -> int:
        return STATES[self.state]


@dataclass(frozen=True)
class RepositoryOptions:
    """Options of the repository; times in seconds."""

    poll: float = 1.0  # between searches of the folders; 0: search once
    load_threads: int = 0  # 0: in the searching thread, one version after the other
    unload_threads: int = 0
    retries: int = 5  # of a failed load
    retry_pause: float = 60.0
    labels_for_unavailable: bool = False


class Repository:
    """The models of a server. Safe to use from many threads.

    Args:
        load: (model, version, path) -> Servable; raises SessionError.
        options: see there.
        say: called with notices.
    """

    def __init__(
        self, load: Callable[[str, int, str], Servable], options: RepositoryOptions, say: Callable[[str], None]
    ):
        self._load = load
        self._habits = options
        self._say = say
        self._changed = threading.Condition()
        self._configuring = threading.Lock()
        self._entries = {}  # model -> ModelConfig
        self._labels: dict[str, dict[str, int]] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._look_now = threading.Event()
        self._stop = threading.Event()
        self._loaders = _pool(options.load_threads)
        self._unloaders = _pool(options.unload_threads)
        self._complaints = set()  # of the last search: each is reported once while it lasts
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def configure(self, config) -> None:
        """Replace the served models by those of a ModelServerConfig; wait until each new model has an available version.

        Raises SessionError with the code and the sentence of TensorFlow Serving.
        """
        with self._configuring:
            kind = config.WhichOneof("config")
            if kind is None and not self._entries:
                return
            if kind != "model_config_list":
                raise SessionError(
                    CODES["FAILED_PRECONDITION"],
                    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.",
                )
            entries = _checked(config.model_config_list.config, self._entries)
            first = not self._thread.is_alive()
            with self._changed:
                labels = self._checked_labels(entries)
                new = [name for name in entries if name not in self._entries]
                self._entries, self._labels = entries, labels
            if first:
                self._thread.start()
            self._look_now.set()
            self._await(new, first)

    @contextlib.contextmanager
    def use(self, spec):
        """The version of a ModelSpec; it is not unloaded inside the `with`. Raises SessionError."""
        with self._changed:
            version = self._find(spec)
            version.users += 1
        try:
            yield version
        finally:
            with self._changed:
                version.users -= 1
                self._changed.notify_all()

    def states(self, name: str, number: int | None = None) -> list[Version]:
        """The states of a model's versions (or of one), highest first. Raises SessionError NOT_FOUND."""
        with self._changed:
            known = self._versions.get(name, {})
            if number is not None:
                if number not in known:
                    raise SessionError(CODES["NOT_FOUND"], f"Could not find version {number} of model {name}")
                return [known[number]]
            if not known:
                raise SessionError(CODES["NOT_FOUND"], f"Could not find any versions of model {name}")
            return [known[key] for key in sorted(known, reverse=True)]

    def knows(self, name: str) -> bool:
        """True if the configuration has this model."""
        return name in self._entries

    def close(self) -> None:
        """Stop searching, finish requests in progress, and free all models."""
        self._stop.set()
        self._look_now.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        for pool in (self._loaders, self._unloaders):
            if pool:
                pool.shutdown()
        for known in self._versions.values():
            for version in known.values():
                if version.state == "AVAILABLE":
                    version.state = "UNLOADING"
                    self._unload(version)

    def _find(self, spec):
        if not spec.name:
            raise SessionError(CODES["INVALID_ARGUMENT"], "ModelSpec has no name specified.")
        known = self._versions.get(spec.name, {})
        number = spec.version.value if spec.HasField("version") else None
        if spec.WhichOneof("version_choice") == "version_label":
            number = self._labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                raise SessionError(
                    CODES["INVALID_ARGUMENT"], f"Unrecognized servable version label: {spec.version_label}"
                )
        if number is None:
            ready = [number for number, version in known.items() if version.state == "AVAILABLE"]
            if not ready:
                raise SessionError(CODES["NOT_FOUND"], f"Servable not found for request: Latest({spec.name})")
            return known[max(ready)]
        if number not in known or known[number].state != "AVAILABLE":
            raise SessionError(CODES["NOT_FOUND"], f"Servable not found for request: Specific({spec.name}, {number})")
        return known[number]

    def _checked_labels(self, entries):
        labels = {}
        for name, entry in entries.items():
            for label, number in entry.version_labels.items():
                known = self._versions.get(name, {}).get(number)
                used = self._labels.get(name, {}).get(label, number)
                may_wait = self._habits.labels_for_unavailable and used == number
                if not may_wait and (known is None or known.state != "AVAILABLE"):
                    raise SessionError(
                        CODES["FAILED_PRECONDITION"],
                        f"Request to assign label to version {number} of model {name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(name, {})[label] = number
        return labels

    def _await(self, models, first):
        def settled(name):
            known = [version for version in self._versions.get(name, {}).values() if version.wanted]
            return known and (
                any(version.state == "AVAILABLE" for version in known)
                or all(version.state == "END" for version in known)
            )

        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or all(settled(name) for name in models))
            if self._stop.is_set():
                raise SessionError(CODES["UNAVAILABLE"], "The server is shutting down.")
            failed = [
                version
                for name in models
                for version in self._versions.get(name, {}).values()
                if version.wanted and version.error
                if not any(other.state == "AVAILABLE" for other in self._versions[name].values())
            ]
        if failed:
            words = "".join(
                f"{{{{name: {version.model} version: {version.number}}} due to error: "
                f"{code_name(version.error.code)}: {version.error.message}}}, "
                for version in failed
            )
            noun = "servable" if first else "model"
            raise SessionError(CODES["UNKNOWN"], f"{len(failed)} {noun}(s) did not become available: {{{words}}}")

    def _watch(self):
        while not self._stop.is_set():
            self._look_now.clear()
            with contextlib.suppress(_Unfinished):
                self._look()
                while not self._stop.is_set() and self._step():
                    pass
            self._look_now.wait(self._habits.poll or None)

    def _look(self):
        """Search the folders for the versions that the configuration selects."""
        with self._changed:
            entries = dict(self._entries)
        wanted, complaints = {}, set()
        for name, entry in entries.items():
            try:
                wanted[name] = _wanted_versions(entry, complaints.add)
            except tf.errors.NotFoundError:
                complaints.add(f"Could not find base path {entry.base_path} for servable {name}")
            except tf.errors.OpError as error:
                complaints.add(f"Could not read base path {entry.base_path} for servable {name}: {error.message}")
        for words in sorted(complaints - self._complaints):
            self._say(words)
        self._complaints = complaints
        if len(wanted) < len(entries):
            raise _Unfinished  # a missing folder keeps all models from new versions; loaded versions stay
        with self._changed:
            for name in self._versions.keys() | wanted.keys():
                known = self._versions.setdefault(name, {})
                there = wanted.get(name, {})
                for number, path in there.items():
                    version = known.get(number)
                    if version is None or (version.state == "END" and not version.wanted):
                        known[number] = Version(name, number, path)
                for number, version in known.items():
                    version.wanted = number in there
            self._changed.notify_all()

    def _step(self):
        """Take the next step towards the wanted versions; False if there is none now."""
        with self._changed:
            for known in self._versions.values():
                stay = [version for version in known.values() if version.wanted]
                ready = any(version.state == "AVAILABLE" for version in stay)
                for version in known.values():
                    if version.state == "AVAILABLE" and not version.wanted and (ready or not stay):
                        version.state = "UNLOADING"
                        return self._do(self._unloaders, self._unload, version)
                    if version.state == "START" and not version.wanted:
                        version.state = "END"
                        return True
                new = [version for version in stay if version.state == "START"]
                if new:
                    version = max(new, key=lambda version: version.number)
                    version.state = "LOADING"
                    return self._do(self._loaders, self._bring_up, version)
        return False

    def _do(self, pool, work, version):
        if pool:
            pool.submit(work, version).add_done_callback(lambda _: self._look_now.set())
        else:
            self._changed.release()
            try:
                work(version)
            finally:
                self._changed.acquire()
        return True

    def _bring_up(self, version):
        began = time.monotonic()
        servable = error = None
        for attempt in range(self._habits.retries + 1):
            try:
                servable, error = self._load(version.model, version.number, version.path), None
                break
            except SessionError as failure:
                error = failure
            except Exception as failure:  # the server goes on, whatever a broken folder raises
                error = SessionError(CODES["INTERNAL"], str(failure))
            again = attempt < self._habits.retries and version.wanted
            self._say(
                f"{version.model} version {version.number} cannot be loaded: {error.message.splitlines()[0]}"
                + (_BRACKETS if "[" in version.path else "")
                + (f"; trying again in {self._habits.retry_pause:g} s" if again else "")
            )
            if not again or self._stop.wait(self._habits.retry_pause):
                break
        with self._changed:
            version.servable, version.error = servable, error
            version.state = "END" if error else "AVAILABLE"
            self._changed.notify_all()
        if not error:
            self._say(f"{version.model} version {version.number} is available ({time.monotonic() - began:.1f} s)")

    def _unload(self, version):
        with self._changed:
            self._changed.wait_for(lambda: not version.users)
            servable, version.servable = version.servable, None
        servable.close()
        with self._changed:
            version.state = "END"
            self._changed.notify_all()
        self._say(f"{version.model} version {version.number} is unloaded")


class _Unfinished(Exception):
    """The folders could not be read; loaded versions stay."""


def code_name(code: int) -> str:
    """The name of a code of `serving.wire.messages.CODES`."""
    return next((name for name, number in CODES.items() if number == code), "UNKNOWN")


def _pool(threads):
    return concurrent.futures.ThreadPoolExecutor(threads) if threads else None


def _checked(listed, before):
    """{name: entry} of a new list. Raises SessionError if it may not replace the entries `before`."""
    entries = {}
    for entry in listed:
        if entry.name in entries:
            raise _invalid(f"Illegal to list model {entry.name} multiple times in config list")
        entries[entry.name] = entry
    for entry in listed:
        if not entry.base_path.startswith("/") and "://" not in entry.base_path:
            raise _invalid(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )
    for entry in listed:
        platform = _platform(entry)
        if entry.name in before and platform != PLATFORM:
            raise _invalid(
                f"Illegal to change a model's platform. For model {entry.name} platform was {PLATFORM} "
                f"and new platform requested is {platform}"
            )
        if platform != PLATFORM:
            raise _invalid(f"Model {entry.name} requests unsupported platform {platform}")
    return entries


def _platform(entry):
    kind = "ModelServerConfig::model_type"
    if not entry.model_type:
        if not entry.model_platform:
            raise _invalid(f"Illegal setting neither {kind} (deprecated) nor ModelServerConfig::model_platform.")
        return entry.model_platform
    if entry.model_platform:
        raise _invalid(f"Illegal setting both {kind} (deprecated) and ModelServerConfig::model_platform.")
    if entry.model_type != _TENSORFLOW:
        raise _invalid(f"{kind} choice {entry.model_type} not supported.")
    return PLATFORM


def _invalid(words):
    return SessionError(CODES["INVALID_ARGUMENT"], words)


def _wanted_versions(entry, complain):
    """{number: path} of the versions in its folder that the policy of `entry` selects."""
    there = {}
    for name in sorted(name.rstrip("/") for name in tf.io.gfile.listdir(entry.base_path)):
        if (match := _NUMBER.fullmatch(name)) and (number := int(match[1])) <= _LARGEST:
            if number in there:
                complain(f"Duplicate version directories {name} of {entry.name}")
            there[number] = f"{entry.base_path.rstrip('/')}/{name}"
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        chosen = set(there)
    elif kind == "specific":
        chosen = there.keys() & set(policy.specific.versions)
        for number in set(policy.specific.versions) - there.keys():
            complain(
                f"Version {number} of servable {entry.name}, which was requested to be served as a 'specific' version, was not found"
            )
    else:
        chosen = set(sorted(there)[-max(1, policy.latest.num_versions) :])
    if not chosen:
        complain(f"No versions of servable {entry.name} found under base path {entry.base_path}")
    return {number: there[number] for number in chosen}
