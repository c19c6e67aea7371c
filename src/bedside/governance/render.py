"""A card as Markdown with the Hub's metadata, as a page, and as JSON. The same card gives the same bytes."""

from __future__ import annotations

import json
from typing import Any

from bedside.governance.card import Card

FILES = ("card.json", "card.md", "card.html")
_FOOT = "It supports a clinician's judgement and never replaces it."


def render(card: Card) -> dict[str, str]:
    """The three files of a card, by name."""
    return {"card.json": _json(card), "card.md": _markdown(card), "card.html": _page(card)}


def _json(card: Card) -> str:
    body = {
        "schema": 1,
        "title": card.title,
        "notices": list(card.notices),
        "sections": [
            {
                "title": part.title,
                "fields": [{"name": one.name, "value": one.text, "key": one.key} for one in part.fields],
            }
            for part in card.parts
        ],
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _markdown(card: Card) -> str:
    lines = [*_metadata(card), f"# {card.title}", "", _FOOT, ""]
    for notice in card.notices:
        lines += [f"> **{notice}**", ""]
    for part in card.parts:
        lines += [f"## {_plain(part.title)}", "", "| | |", "|---|---|"]
        lines += [f"| {_plain(one.name)} | {_plain(one.text)} |" for one in part.fields]
        lines.append("")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that neither ends a cell nor begins markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\|<>*_`[]#" else letter for letter in flat)


def _metadata(card: Card) -> list[str]:
    """The Hub's front matter; a JSON string is a YAML one."""
    base: dict[str, Any] = dict(card.facts["base_model"])
    lines = ["---", "pipeline_tag: text-classification", "tags:", "- medical", "- bedside"]
    if base.get("licence"):
        lines += ["license: other", f"license_name: {json.dumps(base['licence'], ensure_ascii=False)}"]
    if base.get("id") and ":" not in base["id"]:
        lines.append(f"base_model: {json.dumps(base['id'])}")
    if card.facts["macro_f1"] is not None:
        source = json.dumps(card.facts["source"] or "not stated", ensure_ascii=False)
        lines += [
            "model-index:",
            f"- name: {json.dumps(card.title.removeprefix('Model card: '), ensure_ascii=False)}",
            "  results:",
            "  - task: {type: text-classification}",
            f"    dataset: {{name: {source}, type: private}}",
            "    metrics:",
            f"    - {{type: f1, name: Macro-F1, value: {card.facts['macro_f1']:.3f}}}",
        ]
    return [*lines, "---", ""]


def _page(card: Card) -> str:
    from bedside import reporting as r

    sheet = r.Page(card.title, _FOOT, " ".join(card.notices))
    labels = [part for part in card.parts if part.title.startswith("Label: ")]
    for part in card.parts:
        if part not in labels:
            sheet.section(part.title, r.facts([(one.name, one.text) for one in part.fields]))
    if labels:
        heads = ["label", *(one.name for one in labels[0].fields)]
        rows = [[part.title.removeprefix("Label: "), *(one.text for one in part.fields)] for part in labels]
        sheet.section("Each label", r.table(heads, rows, caption="Of the model, on the test split."))
    html: str = sheet.html()
    return html
