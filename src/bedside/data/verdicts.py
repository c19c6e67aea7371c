"""The verdict on each check of a cohort: PASS, WARN or FAIL, in a sentence, with what to do.

A check is a small function over the account (``report.json``): it reads counts and returns a verdict, or None where the
account says nothing of its matter. FAIL means that a model trained on this cohort would not mean what it seems to mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Report = Mapping[str, Any]
FEW_TEST_CASES = 10
LANGUAGE_NAMES = {"en": "English", "es": "Spanish", "fr": "French"}
ILL_POSED = 0.6  # accuracy ceiling below which one label a text makes no sense


@dataclass(frozen=True)
class Limit:
    """Where a verdict turns, and why there."""

    value: float
    why: str


# Every threshold of this file, in one place.
LIMITS: Mapping[str, Limit] = {
    "few test cases": Limit(
        FEW_TEST_CASES,
        "with fewer, the interval of a label's sensitivity is wider than a third of the whole scale even at 9 in 10",
    ),
    "ill-posed ceiling": Limit(
        ILL_POSED,
        "below it, more than two rows in five must be called wrong whatever the model: one label a text is no question",
    ),
    "exact twins": Limit(
        0.05, "share of rows that repeat an earlier text: beyond it the table is smaller than it looks"
    ),
    "near twins": Limit(
        0.2, "share of rows with a near-duplicate: beyond it a split of rows at random would show a score from memory"
    ),
    "largest group": Limit(
        0.1, "share of all cases in one group that cannot be cut: a tenth already fills most of a test split"
    ),
    "label in text": Limit(
        0.05, "share of texts that hold their own label's words: beyond it the score is partly reading"
    ),
    "label in most texts": Limit(0.5, "share beyond which finding the word would do for a model"),
    "text beyond": Limit(0.05, "share of all text beyond 512 tokens that a model of one window would lose"),
    "text beyond, one label": Limit(0.2, "the same for the label that loses most"),
    "standardised difference": Limit(0.1, "the usual bound of balance between two groups (Austin 2009)"),
    "total variation": Limit(0.1, "a tenth of the cases would have to change their value for both sides to be alike"),
    "significance": Limit(0.05, "of Holm's corrected p-value, over all columns"),
    "telling splits apart": Limit(
        0.6,
        "AUROC of test against training notes; it is 0.5 where they are alike, and an interval above 0.5 is asked too",
    ),
    "one language": Limit(0.9, "share of the notes: below it rules of one language are wrong for too many"),
    "label share": Limit(
        0.25, "of a split's wished count of a label, and two cases at least: beyond it shares differ visibly"
    ),
}


# A check that says less than one of the label audit, and that one: where it is there, it stands alone.
CLOSER: Mapping[str, str] = {
    "Labels inside the text": "Texts that state their label",
    "One label a text makes sense": "One label a text",
}


@dataclass(frozen=True)
class Verdict:
    """One row of the verdict table."""

    check: str
    verdict: str
    sentence: str
    what_to_do: str = "Nothing."


def verdicts(report: Report) -> list[dict[str, str]]:
    """All verdicts, FAIL first, then WARN, then PASS; those that a part brings along (``verdicts`` in it) among them.

    Args:
        report: the account; a part that is absent is passed over.
    """
    theirs = [one for part in report.values() for one in _theirs(part)]
    closer = {one["check"] for one in theirs}
    found = [made for check in CHECKS if (made := check(report)) is not None]
    rows = [asdict(one) for one in found if CLOSER.get(one.check) not in closer]
    told = {one["check"] for one in rows}
    rows += [dict(one) for one in theirs if one["check"] not in told]
    order = ("FAIL", "WARN", "PASS")
    return sorted(rows, key=lambda one: order.index(one["verdict"]) if one["verdict"] in order else len(order))


def _theirs(part: Any) -> list[Mapping[str, str]]:
    """The verdicts that another part of the account brings along."""
    found = part.get("verdicts", []) if isinstance(part, Mapping) else []
    return [{"what_to_do": "", **one} for one in found]


def brief(report: Report) -> list[str]:
    """The FAIL and WARN rows in a line each, for a terminal."""
    return [
        f"{one['verdict']} ({one['check'][:1].lower()}{one['check'][1:]}): {one['sentence']}"
        for one in report.get("verdicts", [])
        if one["verdict"] in {"FAIL", "WARN"}
    ]


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cases(report: Report) -> int:
    return int(report["flow"][-1]["rows"])


def _crossings(report: Report) -> Verdict | None:
    found = report.get("crossings")
    if not found:
        return None
    total = found["patients"] + found["exact"] + found["near"]
    checked = (
        f"{found['compared_by_brute_force']:,} of {found['held_out_texts']:,} held-out texts were compared with all"
    )
    if found.get("compared_by_other_hashes"):
        checked += ", and each once more by independent hashes"
    if not total:
        return Verdict(
            "Nothing crosses the splits", "PASS", f"No patient and no duplicate stands on two sides; {checked}."
        )
    return Verdict(
        "Nothing crosses the splits",
        "FAIL",
        f"{found['patients']:,} patients, {found['exact']:,} texts and {found['near']:,} near-duplicates stand on two "
        f"sides; {checked}.",
        "Do not train on this cohort: prepare it again, and if this stays, name data.patient and report the fault.",
    )


def _duplicates(report: Report) -> Verdict | None:
    found = report.get("duplicates")
    if not found:
        return None
    rows, exact, near = _cases(report), found["exact"], found["near"]
    bad = (
        exact["beyond_first"] > LIMITS["exact twins"].value * rows
        or near["rows"] > LIMITS["near twins"].value * rows
        or report["groups"]["largest"] > LIMITS["largest group"].value * rows
    )
    sentence = (
        f"{rows:,} rows are {exact['distinct']:,} different texts; {near['rows']:,} rows ({near['rows'] / rows:.0%}) "
        f"have a near-duplicate (overlap {near['threshold']:g}); the largest group that is never cut holds "
        f"{report['groups']['largest']:,} cases."
    )
    if not bad:
        return Verdict("Duplicates", "PASS", sentence, "Nothing: duplicates stay on one side of every split.")
    return Verdict(
        "Duplicates",
        "WARN",
        sentence,
        "They stay on one side of every split, so figures are honest; take the different texts as the sample size. "
        "Ask where the copies come from: templates, exports made twice, one row a label.",
    )


def _contradictions(report: Report) -> Verdict | None:
    found = report.get("contradictions")
    if not found:
        return None
    check = "No text under two labels"
    if not found["texts"]:
        return Verdict(check, "PASS", "Equal texts have equal labels.")
    return Verdict(
        check,
        "WARN",
        f"{found['texts']:,} texts stand under more than one label ({found['rows']:,} rows): no model of the text "
        f"alone can be right on more than {found['ceiling']:.1%} of the rows.",
        "Look at the cases that report.json names in contradictions; correct the table, or merge labels (data.merge).",
    )


def _ill_posed(report: Report) -> Verdict | None:
    ceiling = (report.get("contradictions") or {}).get("ceiling", 1.0)
    if ceiling >= LIMITS["ill-posed ceiling"].value:
        return Verdict("One label a text makes sense", "PASS", f"Contradictions allow an accuracy of {ceiling:.1%}.")
    return Verdict(
        "One label a text makes sense",
        "FAIL",
        "Most texts stand under several labels, so asking for a single one is ill-posed here: at best "
        f"{ceiling:.1%} of the rows can be right.",
        "Choose another label column, or a table with one row a text that lists all its labels.",
    )


def _small_classes(report: Report) -> Verdict | None:
    least = int(LIMITS["few test cases"].value)
    labels = report["labels"]
    few = [label for label, counts in labels.items() if counts.get("test", least) < least]
    check = "Classes large enough"
    if not few:
        return Verdict(check, "PASS", f"Each of the {len(labels)} labels has {least} test cases or more.")
    each = len(few) == len(labels)
    said = f"Each of the {len(few)} labels has" if each else f"{len(few)} of {len(labels)} labels have"
    which = "" if each else f": {_listed(few, 8)}"
    return Verdict(
        check,
        "WARN",
        f"{said} fewer than {least} test cases, too few to say much of one label{which}.",
        "Collect more cases of them, merge them (data.merge) or drop them (data.rare); figures over all labels stand.",
    )


def _lookalikes(report: Report) -> Verdict | None:
    from bedside.data.labels import lookalikes

    twins = lookalikes({label: int(one["cases"]) for label, one in report["labels"].items()})
    check = "Labels that look alike"
    if not twins:
        return Verdict(check, "PASS", "No two labels differ only by case, punctuation, spaces, a plural or one letter.")
    shown = _listed([f"'{old}' = '{new}'" for old, new in twins.items()], 5)
    return Verdict(
        check,
        "WARN",
        f"Labels that look like one are kept apart: {shown}.",
        "If they mean the same, join them in the protocol with data.merge.",
    )


def _giving_away(report: Report) -> Verdict | None:
    found = report.get("giving_away")
    if found is None:
        return None
    check = "Columns that give the label away"
    kept = [f"'{name}' {how}" for name, how in found.items() if name in report["columns"]["keep"]]
    left = [f"'{name}' {how}" for name, how in found.items() if name not in report["columns"]["keep"]]
    if kept:
        return Verdict(
            check,
            "WARN",
            f"Kept, and they give it away: {_listed(kept)}.",
            "Take them out of data.keep, or use them for nothing: neither to predict nor to explain.",
        )
    if left:
        return Verdict(check, "PASS", f"They were left out: {_listed(left)}.", "Do not add them to data.keep.")
    return Verdict(check, "PASS", "There is none.")


def _label_in_text(report: Report) -> Verdict | None:
    count = report.get("label_in_text")
    if not isinstance(count, int):
        return None
    share = count / max(_cases(report), 1)
    check = "Labels inside the text"
    sentence = f"{count:,} of {_cases(report):,} texts ({share:.1%}) hold their own label's words."
    if share <= LIMITS["label in text"].value:
        return Verdict(check, "PASS", sentence)
    return Verdict(
        check,
        "FAIL" if share > LIMITS["label in most texts"].value else "WARN",
        sentence,
        "Ask whether the diagnosis was known when the note was written. If it was, cut what was written later "
        "(data.moment), or mask the words, and compare the score with and without.",
    )


def _lengths(report: Report) -> Verdict | None:
    from bedside.data.lengths import USUAL

    limits = (report.get("lengths") or {}).get("limits", [])
    usual = next((one for one in limits if one["tokens"] == USUAL), None)
    if usual is None:
        return None
    label, worst = max(usual["labels"].items(), key=lambda item: item[1]["beyond"])
    check = f"Notes within {USUAL} tokens"
    longer = f"{usual['longer'] / usual['notes']:.1%} of the notes are longer"
    sentence = f"{longer}, and {usual['beyond']:.1%} of all text lies beyond"
    if usual["beyond"] <= LIMITS["text beyond"].value and worst["beyond"] <= LIMITS["text beyond, one label"].value:
        return Verdict(check, "PASS", f"{sentence}.")
    return Verdict(
        check,
        "WARN",
        f"{sentence}; most for '{label}' ({worst['beyond']:.1%}).",
        "bedside's encoders read long notes to their end in windows; a model of one window would lose this. See under "
        "Lengths which sections lie there.",
    )


def _language(report: Report) -> Verdict | None:
    check = "One language with rules"
    found = report.get("language")
    if not found:
        return None
    counts = Counter(found["found"])
    unknown = counts.pop("unknown", 0)
    told = sum(counts.values())
    if found["named"] != "auto":
        return Verdict(check, "PASS", f"The protocol names it: {LANGUAGE_NAMES[found['named']]} (data.language).")
    if not told:
        return Verdict(
            check,
            "WARN",
            f"The language of {unknown:,} notes looked at could not be told; rules for sections and denials may "
            "not be applied.",
            "Name it: data.language = one of en, es, fr, if it is one of these.",
        )
    code, most = counts.most_common(1)[0]
    shown = f"{most:,} of {told:,} notes that could be told"
    if code == "other":
        return Verdict(
            check,
            "WARN",
            f"{shown} are in a language without rules here: what is denied, sections and short forms are not known.",
            "Read figures of the label audit with that in mind; rules exist for English, Spanish and French.",
        )
    if most < LIMITS["one language"].value * told:
        return Verdict(
            check,
            "WARN",
            f"Only {shown} are {LANGUAGE_NAMES[code]}; its rules are applied to all.",
            "Make a study for each language, or name the one whose rules shall be used (data.language).",
        )
    return Verdict(check, "PASS", f"{shown} are {LANGUAGE_NAMES[code]}, whose rules are used.")


def _patients(report: Report) -> Verdict | None:
    check = "Patients known"
    if report["columns"].get("patient") is None:
        return Verdict(
            check,
            "WARN",
            "No column names the patient, so notes of one person may stand on both sides of a split.",
            "If the source has a patient id, name it as data.patient; it is written as a keyed pseudonym only.",
        )
    return Verdict(check, "PASS", f"{report.get('patients', 0):,} patients; none stands on two sides.")


def _label_shares(report: Report) -> Verdict | None:
    wished = {name: part.get("wished") for name, part in report.get("splits", {}).items() if isinstance(part, Mapping)}
    off = []
    for label, counts in report["labels"].items():
        for name, share in wished.items():
            if share is None or name not in counts:
                continue
            away = abs(counts[name] - share * counts["cases"])
            if away > max(2.0, LIMITS["label share"].value * share * counts["cases"]):
                off.append(label)
                break
    check = "Labels alike in every split"
    if not any(share is not None for share in wished.values()):
        return None
    if not off:
        return Verdict(check, "PASS", "Every label has about the share of each split that was wished.")
    return Verdict(
        check,
        "WARN",
        f"{len(off)} of {len(report['labels'])} labels are far from the wished share of a split: {_listed(off)}.",
        "Large groups of patients or duplicates tie them together; read figures of these labels with care.",
    )


def _drift(report: Report) -> Verdict | None:
    found = report.get("drift")
    if not found or "columns" not in found:
        return None
    check = "Training and test alike"
    moved = [one["column"] for one in found["columns"] if drifted(one)]
    words = found["words"]
    apart = words["low"] > 0.5 and words["auroc"] >= LIMITS["telling splits apart"].value
    told = (
        f"a classifier tells their words apart with AUROC {words['auroc']:.2f} ({words['low']:.2f}–{words['high']:.2f})"
    )
    if not moved and not apart:
        return Verdict(check, "PASS", f"No column differs by more than chance and the limits; {told}.")
    which = f"They differ in {_listed(moved)}; " if moved else "No column differs, but "
    meant = (report.get("division") or {}).get("method") in {"temporal", "site"}
    advice = (
        "This is what a split by time or site tests: expect a lower score than at random, and say which it is."
        if meant
        else "Look for a source, a period or a large group that fell on one side."
    )
    return Verdict(check, "WARN", f"{which}{told}.", advice)


def drifted(one: Mapping[str, Any]) -> bool:
    """Whether a column differs between training and test by more than chance, and by enough to matter."""
    limit = LIMITS[one["measure"]].value
    return bool(one["p_corrected"] < LIMITS["significance"].value and abs(one["difference"]) >= limit)


def _identifiers(report: Report) -> Verdict | None:
    said = report.get("deidentification")
    if not isinstance(said, str):
        return None
    if not said.startswith("Not done"):
        return Verdict("De-identification", "PASS", said)
    return Verdict(
        "De-identification",
        "WARN",
        "Not done: the texts hold every name and date that they held.",
        "Keep the study where the source may be kept, and hand no case of it on.",
    )


def _synthetic(report: Report) -> Verdict | None:
    if not report.get("synthetic"):
        return None
    return Verdict(
        "Real data",
        "WARN",
        "The cases are SYNTHETIC: nobody is behind them.",
        "Use this cohort to try the tool; its figures say nothing about patients.",
    )


CHECKS: tuple[Callable[[Report], Verdict | None], ...] = (
    _crossings,
    _ill_posed,
    _contradictions,
    _patients,
    _duplicates,
    _small_classes,
    _label_shares,
    _lookalikes,
    _giving_away,
    _label_in_text,
    _lengths,
    _language,
    _drift,
    _identifiers,
    _synthetic,
)
