"""Prepared datasets: `write` makes them from any source, `tfrecord:GLOB` (or the folder) reads them in the same order.

A folder of shards `pictures-00000-of-00004.tfrecord`, whose examples hold pictures as PNG or JPEG, and `dataset.json`,
written last. Example i stands in shard i modulo the number of shards, so that reading all shards by turns gives the
first order again.
"""

import json
import posixpath
import uuid
from contextlib import ExitStack
from fnmatch import fnmatchcase

import numpy as np

from data import batch as contract
from data import files
from data.images import BadPicture, decode, encode_jpeg, encode_png, square
from data.progress import Progress, silent
from data.quarantine import Quarantine
from data.sources.parallel import ordered_map, read_good
from data.sources.protocol import Source, SourceError, digest, join

ENCODINGS = {"png": encode_png, "jpeg": encode_jpeg}
_FACTS = "dataset.json"


def write(
    source: Source,
    out_dir: str,
    size: int | None,
    fit: str,
    shards: int,
    *,
    progress: Progress = silent,
    encoding: str = "png",
    quarantine: Quarantine | None = None,
) -> dict:
    """Write `source` as `shards` files under `out_dir` and return what `dataset.json` then holds.

    `encoding` is png (exact) or jpeg (quality 95; masks stay PNG); `progress` is handed the records (`data.progress`); `quarantine`
    takes what is left out. Files have their final names only when all are complete, and none is left by a failure. Raises SourceError when
    there are shards already, or nothing can be read, and OSError when they cannot be written.
    """
    import tensorflow as tf

    if shards < 1 or encoding not in ENCODINGS:
        raise ValueError(f"shards must be at least 1 and encoding png or jpeg, not {shards} and {encoding!r}")
    files.make_folder(out_dir)
    if any(name == _FACTS or name.endswith(".tfrecord") for name in files.names(out_dir) if not name.startswith(".")):
        raise SourceError(f"{out_dir} already holds a prepared dataset; choose another folder or delete it")
    quarantine = Quarantine() if quarantine is None else quarantine
    quarantine.extend(source.left_out)
    made_from = source.fingerprint()
    names = [f"pictures-{shard:05}-of-{shards:05}.tfrecord" for shard in range(shards)]
    run = uuid.uuid4().hex
    temporary = [join(out_dir, f".{name}.{run}") for name in names]
    unfinished, count = list(temporary), 0
    try:
        with files.os_errors(out_dir):
            with ExitStack() as stack:
                writers = [stack.enter_context(tf.io.TFRecordWriter(path)) for path in temporary]
                examples = source.examples(size, fit, quarantine)
                records = ordered_map(lambda example: _serialise(example, ENCODINGS[encoding]), examples)
                for record in progress(records, source.count, "writing"):
                    writers[count % shards].write(record)
                    count += 1
            for path, name in zip(temporary, names, strict=True):
                tf.io.gfile.rename(path, join(out_dir, name), overwrite=True)
                unfinished.append(join(out_dir, name))
        facts = {
            "classes": list(source.classes),
            "attributes": {name: list(values) for name, values in getattr(source, "attributes", {}).items()},
            "keys": sorted(source.keys),
            "count": count,
            "size": size,
            "fit": fit,
            "shards": shards,
            "encoding": encoding,
            "source": source.spec,
            "left_out": len(quarantine),
            "fingerprint": digest("tfrecord", made_from, size, fit, encoding, count),
        }
        files.write_json(join(out_dir, _FACTS), facts)
        unfinished.clear()
    finally:
        for path in filter(files.exists, unfinished):
            files.remove(path)
    return facts


