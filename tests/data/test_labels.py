"""Labels: merged, dropped or refused as the protocol says, never on a guess; and what contradicts or gives away."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

import numpy as np
import pytest
from small_notes import as_csv, cohort_of, notes

from bedside.cli import main
from bedside.core.errors import DataError
from bedside.data import Cohort
from bedside.data.labels import apply_rare, lookalikes, merged, positive_label, tidy
from bedside.data.leaks import ONE_TO_ONE, label_in_text, tells

RARE = {"Gout": 3, "Lupus": 2}


def with_rare(**more: int) -> list[dict[str, str]]:
    """The three usual labels, and some of few cases."""
    wanted = [label for label, count in (RARE | more).items() for _ in range(count)]
    extra = notes(60 + len(wanted), seed=5)[60:]
    named = [
        {**row, "diagnosis": label, "patient_id": f"R{n}", "note_id": f"R{n}"}
        for n, (row, label) in enumerate(zip(extra, wanted, strict=True))
    ]
    return notes(60) + named


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Influenza", "influenza", True),
        ("Heart failure", "heart  failure ", True),
        ("Heart-failure", "heart failure", True),
        ("Kidney stone", "Kidney stones", True),
        ("Fracture (arm)", "Fracture arm", True),
        ("Type 1 diabetes", "Type 2 diabetes", False),
        ("Hypertension", "Hypotension", False),
        ("Hyperthyroidism", "Hypothyroidism", False),
        ("Abscess", "Abscesses", True),
        ("Metastasis", "Metastases", True),
        ("Allergy", "Allergies", True),
        ("Gastro-oesophageal reflux", "Gastroesophageal reflux", True),
        ("Tumour", "Tumor", True),
        ("Immunisation", "Immunization", True),
        ("Abscess", "Absces", True),
        ("Pneumonia", "Pneumoina", True),  # two letters exchanged
        ("Subarachnoid haemorrhage", "Subarachnoid hemorrage", True),
        ("Polymyalgia rheumatica", "Polymialgia rheumetica", False),  # a typing error in each of two words
        ("Thrombocytopenia", "Trombocitopenia", True),  # two of sixteen letters
        ("Pneumonia", "Pneumon", False),  # two of nine letters
        ("Gout", "Gour", False),  # a short word
    ],
)
def test_lookalikes_differ_only_by_accident(one, other, alike) -> None:
    one, other = tidy(one), tidy(other)
    assert lookalikes({one: 9, other: 3}) == ({other: one} if alike and one != other else {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Type I diabetes", "Type II diabetes"),
        ("Left ankle fracture", "Right ankle fracture"),
        ("Stage 2 melanoma", "Stage 3 melanoma"),
        ("Grade II glioma", "Grade III glioma"),
        ("Hepatitis B", "Hepatitis C"),
        ("Hyperkalaemia", "Hypokalaemia"),
        ("Hypercalcemia", "Hyperkalemia"),
        ("Hyponatraemia", "Hypernatraemia"),
        ("Hypoglycaemia", "Hyperglycaemia"),
        ("Diverticulitis", "Diverticulosis"),
        ("Dysphagia", "Dysphasia"),
        ("Arthritis", "Arteritis"),
        ("Otitis externa", "Otitis interna"),
        ("Perineal tear", "Peroneal tear"),
        ("Symptomatic bradycardia", "Asymptomatic bradycardia"),
        ("Typical angina", "Atypical angina"),
        ("Tracheotomy", "Tracheostomy"),
        ("Ureteral injury", "Urethral injury"),
        ("Anteversion", "Antiversion"),
    ],
)
@pytest.mark.parametrize("case", [str, str.upper])
def test_labels_that_only_look_alike_are_kept_apart(one, other, case) -> None:
    assert lookalikes({case(one): 9, case(other): 3}) == {}


def test_a_chain_of_lookalikes_ends_in_the_commonest() -> None:
    found = lookalikes({"Pneumonia": 30, "pneumonias": 8, "Pneumonai": 5, "Pnemonai": 2, "Gout": 9})
    assert found == dict.fromkeys(["Pneumonai", "Pnemonai", "pneumonias"], "Pneumonia")


def test_merge_reads_a_label_as_another_and_says_what_matched_nothing() -> None:
    labels, idle = merged(["flu", "Influenza", "gout"], {" flu": "Influenza", "lupus": "SLE"})
    assert labels == ["Influenza", "Influenza", "gout"]
    assert len(idle) == 1 and "'lupus'" in idle[0]
    swapped, _ = merged(["a", "b"], {"a": "b", "b": "a"})  # one step, so an exchange is possible
    assert swapped == ["b", "a"]


def test_rare_labels_are_refused_with_every_way_out() -> None:
    labels = [row["diagnosis"] for row in with_rare()]
    groups = np.arange(len(labels))
    with pytest.raises(DataError) as caught:
        apply_rare(labels, groups, "refuse")
    for word in ("Gout (3)", "Lupus (2)", 'rare = "drop"', 'rare = "merge:Other"', "[data.merge]"):
        assert word in str(caught.value)


def test_rare_labels_are_dropped_merged_or_cut_by_number() -> None:
    labels = [row["diagnosis"] for row in with_rare(Sepsis=6)]
    groups = np.arange(len(labels))
    _, keep, notes_ = apply_rare(labels, groups, "drop")
    assert Counter(label for label, stays in zip(labels, keep, strict=True) if not stays) == RARE
    assert "Gout: 3 cases" in notes_[0]
    fresh, keep, _ = apply_rare(labels, groups, "merge:Other")
    assert keep.all() and Counter(fresh)["Other"] == 5 and "Gout" not in fresh
    _, keep, _ = apply_rare(labels, groups, 7)
    assert {label for label, stays in zip(labels, keep, strict=True) if not stays} == {*RARE, "Sepsis"}
    with pytest.raises(DataError, match="1 label would remain"):
        apply_rare(["a"] * 9 + ["b"] * 2, np.arange(11), "drop")
    with pytest.raises(DataError, match="have 2 groups"):
        apply_rare(["a"] * 9 + ["c"] * 9 + ["b"] * 2, np.arange(20), "merge:Other")


def test_many_cases_of_one_patient_are_no_rare_label() -> None:
    labels = ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    groups = np.asarray([*range(50), *range(50, 100), *[100] * 50])
    with pytest.raises(DataError, match=r"c \(50 cases in 1 group\).*near_duplicate"):
        apply_rare(labels, groups, "drop")


def test_the_positive_label_is_the_named_or_the_rarer_one() -> None:
    counts = {"no": 30, "yes": 10}
    assert positive_label(["no", "yes"], counts, None) == "yes"
    assert positive_label(["no", "yes"], counts, " no ") == "no"
    assert positive_label(["a", "b", "c"], {}, None) is None
    with pytest.raises(DataError, match="'maybe' is no label here"):
        positive_label(["no", "yes"], counts, "maybe")
    with pytest.raises(DataError, match="there are 3"):
        positive_label(["a", "b", "c"], {}, "a")


def test_a_binary_study_carries_its_positive_label(write, tmp_path) -> None:
    rows = [{**row, "diagnosis": "sepsis" if n % 3 == 0 else "none"} for n, row in enumerate(notes(90))]
    cohort = cohort_of(write(as_csv(rows)))
    cohort.save(tmp_path)
    assert (cohort.labels, cohort.positive) == (("none", "sepsis"), "sepsis")
    assert Cohort.load(tmp_path).positive == "sepsis"
    assert cohort_of(write(as_csv(rows)), positive="none").positive == "none"


def started(write, tmp_path, rows) -> tuple:
    """A study that ``init`` wrote, its protocol and its text."""
    folder = tmp_path / "study"
    assert main(["init", str(write(as_csv(rows))), "--into", str(folder), "--quiet"]) == 0
    protocol = folder / "protocol.toml"
    return folder, protocol, protocol.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ['rare = "drop"', 'rare = "merge:Other"'])
def test_a_line_for_rare_labels_does_what_it_says_once_uncommented(line, write, tmp_path, capsys) -> None:
    folder, protocol, text = started(write, tmp_path, with_rare())
    assert main(["prepare", str(folder), "--quiet"]) == 2
    assert text.count(f"\n# {line}\n") == 1
    protocol.write_text(text.replace(f"\n# {line}\n", f"\n{line}\n"), encoding="utf-8")
    assert main(["prepare", str(folder), "--quiet"]) == 0, capsys.readouterr().err
    cohort = Cohort.load(folder / "cohort")
    usual = {"Appendicitis": 20, "Influenza": 20, "Migraine": 20}
    assert Counter(cohort.frame["label"]) == (usual if "drop" in line else usual | {"Other": 5})


def test_lines_that_join_labels_do_what_they_say_once_uncommented(write, tmp_path, capsys) -> None:
    spelled = {1: "influenza", 2: "INFLUENZA  ", 3: 'Say "ah" \\ syndrome', 4: 'say "ah" \\ syndromes'}
    rows = notes(120)
    for n, row in enumerate(rows):
        row["diagnosis"] = spelled.get(n % 8, row["diagnosis"])
    folder, protocol, text = started(write, tmp_path, rows)
    below = text[text.index("[data.merge]") :].partition("\n[")[0]
    lines = [line for line in below.splitlines()[1:] if re.match(r'# ".*" = ".*"', line)]
    assert len(lines) == 3
    for line in lines:
        text = text.replace(f"\n{line}\n", f"\n{line[2:]}\n")
    protocol.write_text(text, encoding="utf-8")
    assert len(tomllib.loads(text)["data"]["merge"]) == 3
    assert main(["prepare", str(folder), "--quiet"]) == 0, capsys.readouterr().err
    labels = Cohort.load(folder / "cohort").labels
    assert len(labels) == 4
    assert len({label.casefold().rstrip("s") for label in labels}) == 4


def test_signs_that_toml_refuses_do_not_break_the_protocol(write, tmp_path, capsys) -> None:
    rows = [
        {**row, "diag\x02nosis": row.pop("diagnosis"), "age\x7f": "50"}
        for row in with_rare(**{"Od\x07d": 2, "Influen\x01za": 20, "in\x08fluenza": 20})
    ]
    folder, _, text = started(write, tmp_path, rows)
    assert "Odd (2 cases" in text
    assert '"influenza" = "Influenza"' in text
    assert tomllib.loads(text)["data"]["label"] == "diagnosis"
    assert main(["prepare", str(folder), "--quiet"]) == 2
    assert "Odd (2)" in capsys.readouterr().err


def test_contradictions_are_counted_and_give_the_ceiling(write) -> None:
    rows = notes(60)
    for n in range(6):  # six texts again under another label, and one of them a third time
        rows.append({**rows[n], "note_id": f"A{n}", "patient_id": f"A{n}", "diagnosis": rows[n + 1]["diagnosis"]})
    rows.append({**rows[0], "note_id": "B0", "patient_id": "B0"})
    cohort = cohort_of(write(as_csv(rows)))
    found = cohort.report["contradictions"]
    assert (found["texts"], found["rows"]) == (6, 13)
    assert found["ceiling"] == pytest.approx((67 - 6) / 67, abs=1e-6)
    named = {name for names in found["cases"] for name in names}
    assert named <= set(cohort.frame["case_id"]) and len(named) == 13
    said = [one["sentence"] for one in cohort.report["verdicts"] if one["verdict"] == "WARN"]
    assert any("6 texts stand under more than one label (13 rows)" in one for one in said)


LABELS = ["Flu", "Gout", "Flu", "Lupus"] * 10


def test_columns_that_give_the_label_away_are_told() -> None:
    code = {"Flu": "J11", "Gout": "M10", "Lupus": "M32"}
    assert tells([code[one] for one in LABELS], LABELS) == ONE_TO_ONE
    nearly = [code[one] if n != 5 else "J11" for n, one in enumerate(LABELS)]
    assert "almost alone" in (tells(nearly, LABELS) or "")
    named = [f"{one} case {n}" for n, one in enumerate(LABELS)]
    assert tells(named, LABELS) == "names the label in 100% of its cells"


def test_columns_that_tell_little_are_left_in_peace() -> None:
    assert tells([str(n) for n in range(40)], LABELS) is None  # ids are each alone, and predict nothing
    assert tells(["f" if n % 2 else "m" for n in range(40)], ["a", "a", "b", "b"] * 10) is None
    assert tells([""] * 35 + ["x"] * 5, LABELS) is None
    assert tells(["??"] * 40, LABELS) is None


def test_a_label_in_its_text_is_counted_as_whole_words() -> None:
    texts = ["known GOUT today", "gouty look", "gout", "influenza-like", "flu, again"]
    assert label_in_text(texts, [["Gout"], ["Gout"], ["Flu"], ["Flu"], ["Flu", "Gout"]]) == 2
