"""The verdict table: each check turns where it should, a part that is absent is passed over, and all of it is shown."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small_notes import as_csv, cohort_of, notes

from bedside.core.progress import Progress
from bedside.data import look, prepare
from bedside.data.report_page import page
from bedside.data.verdicts import CHECKS, LIMITS, brief, verdicts
from bedside.protocol import CleanSection, SplitSection


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """Of a clean table: 300 notes of 150 patients, three labels."""
    path = tmp_path_factory.mktemp("clean") / "notes.csv"
    path.write_text(as_csv(notes(300)), encoding="utf-8")
    return cohort_of(path, patient="patient_id").report


def _of(report: dict, check: str, **changes) -> dict[str, str]:
    """The verdict on a report in which some parts are other."""
    other = copy.deepcopy({**report, **changes})
    other.pop("audit", None)
    return next(one for one in verdicts(other) if one["check"] == check)


def test_a_clean_table_passes_but_for_what_is_not_done(report) -> None:
    found = {one["check"]: one["verdict"] for one in report["verdicts"]}
    assert [check for check, verdict in found.items() if verdict != "PASS"] == ["De-identification"]
    assert all(one["sentence"] and one["what_to_do"] for one in report["verdicts"])


@pytest.mark.parametrize(
    ("check", "changes", "verdict", "said"),
    [
        ("Nothing crosses the splits", {"crossings": {"patients": 1}}, "FAIL", "1 patients"),
        ("One label a text makes sense", {"contradictions": {"ceiling": 0.59}}, "FAIL", "59.0%"),
        ("One label a text makes sense", {"contradictions": {"ceiling": 0.61}}, "PASS", "61.0%"),
        ("No text under two labels", {"contradictions": {"texts": 2, "rows": 5}}, "WARN", "2 texts"),
        ("Patients known", {"columns": {"patient": None}}, "WARN", "No column names the patient"),
        ("Duplicates", {"groups": {"largest": 31}}, "WARN", "holds 31 cases"),
        ("Columns that give the label away", {"giving_away": {"icd": "says it"}}, "PASS", "'icd' says it"),
        ("Labels inside the text", {"label_in_text": 16}, "WARN", "16 of 300 texts"),
        ("Labels inside the text", {"label_in_text": 15}, "PASS", "5.0%"),
        ("Labels inside the text", {"label_in_text": 151}, "FAIL", "151 of 300 texts"),
        ("De-identification", {"deidentification": "Done by rules."}, "PASS", "Done"),
        ("Real data", {"synthetic": True}, "WARN", "SYNTHETIC"),
    ],
)
def test_each_check_turns_where_it_should(report, check, changes, verdict, said) -> None:
    merged = {
        key: {**report[key], **value} if isinstance(value, dict) and key in report else value
        for key, value in changes.items()
    }
    found = _of(report, check, **merged)
    assert found["verdict"] == verdict and said in found["sentence"]


def test_a_column_that_is_kept_and_gives_the_label_away_is_a_warning(report) -> None:
    columns = {**report["columns"], "keep": ["icd"]}
    found = _of(report, "Columns that give the label away", columns=columns, giving_away={"icd": "says it"})
    assert found["verdict"] == "WARN" and "data.keep" in found["what_to_do"]


def test_labels_too_small_off_their_share_or_alike_are_named(report) -> None:
    labels = copy.deepcopy(report["labels"])
    labels["Migraine"]["test"] = 9
    assert "Migraine" in _of(report, "Classes large enough", labels=labels)["sentence"]
    labels["Influenza"] |= {"train": 30, "test": 45}
    assert "Influenza" in _of(report, "Labels alike in every split", labels=labels)["sentence"]
    labels["migraines"] = {**labels["Migraine"], "cases": 4}
    assert "'migraines' = 'Migraine'" in _of(report, "Labels that look alike", labels=labels)["sentence"]


def test_long_notes_and_drift_are_said(report) -> None:
    found = copy.deepcopy(report)
    found["lengths"]["limits"][0] |= {"beyond": 0.06}
    assert _of(found, "Notes within 512 tokens")["verdict"] == "WARN"
    moved = {"column": "age", "measure": "standardised difference", "difference": 0.3, "p": 0.001, "p_corrected": 0.004}
    found["drift"]["columns"].append(moved)
    assert "age" in _of(found, "Training and test alike")["sentence"]
    moved["p_corrected"] = 0.06
    assert "age" not in _of(found, "Training and test alike")["sentence"]
    found["drift"]["words"] |= {"auroc": 0.7, "low": 0.6, "high": 0.8}
    assert _of(found, "Training and test alike")["verdict"] == "WARN"


def test_what_another_part_brings_along_is_collected_once_and_in_order(report) -> None:
    theirs = {"check": "Label errors", "verdict": "FAIL", "sentence": "Many.", "what_to_do": "Look."}
    again = {"check": "Duplicates", "verdict": "FAIL", "sentence": "Twice.", "what_to_do": ""}
    found = verdicts({**report, "audit": {"verdicts": [theirs, again]}})
    assert found[0] == theirs
    assert sum(one["check"] == "Duplicates" for one in found) == 1
    order = [one["verdict"] for one in found]
    assert order == sorted(order, key=["FAIL", "WARN", "PASS"].index)


def test_a_closer_check_of_the_audit_stands_alone(report) -> None:
    theirs = {"check": "Texts that state their label", "verdict": "WARN", "sentence": "Some.", "what_to_do": "Look."}
    found = [one["check"] for one in verdicts({**report, "label_in_text": 200, "audit": {"verdicts": [theirs]}})]
    assert "Texts that state their label" in found and "Labels inside the text" not in found


def test_absent_parts_are_passed_over(report) -> None:
    needed = {"labels", "flow", "columns", "groups", "splits", "source", "seed", "warnings"}
    needed |= {"synthetic", "deidentification"}
    for part in sorted(set(report) - needed):
        bare = {name: value for name, value in report.items() if name != part}
        assert verdicts(bare)
        assert "<title>Data report</title>" in page(bare)
    bare = {name: value for name, value in report.items() if name in needed}
    assert len(verdicts(bare)) < len(CHECKS)


def test_every_limit_is_used_and_has_its_reason(report) -> None:
    from bedside.data import verdicts as module

    code = Path(module.__file__).read_text(encoding="utf-8")
    measures = {one["measure"] for one in report["drift"]["columns"]}
    for name, limit in LIMITS.items():
        assert len(limit.why) > 20
        assert name in measures or f'LIMITS["{name}"]' in code


class _Heard(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, sentence: str) -> None:
        self.warned.append(sentence)


def test_the_terminal_hears_fail_and_warn_once(write) -> None:
    rows = notes(60)
    rows += [{**rows[n], "note_id": f"A{n}", "patient_id": "", "diagnosis": rows[n + 1]["diagnosis"]} for n in range(4)]
    heard = _Heard()
    section = look(write(as_csv(rows)), patient="patient_id").section
    cohort = prepare(section, CleanSection(), SplitSection(), base=Path(), seed=1, key=b"k", progress=heard)
    assert [one for one in heard.warned if "name no patient" in one]
    for line in brief(cohort.report):
        assert heard.warned.count(line) == 1
    said = [one for one in heard.warned if "stand under more than one label" in one]
    assert len(said) == 1 and said[0].startswith("WARN (no text under two labels): ")
    assert not any("PASS" in one for one in heard.warned)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.tables = self.captions = self.scopes = self.heads = 0
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.heads += tag == "th"
        self.scopes += tag == "th" and "scope" in dict(attrs)

    def handle_data(self, data) -> None:
        self.text.append(data)


def test_the_page_is_one_that_a_screen_reader_can_walk(report) -> None:
    html = page({**report, "audit": {"suspects": {"Migraine": {"cases": 3, "share": 0.1}}, "note": "sampled"}})
    reader = _Reader()
    reader.feed(html)
    assert reader.headings[0] == 1 and reader.headings.count(1) == 1
    assert all(step <= 1 for step in (b - a for a, b in zip(reader.headings, reader.headings[1:], strict=False)))
    assert reader.tables == reader.captions > 8
    assert reader.heads == reader.scopes
    assert '<html lang="en">' in html and "<script" not in html and "http" not in html
    said = " ".join(reader.text)
    assert "Label audit" in said and "Migraine" in said and "sampled" in said
    for one in report["verdicts"]:
        assert one["sentence"] in said


def test_no_text_of_a_case_is_in_the_report(report) -> None:
    written = json.dumps(report) + page(report)
    for row in notes(300):
        assert row["note"][-40:] not in written
        assert row["patient_id"] not in written


def test_parts_of_others_are_shown_whatever_they_hold(report) -> None:
    found = {
        "of": 1_500,
        "rows": list(range(100, 160)),
        "nothing": [],
        "leaks": {"mask": False, "labels": {"Migraine": {"stated": 7}}, "masking": {"masked": {"value": 0.5}}},
        "pairs": [{"label": "Migraine", "suggested": "Influenza", "cases": 9}],
    }
    reader = _Reader()
    reader.feed(page({**report, "audit": found}))
    said = "|".join(reader.text)
    for words in (
        "|of|1,500|",
        "119 and 40 more",
        "|mask|no|",
        "|Migraine|7|",
        "|Migraine|Influenza|9|",
        "Labels stated in the text: masking",
    ):
        assert words in said
    assert "nothing" not in said


@pytest.mark.parametrize(
    ("named", "found", "verdict", "said"),
    [
        ("auto", {"en": 90, "es": 10}, "PASS", "English"),
        ("auto", {"en": 89, "es": 11}, "WARN", "Only 89 of 100"),
        ("auto", {"other": 5, "en": 1, "unknown": 50}, "WARN", "without rules"),
        ("auto", {"unknown": 7}, "WARN", "could not be told"),
        ("fr", {"en": 9}, "PASS", "French (data.language)"),
    ],
)
def test_the_language_of_the_notes(report, named, found, verdict, said) -> None:
    row = _of(report, "One language with rules", language={"named": named, "found": found})
    assert (row["verdict"], said in row["sentence"]) == (verdict, True)
