"""Progress hands on what it was given, and says how far it is: a bar on a terminal, plain lines elsewhere."""

import sys

import pytest

from trainer import console


def test_lines_now_and_then_where_nobody_watches(monkeypatch, capsys):
    clock = iter([0, 5, 21, 21, 22])  # began; after one, after two, said, after three
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock, 22))
    assert list(console.progress(iter("abc"), 1200, "reading")) == list("abc")
    assert list(console.progress([], 0, "reading")) == []
    out, err = capsys.readouterr()
    assert out == "" and err == "reading: 2 of 1,200\n"


def test_a_line_without_a_total(monkeypatch, capsys):
    monkeypatch.setattr(console, "SECONDS", 0)
    assert list(console.progress(range(2), None, "reading")) == [0, 1]
    assert capsys.readouterr().err.splitlines() == ["reading: 1", "reading: 2"]


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(console.progress(range(3), 3, "reading")) == [0, 1, 2]
    assert "reading" in capsys.readouterr().err


def test_what_breaks_the_work_comes_through():
    def items():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(console.progress(items(), 2, "reading"))
