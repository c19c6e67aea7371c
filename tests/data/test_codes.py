"""Codes: proposed for names, read with and without points, rolled up with counts, and never guessed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_notes import KEY, as_csv, notes

from bedside.core.errors import DataError
from bedside.data import prepare
from bedside.data.codes import code_remarks, look_like_codes, normal_code, propose_codes, roll_up, unread_sentence
from bedside.protocol import CleanSection, DataSection, SplitSection
from bedside.study.init import create
from bedside.synthetic import codes as sample_codes

ICD9 = {
    "4019": "401.9", "0389": "038.9", "V5861": "V58.61", "v58.61": "V58.61", "V10": "V10", "042": "042",
    "E8500": "E850.0", "E850": "E850", "e849.0": "E849.0", "25000": "250.00", "99591": "995.91", " 486 ": "486",
}  # fmt: skip
NOT_ICD9 = ["38", "389.123", "V9", "V92", "E85", "E85000", "000", "I10", "", "fever", "401-9", "40 19 0 2", "V586123"]
ICD10 = {
    "I10": "I10", "i109": "I10.9", "E119": "E11.9", "E11.9": "E11.9", "S72001A": "S72.001A", "C7A.00": "C7A.00",
    "O9A.111": "O9A.111", "Z3A20": "Z3A.20", "QA0": "QA0", "U07.1": "U07.1", "K93": "K93", "T98": "T98", "G43.": "G43",
}  # fmt: skip
NOT_ICD10 = ["401.9", "I1", "IA0", "T99", "E91", "I10.12345", "10", "", "I10;I11", "Pneumonia", "QB0"]


def proposed(*labels: str, threshold: float = 0.5) -> dict[str, tuple[str, str]]:
    return {one.label: (one.code, one.how) for one in propose_codes(labels, threshold)}


@pytest.mark.parametrize(("cell", "code"), ICD9.items())
def test_codes_of_icd9_are_read_with_and_without_their_point(cell, code) -> None:
    assert normal_code(cell, "icd9cm") == code


@pytest.mark.parametrize(("cell", "code"), ICD10.items())
def test_codes_of_icd10_are_read_with_and_without_their_point(cell, code) -> None:
    assert normal_code(cell, "icd10") == code


def test_what_is_no_code_is_not_guessed() -> None:
    assert [cell for cell in NOT_ICD9 if normal_code(cell, "icd9cm")] == []
    assert [cell for cell in NOT_ICD10 if normal_code(cell, "icd10")] == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=9), st.sampled_from(["icd9cm", "icd10"]))
def test_reading_a_code_twice_changes_nothing(cell, system) -> None:
    code = normal_code(cell, system)
    assert code is None or normal_code(code, system) == code == normal_code(code.replace(".", "").lower(), system)


def test_every_code_of_the_table_lies_in_the_chapter_that_the_table_says(shared_data) -> None:
    table = pl.read_csv(shared_data / "icd10cm_2026" / "icd10cm.csv", infer_schema=False)
    rolled = roll_up(table["code"].to_list(), "chapter")
    wanted = [chapter.rpartition(" (")[0].lower() for chapter in table["chapter"]]
    assert not rolled.unread
    assert [(label or "").partition(" ")[2].lower() for label in rolled.labels] == wanted


def test_every_category_of_icd9_lies_in_one_chapter() -> None:
    codes = [f"{number:03d}" for number in range(1, 1000)] + [f"V{n:02d}" for n in range(1, 92)]
    codes += [f"E{number:03d}" for number in range(1000)]
    rolled = roll_up(codes, "chapter", "icd9cm")
    assert not rolled.unread
    assert [one.labels for one in rolled.levels] == [len(codes), len(codes), 19]
    found = dict(zip(codes, rolled.labels, strict=True))
    assert found["410"] == "390-459 Diseases of the circulatory system"
    assert found["V58"] == "V01-V91 Factors influencing health status and contact with health services"
    assert found["E850"] == "E000-E999 External causes of injury and poisoning"


def test_levels_are_counted_so_that_one_can_be_chosen() -> None:
    codes = ["I10"] * 30 + ["I21.4"] * 12 + ["I214"] * 3 + ["I21.9"] * 4 + ["J18.9"] * 5 + ["?x"] * 2
    rolled = roll_up(codes, "three")
    assert {one.name: (one.labels, one.smallest, one.under_ten) for one in rolled.levels} == {
        "code": (4, 4, 2),
        "three": (3, 5, 1),
        "chapter": (2, 5, 1),
    }
    assert rolled.unread == {"?x": 2}
    assert rolled.labels[-1] is None
    assert rolled.labels[30:49] == ("I21 Acute myocardial infarction",) * 19
    assert roll_up(["I214"], "code").labels == ("I21.4 Non-ST elevation (NSTEMI) myocardial infarction",)
    assert roll_up(["I98.8"], "three").labels == ("I98",)  # of WHO's ICD-10 alone: no title, and no other code's


def test_the_longest_start_of_the_users_own_map_counts(tmp_path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("code,label\nI,Heart and vessels\nI10-I16,Pressure\nI21,Infarction\nI21.4,NSTEMI\nJ00-J06,Colds\n")
    rolled = roll_up(["I214", "I21.9", "I50", "I10", "J06.9", "J18", "?"], "own.csv", "icd10", tmp_path)
    assert rolled.labels == ("NSTEMI", "Infarction", "Heart and vessels", "Heart and vessels", "Colds", None, None)
    assert rolled.unread == {"J18": 1, "?": 1}
    assert [one.name for one in rolled.levels] == ["code", "three", "chapter", "own.csv"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "neither one of code, three, chapter nor a file"),
        ("icd,name\nI10,x\n", "own.csv has the columns icd, name; it needs code and label"),
        ("code,label\nI10,\n", "row 2"),
        ("code,label\nI10,Pressure\nhypertension,Pressure\n", "row 3: 'HYPERTENSI' and 'Pressure'"),
    ],
)
def test_a_map_that_cannot_be_read_is_refused_by_its_row(tmp_path, content, said) -> None:
    if content is not None:
        (tmp_path / "own.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        roll_up(["I10"], "own.csv", "icd10", tmp_path)


def test_equal_names_are_proposed_whatever_the_case_plural_or_spelling() -> None:
    assert proposed("migraine", "Anaemia", "Whooping Cough", "chicken pox", "Bell's palsy", "Inguinal hernias") == {
        "migraine": ("G43.909", "inclusion term"),
        "Anaemia": ("D64.9", "name"),
        "Whooping Cough": ("A37", "name"),
        "chicken pox": ("B01", "name"),
        "Bell's palsy": ("G51.0", "name"),
        "Inguinal hernias": ("K40.90", "inclusion term"),
    }


def test_similar_names_are_marked_as_such_and_can_be_left_out() -> None:
    (one,) = propose_codes(["Typhoid"])
    assert (one.how, one.score) == ("words", 0.5)
    assert one.line() == '"Typhoid" = "A01.00"  # 50% of words in common: Typhoid fever, unspecified'
    assert proposed("Typhoid", threshold=1) == {}
    assert proposed("peptic ulcer disease")["peptic ulcer disease"][0] == "K27"  # not the history of one, Z87.11
    assert proposed("history of peptic ulcer")["history of peptic ulcer"][0] == "Z87.11"


def test_what_has_no_name_there_gets_no_code() -> None:
    assert proposed("Group Zz", "xyzzy", "", "---", "A") == {}


def test_a_name_with_quotes_stays_one_line_of_toml() -> None:
    (one,) = propose_codes(['gout "the" \\ (left toe)'])
    assert tomllib.loads(one.line()) == {'gout "the" \\ (left toe)': "M10.9"}


def test_most_names_of_real_label_sets_get_the_right_category(shared_data) -> None:
    conditions = json.loads((shared_data / "ddxplus" / "release_conditions.json").read_text(encoding="utf-8"))
    given = {name: normal_code(one["icd10-id"], "icd10") for name, one in conditions.items()}
    truth = {**{name: code for name, code in given.items() if code}, "SLE": "M32.9"}  # theirs, M34, is sclerosis
    hits = {one.label: one.code[:3] == truth[one.label][:3] for one in propose_codes(truth) if one.score == 1}
    assert len(hits) >= 0.5 * len(truth)
    assert sum(hits.values()) >= 0.9 * len(hits)
    clinic = sample_codes()
    equal = {one.label: one.code[:3] == clinic[one.label][:3] for one in propose_codes(clinic) if one.score == 1}
    assert sum(equal.values()) >= 0.75 * len(equal) >= 0.5 * len(clinic)


def test_labels_that_are_codes_are_told_from_names() -> None:
    assert look_like_codes(["I10", "E119", "J18.9"]) == "icd10"
    assert look_like_codes(["4019", "25000", "V5861"]) == "icd9cm"
    assert look_like_codes(["Gout", "Migraine"]) is None
    assert look_like_codes([]) is None


def test_a_new_protocol_offers_codes_for_names_and_levels_for_codes() -> None:
    offered = code_remarks({"Asthma": 3, "Gout": 4, "Xyzzy": 2}, {"Gout": "M10.9"})
    assert [line for line in offered["package.codes"] if " = " in line] == [
        '"Asthma" = "J45.909"  # by inclusion term: Unspecified asthma, uncomplicated'
    ]
    (levels,) = code_remarks({"4019": 30, "401.1": 4, "25000": 12}, {}).values()
    assert levels == [
        "level 'code': 3 labels, 1 of them with under 10 cases, the smallest with 4",
        "level 'three': 2 labels, 0 of them with under 10 cases, the smallest with 12",
        "level 'chapter': 2 labels, 0 of them with under 10 cases, the smallest with 12",
        "the labels look like ICD-9-CM codes; uncomment to roll them up:",
        'system = "icd9cm"',
        'level = "three"',
    ]
    assert code_remarks({"Gout": 4}, {"Gout": "M10.9"}) == {}


def test_what_is_offered_can_be_uncommented(write, tmp_path) -> None:
    cells = {"Influenza": "J10.1", "Appendicitis": "K3580", "Migraine": "G43.909"}
    coded_rows = [{**row, "diagnosis": cells[row["diagnosis"]]} for row in notes(90)]
    for rows, key in ((coded_rows, "[data.label_codes]"), (notes(90), "[package.codes]")):
        made = create(write(as_csv(rows)), tmp_path / key.strip("[]")).study.folder / "protocol.toml"
        text = made.read_text(encoding="utf-8")
        head, _, tail = text.partition(key)
        lines = [line[2:] if " = " in line and line.startswith("# ") else line for line in tail.splitlines()[:8]]
        loaded = tomllib.loads(head + key + "\n".join(lines))
        if "label" in key:
            assert loaded["data"]["label_codes"] == {"system": "icd10", "level": "three"}
        else:
            assert loaded["package"]["codes"] == {"Appendicitis": "K37", "Influenza": "J11.1", "Migraine": "G43.909"}


def coded(write, tmp_path: Path, cells: dict[str, str], **label_codes: str):
    rows = [{**row, "diagnosis": cells[row["diagnosis"]]} for row in notes(90)]
    rows += [{**row, "note_id": f"X{n}", "diagnosis": "see chart"} for n, row in enumerate(notes(3, seed=5))]
    rows += [{**row, "note_id": f"Y{n}", "diagnosis": "38"} for n, row in enumerate(notes(2, seed=6))]
    data = DataSection(
        source=str(write(as_csv(rows))), text="note", label="diagnosis", patient="patient_id", label_codes=label_codes
    )
    return prepare(data, CleanSection(), SplitSection(), base=tmp_path, seed=1, key=KEY)


def test_prepare_rolls_the_label_up_and_counts_every_level(write, tmp_path) -> None:
    cells = {"Influenza": "J10.1", "Appendicitis": "K3580", "Migraine": "G43.909"}
    cohort = coded(write, tmp_path, cells, system="icd10", level="chapter")
    assert [one.partition(" ")[0] for one in cohort.labels] == ["G00-G99", "J00-J99", "K00-K95"]
    found = cohort.report["codes"]
    assert [(one["name"], one["labels"], one["smallest"]) for one in found["levels"]] == [
        ("code", 3, 30),
        ("three", 3, 30),
        ("chapter", 3, 30),
    ]
    assert found["unread"] == {"'see chart'": 3, "'38'": 2}
    assert {"step": "dropped", "reason": "no label", "rows": 5} in cohort.report["flow"]
    assert any("5 labels could not be read as ICD-10 codes" in one for one in cohort.report["warnings"])
    three = coded(write, tmp_path, cells, system="icd10")
    assert three.labels[1].startswith("J10 Influenza")


def test_prepare_refuses_the_wrong_system_and_says_what_a_spreadsheet_did(write, tmp_path) -> None:
    cells = {"Influenza": "487.1", "Appendicitis": "5409", "Migraine": "346.90"}
    with pytest.raises(DataError, match=r"no cell of column 'diagnosis' is a code of ICD-10 \(data.label_codes\)"):
        coded(write, tmp_path, cells, system="icd10")
    cohort = coded(write, tmp_path, cells, system="icd9cm")
    assert cohort.labels == ("346", "487", "540")
    assert any("have lost their leading zeros" in one for one in cohort.report["warnings"])


def test_a_cell_that_may_be_a_note_is_not_shown() -> None:
    rolled = roll_up(["I10", "Mrs Example of Elm Street has had chest pain"])
    shown = json.dumps(rolled.account()) + unread_sentence(rolled, "icd10")
    assert "Example" not in shown
    assert "a cell of 44 characters" in shown


@pytest.mark.parametrize(
    "value",
    [{"level": "three"}, {"system": "icd11"}, {"system": "icd10", "level": "four"}, {"system": "icd10", "x": "y"}],
)
def test_the_protocol_refuses_what_it_does_not_know(value) -> None:
    with pytest.raises(ValidationError):
        DataSection(source="a.csv", text="a", label="b", label_codes=value)
