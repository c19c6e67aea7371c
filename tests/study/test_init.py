"""What ``init`` proposes for a table, and that what it writes runs."""

from __future__ import annotations

import csv
import itertools
import random
import tomllib
from pathlib import Path

import pytest

from bedside.cli import main
from bedside.core.errors import DataError, StudyError
from bedside.data import Cohort
from bedside.study import Study, create

WORDS = [
    "fever",
    "cough",
    "chest",
    "pain",
    "nausea",
    "rash",
    "swelling",
    "knee",
    "head",
    "back",
    "dizzy",
    "weak",
    "tired",
    "cold",
    "night",
    "morning",
    "left",
    "right",
]
CODES = {"Influenza": "J111", "Migraine": "G43.9", "Gout": "M10"}


def prose(dice: random.Random, length: int) -> str:
    made = [
        f"{dice.choice('bdfgklmnprst')}{dice.choice('aeiou')}{dice.choice('bdfgklmnprst')}{n}" for n in range(length)
    ]
    return " ".join(f"{dice.choice(WORDS)} {one}{dice.randrange(10**4)}" for one in made)


def table(path: Path, count: int = 90, **columns) -> Path:
    """A table of made-up notes; further columns are functions of the row's number and label."""
    dice = random.Random(3)
    rows = []
    for number in range(count):
        label = list(CODES)[number % 3]
        row = {"summary": prose(dice, 3), "note": prose(dice, 12), "diagnosis": label}
        rows.append(row | {name: make(number, label) for name, make in columns.items()})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def proposed(tmp_path: Path, count: int = 90, **columns):
    """The protocol that a table's columns lead to."""
    return create(table(tmp_path / "notes.csv", count, **columns), tmp_path / "study").study.protocol


def test_the_text_is_the_column_with_the_longest_texts(tmp_path) -> None:
    data = proposed(tmp_path).data
    assert (data.text, data.label, data.patient) == ("note", "diagnosis", None)
    lines = (tmp_path / "study" / "protocol.toml").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("# 'note' has the longest texts") for line in lines)


def test_numbers_links_and_records_are_no_texts(tmp_path) -> None:
    data = proposed(
        tmp_path,
        url=lambda n, label: f"https://clinic.example/{'long/' * 90}{n}",
        raw=lambda n, label: '{"a": "' + f"some words {n} " * 60 + '"}',
        signal=lambda n, label: " ".join(str(n * one) for one in range(200)),
        boilerplate=lambda n, label: "This note is confidential and for the addressee only. " * 20,
    ).data
    assert data.text == "note"


@pytest.mark.parametrize("name", ["cluster_j70", "cluster", "fold", "kfold5", "split", "Split", "index", "Unnamed: 0"])
def test_the_work_of_another_split_is_never_proposed(tmp_path, name) -> None:
    study = create(
        table(tmp_path / "notes.csv", **{name: lambda n, label: "ab"[n % 2], "age": lambda n, label: str(20 + n % 50)}),
        tmp_path / "study",
    ).study
    data = study.protocol.data
    assert name not in [*data.text_columns(), data.label, data.patient, data.case_id, data.time, data.site, *data.keep]
    assert data.keep == ["age"]


@pytest.mark.parametrize(
    ("key", "name", "make"),
    [
        ("patient", "patient_id", lambda n, label: f"P{n // 3}"),
        ("patient", "SubjectID", lambda n, label: f"P{n // 3}"),
        ("patient", "MRN", lambda n, label: f"{1000 + n // 3}"),
        ("case_id", "note_id", lambda n, label: f"N{n}"),
        ("time", "charttime", lambda n, label: f"2024-01-{n % 28 + 1:02d} 10:00:00"),
        ("time", "note_date", lambda n, label: f"{n % 28 + 1:02d}.01.2024"),
        ("site", "hospital", lambda n, label: "ABC"[n % 3 - n % 2]),
        ("keep", "age", lambda n, label: str(20 + n % 50)),
        ("keep", "sex", lambda n, label: "fm"[n % 2]),
    ],
)
def test_columns_are_told_by_name_and_content(tmp_path, key, name, make) -> None:
    found = getattr(proposed(tmp_path, **{name: make}).data, key)
    assert found == ([name] if key == "keep" else name)


@pytest.mark.parametrize(
    ("name", "make", "key"),
    [
        ("patient_age", lambda n, label: str(20 + n % 50), "patient"),
        ("note_id", lambda n, label: f"N{n // 2}", "case_id"),  # names two cases each
        ("date", lambda n, label: "soon" if n % 2 else "later", "time"),
    ],
)
def test_a_name_alone_is_not_enough(tmp_path, name, make, key) -> None:
    assert getattr(proposed(tmp_path, **{name: make}).data, key) is None


@pytest.mark.parametrize("name", ["dx", "disease", "label", "condition", "Specialty", "Tanı", "Diagnóstico"])  # noqa: RUF001
def test_the_label_is_told_by_its_name_in_several_tongues(tmp_path, name) -> None:
    path = table(tmp_path / "n.csv", ward=lambda n, label: "AB"[n % 2], **{name: lambda n, label: label})
    content = path.read_text(encoding="utf-8").replace("diagnosis", "remark", 1)
    lines = [line.split(",") for line in content.splitlines()]
    path.write_text("\n".join(",".join([a, b, *rest]) for a, b, _, *rest in lines), encoding="utf-8")
    assert create(path, tmp_path / "study").study.protocol.data.label == name


