"""The page holds all it shows, runs nothing, loads nothing, and no file name can break it."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from shelf import inspected, product, put

from benchmarks.defects import saved
from data.inspection import cleaning, page, report, verdict


class Elements(HTMLParser):
    """Every element, and all attributes that would make a browser load something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [
            value for name, value in attributes if name in ("src", "href", "srcset", "data", "action", "poster")
        ]


def rendered(folder):
    taken, records, found = inspected(folder)
    kept = cleaning.kept(records, found)
    said = verdict.sentences(records, found, len(kept))
    return page.page(taken, found, report.as_values(taken, records, found, said, len(kept)))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    put(folder / '<script>alert("1")<.jpg', product(0).point(lambda value: value // 4))
    put(folder / "a & b 'ü\udcff\x1b[31m.jpg", product(1).point(lambda value: value // 4))
    put(folder / "cut.jpg", saved(product(2))[:2000])
    for number in range(8):
        put(folder / f"copy-{number}.jpg", product(3))
    return rendered(folder)


def test_nothing_is_loaded_and_nothing_runs(text):
    elements = Elements(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(elements.tags)
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in elements.links)
    assert not re.search(r"url\(|@import|\son\w+=", text)
    assert "default-src 'none'; img-src data:" in text


def test_pictures_are_inside_and_small(text):
    uris = {link for link in Elements(text).links if link.startswith("data:")}
    assert len(uris) == 3  # two dark ones, and the copies, which are all alike
    for uri in uris:
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert picture.format == "JPEG" and max(picture.size) == page.SIDE
    assert "and 2 more" in text and "cut.jpg" in text


def test_names_are_escaped(text):
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;" in text
    assert "a &amp; b &#39;ü\\xff\\x1b[31m.jpg" in text and "\x1b" not in text


def test_sections_name_what_was_found(text):
    for kind in ("unreadable", "dark", "exact_duplicate"):
        assert f'id="{kind}"' in text and f'href="#{kind}"' in text
    assert 'id="blurry"' not in text and "Thresholds" in text


def test_of_many_findings_the_worst_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_FINDINGS", 2)
    for number, part in enumerate((4, 8, 6)):
        put(tmp_path / f"{number}.jpg", product(number).point(lambda value, part=part: value // part))
    text = rendered(tmp_path)
    assert "1.jpg" in text and "2.jpg" in text and "0.jpg" not in text
    assert "and 1 more, which <code>--json</code> lists" in text


def test_a_clean_catalogue_says_so(tmp_path):
    put(tmp_path / "a.jpg", product(0))
    text = rendered(tmp_path)
    assert '<td colspan="3">nothing</td>' in text and "Nothing else stands out." in text
