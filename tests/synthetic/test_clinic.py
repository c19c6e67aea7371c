"""The sample clinic: same plan same bytes, truth that agrees with the text, and every planted fault listed."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from functools import cache

import pytest
from scipy.stats import binom

from bedside.core.errors import DataError
from bedside.core.progress import Progress, Task
from bedside.synthetic import Clinic, Plan, codes, generate, note_for, writing
from bedside.synthetic.dice import Dice
from bedside.synthetic.identifiers import person
from bedside.synthetic.knowledge import knowledge, read_data

FAULTY = Plan(notes=3000, seed=5, label_errors=0.05, duplicates=0.08, leaks=0.1)


@cache
def clean() -> Clinic:
    return generate(Plan(notes=3000, typos=0.0))


@cache
def faulty() -> Clinic:
    return generate(FAULTY)


def within_binomial(count: int, n: int, rate: float) -> bool:
    low, high = binom.interval(0.9999, n, rate)
    return low <= count <= high


def test_two_fresh_processes_write_the_same_bytes(tmp_path):
    code = (
        "import sys, pathlib; from bedside.synthetic import Plan, generate;"
        "generate(Plan(notes=700, label_errors=.1, duplicates=.1, leaks=.1, bias=True, shortcut=True))"
        ".write(pathlib.Path(sys.argv[1]))"
    )
    sums = []
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True)
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == 5
        sums.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert sums[0] == sums[1]


def test_another_seed_gives_other_notes():
    assert generate(Plan(notes=5, seed=1)).notes != generate(Plan(notes=5, seed=2)).notes


def test_a_note_does_not_depend_on_how_many_follow():
    small, large = generate(Plan(notes=40)), generate(Plan(notes=1500))
    assert small.notes == large.notes[:40]
    assert small.truth == large.truth[:40]


@pytest.mark.parametrize("notes", [1, 2, 819, 2000])
def test_the_size_is_what_was_asked_for_and_ids_are_unique(notes):
    rows = generate(Plan(notes=notes)).notes
    assert len(rows) == notes
    assert len({row["note_id"] for row in rows}) == notes


def test_the_number_of_patients_is_what_was_asked_for():
    rows = generate(Plan(notes=2000, patients=700)).notes
    assert len(rows) == 2000
    assert len({row["patient_id"] for row in rows}) == 700


def test_a_patient_who_had_every_diagnosis_of_a_group_can_be_written_about():
    rows = generate(Plan(notes=2000, patients=40)).notes
    limbs = {name for name, group in zip(knowledge().diagnoses, knowledge().groups, strict=True) if group == "limb"}
    had = defaultdict(set)
    for row in rows:
        had[row["patient_id"]].add(row["diagnosis"])
    assert any(limbs <= found for found in had.values())
    spans = [sorted(row["date"] for row in rows if row["patient_id"] == patient) for patient in sorted(had)]
    assert all((date.fromisoformat(d[-1][:10]) - date.fromisoformat(d[0][:10])).days <= 215 for d in spans)


def test_a_patient_has_about_1_6_notes_and_keeps_sex_and_age_and_site():
    rows = clean().notes
    patients = {row["patient_id"] for row in rows}
    assert 1.5 < len(rows) / len(patients) < 1.7
    assert len({(row["patient_id"], row["sex"], row["age"], row["site"]) for row in rows}) == len(patients)


def test_every_span_is_the_planted_value_and_every_safe_harbour_type_occurs():
    labels, mrns = Counter(), {}
    for note, truth in zip(clean().notes, clean().truth, strict=True):
        end = 0
        for span in truth["spans"]:
            value = note["note"][span["start"] : span["end"]]
            assert value
            assert value == value.strip()
            assert span["start"] >= end
            end = span["end"]
            labels[span["label"]] += 1
            shape = SHAPES.get(span["label"])
            assert shape is None or re.fullmatch(shape, value), (span["label"], value)
            if span["label"] == "MRN":
                assert mrns.setdefault(note["patient_id"], value) == value
    assert set(labels) == set(read_data("forms")["labels"].values())
    assert min(labels.values()) >= 5


SHAPES = {
    "MRN": r"\d{7}|\d{3}-\d{5}",
    "SSN": r"9\d\d-\d\d-\d{4}",
    "ZIP": r"\d{5}(-\d{4})?",
    "PHONE": r"(\(\d{3}\) |\+1 \d{3} |\d{3}[-.])555[-. ]01\d\d",
    "FAX": r"(\(\d{3}\) |\+1 \d{3} |\d{3}[-.])555[-. ]01\d\d",
    "EMAIL": r"[a-z0-9.]+@[a-z.]+\.(com|org|net)",
    "IP": r"\d+\.\d+\.\d+\.\d+",
    "URL": r"https://\S+",
    "AGE": r"9\d",
    "NAME": r"[^\d]+",
    "DATE": r"[A-Za-z]+ \d+, \d{4}|\d+ [A-Za-z]+ \d{4}|\d+[/.-]\d+[/.-]\d+",
}


def test_no_identifier_stands_outside_a_span():
    """Numbers that look like identifiers, and the patient's own surname, lie inside gold spans only."""
    look = re.compile(
        r"\b9\d\d-\d\d-\d{4}\b|555[-. ]01\d\d|@[a-z]|https?://|\b\d{1,3}(\.\d{1,3}){3}\b|\b\d{3}-\d{5}\b|\b\d{7}\b"
    )
    for note, truth in zip(clean().notes, clean().truth, strict=True):
        text = list(note["note"])
        for span in truth["spans"]:
            text[span["start"] : span["end"]] = "#" * (span["end"] - span["start"])
        assert not look.search("".join(text))
        if note["age"] > 89:
            assert not re.search(rf"\b{note['age']}( ?y|-year|[MF]\b)", "".join(text))


