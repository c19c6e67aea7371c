"""Whether a card says what the evidence says, and whether the figures are those of the predictions.

A card is made again from the bundle's own files and compared line by line, so that any altered number is named. The
main figures are computed again from ``predictions.parquet`` by plain counting, apart from the code that made them.
Whoever alters evidence, figures, card and checksums alike leaves nothing to compare with; only a signature shows that.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.files import read_json, sha256_file
from bedside.governance.card import card_of
from bedside.governance.render import FILES, render

if TYPE_CHECKING:
    import polars as pl

_CLOSE = 1e-9


def check_card(folder: Path) -> list[str]:
    """A sentence for each thing in a bundle's card that is not what its files say; empty where all is well.

    Args:
        folder: the bundle.
    """
    info, labels = read_json(folder / "bundle.json"), read_json(folder / "labels.json")
    measured = folder / "metrics.json"
    metrics = read_json(measured) if measured.is_file() else {}
    faults = []
    stated = info["provenance"].get("metrics")
    if stated and measured.is_file() and sha256_file(measured) != stated:
        faults.append(f"{measured} is not the one that was measured: its SHA-256 is not that in bundle.json.")
    expected = render(card_of(info, labels, metrics))
    for name in FILES:
        path = folder / name
        if not path.is_file():
            faults.append(f"{path} is missing; make it again with: bedside package")
        else:
            faults += _differences(path, path.read_text(encoding="utf-8"), expected[name])
    return faults


def _differences(path: Path, found: str, expected: str) -> Iterator[str]:
    """Where a document differs from what it should be."""
    if found == expected:
        return
    if path.suffix == ".json" and (told_of := list(_fields(path, found, expected))):
        yield from told_of
        return
    mark = ("<", "\n<") if path.suffix == ".html" else ("", "")
    lines = [text.replace(*mark).splitlines() if mark[0] else text.splitlines() for text in (found, expected)]
    told = 0
    for number, (one, other) in enumerate(zip(*lines, strict=False), start=1):
        if one != other:
            told += 1
            where = f", line {number}" if not mark[0] else ""
            found, said = (_bare(one), _bare(other)) if _bare(one) != _bare(other) else (one, other)
            yield f"{path}{where}: found {found!r}, and the evidence says {said!r}."
    if len(lines[0]) != len(lines[1]):
        yield f"{path} has {len(lines[0]):,} lines or tags, and should have {len(lines[1]):,}."
    elif not told:
        yield f"{path} differs from what the evidence gives in its white space."


def _bare(line: str) -> str:
    """A line without the tag before it."""
    return line.partition(">")[2] or line if line.startswith("<") else line.strip()


def _fields(path: Path, found: str, expected: str) -> Iterator[str]:
    """The values in a card's JSON that differ."""
    try:
        body = json.loads(found)
        sections = [(part["title"], part["fields"]) for part in body["sections"]]
    except (ValueError, KeyError, TypeError):
        yield f"{path} is not a card; make it again with: bedside package"
        return
    should = json.loads(expected)
    for (title, fields), part in zip(sections, should["sections"], strict=False):
        for one, other in zip(fields, part["fields"], strict=False):
            if one.get("value") != other["value"]:
                yield (
                    f"{path}, {title}, {other['name']}: found {one.get('value')!r}, and {other['key'] or 'nothing'} "
                    f"says {other['value']!r}."
                )


def recompute(predictions: Path, metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each main figure that the predictions do not give.

    Accuracy, macro-F1, the confusion, and of each label the cases and the sensitivity; where a case may have several
    labels, what is stated of each label's cases.

    Args:
        predictions: ``predictions.parquet``.
        metrics: the content of ``metrics.json``.
    """
    import polars as pl

    frame = pl.read_parquet(predictions).filter(pl.col("split") == "test")
    labels: list[str] = list(metrics["labels"])
    test = metrics["test"]
    faults = [] if frame.height == test["n"] else [_said("test/n", test["n"], frame.height)]
    if metrics.get("several"):
        return faults + _cases_of_sets(frame, labels, test)
    truth, called = frame["label"].to_list(), _called(frame, labels)
    pairs = Counter(zip(truth, called, strict=True))
    table = [[pairs[one, other] for other in labels] for one in labels]
    if table != test["confusion"]:
        wrong = next(
            (one, other)
            for row, one in enumerate(labels)
            for column, other in enumerate(labels)
            if table[row][column] != test["confusion"][row][column]
        )
        place = labels.index(wrong[0]), labels.index(wrong[1])
        said = test["confusion"][place[0]][place[1]]
        faults.append(_said(f"test/confusion/{place[0]}/{place[1]}", said, table[place[0]][place[1]]))
    right = sum(pairs[one, one] for one in labels)
    expected: dict[str, float] = {"model/accuracy/value": right / frame.height}
    f1 = []
    for label in labels:
        has = sum(pairs[label, other] for other in labels)
        said = sum(pairs[other, label] for other in labels)
        if has:
            f1.append(2 * pairs[label, label] / (has + said))
            expected[f"model/per_label/{label}/sensitivity/value"] = pairs[label, label] / has
        expected[f"model/per_label/{label}/cases"] = has
    expected["model/macro_f1/value"] = sum(f1) / len(f1)
    return faults + _compared(test, expected)


def _called(frame: pl.DataFrame, labels: Sequence[str]) -> list[str]:
    """The label of the greatest probability in each row; of equal ones the first."""
    rows = frame.select([f"p_{k}" for k in range(len(labels))]).rows()
    return [labels[max(range(len(row)), key=lambda k: (row[k], -k))] for row in rows]


def _cases_of_sets(frame: pl.DataFrame, labels: Sequence[str], test: Mapping[str, Any]) -> list[str]:
    counts = Counter(label for held in frame["label"].to_list() for label in held)
    return _compared(test, {f"model/per_label/{label}/cases": counts[label] for label in labels})


def _compared(test: Mapping[str, Any], expected: Mapping[str, float]) -> list[str]:
    faults = []
    for key, value in expected.items():
        stated: Any = test
        label = key.split("/")
        steps = label if label[1] != "per_label" else [*label[:2], *_around(key)]
        for step in steps:
            stated = stated.get(step) if isinstance(stated, Mapping) else None
        if not isinstance(stated, int | float) or not math.isclose(stated, value, rel_tol=0, abs_tol=_CLOSE):
            faults.append(_said(f"test/{key}", stated, value))
    return faults


def _around(key: str) -> list[str]:
    """The label and what is said of it: a label may hold a slash."""
    rest = key.removeprefix("model/per_label/")
    for end in ("/sensitivity/value", "/cases"):
        if rest.endswith(end):
            return [rest.removesuffix(end), *end.strip("/").split("/")]
    return [rest]


def _said(key: str, found: Any, expected: Any) -> str:
    return f"metrics.json, {key}: found {found}, and the predictions give {expected}."
