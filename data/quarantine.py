"""The account of a source: what was left out, and why."""

import threading
from collections import Counter

from data import files

NO_PICTURE = "not a picture by its name"
_SHOWN = 5


class Quarantine:
    """Names with reasons, and counts of other files; several threads may add to it. A name is kept once, with its first reason.

    A name is that of a picture, or of a folder with all that is in it, and then ends in "/". True when anything was left out; its length
    is the number of names.
    """

    def __init__(self):
        self._reasons: dict[str, str] = {}
        self._others: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, name: str, reason: str) -> None:
        """Note that the picture (or "folder/") `name` was left out because of `reason`."""
        with self._lock:
            self._reasons.setdefault(name, reason)

    def pass_over(self, extension: str, count: int) -> None:
        """Note that there are `count` files whose `extension` (".dng", or "") is no picture's."""
        with self._lock:
            self._others[extension] = count

    def extend(self, other: "Quarantine") -> None:
        """Add all that `other` holds."""
        for name, reason in other.items:
            self.add(name, reason)
        for extension, count in other.others.items():
            self.pass_over(extension, count)

    @property
    def items(self) -> list[tuple[str, str]]:
        """(name, reason) in the order in which they were added."""
        with self._lock:
            return list(self._reasons.items())

    @property
    def others(self) -> dict[str, int]:
        """{extension: how many files}, the most frequent first."""
        with self._lock:
            return dict(Counter(self._others).most_common())

    def __len__(self) -> int:
        return len(self._reasons)

    def __bool__(self) -> bool:
        return bool(self._reasons or self._others)

    def sentence(self, total: int | None = None) -> str:
        """One line for people, such as "2 of 120 pictures were left out: a.jpg (truncated), b.jpg (the file is empty); 6 other files were
        passed over (6 .dng)".
        """
        names, of = self.items, "" if total is None else f" of {total}"
        pictures = [item for item in names if not item[0].endswith("/")]
        folders = [item for item in names if item[0].endswith("/")]
        parts = []
        if pictures:
            single = len(pictures) == 1 and total in (None, 1)
            were = "picture was" if single else "pictures were"
            parts.append(f"{len(pictures):,}{of} {were} left out: {_listed(pictures)}")
        if folders:
            parts.append(f"{_counted(len(folders), 'folder')} passed over: {_listed(folders)}")
        if self._others:
            shown = [
                f"{count:,} {_shown(extension) or 'without an extension'}" for extension, count in self.others.items()
            ]
            kinds = ", ".join(shown[:_SHOWN]) + (" ..." if len(shown) > _SHOWN else "")
            parts.append(f"{_counted(sum(self.others.values()), 'other file')} passed over ({kinds})")
        if not parts:
            return "no picture was left out" if total is None else f"none{of} pictures was left out"
        return "; ".join(parts)

    def tell(self, say, of: str = "", *, path: str | None = None) -> None:
        """Say what was left out, if anything was, after `of` ("folder:photos: "), and write the list to `path`. Raises OSError."""
        if path and (self or files.exists(path)):
            self.write(path)
        if self:
            say(of + self.sentence() + (f"; the list is in {path}" if path else ""))

    def write(self, path: str) -> None:
        """Write a JSON list of {"name", "reason"} in one go; other files are counted by extension: {"name": "*.dng", "reason", "count"}.

        Raises OSError.
        """
        rows = [{"name": name, "reason": reason} for name, reason in self.items]
        rows += [
            {"name": f"*{extension}" if extension else "without an extension", "reason": NO_PICTURE, "count": count}
            for extension, count in self.others.items()
        ]
        files.write_json(path, rows)


def _listed(items):
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(f"{_shown(name)} ({_shown(reason)})" for name, reason in items[:_SHOWN]) + more


def _shown(text):
    return text if text.isprintable() else ascii(text)


def _counted(count, what):
    return f"{count:,} {what} was" if count == 1 else f"{count:,} {what}s were"
