"""`folder:PATH`: pictures in folders, a folder a class.

`<root>/<class>/*` (deeper folders belong to their class), `<root>/<split>/<class>/*`, or pictures flat in one folder
without classes. Of several splits, train is read unless another is named: `folder:PATH#validation`. The classes are those
of all splits together, so that the labels of all splits agree. Captions and attributes are read from files beside the pictures, see
`beside`; those of a file above the splits have the same values in all of them.
"""

from dataclasses import replace

from data.images import decode
from data.sources.beside import read_beside
from data.sources.layout import check_classes, choose_split, in_class_folders, split_folders
from data.sources.listing import Listing, list_folder
from data.sources.parallel import file_sizes, read_good, read_picture
from data.sources.protocol import digest, join, split_option


class Folder:
    """Pictures of a folder in sorted order, with the label of their class folder when there are any.

    Raises SourceError when there is nothing to read, or when it can be read in two ways (see `layout`).
    """

    def __init__(self, path: str):
        root, split = split_option(path)
        self._lay_out(f"folder:{path}", root, list_folder(root), split)

    def _lay_out(self, spec, root, listing: Listing, split):
        names = listing.pictures
        splits = split_folders(names, root, wanted=split)
        self._split = choose_split(splits, split, root)
        self.spec = spec
        self.root = join(root, self._split)

        inside = [_after(name, self._split) for name in names if not self._split or name.startswith(self._split + "/")]
        classed = in_class_folders(inside, self.root)
        self._names = [name for name in inside if "/" in name] if classed else inside
        tops = splits.values()
        everywhere = [name.partition("/")[2] for name in names if name.split("/")[0] in tops] if splits else names
        self.classes = tuple(sorted({name.split("/")[0] for name in everywhere if "/" in name})) if classed else ()
        check_classes(self.classes, root)
        self.count = len(self._names)
        self._beside = read_beside(root, names, listing.others, folders=dict.fromkeys(("", self._split)))
        self.attributes = self._beside.attributes
        known = {"caption"} if self._beside.captions else set()
        self.keys = frozenset({"image", *(["label"] if self.classes else []), *known, *self.attributes})

        others = [name for name in listing.others if name not in self._beside.used]
        self.left_out = replace(listing, others=others).left_out(self._split)
        for name in inside if classed else ():
            if "/" not in name:
                self.left_out.add(join(self._split, name), "lies beside the class folders")
        for name in names if splits else ():
            top, folder, _ = name.partition("/")
            if top not in tops:
                self.left_out.add(top + folder, "no split" if folder else "lies beside the splits")

    def fingerprint(self) -> str:
        """Digest of names, file sizes, classes, captions and attributes; a picture exchanged for one of as many bytes goes unseen."""
        told = [self._told(name) for name in self._names] if self._beside.used else []
        beside = [{name: list(values) for name, values in self.attributes.items()}, told] if told else []
        return digest("folder", self.classes, self._names, file_sizes(self.root, self._names), *beside)

    def captions(self):
        """Yield the caption of each picture, "" where there is none, without reading the pictures."""
        return (self._beside.captions.get(join(self._split, name), "") for name in self._names)

    def _told(self, name):
        return self._beside.of(join(self._split, name))

    def examples(self, size, fit, quarantine):
        """Yield {"image": uint8 [size, size, 3]} with "label" (int) when there are classes, "caption" and attributes when they are written
        beside the pictures; see `protocol.Source`."""
        label = {name: index for index, name in enumerate(self.classes)}

        def load(name):
            example = {"image": decode(read_picture(join(self.root, name)), size, fit=fit)}
            if self.classes:
                example["label"] = label[name.split("/")[0]]
            return example | self._told(name)

        yield from read_good(load, ((join(self._split, name), name) for name in self._names), quarantine, self.root)


def _after(name, folder):
    return name[len(folder) + 1 :] if folder else name
