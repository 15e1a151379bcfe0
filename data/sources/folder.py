"""`folder:PATH`: pictures in folders, a folder a class.

`<root>/<class>/*` (deeper folders belong to their class), `<root>/<split>/<class>/*`, or pictures flat in one folder
without classes. Of splits train is read unless another is named: `folder:PATH#validation`. The labels of all splits
then agree, because the classes are those of all splits together.
"""

from data import files
from data.images import decode
from data.sources.layout import choose_split, join, list_pictures, split_folders
from data.sources.parallel import ordered_map, read_good
from data.sources.protocol import digest, split_option


class Folder:
    """Pictures of a folder in sorted order, with the label of their class folder when there are any.

    `ignored` counts the files whose extension is no picture's. Raises SourceError when there is nothing to read.
    """

    def __init__(self, path: str):
        root, split = split_option(path)
        names, others = list_pictures(root)
        self._lay_out(f"folder:{path}", root, names, split)
        self.ignored = len(others)

    def _lay_out(self, spec, root, names, split):
        splits = split_folders(names)
        chosen = choose_split(splits, split, root)
        self.spec = spec
        self.root = join(root, chosen)

        inside = [_after(name, chosen) for name in names if not chosen or name.startswith(chosen + "/")]
        classed = [name for name in inside if "/" in name]
        self._names = classed or inside
        self._beside = [name for name in inside if "/" not in name] if classed else []
        everywhere = [name.partition("/")[2] for name in names] if splits else names
        self.classes = tuple(sorted({name.split("/")[0] for name in everywhere if "/" in name})) if classed else ()
        self.count = len(self._names)
        self.keys = frozenset({"image", "label"} if self.classes else {"image"})

    def fingerprint(self) -> str:
        """Digest of names, file sizes and classes; a picture exchanged for one of as many bytes goes unseen."""
        sizes = list(ordered_map(lambda name: files.size(join(self.root, name)), self._names))
        return digest("folder", self.classes, self._names, sizes)

    def examples(self, size, fit, quarantine):
        """Yield {"image": uint8 [size, size, 3]} with "label" (int) when there are classes; see `protocol.Source`."""
        for name in self._beside:
            quarantine.add(name, "lies beside the class folders")
        label = {name: index for index, name in enumerate(self.classes)}

        def load(name):
            example = {"image": decode(files.read(join(self.root, name)), size, fit)}
            if self.classes:
                example["label"] = label[name.split("/")[0]]
            return example

        yield from read_good(load, ((name, name) for name in self._names), quarantine, self.root)


def _after(name, folder):
    return name[len(folder) + 1 :] if folder else name