def test_without_identifiers_there_are_none():
    clinic = generate(Plan(notes=600, identifiers=False))
    assert all(truth["spans"] == [] and truth["template"] is None for truth in clinic.truth)
    surnames = [
        name
        for name in read_data("names")["surnames"]
        if name not in {"May", "Long", "Murphy", "Young", "Grant", "Cross"}
    ]
    look = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in surnames))
    assert not any(look.search(note["note"]) for note in clinic.notes)
    old = [note for note in clinic.notes if note["age"] > 89]
    assert old
    assert all("90+" in note["note"] for note in old)


def test_forms_are_many_and_share_no_line():
    forms = read_data("forms")["forms"]
    lines = [line for form in forms for line in (form["header"], *form["extra"], form["signature"])]
    assert len(forms) >= 20
    assert len(lines) == len(set(lines))
    half = [form for form in forms if int(form["id"][1:]) % 2]
    for part in (half, [form for form in forms if form not in half]):
        slots = set(re.findall(r"{(\w+)}", json.dumps([[f["header"], f["extra"], f["signature"]] for f in part])))
        labels = {read_data("forms")["labels"][slot] for slot in slots}
        assert labels == set(read_data("forms")["labels"].values()) - {"AGE"}, "each half holds every type"


def test_codes_are_leaves_of_icd_10_cm():
    icd = pytest.importorskip("simple_icd_10_cm")
    assert 24 <= len(codes()) <= 28
    assert len(set(codes().values())) == len(codes())
    for diagnosis, code in codes().items():
        assert icd.is_valid_item(code), diagnosis
        assert icd.is_leaf(code), diagnosis


