"""Prepared datasets: `write` makes them from any source, `tfrecord:GLOB` (or the folder) reads them in the same order.

A folder of shards `pictures-00000-of-00004.tfrecord`, whose examples hold pictures as PNG or JPEG, and `dataset.json`,
written last. Example i stands in shard i modulo the number of shards, so that reading all shards by turns gives the
first order again.
"""

import json
import os
import uuid
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from data import files
from data.images import decode, encode_jpeg, encode_png, square
from data.quarantine import Quarantine
from data.sources.layout import join
from data.sources.parallel import ordered_map, read_good
from data.sources.protocol import Source, SourceError, digest, resolve

ENCODINGS = {"png": encode_png, "jpeg": encode_jpeg}
_PICTURES = ("image", "source", "target")
_FACTS = "dataset.json"


def write(
    source: Source,
    out_dir: str,
    size: int | None,
    fit: str,
    shards: int,
    progress: Callable[[int], None] | None = None,
    encoding: str = "png",
    quarantine: Quarantine | None = None,
) -> dict:
    """Write `source` as `shards` files under `out_dir` and return what `dataset.json` then holds.

    `encoding` is png (exact) or jpeg (quality 95; masks stay PNG); `progress` is called with the number written so far.
    Files have their final names only when all are complete. Raises SourceError when a prepared dataset is there
    already.
    """
    import tensorflow as tf

    if shards < 1 or encoding not in ENCODINGS:
        raise ValueError(f"shards must be at least 1 and encoding png or jpeg, not {shards} and {encoding!r}")
    gfile = tf.io.gfile
    if gfile.exists(join(out_dir, _FACTS)):
        raise SourceError(f"{out_dir} already holds a prepared dataset; choose another folder or delete it")
    gfile.makedirs(out_dir)
    quarantine = Quarantine() if quarantine is None else quarantine
    names = [f"pictures-{shard:05}-of-{shards:05}.tfrecord" for shard in range(shards)]
    run = uuid.uuid4().hex
    temporary = [join(out_dir, f".{name}.{run}") for name in names]
    count = 0
    try:
        with ExitStack() as stack:
            writers = [stack.enter_context(tf.io.TFRecordWriter(path)) for path in temporary]
            examples = source.examples(size, fit, quarantine)
            for record in ordered_map(lambda example: _serialise(example, ENCODINGS[encoding]), examples):
                writers[count % shards].write(record)
                count += 1
                if progress:
                    progress(count)
        for path, name in zip(temporary, names, strict=True):
            gfile.rename(path, join(out_dir, name), overwrite=True)
    finally:
        for path in filter(gfile.exists, temporary):
            gfile.remove(path)
    facts = {
        "classes": list(source.classes),
        "keys": sorted(source.keys),
        "count": count,
        "size": size,
        "fit": fit,
        "shards": shards,
        "encoding": encoding,
        "source": source.spec,
        "left_out": len(quarantine),
        "fingerprint": digest("tfrecord", source.fingerprint(), size, fit, encoding, count),
    }
    files.write(join(out_dir, _FACTS), (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    return facts


def _serialise(example, encode):
    import tensorflow as tf

    def feature(key, value):
        if key == "label":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if key == "caption":
            content = value.encode()
        else:
            content = encode_png(value) if key == "mask" else encode(value)
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))

    features = {key: feature(key, value) for key, value in example.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class TfRecord:
    """What `write` wrote. Raises SourceError when no shard matches, or `dataset.json` is missing or damaged."""

    def __init__(self, pattern: str):
        self.spec = f"tfrecord:{pattern}"
        self._shards = _match(pattern)
        facts = _read_facts(os.path.dirname(self._shards[0]))
        self.classes = tuple(facts["classes"])
        self.keys = frozenset(facts["keys"])
        self.count = facts["count"] if len(self._shards) == facts["shards"] else None
        self._written = facts["fingerprint"]

    def fingerprint(self) -> str:
        """Digest of what was written (see `write`) and of the names of the shards that are read."""
        return digest(self._written, [os.path.basename(shard) for shard in self._shards])

    def examples(self, size, fit, quarantine):
        """Yield the examples as the first source did, pictures fitted anew; see `protocol.Source`."""
        import tensorflow as tf

        shards = tf.data.Dataset.from_tensor_slices(self._shards)
        records = shards.interleave(tf.data.TFRecordDataset, cycle_length=len(self._shards), block_length=1)
        named = ((f"record {i}", record) for i, record in enumerate(records.as_numpy_iterator()))
        try:
            yield from read_good(lambda record: _parse(record, size, fit), named, quarantine, self.spec)
        except tf.errors.DataLossError as error:
            raise SourceError(f"{self.spec} is damaged: {error.message}") from error


def _match(pattern):
    import tensorflow as tf

    pattern = resolve(pattern)
    if files.is_folder(pattern):
        pattern = join(pattern, "*.tfrecord")
    shards = sorted(tf.io.gfile.glob(pattern))
    if not shards:
        raise SourceError(f"no file matches {pattern}")
    if len({os.path.dirname(shard) for shard in shards}) > 1:
        raise SourceError(f"{pattern} matches files of several folders; name one prepared dataset")
    return shards


def _read_facts(folder):
    path = join(folder, _FACTS) if folder else _FACTS
    try:
        return json.loads(files.read(path))
    except OSError:
        raise SourceError(f"there is no {path}, which `packshot prepare` writes beside its shards") from None
    except ValueError as error:
        raise SourceError(f"{path} is damaged: {error}") from error


def _parse(record, size, fit):
    import tensorflow as tf

    example = {}
    for key, feature in tf.train.Example.FromString(record).features.feature.items():
        if key == "label":
            example[key] = int(feature.int64_list.value[0])
        elif key == "caption":
            example[key] = feature.bytes_list.value[0].decode()
        elif key == "mask":
            example[key] = _fit_mask(decode(feature.bytes_list.value[0]), size, fit)
        elif key in _PICTURES:
            example[key] = decode(feature.bytes_list.value[0], size, fit)
    return example


def _fit_mask(mask, size, fit):
    # Inverted on the way, so that what `pad` adds is background (0) and not white.
    return np.ascontiguousarray(255 - square(255 - mask, size, fit)[:, :, :1])
