"""What was left out, and why."""

import json
import threading

from data import files

_SHOWN = 5


class Quarantine:
    """A list of names and reasons that several threads may add to; a name is kept once, with its first reason."""

    def __init__(self):
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, reason: str) -> None:
        """Note that the picture `name` was left out because of `reason`."""
        with self._lock:
            self._reasons.setdefault(name, reason)

    @property
    def items(self) -> list[tuple[str, str]]:
        """(name, reason) in the order in which they were added."""
        with self._lock:
            return list(self._reasons.items())

    def __len__(self) -> int:
        return len(self._reasons)

    def sentence(self, total: int | None = None) -> str:
        """One line for people, such as "2 of 120 pictures were left out: a.jpg (truncated), b.jpg (the file is
        empty)".
        """
        items = self.items
        of = "" if total is None else f" of {total}"
        if not items:
            return "no picture was left out" if total is None else f"none{of} pictures was left out"
        shown = ", ".join(f"{name} ({reason})" for name, reason in items[:_SHOWN])
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        single = len(items) == 1 and total in (None, 1)
        return f"{len(items)}{of} {'picture was' if single else 'pictures were'} left out: {shown}{more}"

    def write(self, path: str) -> None:
        """Write a JSON list of {"name", "reason"} in one go. Raises OSError."""
        rows = [{"name": name, "reason": reason} for name, reason in self.items]
        files.write(path, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
