"""A page and its blocks of text. Everything that comes from data is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import bedside

_STYLE = """
:root{color-scheme:light dark;--ink:#1a2230;--paper:#fff;--soft:#f2f5f8;--line:#ccd5df;--faint:#526070;--mark:#1f6f8b;
--other:#8a5a00;--pass:#146c3a;--warn:#8a5a00;--fail:#a3212b}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf1;--paper:#12171e;--soft:#1b232d;--line:#364252;--faint:#a4b1c0;
--mark:#6cc3de;--other:#e2b25c;--pass:#6fd49a;--warn:#e2b25c;--fail:#ff8f96}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main,header,footer{max-width:62rem;margin:auto;padding:0 1rem}header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.2;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
.sub,footer,caption,figcaption{color:var(--faint)}caption,figcaption{text-align:left;font-size:.9rem;padding:.2rem 0}
.notice{border-left:.3rem solid var(--other);background:var(--soft);padding:.6rem .8rem;margin:1rem 0}
.box{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.93rem}
th,td{padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}figure{margin:.8rem 0}svg{max-width:100%;height:auto;color:var(--ink)}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem}dt{color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}ul.checks{list-style:none;padding:0}ul.checks li{padding:.35rem 0;border-bottom:1px
solid var(--line)}.PASS{color:var(--pass)}.WARN{color:var(--warn)}.FAIL{color:var(--fail)}.INFO{color:var(--mark)}
footer{padding:2rem 1rem;font-size:.9rem}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
@media (max-width:34rem){dl{grid-template-columns:1fr}dt{margin-top:.4rem}}
@media print{body{font-size:11pt}h2{break-after:avoid}figure,tr{break-inside:avoid}.skip{display:none}}
"""


class Page:
    """One HTML page in sections."""

    def __init__(self, title: str, subtitle: str = "", notice: str = "") -> None:
        self._title, self._subtitle, self._notice = title, subtitle, notice
        self._sections: list[str] = []

    def section(self, heading: str, *blocks: str) -> None:
        """Add a section; blocks are what this room's functions return."""
        self._sections.append(f"<section><h2>{escape(heading)}</h2>{''.join(blocks)}</section>")

    def html(self) -> str:
        """The page, whole."""
        notice = f'<p class="notice">{escape(self._notice)}</p>' if self._notice else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{escape(self._title)}</title><style>{_STYLE}</style></head><body>"
            '<a class="skip" href="#content">Skip to content</a>'
            f'<header><h1>{escape(self._title)}</h1><p class="sub">{escape(self._subtitle)}</p>{notice}</header>'
            f'<main id="content">{"".join(self._sections)}</main>'
            f"<footer>bedside {bedside.__version__} supports a clinician's judgement and never replaces it.</footer>"
            "</body></html>\n"
        )


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs) + "</dl>"


def verdicts(rows: Sequence[tuple[str, str, str]]) -> str:
    """Checks: PASS, FAIL, WARN or INFO, the check's name, and a sentence."""
    items = (
        f'<li><strong class="{escape(status)}">{escape(status)}</strong> <strong>{escape(name)}</strong>: {escape(text)}</li>'
        for status, name, text in rows
    )
    return f'<ul class="checks">{"".join(items)}</ul>'


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table in a box of its own that scrolls where the screen is narrow; None is shown as a dash."""
    numeric = [
        any(_is_number(row[place]) for row in rows)
        and all(row[place] is None or _is_number(row[place]) for row in rows)
        for place in range(len(headers))
    ]
    marks = [' class="n"' if one else "" for one in numeric]
    head = "".join(f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(headers, marks, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{mark}>{_cell(value)}</td>" for value, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="box" tabindex="0"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.3f}"
    return f"{value:,}" if _is_number(value) else escape(str(value))