@cache
def vocabulary() -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern of every wording, longest first, and the finding that each belongs to."""
    owner = {}
    for name, row in read_data("findings").items():
        if name != "version":
            for word in [*row["words"], *row.get("said", [])]:
                owner[word.removeprefix("a ").removeprefix("an ").casefold()] = name
    words = sorted(owner, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)"), owner


AFTER_NO = re.compile(r" ?(-|nil|no|absent|\(-\)|: no?|: absent|: denied|- denied)(?![\w+])")
AFTER_YES = re.compile(r" ?(\+|yes|present|\(\+\)|: y|: yes)(?!\w)")
BEFORE_NO = re.compile(
    r"(?<![\w-])(no|nil|not|denies|denied|negative|neg|without|w/o|-ve|looked for and not found)(?!\w)"
)
TURN = re.compile(r"\b(but|though|does have)\b")


def polarity(sentence: str, start: int, end: int) -> str:
    """Whether a wording is affirmed, read from the sentence alone: the nearest cue decides."""
    before, after = sentence[:start], sentence[end:]
    if AFTER_YES.match(after):
        return "present"
    if AFTER_NO.match(after):
        return "negated"
    cues = [(match.end(), "negated") for match in BEFORE_NO.finditer(before)]
    cues += [(match.end(), "present") for match in TURN.finditer(before)]
    if cues:
        return max(cues)[1]
    return "negated" if re.search(r"(nil|: denied|: absent| - denied)\.$", after) else "present"


def test_what_is_present_and_what_is_negated_stand_in_the_text_as_such(monkeypatch):
    """With the past, relatives and advice left out, a reader finds exactly the listed findings, and their polarity."""
    for name in ("PAST", "FAMILY", "RETURN", "EXCLUDED", "COPIED"):
        monkeypatch.setattr(writing, name, 0.0)
    clinic = generate(Plan(notes=1000, typos=0.0, identifiers=False))
    pattern, owner = vocabulary()
    negated = 0
    for note, truth in zip(clinic.notes, clinic.truth, strict=True):
        read: dict[str, set[str]] = {"present": set(), "negated": set()}
        for sentence in re.split(r"(?<=\.)\s|\n", note["note"].casefold()):
            for match in pattern.finditer(sentence):
                read[polarity(sentence, *match.span())].add(owner[match.group()])
        assert read["present"] == set(truth["present"]), note["note_id"]
        assert read["negated"] == set(truth["negated"]), note["note_id"]
        negated += len(truth["negated"])
    assert negated > 2000


def test_words_of_a_finding_belong_to_it_alone():
    owners = Counter(
        word.casefold() for name, row in read_data("findings").items() if name != "version" for word in row["words"]
    )
    assert [word for word, count in owners.items() if count > 1] == []
    for name, row in read_data("findings").items():
        if name != "version":
            assert len(row["words"]) >= 6, name


def test_notes_read_as_notes():
    for note in clean().notes:
        text = note["note"]
        assert not re.search(r"  |None|\bnan\b|[{}]|\.\.|,,| ,| \.|\x00", text), note["note_id"]
        assert 18 <= note["age"] <= 95
        for saturation in re.findall(r"(?:SpO2|sats|O2 sat|SaO2) (\d+)", text):
            assert 80 <= int(saturation) <= 100
        for upper, lower in re.findall(r"(?i:bp) (\d+)(?:/| over )(\d+)", text):
            assert 30 < int(lower) < int(upper) < 200
    lengths = sorted(len(note["note"].split()) for note in clean().notes)
    assert 60 <= lengths[len(lengths) // 2] <= 140
    assert not re.search("pregnan", " ".join(note["note"] for note in clean().notes))


def test_a_note_never_names_its_own_diagnosis_unless_that_is_planted():
    model = knowledge()
    look = {
        name: re.compile(
            r"\b(?:" + "|".join(map(re.escape, (name, *model.names[index], model.codes[index]))) + r")\b", re.I
        )
        for index, name in enumerate(model.diagnoses)
    }
    for note, truth in zip(faulty().notes, faulty().truth, strict=True):
        assert bool(look[truth["diagnosis"]].search(note["note"])) == truth["leak"], note["note_id"]


def test_planted_rates_hold_and_all_is_listed():
    n, planted = FAULTY.notes, faulty().planted
    truth = {row["note_id"]: row for row in faulty().truth}
    notes = {row["note_id"]: row for row in faulty().notes}
    wrong = {key for key in notes if notes[key]["diagnosis"] != truth[key]["diagnosis"]}
    assert within_binomial(len(wrong), n, FAULTY.label_errors)
    assert {row["note_id"] for row in planted["label_errors"]} == wrong
    assert within_binomial(len(planted["duplicates"]), n, FAULTY.duplicates)
    fresh = n - len(planted["duplicates"])
    assert within_binomial(
        sum(note not in {row["note_id"] for row in planted["duplicates"]} for note in planted["leaks"]),
        fresh,
        FAULTY.leaks,
    )
    for row in planted["duplicates"]:
        copy, source = notes[row["note_id"]], notes[row["of"]]
        assert copy["patient_id"] != source["patient_id"]
        assert (copy["note"] == source["note"]) == row["exact"]
        one, two = (set(re.findall(r"\w+", text["note"].lower())) for text in (copy, source))
        assert len(one & two) / len(one | two) >= 0.7
    texts = Counter(note["note"] for note in notes.values())
    exact = sum(row["exact"] for row in planted["duplicates"])
    assert sum(count - 1 for count in texts.values()) >= exact > 0


def test_a_copy_is_always_filed_under_another_patient():
    """At a high rate few originals are left to copy, so a copy of the patient's own note would show."""
    clinic = generate(Plan(notes=800, duplicates=0.9))
    patient = {note["note_id"]: note["patient_id"] for note in clinic.notes}
    original = {note["note_id"] for note in clinic.truth if note["is_duplicate_of"] is None}
    assert len(clinic.planted["duplicates"]) > 600
    for row in clinic.planted["duplicates"]:
        assert patient[row["note_id"]] != patient[row["of"]]
        assert row["of"] in original