def test_named_columns_override_what_would_be_proposed(tmp_path) -> None:
    path = table(tmp_path / "n.csv", patient_id=lambda n, label: f"P{n}", mother=lambda n, label: f"M{n // 2}")
    data = create(path, tmp_path / "a", text="summary", patient="mother", keep=["patient_id"]).study.protocol.data
    assert (data.text, data.patient, data.keep) == ("summary", "mother", ["patient_id"])
    both = create(path, tmp_path / "b", text=["note", "summary"]).study.protocol.data
    assert both.text == ["note", "summary"]
    with pytest.raises(DataError, match="did you mean 'mother'"):
        create(path, tmp_path / "c", patient="mothr")
    assert not (tmp_path / "c").exists()


def test_codes_beside_the_label_become_the_labels_codes(tmp_path) -> None:
    protocol = proposed(tmp_path, icd=lambda n, label: CODES[label])
    assert protocol.package.codes == {"Gout": "M10", "Influenza": "J11.1", "Migraine": "G43.9"}
    assert protocol.data.label == "diagnosis"
    assert protocol.data.keep == []


def test_a_column_that_gives_the_label_away_is_named_and_not_kept(tmp_path) -> None:
    ward = {"Influenza": "isolation", "Migraine": "neurology", "Gout": "neurology"}
    created = create(
        table(
            tmp_path / "n.csv",
            ward=lambda n, label: f"{ward[label]} {label}" if n % 20 else "isolation",
            sex=lambda n, label: "fm"[n % 2],
        ),
        tmp_path / "study",
    )
    assert created.study.protocol.data.keep == ["sex"]
    assert any("'ward' gives the label away" in one for one in created.warnings)


def test_a_protocol_is_never_overwritten(tmp_path) -> None:
    path = table(tmp_path / "n.csv")
    create(path, tmp_path / "study")
    protocol = tmp_path / "study" / "protocol.toml"
    protocol.write_text("# mine\n", encoding="utf-8")
    with pytest.raises(StudyError, match="is not overwritten"):
        create(path, tmp_path / "study")
    assert protocol.read_text(encoding="utf-8") == "# mine\n"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StudyError, match="is a file, and a study is a folder"):
        create(path, tmp_path / "file")


def test_every_key_has_a_comment_above_it(tmp_path) -> None:
    create(table(tmp_path / "n.csv", icd=lambda n, label: CODES[label]), tmp_path / "study")
    text = (tmp_path / "study" / "protocol.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    lines = text.splitlines()
    inside, keys = "", 0
    for above, line in itertools.pairwise(lines):
        if line.startswith("["):
            inside = line.strip("[]")
        if (line.startswith("[") or " = " in line) and not line.startswith("#") and inside != "package.codes":
            keys += 1
            assert above.startswith("# "), f"{line} has no comment"
    assert keys >= sum(len(section) for section in values.values())


def test_the_table_is_found_when_both_move_together(tmp_path) -> None:
    (tmp_path / "old").mkdir()
    create(table(tmp_path / "old" / "n.csv"), tmp_path / "old" / "study")
    (tmp_path / "old").rename(tmp_path / "new")
    assert main(["prepare", str(tmp_path / "new" / "study"), "--quiet"]) == 0


def mtsamples_like(path: Path) -> Path:
    """No patient, a label of three cases, rows without a label, and a list that holds the label."""
    label = {1: "", 50: "Rehabilitation", 120: "Rehabilitation", 200: "Rehabilitation"}
    return table(
        path,
        240,
        primary_specialty=lambda n, name: label.get(n % 10 if n % 10 == 1 else n, name),
        specialties=lambda n, name: label.get(n, name) + ("|Other" if n % 4 == 0 else ""),
    )


def test_rare_drop_runs_through_on_a_table_like_mtsamples(tmp_path, capsys) -> None:
    path = mtsamples_like(tmp_path / "n.csv")
    words = [
        "init",
        str(path),
        "--into",
        str(tmp_path / "s"),
        "--label",
        "primary_specialty",
        "--rare",
        "drop",
        "--quiet",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "24 of 240 rows have no label" in said
    assert "Rehabilitation (3 cases, 3 groups); as you said, it is left out" in said
    assert main(["prepare", str(tmp_path / "s"), "--quiet"]) == 0, capsys.readouterr().err
    cohort = Cohort.load(Study.open(tmp_path / "s").path("prepare"))
    assert cohort.labels == ("Gout", "Influenza", "Migraine")
    dropped = {one["reason"]: one["rows"] for one in cohort.report["flow"] if one["step"] == "dropped"}
    assert dropped == {"no label": 24, "rare label": 3}


def test_rare_drop_runs_through_on_mtsamples(shared_data, tmp_path, capsys) -> None:
    path = shared_data / "mtsamples" / "mtsamples_unique_multilabel.csv.gz"
    assert main(["init", str(path), "--into", str(tmp_path / "s"), "--rare", "drop", "--quiet"]) == 0
    assert main(["prepare", str(tmp_path / "s"), "--quiet"]) == 0, capsys.readouterr().err
    study = Study.open(tmp_path / "s")
    assert (study.protocol.data.text, study.protocol.data.label) == ("transcription", "primary_specialty")
    report = Cohort.load(study.path("prepare")).report
    assert [(one["step"], one["reason"], one["rows"]) for one in report["flow"]] == [
        ("read", "", 2376),
        ("dropped", "no label", 607),
        ("dropped", "rare label", 3),
        ("kept", "", 1766),
    ]
    assert report["crossings"]["near"] == report["crossings"]["exact"] == 0
