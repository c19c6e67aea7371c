"""The label audit: what is wrong with the labels, before anyone trains on them.

Each part counts and proposes: labels that look like one, texts under several labels, labels that are lists, labels that
are probably wrong, and labels that their text gives away. Nothing is merged, dropped or relabelled here, and no text of
a case is in what it returns: names of labels, counts, row numbers of the file and pseudonyms.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.labels import lookalikes
from bedside.data.leaks import CONCLUSIONS, Finder, Mention, holds_code
from bedside.data.masking import TOKEN, Phrase, mask_list, masked, phrases_of
from bedside.data.negation import PRESENT
from bedside.data.suspects import FEWEST_CASES, FOLDS, Suspects, features, find_suspects, folds_of, out_of_fold, sample
from bedside.protocol import AuditSection

if TYPE_CHECKING:
    import polars as pl

DISGUISED = 0.2  # share of the repeated texts that stand under several labels: above chance errors, below a habit
_FEWEST_REPEATED = 20  # texts that occur again, before anything is said of them
_HABIT = 5  # texts that a pair of labels must share before it is a habit and no accident
_HABITUAL = 0.5  # share of the texts under several labels that hold such a pair
_MOST_TEXTS = 0.5  # share of all texts from which a single label is no longer a task
_FEWEST_LISTS = 2
_DELIMITERS = (";", "|", ",", "/")
_LISTED = 10
_LEAKS = 0.01  # share of texts that state their label, from which it is worth measuring what masking costs
_FIRST = 20
_MOST_FOR_DROP = 5_000
_RESAMPLES = 1_000
_FEW_LABELS_WRONG = 0.01


@dataclass(frozen=True)
class Audited:
    """The rows that are audited; each list is [rows].

    Attributes:
        texts: as they are learned from.
        stated: as they were before masking; the same where nothing is masked.
        labels: given labels.
        exact: number of each row's text.
        groups: number of each row's group of patients and near-duplicates.
        keys: of each group: a name that does not depend on the order of rows.
        ids: pseudonyms of the cases.
        rows: numbers in the file.
    """

    texts: Sequence[str]
    stated: Sequence[str]
    labels: Sequence[str]
    exact: NDArray[np.int64]
    groups: NDArray[np.int64]
    keys: Sequence[str]
    ids: Sequence[str]
    rows: Sequence[Any]


def audit_labels(
    cases: Audited,
    section: AuditSection,
    *,
    codes: Mapping[str, str],
    language: str = "en",
    seed: int,
    progress: Progress = SILENT,
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Audit the labels.

    Args:
        cases: the rows.
        section: what is asked for.
        codes: ICD-10 code of a label, where there is one.
        language: of the notes, for what is denied and where sections begin.
        seed: of the study.
        progress: told of what takes long.

    Returns:
        The account, and a table of suspects: ``case_id, row, label, suggested, margin``.
    """
    names = sorted(set(cases.labels))
    found: dict[str, Any] = {
        "lookalikes": _lookalikes(cases.labels),
        "several": several(cases),
        "lists": label_lists(Counter(cases.labels)),
    }
    rows = sample(cases.groups, cases.keys, section.cases, derive(seed, "audit", "sample"))
    drawn = _part(cases, rows if section.cases else rows[:0])
    found["sampled"] = {"cases": len(drawn.labels), "of": len(cases.labels), "most": section.cases}
    phrases = phrases_of(names, section.synonyms, codes)
    found["leaks"] = leaks = stated_labels(drawn, phrases, language, progress)
    leaks["mask"] = section.leaks == "mask"
    # Where most texts have several labels no single one is wrong, and a model that looks for it would say nothing.
    asked = found["several"]["contradictory"] < _MOST_TEXTS * found["several"]["texts"]
    probabilities = _probabilities(drawn, drawn.texts, names, seed, progress) if asked else None
    table, found["suspects"] = _suspects(drawn, probabilities, names)
    if asked and (leaks["mask"] or leaks["cases"] >= _LEAKS * max(leaks["of"], 1)):
        leaks["masking"] = _cost_of_masking(drawn, probabilities, mask_list(phrases), names, seed, progress)
    found["verdicts"] = verdicts(found)
    return found, table


def _part(cases: Audited, rows: NDArray[np.int64]) -> Audited:
    """Some of the rows."""
    held = rows.tolist()
    texts, stated, labels, ids, numbers = (
        [one[row] for row in held] for one in (cases.texts, cases.stated, cases.labels, cases.ids, cases.rows)
    )
    return Audited(texts, stated, labels, cases.exact[rows], cases.groups[rows], cases.keys, ids, numbers)