def test_nothing_is_planted_that_was_not_asked_for():
    planted = clean().planted
    assert [planted[name] for name in ("label_errors", "duplicates", "leaks", "shortcut", "bias")] == [
        [],
        [],
        [],
        [],
        [],
    ]
    assert planted["misspelt_words"] == 0
    assert len({note["note"] for note in clean().notes}) == len(clean().notes)


def test_typing_errors_come_at_their_rate_and_spare_identifiers_and_numbers():
    typed = generate(Plan(notes=1500, typos=0.05))
    plain = generate(Plan(notes=1500, typos=0.0))
    words = sum(
        len(re.findall(r"[A-Za-z]{5,}", line))
        for note in generate(Plan(notes=1500, typos=0.0, identifiers=False)).notes
        for line in [note["note"]]
    )
    assert within_binomial(typed.planted["misspelt_words"], words, 0.05)
    for one, two, truth, other in zip(typed.notes, plain.notes, typed.truth, plain.truth, strict=True):
        values = [[note["note"][s["start"] : s["end"]] for s in t["spans"]] for note, t in ((one, truth), (two, other))]
        assert values[0] == values[1]
        assert re.findall(r"\d+", one["note"]) == re.findall(r"\d+", two["note"])


def test_some_later_notes_copy_an_earlier_one_of_the_same_patient():
    notes = {note["note_id"]: note for note in clean().notes}
    copied = [truth for truth in clean().truth if truth["copied_from"]]
    assert len(copied) > 200
    for truth in copied:
        note, source = notes[truth["note_id"]], notes[truth["copied_from"]]
        assert note["patient_id"] == source["patient_id"]
        assert source["date"] < note["date"]
        shared = set(_sentences(note["note"])) & set(_sentences(source["note"]))
        assert shared, truth["note_id"]


def _sentences(text: str) -> list[str]:
    return [part.split(": ")[-1].strip() for part in re.split(r"(?<=\.)\s", text)]


def test_bias_hides_findings_in_its_group_only():
    off, on = generate(Plan(notes=3000)), generate(Plan(notes=3000, bias=True))
    rules = read_data("phrases")["planted"]
    changed = lost = total = 0
    for note, before, after in zip(off.notes, off.truth, on.truth, strict=True):
        inside = note["sex"] == rules["bias_sex"] and before["diagnosis"] in rules["bias_diagnoses"]
        if not inside:
            assert before["present"] == after["present"]
            assert before["negated"] == after["negated"]
            continue
        total += len(before["present"])
        lost += len(before["present"]) - len(after["present"])
        assert set(after["present"]) <= set(before["present"])
        assert before["negated"] == after["negated"]
        changed += before["present"] != after["present"]
    assert changed > 50
    assert within_binomial(total - lost, total, rules["bias_documented"])
    assert len(on.planted["bias"]) == changed


