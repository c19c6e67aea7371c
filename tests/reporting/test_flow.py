"""The flow diagram: every count is drawn and stands in its table, and nothing runs out of the picture."""

from __future__ import annotations

import re

from bedside.reporting import Page, checklist, flow

DROPPED = [("no label", 12), ("no text in any of the columns that the protocol names as the note", 1_300), ("<i>", 7)]
PARTS = [("train", 600), ("validation", 100), ("calibration", 150), ("test", 150)]


def test_every_count_is_in_the_picture_and_in_the_table() -> None:
    html = flow(("Read", 2_319), DROPPED, ("Kept", 1_000), PARTS, "Rows")
    picture, _, numbers = html.partition("</svg>")
    for count in ("2,319", "12", "1,300", "1,000", "600", "100", "150"):
        assert f">{count}" in picture and f">{count}<" in numbers
    assert "<i>" not in html and "&lt;i&gt;" in picture


def test_it_fits_a_phone() -> None:
    html = flow(("Read", 2_319), DROPPED, ("Kept", 1_000), PARTS * 2, "Rows")
    wide, high = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', html).groups())
    assert wide <= 360
    for x, y, w, h in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', html):
        assert float(x) + float(w) <= wide and float(y) + float(h) <= high
    longest = max(len(line) for line in re.findall(r">([^<]+)</text>", html))
    assert longest * 7.2 <= 200  # of a letter at 13 px, about, in a box beside the trunk


def test_the_checks_stay_a_table_when_shown_as_a_list() -> None:
    sheet = Page("Checks")
    sheet.section("All", checklist([("FAIL", "A<b", "found & seen", "do this")], "Every check."))
    html = sheet.html()
    assert "A&lt;b" in html and "found &amp; seen" in html
    for role in ("table", "rowgroup", "row", "columnheader", "rowheader", "cell"):
        assert f'role="{role}"' in html