def _lookalikes(labels: Sequence[str]) -> list[dict[str, Any]]:
    counts = Counter(labels)
    return [
        {"label": old, "cases": counts[old], "as": new, "its_cases": counts[new]}
        for old, new in lookalikes(counts).items()
    ]


def several(cases: Audited) -> dict[str, Any]:
    """Equal texts under different labels: how many, which labels, and whether that is a habit.

    Many accidents (a note filed twice, a coder in doubt) put a text under two labels now and then. It is a habit, and
    the task has several labels a text, where at least a fifth of the texts that occur again stand under several labels
    and at least half of these hold a pair of labels that five texts or more share.
    """
    held: dict[int, Counter[str]] = defaultdict(Counter)
    places: dict[int, list[Any]] = defaultdict(list)
    for text, label, row in zip(cases.exact.tolist(), cases.labels, cases.rows, strict=True):
        held[text][label] += 1
        places[text].append(row)
    repeated = [text for text, counts in held.items() if counts.total() > 1]
    bad = [text for text in repeated if len(held[text]) > 1]
    pairs = Counter(pair for text in bad for pair in combinations(sorted(held[text]), 2))
    habits = {pair for pair, texts in pairs.items() if texts >= _HABIT}
    habitual = sum(any(pair in habits for pair in combinations(sorted(held[text]), 2)) for text in bad)
    share = len(bad) / len(repeated) if repeated else 0.0
    largest = sorted(bad, key=lambda text: (-len(held[text]), -held[text].total(), str(places[text][0])))[:_LISTED]
    return {
        "rows": len(cases.labels),
        "texts": len(held),
        "repeated": len(repeated),
        "contradictory": len(bad),
        "fewest_labels": min((len(held[text]) for text in bad), default=0),
        "most_labels": max((len(held[text]) for text in bad), default=0),
        "share_of_repeated": round(share, 6),
        "pairs": [{"labels": list(pair), "texts": texts} for pair, texts in _commonest(pairs)],
        "largest": [{"labels": sorted(held[text]), "rows": places[text][:_LISTED]} for text in largest],
        "habit": len(repeated) >= _FEWEST_REPEATED and share >= DISGUISED and habitual >= _HABITUAL * len(bad),
    }


def _commonest(pairs: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]


def label_lists(counts: Mapping[str, int]) -> dict[str, Any]:
    """Labels that are lists: with a delimiter, each part of which is a label too, or a part of another list."""
    best: dict[str, Any] = {"delimiter": None, "labels": [], "cases": 0}
    for sign in _DELIMITERS:
        parts = {label: _parts(label, sign) for label in counts if sign in label}
        lists = {label: found for label, found in parts.items() if len(found) > 1}
        spread = Counter(one for found in lists.values() for one in set(found))
        plain = {label.casefold() for label in counts if label not in lists}
        told = [label for label, found in lists.items() if all(one in plain or spread[one] > 1 for one in found)]
        cases = sum(counts[label] for label in told)
        if len(told) >= _FEWEST_LISTS and cases > best["cases"]:
            shown = sorted(told, key=lambda label: (-counts[label], label))[:_LISTED]
            labels = len({one for label in told for one in lists[label]} | plain)
            best = {"delimiter": sign, "lists": len(told), "labels": shown, "cases": cases, "single": labels}
    return best


def _parts(label: str, sign: str) -> list[str]:
    return [part for one in label.split(sign) if (part := " ".join(one.split()).casefold())]


def stated_labels(
    cases: Audited, phrases: Mapping[str, Sequence[Phrase]], language: str = "en", progress: Progress = SILENT
) -> dict[str, Any]:
    """How many texts state their own label, label by label, beside how many texts of other labels state it."""
    finder = Finder(phrases, language)
    own: Counter[str] = Counter()
    others: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    listed, section, coded, only_other, unstated = [], 0, 0, 0, 0
    for text in cases.stated[:_FIRST]:  # compiles the rules that most notes need, so that the estimate is of the notes
        finder.mentions(text)
    with progress.task("looking for labels in texts", total=len(cases.labels), unit="notes") as task:
        for text, label, row in zip(cases.stated, cases.labels, cases.rows, strict=True):
            mentions = finder.mentions(text)
            told = [one for one in mentions if one.status == PRESENT]
            mine = [one for one in told if one.label == label]
            if mine:
                own[label] += 1
                kinds.update({one.kind for one in mine})
                section += any(one.section in CONCLUSIONS for one in mine)
                listed.append(row)
            others.update({one.label for one in told} - {label})
            only_other += bool(told) and not mine
            unstated += _only_denied(mentions, label) and not mine
            coded += holds_code(text)
            task.advance()
    counts = Counter(cases.labels)
    total = len(cases.labels)
    return {
        "of": total,
        "cases": len(listed),
        "rows": listed[:200],
        "kinds": {kind: kinds[kind] for kind in sorted(kinds)},
        "in_a_conclusion": section,
        "mentioned_not_stated": unstated,
        "state_only_another": only_other,
        "hold_a_code": coded,
        "labels": {
            label: {
                "cases": counts[label],
                "stated": own[label],
                "share": round(own[label] / counts[label], 6),
                "share_elsewhere": round(others[label] / max(total - counts[label], 1), 6),
                "phrases": [one.text for one in phrases[label]],
            }
            for label in sorted(counts)
        },
    }