def test_shortcut_marks_one_label_at_one_site():
    clinic = generate(Plan(notes=4000, shortcut=True))
    rules, line = read_data("phrases")["planted"], read_data("phrases")["shortcut"]["line"]
    marked = [note for note in clinic.notes if line in note["note"]]
    assert {note["site"] for note in marked} == {rules["shortcut_site"]}
    assert [note["note_id"] for note in marked] == clinic.planted["shortcut"]
    target = [
        note
        for note in clinic.notes
        if note["site"] == rules["shortcut_site"] and note["diagnosis"] == rules["shortcut_diagnosis"]
    ]
    assert within_binomial(sum(line in note["note"] for note in target), len(target), rules["shortcut_with"])
    assert not any(line in note["note"] for note in clean().notes)


def test_files_hold_what_the_clinic_holds(tmp_path):
    clinic = generate(Plan(notes=300, duplicates=0.1))
    files = clinic.write(tmp_path)
    assert [file.name for file in files] == [
        "notes.csv",
        "truth.jsonl",
        "gold_spans.jsonl",
        "planted.json",
        "README.md",
    ]
    with files[0].open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [{**row, "age": int(row["age"])} for row in rows] == clinic.notes
    assert files[0].read_bytes().startswith(b"note_id,patient_id,date,site,age,sex,note,diagnosis\r\n")
    assert [json.loads(line) for line in files[1].read_text(encoding="utf-8").splitlines()] == clinic.truth
    for line, truth in zip(files[2].read_text(encoding="utf-8").split("\n"), clinic.truth, strict=False):
        gold = json.loads(line)
        assert gold["spans"] == truth["spans"]
        assert gold["template"] == truth["template"]
    assert json.loads(files[3].read_text(encoding="utf-8")) == clinic.planted
    assert "SYNTHETIC" in files[4].read_text(encoding="utf-8").splitlines()[0]


def test_the_fast_path_writes_the_same_notes_and_nothing_else(tmp_path):
    clinic = generate(Plan(notes=900))
    clinic.write(tmp_path / "all")
    assert [file.name for file in clinic.write(tmp_path / "fast", truth=False)] == ["notes.csv"]
    assert (tmp_path / "fast/notes.csv").read_bytes() == (tmp_path / "all/notes.csv").read_bytes()
    assert [file.name for file in (tmp_path / "fast").iterdir()] == ["notes.csv"]


def test_progress_is_shown_and_adds_up():
    steps = []

    class Counting(Task):
        def advance(self, steps_done=1):
            steps.append(("step", steps_done))

    class Loud(Progress):
        @contextlib.contextmanager
        def task(self, label, total=None, unit=""):
            steps.append(("total", total))
            yield Counting()

    assert len(generate(Plan(notes=2500), Loud()).notes) == 2500
    assert steps[0] == ("total", 2500)
    advances = [count for kind, count in steps if kind == "step"]
    assert sum(advances) == 2500
    assert len(advances) > 2


def test_note_for_gives_a_fresh_note_of_the_diagnosis():
    assert note_for("Pulmonary embolism", 1) == note_for("Pulmonary embolism", 1)
    assert note_for("Pulmonary embolism", 1) != note_for("Pulmonary embolism", 2)
    for diagnosis in codes():
        assert len(note_for(diagnosis, 3).split()) > 15
    with pytest.raises(DataError, match="no diagnosis 'Plague'"):
        note_for("Plague", 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"notes": 0}, "0 notes"),
        ({"leaks": 1.5}, r"leaks is 1\.5"),
        ({"notes": 10, "patients": 11}, "11 patients"),
        ({"typos": float("nan")}, "typos is nan"),
    ],
)
def test_a_bad_plan_is_refused_in_a_sentence(values, words):
    with pytest.raises(DataError, match=words):
        Plan(**values)


def test_the_date_of_birth_agrees_with_the_age_at_every_visit():
    for start in (datetime(2024, 2, 29, 9), datetime(2023, 1, 2, 8), datetime(2025, 12, 31, 23)):
        for draw in (0.0, 0.3, 0.5, 0.999):
            who = person(True, 40, start, Dice([draw]))
            for later in (0, 100, 206):
                day = (start + timedelta(days=later)).date()
                had = (day.month, day.day) >= (who.born.month, who.born.day)
                assert day.year - who.born.year - (not had) == 40