def _serialise(example, encode):
    import tensorflow as tf

    def feature(key, value):
        kind = contract.kind(key)
        if kind.dtype == "int32":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value)))
        if kind is contract.TEXT:
            content = value.encode()
        else:
            content = encode(value) if kind is contract.PICTURE else encode_png(value)
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))

    features = {key: feature(key, value) for key, value in example.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class TfRecord:
    """Reads what `write` wrote. Raises SourceError when no shard matches, or `dataset.json` is missing or damaged."""

    left_out = Quarantine()

    def __init__(self, pattern: str):
        self.spec = f"tfrecord:{pattern}"
        self._shards = _match(pattern)
        facts = _read_facts(posixpath.dirname(self._shards[0]))
        self.classes = tuple(facts["classes"])
        self.attributes = {name: tuple(values) for name, values in facts["attributes"].items()}
        self.keys = frozenset(facts["keys"])
        self.count = facts["count"] if len(self._shards) == facts["shards"] else None
        self._written = facts["fingerprint"]

    def fingerprint(self) -> str:
        """Digest of what was written (see `write`) and of the names of the shards that are read."""
        return digest(self._written, [posixpath.basename(shard) for shard in self._shards])

    def captions(self):
        """Yield the caption of each record."""
        import tensorflow as tf

        for _, record in self._records():
            yield (
                tf.train.Example.FromString(record)
                .features.feature["caption"]
                .bytes_list.value[0]
                .decode(errors="replace")
            )

    def _records(self):
        import tensorflow as tf

        shards = tf.data.Dataset.from_tensor_slices(self._shards)
        records = shards.interleave(tf.data.TFRecordDataset, cycle_length=len(self._shards), block_length=1)
        return ((f"record {i}", record) for i, record in enumerate(records.as_numpy_iterator()))

    def examples(self, size, fit, quarantine):
        """Yield the examples as the first source did, pictures fitted anew; see `protocol.Source`."""
        import tensorflow as tf

        try:
            yield from read_good(lambda record: self._parse(record, size, fit), self._records(), quarantine, self.spec)
        except tf.errors.OpError as error:
            raise SourceError(f"{self.spec} is damaged: {error.message.splitlines()[0]}") from error

    def _parse(self, record, size, fit):
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        try:
            features = tf.train.Example.FromString(record).features.feature
        except DecodeError:
            raise BadPicture("is no tf.train.Example") from None
        example = {}
        for key in sorted(self.keys):
            kind = contract.kind(key)
            values = features[key].int64_list.value if kind.dtype == "int32" else features[key].bytes_list.value
            if not values:
                have = ", ".join(sorted(name for name in features if name not in self.keys)) or "nothing else"
                raise BadPicture(f"has no {key} of the kind that `packshot prepare` writes, but: {have}")
            if key == "label" and not 0 <= values[0] < len(self.classes):
                raise BadPicture(f"has the label {values[0]}, and there are {len(self.classes)} classes")
            if key in self.attributes and not -1 <= values[0] < len(self.attributes[key]):
                raise BadPicture(f"has the {key} {values[0]}, and there are {len(self.attributes[key])} names of it")
            example[key] = _READ[kind](values, size, fit)
        return example


def _match(pattern):
    """The shards that a folder, a file or a pattern of files names; only the last part is a pattern if the folder is there as it stands."""
    import tensorflow as tf

    pattern = files.resolve(pattern)
    folder, name = (pattern, "*.tfrecord") if files.is_folder(pattern) else posixpath.split(pattern)
    if files.is_folder(folder or "."):
        entries = [entry for entry in files.names(folder) if not entry.startswith(".")]
        shards = [join(folder, entry) for entry in entries if entry == name or fnmatchcase(entry, name)]
    else:
        shards = sorted(tf.io.gfile.glob(pattern))
    if not shards:
        raise SourceError(f"no file matches {join(folder, name)}")
    if len({posixpath.dirname(shard) for shard in shards}) > 1:
        raise SourceError(f"{pattern} matches files of several folders; name one prepared dataset")
    return shards


def _read_facts(folder):
    path = join(folder, _FACTS) if folder else _FACTS
    try:
        facts = json.loads(files.read(path))
    except FileNotFoundError:
        raise SourceError(f"there is no {path}, which `packshot prepare` writes beside its shards") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SourceError(f"{path} is damaged: {error}") from error
    for key, kind in (("classes", list), ("keys", list), ("count", int), ("shards", int), ("fingerprint", str)):
        if not isinstance(facts, dict) or not isinstance(facts.get(key), kind):
            raise SourceError(f"{path} was not written by `packshot prepare`: it has no {key}")
    if not isinstance(attributes := facts.setdefault("attributes", {}), dict):
        raise SourceError(
            f"{path} was not written by `packshot prepare`: its attributes are no names with their values"
        )
    if unknown := set(facts["keys"]) - contract.KEYS.keys() - attributes.keys():
        raise SourceError(f"{path} has keys that nothing here knows: {', '.join(map(str, sorted(unknown, key=str)))}")
    return facts


def _fit_mask(mask, size, fit):
    # Inverted on the way, so that what `pad` adds is background (0) and not white.
    return np.ascontiguousarray(255 - square(255 - mask, size, fit=fit)[:, :, :1])


# Readers of a feature, by its kind: (values, size, fit) -> value of an example.
_READ = {
    contract.PICTURE: lambda values, size, fit: decode(values[0], size, fit=fit),
    contract.MAP: lambda values, size, fit: _fit_mask(decode(values[0]), size, fit),
    contract.LABEL: lambda values, size, fit: int(values[0]),
    contract.TOKENS: lambda values, size, fit: np.array(values, np.int32),
    contract.CODES: lambda values, size, fit: np.array(values, np.int32),
    contract.TEXT: lambda values, size, fit: values[0].decode(errors="replace"),
}
