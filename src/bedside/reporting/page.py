"""A page and its blocks of text. Everything that comes from data is escaped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import bedside

_STYLE = """
:root{color-scheme:light dark;--ink:#1a2230;--paper:#fff;--soft:#f2f5f8;--line:#ccd5df;--faint:#526070;--mark:#1f6f8b;
--other:#8a5a00;--pass:#146c3a;--warn:#8a5a00;--fail:#a3212b}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf1;--paper:#12171e;--soft:#1b232d;--line:#364252;--faint:#a4b1c0;
--mark:#6cc3de;--other:#e2b25c;--pass:#6fd49a;--warn:#e2b25c;--fail:#ff8f96}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main,header,footer{max-width:74rem;margin:auto;padding:0 1rem}header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.2;margin:0;overflow-wrap:anywhere}h2{font-size:1.2rem;margin:2.4rem 0 .6rem}
h3{font-size:1rem;margin:1.6rem 0 .3rem}
p,ul.checks{max-width:52rem}.sub,footer,caption,figcaption,summary{color:var(--faint)}
caption,figcaption{text-align:left;font-size:.9rem;padding:.2rem 0;max-width:52rem}
caption span{display:block;position:sticky;left:0;max-width:min(52rem,calc(100vw - 2.2rem))}
.notice{border-left:.3rem solid var(--other);background:var(--soft);padding:.6rem .8rem;margin:1rem 0}
.box{overflow-x:auto;margin:.6rem 0}table{min-width:min(24rem,100%);border-collapse:collapse;
font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th,thead td{border-bottom:2px solid var(--line);vertical-align:bottom}
tbody tr:nth-child(even){background:var(--soft)}
td.n,th.n{text-align:right}td.n{white-space:nowrap}.i{color:var(--faint)}
figure{margin:.8rem 0}svg{display:block;max-width:100%;height:auto;color:var(--ink)}.wide svg{max-width:none}
details{margin:.3rem 0}summary{cursor:pointer;font-size:.9rem}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem;max-width:62rem}dt{color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}tbody th{font-weight:400;max-width:26rem;overflow-wrap:break-word}
.beside{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;align-items:flex-start}.beside .box{margin:0}
table.verdicts{max-width:74rem}table.verdicts td{white-space:normal}table.verdicts .todo{color:var(--faint)}
ul.checks{list-style:none;padding:0}ul.checks li{padding:.35rem 0;border-bottom:1px solid var(--line)}
.PASS{color:var(--pass)}.WARN{color:var(--warn)}.FAIL{color:var(--fail)}.INFO{color:var(--mark)}
footer{padding:2rem 1rem;font-size:.9rem}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
@media (max-width:40rem){table.verdicts,table.verdicts tbody,table.verdicts tr,table.verdicts td,table.verdicts th,
table.verdicts caption{display:block}table.verdicts thead{position:absolute;left:-99rem}table.verdicts td,
table.verdicts tbody th{border:0;padding:.1rem .4rem}
table.verdicts tr{padding:.4rem 0;border-bottom:1px solid var(--line)}
table.verdicts tbody th{font-weight:600}table.verdicts .todo::before{content:"What to do: "}
dl{grid-template-columns:1fr}dt{margin-top:.4rem}.i{display:block}table{font-size:.85rem}}
@media print{:root{color-scheme:light;--ink:#000;--paper:#fff;--soft:#f2f5f8;--line:#bbb;--faint:#444;--mark:#1f6f8b;
--other:#8a5a00;--pass:#146c3a;--warn:#8a5a00;--fail:#a3212b}@page{size:A4;margin:14mm}body{font-size:10pt}
main,header,footer{padding:0;max-width:none}table{font-size:7.5pt}td,th{padding:.15rem .3rem}.i{display:block}
.box{overflow:visible}h2{break-after:avoid;margin-top:1.4rem}figure,tr,li{break-inside:avoid}thead{display:table-header-group}
.wide svg{max-width:100%}.skip{display:none}details::details-content{content-visibility:visible;block-size:auto}}
"""
_WITH_INTERVAL = re.compile(r"([+−-]?\d[\d,]*(?:\.\d+)?%?)(?: (\([^)]*\)))?")
_RANGE = re.compile(r"[+−-]?\d[\d.,]*(?:–| to )[+−-]?\d[\d.,]*")
_EMPTY = "–"


class Status(NamedTuple):
    """A cell of a table that says PASS, WARN, FAIL or INFO, and of what."""

    status: str
    text: str = ""


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
        f'<li><strong class="{escape(status)}">{escape(status)}</strong> <strong>{escape(name)}</strong>: '
        f"{escape(text)}</li>"
        for status, name, text in rows
    )
    return f'<ul class="checks">{"".join(items)}</ul>'


def checklist(rows: Sequence[tuple[str, str, str, str]], caption: str) -> str:
    """Checks as a table that becomes a list on a narrow screen: status, check, what was found, what to do.

    The roles are written out because a browser forgets that a table is one when its cells are shown as blocks.
    """
    names = ("verdict", "check", "what was found", "what to do")
    head = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in names)
    body = "".join(
        f'<tr role="row"><td role="cell"><strong class="{escape(status)}">{escape(status)}</strong></td>'
        f'<th scope="row" role="rowheader">{escape(check)}</th><td role="cell">{escape(found)}</td>'
        f'<td role="cell" class="todo">{escape(todo)}</td></tr>'
        for status, check, found, todo in rows
    )
    return (
        f'<table class="verdicts" role="table"><caption>{escape(caption)}</caption><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def subheading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def details(summary: str, *blocks: str) -> str:
    """Blocks that are opened on demand."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(blocks)}</details>"


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table in a box of its own that scrolls where the screen is narrow.

    Numbers, and texts such as ``0.951 (0.910–0.980)``, stand to the right and are never broken; None is a dash.
    """
    numeric = [
        any(_is_figure(row[place]) for row in rows)
        and sum(not _is_figure(row[place]) and row[place] is not None for row in rows) * 2 < len(rows)
        for place in range(len(headers))
    ]
    marks = [' class="n"' if one else "" for one in numeric]
    head = "".join(  # a heading without words would be read out as one
        f'<th scope="col"{mark}>{escape(name)}</th>' if name else "<td></td>"
        for name, mark in zip(headers, marks, strict=True)
    )
    body = "".join("<tr>" + "".join(map(_placed, row, marks, range(len(marks)))) + "</tr>" for row in rows)
    title = f"<caption><span>{escape(caption)}</span></caption>" if caption else ""
    named = escape(caption or ", ".join(headers))
    return (
        f'<div class="box" tabindex="0" role="group" aria-label="{named}"><table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _placed(value: Any, mark: str, place: int) -> str:
    """A cell; the first of a row names it, unless it is a number."""
    if place == 0 and not mark and not isinstance(value, Status):
        return f'<th scope="row">{_cell(value)}</th>'
    return f"<td{mark}>{_cell(value)}</td>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_WITH_INTERVAL.fullmatch(value) or _RANGE.fullmatch(value))
    return _is_number(value)


def _cell(value: Any) -> str:
    if value is None:
        return _EMPTY
    if isinstance(value, Status):
        return f'<strong class="{escape(value.status)}">{escape(value.status)}</strong> {escape(value.text)}'.strip()
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.3f}"
    if _is_number(value):
        return f"{value:,}"
    found = _WITH_INTERVAL.fullmatch(str(value))
    if found and found[2]:
        return f'{escape(found[1])} <span class="i">{escape(found[2])}</span>'
    return escape(str(value))