def _only_denied(mentions: Sequence[Mention], label: str) -> bool:
    return any(one.label == label for one in mentions)


def _targets(labels: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(names)}
    return np.asarray([numbers[label] for label in labels], dtype=np.int64)


def _probabilities(
    cases: Audited, texts: Sequence[str], names: Sequence[str], seed: int, progress: Progress
) -> NDArray[np.float64] | None:
    """Out-of-fold probabilities, or ``None`` where there are too few cases to say anything."""
    if len(cases.labels) < FEWEST_CASES or len(set(cases.labels)) < 2:
        return None
    targets = _targets(cases.labels, names)
    folds = folds_of(cases.groups, targets, cases.keys, seed)
    if folds is None:
        return None
    return out_of_fold(features(texts), targets, folds, len(names), progress)


def _suspects(
    cases: Audited, probabilities: NDArray[np.float64] | None, names: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, Any] | None]:
    """The table of suspects, and its account."""
    import polars as pl

    kinds = {"case_id": pl.String, "row": pl.String, "label": pl.String, "suggested": pl.String, "margin": pl.Float64}
    if probabilities is None:
        return pl.DataFrame(schema=kinds), None
    targets = _targets(cases.labels, names)
    found: Suspects = find_suspects(probabilities, targets)
    rows = found.rows.tolist()
    given, meant = [cases.labels[row] for row in rows], [names[number] for number in found.suggested.tolist()]
    table = pl.DataFrame(
        {
            "case_id": [cases.ids[row] for row in rows],
            "row": [str(cases.rows[row]) for row in rows],
            "label": given,
            "suggested": meant,
            "margin": [round(value, 4) for value in found.margin.tolist()],
        },
        schema=kinds,
    )
    counts, per = Counter(cases.labels), Counter(given)
    pairs = Counter(zip(given, meant, strict=True))
    return table, {
        "cases": len(rows),
        "of": len(cases.labels),
        "estimated": round(found.estimated, 1),
        "accuracy": round(float((probabilities.argmax(axis=1) == targets).mean()), 6),
        "folds": FOLDS,
        "labels": {label: {"cases": counts[label], "suspects": per[label]} for label in sorted(counts)},
        "pairs": [{"label": pair[0], "suggested": pair[1], "cases": cases_} for pair, cases_ in _commonest(pairs)],
    }


def _cost_of_masking(
    cases: Audited,
    known: NDArray[np.float64] | None,
    mask: Sequence[str],
    names: Sequence[str],
    seed: int,
    progress: Progress,
) -> dict[str, Any] | None:
    """Cross-validated macro-F1 of the audit's model with the labels as they are stated and with them masked.

    What is known already (the probabilities of all cases, from their texts as they are) is not computed again.
    """
    from bedside.metrics import Resamples, counts, macro_f1

    rows = sample(cases.groups, cases.keys, _MOST_FOR_DROP, derive(seed, "audit", "masking"))
    part = _part(cases, rows)
    same = len(rows) == len(cases.labels) and list(cases.texts) == list(cases.stated)
    open_ = known if same else _probabilities(part, part.stated, names, seed, progress)
    hidden = _probabilities(part, [masked(text, mask) for text in part.stated], names, seed, progress)
    if open_ is None or hidden is None:
        return None
    targets = _targets(part.labels, names)
    called = [one.argmax(axis=1) for one in (open_, hidden)]
    drawn = Resamples.of(part.groups.tolist(), _RESAMPLES, derive(seed, "audit", "bootstrap"))

    def figures(weights: NDArray[Any]) -> NDArray[np.float64]:
        scores = [macro_f1(counts(weights, targets, one, len(names))) for one in called]
        return np.stack([scores[0], scores[1], scores[1] - scores[0]], axis=1)

    value = figures(np.ones((1, len(targets))))[0]
    low, high = np.quantile(drawn.apply(figures), [0.025, 0.975], axis=0)
    figure = [
        {"value": round(float(value[at]), 6), "low": round(float(low[at]), 6), "high": round(float(high[at]), 6)}
        for at in range(3)
    ]
    return {
        "n": len(targets),
        "token": TOKEN,
        "stated": figure[0],
        "masked": figure[1],
        "difference": figure[2],
        "method": f"{FOLDS}-fold, out of fold; percentile bootstrap by group, {_RESAMPLES} resamples, 95 %",
    }


