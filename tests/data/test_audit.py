"""The label audit on notes with known faults: suspects, texts under several labels, lists, stated labels, masking."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from small_notes import as_csv, cohort_of, notes

from bedside.data import prepare
from bedside.data.audit import Audited, label_lists, several
from bedside.data.clean import clean_text
from bedside.data.leaks import Finder, holds_code
from bedside.data.masking import TOKEN, mask_list, masked, phrases_of
from bedside.data.suspects import confident_joint, features, find_suspects, folds_of, out_of_fold, sample
from bedside.protocol import AuditSection, CleanSection, DataSection, SplitSection
from bedside.synthetic import Plan, generate

SYNONYMS = {"Myocardial infarction": ["MI", "heart attack"]}
PHRASES = phrases_of(
    ["Myocardial infarction", "Heart failure (HFrEF)", "Acquired immune deficiency syndrome", "Flu"],
    SYNONYMS,
    {"Myocardial infarction": "I21.9"},
)


def asked(path, **audit):
    """A cohort of a table of notes, with what is asked of the labels."""
    data = DataSection(source=path.name, text="note", label="diagnosis", patient="patient_id", case_id="note_id")
    return prepare(
        data,
        CleanSection(),
        SplitSection(),
        base=path.parent,
        seed=3,
        key=b"k" * 32,
        audit=AuditSection(**audit),
    )


def rows_of(texts, labels) -> Audited:
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    exact = np.asarray([numbers[text] for text in texts], dtype=np.int64)
    keys = [str(number) for number in range(len(numbers))]
    return Audited(texts, texts, labels, exact, exact, keys, [str(n) for n in range(len(texts))], range(len(texts)))


def test_suspects_of_a_clinic_hold_most_of_its_planted_errors(write) -> None:
    clinic = generate(Plan(notes=900, seed=21, label_errors=0.05))
    rows = [dict(note) for note in clinic.notes]
    cohort = asked(write(as_csv(rows)))
    found = cohort.suspects
    assert found is not None and found.columns == ["case_id", "row", "label", "suggested", "margin"]
    wrong = {str(at + 2): truth["diagnosis"] for at, truth in enumerate(clinic.truth) if truth["label_error"]}
    right = [one for one in found.iter_rows(named=True) if one["row"] in wrong]
    # far more than chance: one row in twenty is wrong, and every other of the list
    assert len(right) >= 0.5 * len(wrong) and len(right) >= 0.35 * found.height
    # of 24 diagnoses the true one is mostly suggested
    assert sum(one["suggested"] == wrong[one["row"]] for one in right) > 0.5 * len(right)
    assert found["margin"].is_sorted(descending=True) and set(found["case_id"]) <= set(cohort.frame["case_id"])
    said = cohort.report["audit"]["suspects"]
    assert said["cases"] == found.height == sum(one["suspects"] for one in said["labels"].values())


def test_suspects_are_written_without_text_and_the_same_each_time(write, tmp_path) -> None:
    clinic = generate(Plan(notes=300, seed=4, label_errors=0.1))
    path = write(as_csv([dict(note) for note in clinic.notes]))
    cohort = asked(path)
    cohort.save(tmp_path / "one")
    asked(path).save(tmp_path / "two")
    written = (tmp_path / "one" / "suspects.csv").read_bytes()
    assert written == (tmp_path / "two" / "suspects.csv").read_bytes()
    header, *lines = written.decode().splitlines()
    assert header == "case_id,row,label,suggested,margin" and lines
    told = json.dumps(cohort.report["audit"]) + written.decode()
    assert not any(note["note"][:40] in told or note["patient_id"] in told for note in clinic.notes)


def test_confident_learning_counts_what_was_flipped() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 3000)
    given = np.where(rng.random(3000) < 0.1, (truth + 1) % 3, truth)
    sure = np.full((3000, 3), 0.03)
    sure[np.arange(3000), truth] = 0.94
    joint = confident_joint(sure, given)
    flipped = np.asarray([[((given == i) & (truth == j)).sum() for j in range(3)] for i in range(3)])
    assert np.allclose(joint, flipped, atol=1e-9)
    found = find_suspects(sure, given)
    assert set(found.rows.tolist()) == set(np.flatnonzero(given != truth).tolist())
    assert (found.suggested == truth[found.rows]).all()
    assert not len(find_suspects(sure, truth).rows)


def test_no_group_is_judged_by_a_model_that_saw_it() -> None:
    groups = np.repeat(np.arange(40), 5)
    keys = [f"g{number}" for number in range(40)]
    labels = np.tile([0, 1], 100)
    folds = folds_of(groups, labels, keys, 1)
    assert folds is not None and all(len(set(folds[groups == group])) == 1 for group in range(40))
    # each group has a word of its own and one label: who saw the group would be sure, who did not cannot know
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1], 20))[groups]
    texts = [f"word{group} again" for group in groups]
    told = out_of_fold(features(texts), labels, folds, 2)
    assert (told.argmax(axis=1) == labels).mean() < 0.75
    assert folds_of(np.arange(4), np.asarray([0, 1, 0, 1]), keys, 1) is None


def test_groups_are_sampled_whole_and_at_most_so_many_rows() -> None:
    groups = np.repeat(np.arange(50), np.tile([1, 2, 3, 4, 5], 10))
    keys = [f"g{number}" for number in range(50)]
    rows = sample(groups, keys, 60, 7)
    taken = Counter(groups[rows].tolist())
    assert len(rows) <= 60 and all(count == (groups == group).sum() for group, count in taken.items())
    assert len(rows) > 50 and set(rows) != set(sample(groups, keys, 60, 8))
    assert len(sample(groups, keys, 1000, 7)) == len(groups)


def test_a_habit_of_two_labels_a_text_is_told_from_accidents() -> None:
    texts = [f"text {n}" for n in range(60)] * 2
    habit = ["Surgery"] * 60 + ["Orthopedic"] * 40 + ["Surgery"] * 20
    found = several(rows_of(texts, habit))
    assert (found["rows"], found["texts"], found["repeated"], found["contradictory"]) == (120, 60, 60, 40)
    assert found["habit"] and found["pairs"] == [{"labels": ["Orthopedic", "Surgery"], "texts": 40}]
    assert found["largest"][0]["rows"] == [0, 60]
    accidents = ["a"] * 60 + ["b", "c", "d", "e"] + ["a"] * 56
    assert not several(rows_of(texts, accidents))["habit"]
    # many contradictions, but never the same two labels five times: coders who guess
    guesses = ["a"] * 60 + [f"label {n // 3}" for n in range(60)]
    assert several(rows_of(texts, guesses))["contradictory"] == 60 and not several(rows_of(texts, guesses))["habit"]


def test_mtsamples_are_several_labels_a_text(shared_data) -> None:
    table = pl.read_csv(shared_data / "mtsamples" / "mtsamples_full.csv.gz").with_columns(pl.all().fill_null(""))
    from bedside.data.duplicates import exact_texts

    exact, _ = exact_texts(table["transcription"].to_list())
    labels = [label.strip() for label in table["specialty"]]
    cases = Audited([], [], labels, exact, exact, [], [], range(2, len(labels) + 2))
    found = several(cases)
    told = (found["rows"], found["texts"], found["contradictory"], found["fewest_labels"], found["most_labels"])
    assert told == (4999, 2376, 2165, 2, 5) and found["habit"]
    assert found["pairs"][0]["labels"] == ["Orthopedic", "Surgery"]


def test_lists_of_labels_are_told_from_names_with_a_sign() -> None:
    found = label_lists({"Flu; Asthma": 4, "asthma ;COPD": 3, "Flu": 9, "COPD": 5, "SOAP / Notes": 7})
    assert (found["delimiter"], found["lists"], found["cases"], found["single"]) == (";", 2, 7, 4)
    assert label_lists({"SOAP / Chart / Notes": 9, "Cardiovascular / Pulmonary": 8, "Surgery": 3})["delimiter"] is None
    assert label_lists({"a|b": 1, "b|c": 1, "c|a": 1})["delimiter"] == "|"
    assert label_lists({"Flu": 3, "Gout": 2})["delimiter"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Seen for myocardial  infarction.", [("Myocardial infarction", "name", "present")]),
        ("Had a heart attack today", [("Myocardial infarction", "synonym", "present")]),
        ("coded I21.9", [("Myocardial infarction", "code", "present")]),
        ("coded i219.", [("Myocardial infarction", "code", "present")]),
        ("No evidence of myocardial infarction.", [("Myocardial infarction", "name", "negated")]),
        ("FH: mother had a heart attack", [("Myocardial infarction", "synonym", "family")]),
        ("MI confirmed", [("Myocardial infarction", "synonym", "present")]),
        ("mi amigo", []),
        ("known HFrEF", [("Heart failure (HFrEF)", "name", "present")]),
        ("with AIDS", [("Acquired immune deficiency syndrome", "abbreviation", "present")]),
        ("hearing aids", []),
        ("fluid and flush", []),
        ("influenza", []),
    ],
)
def test_a_label_is_found_as_it_is_said(text, said) -> None:
    assert [(one.label, one.kind, one.status) for one in Finder(PHRASES).mentions(text)] == said


def test_a_statement_in_a_conclusion_is_known_by_its_section() -> None:
    found = Finder(PHRASES).mentions("HPI: cough.\nDischarge diagnosis: Flu")
    assert [(one.label, one.section) for one in found] == [("Flu", "discharge diagnosis")]
    assert holds_code("code I26.99 given") and not holds_code("vitamin B12, T4 and grade A2")


def test_masking_takes_every_name_and_nothing_else_and_twice_is_once() -> None:
    mask = mask_list(PHRASES)
    text = "No flu. MI or Heart Attack? I21.9; mi casa, 2 tablets, hearing aids; fluid 21.9"
    once = masked(text, mask)
    assert once == f"No {TOKEN}. {TOKEN} or {TOKEN}? {TOKEN}; mi casa, 2 tablets, hearing aids; fluid 21.9"
    assert masked(once, mask) == once
    odd = mask_list(phrases_of(["Diagnosis", "DIAGNOSIS"], {}, {}))
    cleaned = clean_text("Diagnosis: none", CleanSection(mask=odd))
    assert cleaned == f"{TOKEN}: none" and clean_text(cleaned, CleanSection(mask=odd)) == cleaned


def test_stated_labels_are_counted_masked_and_the_cost_is_printed(write) -> None:
    rows = notes(180)
    for n, row in enumerate(rows):
        if n % 2:
            row["note"] += f" Diagnosis: {row['diagnosis']}."
        elif n % 4:
            row["note"] += f" No {row['diagnosis'].lower()}."
    path = write(as_csv(rows))
    plain = asked(path).report["audit"]["leaks"]
    assert plain["cases"] == 90 and not plain["mask"]
    assert all(one["stated"] == 30 and one["share_elsewhere"] == 0 for one in plain["labels"].values())
    cohort = asked(path, leaks="mask")
    found = cohort.report["audit"]["leaks"]
    assert found["cases"] == 90 and found["mask"]
    names = {label.casefold() for label in cohort.labels}
    assert not any(name in text.casefold() for name in names for text in cohort.frame["text"])
    assert sum(TOKEN in text for text in cohort.frame["text"]) >= 90
    cost = found["masking"]
    assert cost["difference"]["value"] == pytest.approx(cost["masked"]["value"] - cost["stated"]["value"], abs=1e-5)
    assert cost["difference"]["low"] <= cost["difference"]["value"] <= cost["difference"]["high"]
    # what travels into the bundle cleans a new note alike
    masks = cohort.report["clean"]["mask"]
    assert clean_text("Looks like MIGRAINE", CleanSection(mask=masks)) == f"Looks like {TOKEN}"


def test_verdicts_say_what_to_do_and_reach_the_report(write) -> None:
    rows = notes(120)
    for row in rows:
        row["note"] += f" Diagnosis: {row['diagnosis']}."
    report = cohort_of(write(as_csv(rows))).report
    mine = report["audit"]["verdicts"]
    assert all(set(one) == {"check", "verdict", "sentence", "what_to_do"} for one in mine)
    leak = next(one for one in mine if one["check"] == "Texts that state their label")
    assert (
        leak["verdict"] == "WARN" and "120 of 120 texts (100.0%)" in leak["sentence"] and "mask" in leak["what_to_do"]
    )
    assert leak in report["verdicts"]


def test_an_audit_of_no_cases_says_nothing_of_them(write) -> None:
    cohort = asked(write(as_csv(notes(120))), cases=0)
    found = cohort.report["audit"]
    assert found["suspects"] is None and found["leaks"]["of"] == 0 and found["sampled"]["cases"] == 0
    assert cohort.suspects is not None and cohort.suspects.height == 0
