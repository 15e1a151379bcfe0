"""JSON as TensorFlow Serving reads and writes it: RapidJSON's grammar and sentences, and the layout of its PrettyWriter.

Differences from Python's `json`: `Inf` is a number; bytes that are not UTF-8 are kept (as surrogate escapes); half a
surrogate pair and a number too large for float64 are errors; and an error has an offset in bytes. Python's parser is
twenty times as fast and reads valid bodies. A body that it refuses, or may read differently, is read here. Source:
rapidjson/{reader,prettywriter}.h and error/en.h of RapidJSON 1.1.0.
"""

import json
import math
import re

import numpy as np

_ODD = re.compile(rb"\\u[dD]|[eE]\+?\d\d\d|\d{300}")  # may be half a pair, or a number too large for float64
_SPACE = re.compile(r"[ \n\r\t]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NAMED = re.compile(r"-?(?:NaN|Inf(?:inity)?)")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"n": ("null", None), "t": ("true", True), "f": ("false", False)}
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_LARGEST_FLOAT = 3.4028234e38
INDENT = "    "


class JsonError(ValueError):
    """A text that is not JSON; the message is RapidJSON's, and ends with the offset in bytes."""


def parse(body: bytes):
    """The value in `body`: dict, list, str, int, float, bool or None. Raises JsonError."""
    if not body:
        raise JsonError("The document is empty")
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if not _ODD.search(body):
        try:
            return json.loads(text, object_pairs_hook=_object)
        except (ValueError, RecursionError):
            pass
    return _Reader(text, len(body) - len(text.encode("utf-8", "surrogateescape"))).document()


def _object(pairs):
    """An object as RapidJSON searches it: of members with the same name the first counts."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else found | dict(reversed(pairs))


class _Reader:
    """Reads one text. `place` counts characters, `before` the bytes before the text."""

    def __init__(self, text, before):
        self.text = text
        self.place = 0
        self.before = before

    def document(self):
        self.skip_space()
        if self.place == len(self.text):
            raise self.error("The document is empty.")
        try:
            value = self.value()
        except RecursionError:
            raise JsonError("The document is nested too deeply.") from None
        self.skip_space()
        if self.place < len(self.text):
            raise self.error("The document root must not be followed by other values.")
        return value

    def error(self, words, place=None):
        read = self.text[: self.place if place is None else place]
        return JsonError(f"{words} at offset: {self.before + len(read.encode('utf-8', 'surrogateescape'))}")

    def peek(self):
        return self.text[self.place : self.place + 1]

    def take(self, character):
        found = self.text.startswith(character, self.place)
        self.place += found
        return found

    def skip_space(self):
        self.place = _SPACE.match(self.text, self.place).end()

    def value(self):
        first = self.peek()
        if first == "{":
            return self.object()
        if first == "[":
            return self.array()
        if first == '"':
            return self.string()
        if first in _WORDS and first:
            return self.word(*_WORDS[first])
        return self.number()

    def object(self):
        found = []
        self.place += 1
        self.skip_space()
        if self.take("}"):
            return {}
        while True:
            if self.peek() != '"':
                raise self.error("Missing a name for object member.")
            name = self.string()
            self.skip_space()
            if not self.take(":"):
                raise self.error("Missing a colon after a name of object member.")
            self.skip_space()
            found.append((name, self.value()))
            self.skip_space()
            if self.take("}"):
                return _object(found)
            if not self.take(","):
                raise self.error("Missing a comma or '}' after an object member.")
            self.skip_space()

    def array(self):
        found = []
        self.place += 1
        self.skip_space()
        if self.take("]"):
            return found
        while True:
            found.append(self.value())
            self.skip_space()
            if self.take("]"):
                return found
            if not self.take(","):
                raise self.error("Missing a comma or ']' after an array element.")
            self.skip_space()

    def word(self, word, value):
        for character in word:
            if not self.take(character):
                raise self.error("Invalid value.")
        return value

    def string(self):
        self.place += 1
        parts = []
        while True:
            plain = _PLAIN.match(self.text, self.place)
            parts.append(plain[0])
            self.place = plain.end()
            if self.take('"'):
                return "".join(parts)
            if self.peek() in ("", "\0"):
                raise self.error("Missing a closing quotation mark in string.")
            if self.peek() != "\\":
                raise self.error("Invalid escape character in string.")
            parts.append(self.escape())

    def escape(self):
        start, kind = self.place, self.text[self.place + 1 : self.place + 2]
        self.place += 2
        if kind in _ESCAPES and kind:
            return _ESCAPES[kind]
        if kind != "u":
            raise self.error("Invalid escape character in string.", start)
        code = self.hexadecimal(start)
        if 0xD800 <= code < 0xDC00:
            low = self.hexadecimal(start) if self.take("\\") and self.take("u") else 0
            if not 0xDC00 <= low < 0xE000:
                raise self.error("The surrogate pair in string is invalid.", start)
            code = 0x10000 + ((code - 0xD800) << 10 | low - 0xDC00)
        elif 0xDC00 <= code < 0xE000:
            raise self.error("The surrogate pair in string is invalid.", start)
        return chr(code)

    def hexadecimal(self, start):
        digits = re.compile("[0-9a-fA-F]{4}").match(self.text, self.place)
        if not digits:
            raise self.error("Incorrect hex digit after \\u escape in string.", start)
        self.place += 4
        return int(digits[0], 16)

    def number(self):
        start, text = self.place, self.text
        if named := _NAMED.match(text, start):
            self.place = named.end()
            return float(named[0])
        if not (whole := _NUMBER.match(text, start)):
            self.place += text.startswith("-", start)
            raise self.error("Invalid value.")
        self.place, is_float = whole.end(), False
        if self.take("."):
            is_float = True
            self.digits("Miss fraction part in number.")
        if self.peek() in ("e", "E"):
            is_float = True
            self.place += 1
            self.place += self.peek() in ("+", "-")
            self.digits("Miss exponent in number.")
        value = float(text[start : self.place])
        if math.isinf(value):
            raise self.error("Number too big to be stored in double.", start)
        return value if is_float else int(whole[0])

    def digits(self, words):
        if not (found := re.compile("[0-9]+").match(self.text, self.place)):
            raise self.error(words)
        self.place = found.end()


class Block:
    """A part of a document on several lines: {name: part} or [part, ...], where a part is a text or a Block."""

    def __init__(self, parts: dict | list):
        self.parts = parts

    def at(self, depth: int) -> str:
        """The text, for a place that is `depth` levels deep."""
        named = isinstance(self.parts, dict)
        opening, closing = "{}" if named else "[]"
        if not self.parts:
            return opening + closing
        margin = "\n" + INDENT * (depth + 1)
        if named:
            lines = [f"{quoted(name)}: {at(part, depth + 1)}" for name, part in self.parts.items()]
        else:
            lines = [at(part, depth + 1) for part in self.parts]
        return opening + margin + f",{margin}".join(lines) + "\n" + INDENT * depth + closing


class Line:
    """A list on one line."""

    def __init__(self, parts: list):
        self.parts = parts

    def at(self, depth: int) -> str:
        """The text, for a place that is `depth` levels deep."""
        return "[" + ", ".join(at(part, depth + 1) for part in self.parts) + "]"


def at(part, depth: int = 0) -> str:
    """The text of a part, which is a text, or a Block or Line laid out at `depth`."""
    return part if isinstance(part, str) else part.at(depth)


def quoted(text: str) -> str:
    """A string as JSON; characters outside ASCII are not escaped."""
    return json.dumps(text, ensure_ascii=False)


def shown(value) -> str:
    """A value as JSON for error texts."""
    if isinstance(value, float):
        return decimals(np.array(value, np.float32 if abs(value) <= _LARGEST_FLOAT else np.float64))[0]
    return json.dumps(value, ensure_ascii=False, indent=len(INDENT))


def decimals(array: np.ndarray) -> list[str]:
    """The values of a float32 or float64 array as text with a point: six digits if they read back exactly, else 9 or 17."""
    values = array.ravel()
    texts = [f"{value:.6g}" for value in values.tolist()]
    digits = 9 if array.dtype == np.float32 else 17
    for place in np.flatnonzero(np.array(texts, "U").astype(array.dtype) != values):
        texts[place] = f"{values[place]:.{digits}g}"
    return [_SPECIAL.get(text) or (text if "." in text or "e" in text else text + ".0") for text in texts]
