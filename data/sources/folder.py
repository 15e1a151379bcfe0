"""`folder:PATH`: pictures in folders, a folder a class.

`<root>/<class>/*` (deeper folders belong to their class), `<root>/<split>/<class>/*`, or pictures flat in one folder
without classes. Of several splits, train is read unless another is named: `folder:PATH#validation`. The classes are those
of all splits together, so that the labels of all splits agree.
"""

from data.images import decode
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
        self.keys = frozenset({"image", "label"} if self.classes else {"image"})

        self.left_out = listing.left_out(self._split)
        for name in inside if classed else ():
            if "/" not in name:
                self.left_out.add(join(self._split, name), "lies beside the class folders")
        for name in names if splits else ():
            top, folder, _ = name.partition("/")
            if top not in tops:
                self.left_out.add(top + folder, "no split" if folder else "lies beside the splits")

    def fingerprint(self) -> str:
        """Digest of names, file sizes and classes; a picture exchanged for one of as many bytes goes unseen."""
        return digest("folder", self.classes, self._names, file_sizes(self.root, self._names))

    def examples(self, size, fit, quarantine):
        """Yield {"image": uint8 [size, size, 3]} with "label" (int) when there are classes; see `protocol.Source`."""
        label = {name: index for index, name in enumerate(self.classes)}

        def load(name):
            example = {"image": decode(read_picture(join(self.root, name)), size, fit=fit)}
            if self.classes:
                example["label"] = label[name.split("/")[0]]
            return example

        yield from read_good(load, ((join(self._split, name), name) for name in self._names), quarantine, self.root)


def _after(name, folder):
    return name[len(folder) + 1 :] if folder else name