def verdicts(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The audit's rows of the verdict table."""
    made = (_several_row(found), _lists_row(found), _suspects_row(found), _leaks_row(found))
    return [row for row in made if row is not None]


def _row(check: str, verdict: str, sentence: str, what_to_do: str = "Nothing.") -> dict[str, str]:
    return {"check": check, "verdict": verdict, "sentence": sentence, "what_to_do": what_to_do}


def _several_row(found: Mapping[str, Any]) -> dict[str, str] | None:
    one = found["several"]
    check = "One label a text"
    if not one["repeated"]:
        return _row(check, "PASS", "No text occurs twice.")
    fewest, most = one["fewest_labels"], one["most_labels"]
    many = f"{fewest}" if fewest == most else f"{fewest}–{most}"
    sentence = (
        f"{one['rows']:,} rows are {one['texts']:,} texts, {one['contradictory']:,} of them under "
        f"{many if one['contradictory'] else 'several'} labels ({one['share_of_repeated']:.0%} of the "
        f"{one['repeated']:,} texts that occur again)"
    )
    if not one["habit"]:
        return _row(check, "PASS", f"{sentence}; that is no habit.")
    shown = "; ".join(f"'{a}' with '{b}': {pair['texts']:,}" for pair in one["pairs"][:3] for a, b in [pair["labels"]])
    return _row(
        check,
        "FAIL" if one["contradictory"] >= _MOST_TEXTS * one["texts"] else "WARN",
        f"{sentence}, most often {shown}. The texts have several labels each.",
        "Make it a multi-label task: one row a text with all its labels in one column, joined by a delimiter; or "
        "choose a label column that holds one a text.",
    )


def _lists_row(found: Mapping[str, Any]) -> dict[str, str] | None:
    one = found["lists"]
    if one["delimiter"] is None:
        return None
    sign = one["delimiter"]
    return _row(
        "Labels are single",
        "WARN",
        f"{one['lists']:,} labels ({one['cases']:,} cases) are lists with '{sign}' of what are labels elsewhere, such "
        f"as '{one['labels'][0]}'.",
        f"Read the column as several labels with '{sign}' between them: {one['single']:,} single labels would remain.",
    )


def _suspects_row(found: Mapping[str, Any]) -> dict[str, str] | None:
    one = found["suspects"]
    if one is None:
        return None
    check, all_ = "Labels probably right", "" if found["sampled"]["cases"] == found["sampled"]["of"] else " sampled"
    sentence = (
        f"{one['cases']:,} of {one['of']:,}{all_} cases ({one['cases'] / one['of']:.1%}) look mislabelled to a model "
        f"that never saw them and agrees with {one['accuracy']:.0%} of all labels"
    )
    if one["cases"] <= _FEW_LABELS_WRONG * one["of"]:
        return _row(check, "PASS", f"{sentence}.")
    return _row(
        check,
        "WARN",
        f"{sentence}. Some may be wrong, others only hard.",
        "Read the cases of suspects.csv from the top, with someone who may correct the source; correct it there.",
    )


def _leaks_row(found: Mapping[str, Any]) -> dict[str, str] | None:
    one = found["leaks"]
    if not one["of"]:
        return None
    check = "Texts that state their label"
    share = one["cases"] / one["of"]
    sentence = f"{one['cases']:,} of {one['of']:,} texts ({share:.1%}) state their own label, not counting denials"
    if one["in_a_conclusion"]:
        sentence += f"; {one['in_a_conclusion']:,} in a section of diagnosis or assessment"
    cost = one.get("masking")
    if cost:
        off = cost["difference"]
        sentence += (
            f". With all labels masked macro-F1 goes from {cost['stated']['value']:.3f} to "
            f"{cost['masked']['value']:.3f} ({off['value']:+.3f}, {off['low']:+.3f} to {off['high']:+.3f})"
        )
    if one["mask"]:
        return _row(check, "PASS", f"{sentence}. They are masked.", "Nothing: requests are masked alike.")
    if share < _LEAKS:
        return _row(check, "PASS", f"{sentence}.")
    return _row(
        check,
        "WARN",
        f"{sentence}.",
        'If the diagnosis is not yet known when the model will be asked, set leaks = "mask" under [audit], or name '
        "data.moment.",
    )
