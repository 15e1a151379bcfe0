"""`tfds:NAME[/split]`: a dataset of TensorFlow Datasets with an `image` and perhaps a `label`; train when no split is named.

Its other class labels are attributes, and its first text feature of the names in `CAPTIONS` is the caption; of several texts the first.
NAME may hold a configuration (`mnist_corrupted/identity`), the split a slice (`train[:10%]`). Datasets are looked for,
and if need be prepared, in the folder that TFDS_DATA_DIR names.
"""

from data.facts import UNKNOWN
from data.images import decode
from data.quarantine import Quarantine
from data.sources.beside import TAKEN
from data.sources.parallel import read_good
from data.sources.protocol import SourceError, digest
from data.words import CAPTION

CAPTIONS = ("caption", "captions", "text", "description")
_ATTEMPTS = 4  # at each file: the ten of TensorFlow Datasets take minutes before it says that there is no network


class Tfds:
    """Raises SourceError when the package, the dataset or the split is missing, or when it cannot be downloaded."""

    left_out = Quarantine()

    def __init__(self, name: str):
        self.spec = f"tfds:{name}"
        self._tfds = _package()
        self._builder, self._split = _open(self._tfds, name)
        info = self._builder.info
        if "image" not in info.features:
            raise SourceError(f"{self.spec} has no feature image, but: {', '.join(info.features)}")
        label = info.features["label"] if "label" in info.features else None
        self.classes = tuple(label.names) if isinstance(label, self._tfds.features.ClassLabel) else ()
        self.attributes = {
            name: tuple(feature.names)
            for name, feature in info.features.items()
            if isinstance(feature, self._tfds.features.ClassLabel) and name not in TAKEN
        }
        self._caption = next((name for name in CAPTIONS if self._is_text(dict(info.features).get(name))), None)
        told = (["label"] if self.classes else []) + ([CAPTION] if self._caption else [])
        self.keys = frozenset({"image", *told, *self.attributes})
        self._prepare()
        self.count = self._count()

    def _is_text(self, feature):
        one = feature.feature if isinstance(feature, self._tfds.features.Sequence) else feature
        return isinstance(one, self._tfds.features.Text)

    def _prepare(self):
        from tensorflow_datasets.core.download import downloader

        downloader.MAX_RETRIES = _ATTEMPTS
        try:
            self._builder.download_and_prepare()
        except Exception as error:  # a network, a disk, a missing package, a changed web page ...
            reason = str(error).split("\n")[0]
            raise SourceError(
                f"{self.spec} is not prepared under {self._builder.data_dir}, and preparing it failed: {reason}"
            ) from error

    def _count(self):
        splits = self._builder.info.splits
        if not splits:
            return None
        try:
            return splits[self._split].num_examples
        except (KeyError, ValueError):
            raise SourceError(f"there is no split {self._split} in {self.spec}; have: {', '.join(splits)}") from None

    def fingerprint(self) -> str:
        """Digest of the dataset's full name with its version, the split and the number of examples."""
        return digest("tfds", self._builder.info.full_name, self._split, self.count)

    def captions(self):
        """Yield the captions, without decoding pictures."""
        decoders = self._tfds.decode.PartialDecoding({self._caption: True})
        for example in self._tfds.as_numpy(self._dataset(decoders)):
            yield self._text(example)

    def examples(self, size, fit, quarantine):
        """Yield {"image": uint8 [size, size, 3]} with "label" (int) when there are classes, "caption" and attributes when the dataset has
        them; see `protocol.Source`."""

        def load(example):
            loaded = {"image": decode(example["image"], size, fit=fit)}
            if self.classes:
                loaded["label"] = int(example["label"])
            if self._caption:
                loaded[CAPTION] = self._text(example)
            return loaded | {name: max(int(example[name]), UNKNOWN) for name in self.attributes}

        examples = self._tfds.as_numpy(self._dataset({"image": self._tfds.decode.SkipDecoding()}))
        named = ((f"{self._split} example {i}", example) for i, example in enumerate(examples))
        yield from read_good(load, named, quarantine, self.spec)

    def _dataset(self, decoders):
        config = self._tfds.ReadConfig(interleave_cycle_length=1)
        return self._builder.as_dataset(split=self._split, shuffle_files=False, read_config=config, decoders=decoders)

    def _text(self, example):
        value = example[self._caption]
        texts = [value] if isinstance(value, bytes) else list(value)
        return texts[0].decode(errors="replace") if texts else ""


def _package():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise SourceError(f"tfds: needs the package tensorflow-datasets ({error})") from error
    return tensorflow_datasets


def _open(tfds, name):
    """The builder and the split; whether "b" of "a/b" is a split depends on the datasets there are."""
    front, _, last = name.rpartition("/")
    for dataset, split in ((name, "train"), (front, last)):
        if dataset and "[" not in dataset:
            try:
                return tfds.builder(dataset), split
            except (ValueError, AttributeError):  # not found, or no such configuration
                continue
    raise SourceError(f"TensorFlow Datasets has no dataset {name}")
