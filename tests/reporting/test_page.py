"""A page is well formed, refers to nothing outside, escapes what comes from data, and each picture has its numbers."""

from __future__ import annotations

from html.parser import HTMLParser

from bedside.reporting import Bin, Page, Status, bars, facts, histogram, matrix, paragraph, reliability, table, verdicts

BAD = "<script>alert(1)</script>\"'&"
VOID = {"meta", "br", "link", "img", "input", "hr"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.tags, self.references = [], [], []
        self.figures: list[set[str]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag == "figure":
            self.figures.append(set())
        elif "figure" in self.open:
            self.figures[-1].add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs) -> None:
        if "figure" in self.open:
            self.figures[-1].add(tag)


def _page() -> str:
    sheet = Page(BAD, BAD, BAD)
    bins = [Bin(0.5, 0.4, 0.2, 0.6, 10), Bin(0.9, 0.8, 0.6, 0.95, 10)]
    sheet.section(
        BAD,
        paragraph(BAD),
        facts([(BAD, BAD)]),
        verdicts([("PASS", BAD, BAD)]),
        table([BAD, "n"], [[BAD, 1], [Status("WARN", BAD), None]], caption=BAD),
        bars([BAD], [3], BAD, BAD),
        reliability([(BAD, bins), (BAD, bins)], [0, 0.5, 1], [4, 6], BAD),
        histogram([0, 0.5, 1], [(BAD, [4, 6]), (BAD, [1, 0])], BAD, BAD),
        matrix([BAD, "b"], [[1, 2], [0, 3]], BAD),
    )
    return sheet.html()


def test_it_is_well_formed_escaped_and_refers_to_nothing_outside() -> None:
    html = _page()
    reader = _Reader()
    reader.feed(html)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "<script" not in html
    assert all(one.startswith("#") for one in reader.references)
    assert "url(" not in html
    assert "@import" not in html


def test_every_picture_has_its_numbers_in_a_table() -> None:
    reader = _Reader()
    reader.feed(_page())
    assert len(reader.figures) == 4
    assert all({"svg", "table"} <= tags for tags in reader.figures)


def test_a_figure_with_its_interval_stands_to_the_right_and_is_not_broken() -> None:
    html = table(["figure", "value"], [["a", "0.977 (0.948–0.995)"], ["b", "1.000 (no interval)"]])
    assert html.count('<td class="n">') == 2
    ranges = table(["figure", "interval"], [["a", "0.948–0.995"], ["b", "-2.872 to 0.105"]])
    assert ranges.count('<td class="n">') == 2
    assert '0.977 <span class="i">(0.948–0.995)</span>' in html
    assert "td.n{white-space:nowrap}" in _page()
