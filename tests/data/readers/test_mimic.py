"""MIMIC-III and MIMIC-IV: SYNTHETIC rows in the published tables' columns; no row of the source is here."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from bedside.core.errors import DataError
from bedside.data import look, prepare
from bedside.data.codes import with_rolled_labels
from bedside.data.readers import files_of, read
from bedside.protocol import CleanSection, DataSection, SplitSection

NOTEEVENTS = "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CHARTTIME STORETIME CATEGORY DESCRIPTION CGID ISERROR TEXT"
DIAGNOSES_III = "ROW_ID SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE"
TITLES_III = "ROW_ID ICD9_CODE SHORT_TITLE LONG_TITLE"
PATIENTS_III = "ROW_ID SUBJECT_ID GENDER DOB DOD DOD_HOSP DOD_SSN EXPIRE_FLAG"
ADMISSIONS_III = "ROW_ID SUBJECT_ID HADM_ID ADMITTIME DISCHTIME ETHNICITY DIAGNOSIS"
NOTES_IV = "note_id subject_id hadm_id note_type note_seq charttime storetime text"
DIAGNOSES_IV = "subject_id hadm_id seq_num icd_code icd_version"
TITLES_IV = "icd_code icd_version long_title"
PATIENTS_IV = "subject_id gender anchor_age anchor_year anchor_year_group dod"
ADMISSIONS_IV = "subject_id hadm_id admittime dischtime race"


def put(path: Path, columns: str, *rows: tuple) -> Path:
    """A table as published: quoted where needed, packed where its name says so."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns.split(), *rows])
    content = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def note(row: int, subject: int, stay: int | str, category: str, text: str, error: str = "", time: str = "") -> tuple:
    return (row, subject, stay, "2150-06-15", time, "", category, "Report", "", error, text)


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """A small MIMIC-III."""
    put(
        tmp_path / "iii" / "NOTEEVENTS.csv.gz",
        NOTEEVENTS,
        note(1, 10, 100, "Discharge summary", 'Said "no fever",\n\nthen left; x'),
        note(2, 10, 100, "Physician ", "Cough.", time="2150-06-14 08:00:00"),
        note(3, 11, 110, "Physician ", "Wrong patient.", error="1"),
        note(4, 11, 110, "Physician ", "Old and short of breath."),
        note(5, 12, "", "Radiology", "Clear lungs."),
        note(6, 13, 130, "Nursing", "Slept."),
    )
    put(
        tmp_path / "iii" / "DIAGNOSES_ICD.csv",
        DIAGNOSES_III,
        (1, 10, 100, 2, "4019"),
        (2, 10, 100, 10, "25000"),
        (3, 10, 100, 1, "0389"),
        (4, 10, 100, "", "V290"),
        (5, 10, 100, 11, "25000"),
        (6, 11, 110, 1, "99999"),
        (7, 99, 990, 1, "4019"),
        (8, 13, 130, 1, ""),
    )
    put(
        tmp_path / "iii" / "D_ICD_DIAGNOSES.csv.gz", TITLES_III, (1, "0389", "Septicemia NOS", "Unspecified septicemia")
    )
    put(
        tmp_path / "iii" / "PATIENTS.csv",
        PATIENTS_III,
        (1, 10, "F", "2080-06-15 00:00:00", "", "", "", 0),
        (2, 11, "M", "1850-01-01 00:00:00", "", "", "", 0),
        (3, 12, "M", "2151-01-01 00:00:00", "", "", "", 0),
    )
    put(
        tmp_path / "iii" / "ADMISSIONS.csv",
        ADMISSIONS_III,
        (1, 10, 100, "2150-06-13 10:00:00", "2150-06-15 12:00:00", "ASIAN", "SEPSIS"),
    )
    return tmp_path


@pytest.fixture
def fourth(tmp_path: Path) -> Path:
    """A small MIMIC-IV, its two downloads below one folder, as wget leaves them."""
    notes, hospital = (
        tmp_path / "files" / "mimic-iv-note" / "2.2" / "note",
        tmp_path / "files" / "mimiciv" / "3.1" / "hosp",
    )
    put(
        notes / "discharge.csv.gz",
        NOTES_IV,
        ("10-DS-1", 10, 100, "DS", 1, "2180-05-07 00:00:00", "", "Name: ___\nSepsis."),
        ("11-DS-1", 11, 110, "DS", 1, "2181-01-01 00:00:00", "", "Fall."),
    )
    put(
        notes / "radiology.csv.gz",
        NOTES_IV,
        ("10-RR-2", 10, "100.0", "RR", 2, "2180-05-06 00:00:00", "", "Effusion."),
        ("10-AR-3", 10, "", "AR", 3, "2180-05-06 00:00:00", "", "Addendum."),
    )
    put(
        hospital / "diagnoses_icd.csv.gz",
        DIAGNOSES_IV,
        (10, 100, 2, "I10    ", 10),
        (10, 100, 1, "A419   ", 10),
        (11, 110, 1, "4019   ", 9),
    )
    put(
        hospital / "d_icd_diagnoses.csv.gz",
        TITLES_IV,
        ("A419", 9, "another book's code"),
        ("A419", 10, "Sepsis, unspecified organism"),
        ("4019", 9, "Unspecified essential hypertension"),
    )
    put(hospital / "patients.csv.gz", PATIENTS_IV, (10, "F", 50, 2178, "", ""), (11, "M", 91, 2181, "", ""))
    put(hospital / "admissions.csv.gz", ADMISSIONS_IV, (10, 100, "2180-05-05 09:00:00", "", "WHITE"))
    put(hospital / "labevents.csv.gz", "labevent_id value", (1, 2))
    return tmp_path


def table(path: Path, **more):
    return read(DataSection(source=str(path), text="text", label="diagnosis", **more), Path())


def test_a_note_gets_all_codes_of_its_admission_in_order(third: Path) -> None:
    first, second, old, film, slept = table(third).frame.to_dicts()
    assert first["text"] == 'Said "no fever",\n\nthen left; x'
    assert (first["codes"], first["code"]) == ("0389;4019;25000;V290", "0389")
    assert (first["diagnosis"], first["icd_version"]) == ("Unspecified septicemia", "9")
    assert (first["note_id"], first["subject_id"], first["hadm_id"]) == ("1", "10", "100")
    assert (first["charttime"], second["charttime"]) == ("2150-06-15", "2150-06-14 08:00:00")
    assert (first["note_type"], second["note_type"], first["description"]) == (
        "Discharge summary",
        "Physician",
        "Report",
    )
    assert (first["admittime"], first["race"]) == ("2150-06-13 10:00:00", "ASIAN")
    assert old["diagnosis"] == "99999"  # the dictionary has none, as for some codes of the source
    assert film["diagnosis"] == slept["diagnosis"] == ""


def test_ages_are_whole_years_at_the_note_and_hidden_ones_are_ninety(third: Path) -> None:
    ages = {row["note_id"]: (row["age"], row["sex"]) for row in table(third).frame.to_dicts()}
    assert ages == {"1": ("70", "F"), "2": ("69", "F"), "4": ("90", "M"), "5": ("", "M"), "6": ("", "")}


def test_what_was_seen_is_said_and_errors_are_counted(third: Path) -> None:
    read_in = table(third)
    said = " ".join(read_in.observations)
    assert "5 notes" in said and "for credentialed users only" in said
    assert "3 notes have codes (2 admissions: 2 in ICD-9)" in said and "2 have none, or no admission" in said
    assert "1 code has none there" in said
    assert "notes that the source marks as errors (1)" in said
    assert "90 stands for 90 or more (1 note)" in said
    assert read_in.seen["credentialed"] is True
    assert read_in.rows == (2, 3, 5, 6, 7)
    assert any("1 note is a discharge summary" in one for one in read_in.warnings)


def test_note_types_are_filtered_while_reading(third: Path) -> None:
    read_in = table(third, note_types=["physician", "NURSING"])
    assert read_in.frame["note_id"].to_list() == ["2", "4", "6"]
    assert "notes of other types (2)" in " ".join(read_in.observations)
    with pytest.raises(DataError, match=r"data\.note_types; there are: 'Physician', 'Discharge summary'"):
        table(third, note_types=["ECG"])


def test_the_fourth_release_is_read_across_its_two_downloads(fourth: Path) -> None:
    sepsis, fall, film, addendum = table(fourth).frame.to_dicts()
    assert "description" not in sepsis  # a column of MIMIC-III alone
    assert (sepsis["codes"], sepsis["diagnosis"], sepsis["icd_version"]) == (
        "A419;I10",
        "Sepsis, unspecified organism",
        "10",
    )
    assert (fall["diagnosis"], fall["icd_version"]) == ("Unspecified essential hypertension", "9")
    assert (film["diagnosis"], film["hadm_id"], film["note_type"]) == (sepsis["diagnosis"], "100", "Radiology")
    assert (addendum["diagnosis"], addendum["note_type"]) == ("", "Radiology addendum")
    assert [(row["age"], row["sex"], row["race"]) for row in (sepsis, fall)] == [("52", "F", "WHITE"), ("90", "M", "")]
    assert any("ICD-9 and ICD-10 stand side by side" in one for one in table(fourth).warnings)


@pytest.mark.parametrize(("wanted", "ids"), [("RR", ["10-RR-2"]), ("discharge summary", ["10-DS-1", "11-DS-1"])])
def test_types_of_the_fourth_release_go_by_code_or_name(fourth: Path, wanted: str, ids: list[str]) -> None:
    assert table(fourth, note_types=[wanted]).frame["note_id"].to_list() == ids


def test_a_table_without_the_wanted_types_is_not_even_opened(fourth: Path) -> None:
    (found,) = fourth.rglob("radiology.csv.gz")
    found.write_bytes(b"damaged")
    read_in = table(fourth, note_types=["DS"])
    assert read_in.frame.height == 2
    assert "radiology" not in " ".join(read_in.observations)
    with pytest.raises(DataError, match=r"radiology\.csv\.gz is cut off or damaged"):
        table(fourth)


def test_only_the_tables_that_are_read_are_watched(fourth: Path) -> None:
    watched = [path.name for path in files_of(str(fourth), Path()).values()]
    assert sorted(watched) == sorted(
        f"{name}.csv.gz"
        for name in ("discharge", "radiology", "diagnoses_icd", "d_icd_diagnoses", "patients", "admissions")
    )


def test_optional_tables_may_lack(third: Path) -> None:
    for name in ("PATIENTS.csv", "ADMISSIONS.csv", "D_ICD_DIAGNOSES.csv.gz"):
        (third / "iii" / name).unlink()
    row = table(third).frame.to_dicts()[0]
    assert row["diagnosis"] == row["code"] == "0389"
    assert not {"age", "sex", "race", "admittime"} & row.keys()


def test_a_missing_table_is_named(third: Path, fourth: Path) -> None:
    with pytest.raises(DataError, match="holds both MIMIC-III and MIMIC-IV"):
        table(third)
    (third / "iii" / "DIAGNOSES_ICD.csv").unlink()
    with pytest.raises(DataError, match=r"notes of MIMIC-III but not DIAGNOSES_ICD\.csv"):
        table(third / "iii")
    with pytest.raises(DataError, match=r"no notes: NOTEEVENTS.*MIMIC-IV-Note, a download of its own"):
        table(fourth / "files" / "mimiciv")
    with pytest.raises(DataError, match=r"notes of MIMIC-IV but not hosp/diagnoses_icd\.csv"):
        table(fourth / "files" / "mimic-iv-note")


def test_the_same_table_twice_is_refused_and_an_unpacked_one_is_preferred(third: Path) -> None:
    put(third / "iii" / "NOTEEVENTS.csv", NOTEEVENTS, note(9, 10, 100, "Nursing", "Unpacked."))
    assert table(third).frame["text"].to_list() == ["Unpacked."]
    put(third / "copy" / "NOTEEVENTS.csv", NOTEEVENTS, note(9, 10, 100, "Nursing", "Copy."))
    with pytest.raises(DataError, match=r"table noteevents more than once \(copy/NOTEEVENTS\.csv and"):
        table(third)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("NOTEEVENTS.csv", b"ROW_ID,TEXT\n1,a\n", r"NOTEEVENTS\.csv has no column subject_id, hadm_id, category"),
        ("NOTEEVENTS.csv", b"", r"NOTEEVENTS\.csv has no column row_id"),
        ("NOTEEVENTS.csv", f"{NOTEEVENTS.replace(' ', ',')}\n1,2\n".encode(), "row 2 has 2 cells where"),
        ("NOTEEVENTS.csv", f'{NOTEEVENTS.replace(" ", ",")}\n1,1,1,,,,,,,,"open'.encode(), "row 2 cannot be cut"),
        ("NOTEEVENTS.csv", f"{NOTEEVENTS.replace(' ', ',')}\n1,1,1,,,,,,,,\xff\n".encode("latin-1"), "not UTF-8"),
        ("NOTEEVENTS.csv", f"{NOTEEVENTS.replace(' ', ',')}\n".encode(), "holds no note"),
        ("DIAGNOSES_ICD.csv", b"HADM_ID,ICD9_CODE\n1,2\n", r"DIAGNOSES_ICD\.csv has no column seq_num"),
        ("DIAGNOSES_ICD.csv", b"", r"DIAGNOSES_ICD\.csv is cut off or damaged"),
        ("PATIENTS.csv", b"SUBJECT_ID,GENDER,DOB\n1,2,3,4,5\n", r"PATIENTS\.csv is cut off or damaged"),
    ],
)
def test_wrong_files_are_one_sentence(third: Path, name: str, content: bytes, says: str) -> None:
    (third / "iii" / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        table(third)
    assert "\n" not in str(caught.value)


def test_many_codes_come_with_the_way_to_roll_them_up(tmp_path: Path) -> None:
    stays = range(302)
    put(tmp_path / "NOTEEVENTS.csv", NOTEEVENTS, *[note(n, n, n, "Nursing", f"Day {n}.") for n in stays])
    put(tmp_path / "DIAGNOSES_ICD.csv", DIAGNOSES_III, *[(n, n, n, 1, str(n % 301 + 1000)) for n in stays])
    (warning,) = table(tmp_path).warnings
    assert "301 different principal codes" in warning and "{ system = 'icd9cm', level = 'chapter' }" in warning
    rolled = DataSection(
        source=str(tmp_path), text="text", label="code", label_codes={"system": "icd9cm", "level": "chapter"}
    )
    assert with_rolled_labels(table(tmp_path), rolled, tmp_path).frame["code"].n_unique() < 5


def test_a_folder_goes_through_init_and_prepare(tmp_path: Path) -> None:
    signs = {"486": "cough and green sputum with fever", "34690": "throbbing one-sided pain and bright lights"}
    codes, stays = list(signs), range(80)
    folder = tmp_path / "mimic"
    notes = [note(n, n, 1000 + n, "Physician ", f"Day {n}: {signs[codes[n % 2]]}, bed {n * 7}.") for n in stays]
    put(folder / "NOTEEVENTS.csv", NOTEEVENTS, *notes)
    put(folder / "DIAGNOSES_ICD.csv", DIAGNOSES_III, *[(n, n, 1000 + n, 1, codes[n % 2]) for n in stays])
    titles = ((1, "486", "", "Pneumonia"), (2, "34690", "", "Migraine"))
    put(folder / "D_ICD_DIAGNOSES.csv", TITLES_III, *titles)
    assert look(folder, note_types=["Physician"]).section.note_types == ["Physician"]
    with pytest.raises(DataError, match=r"has no note of a type in data\.note_types"):
        look(folder, note_types=["ECG"])
    chosen = look(folder).section
    assert (chosen.text, chosen.label, chosen.patient) == ("text", "diagnosis", "subject_id")
    assert (chosen.case_id, chosen.time) == ("note_id", "charttime")
    cohort = prepare(chosen, CleanSection(), SplitSection(near_duplicate=1), base=tmp_path, seed=1, key=b"k" * 32)
    assert cohort.labels == ("Migraine", "Pneumonia")
    assert cohort.report["source"]["credentialed"] is True


def test_the_type_of_note_is_never_proposed_as_the_diagnosis(tmp_path: Path) -> None:
    kinds, stays = ("Nursing", "Radiology"), range(400)
    put(tmp_path / "NOTEEVENTS.csv", NOTEEVENTS, *[note(n, n, n, kinds[n % 2], f"Cough on day {n}.") for n in stays])
    put(tmp_path / "DIAGNOSES_ICD.csv", DIAGNOSES_III, *[(n, n, n, 1, str(n + 1000)) for n in stays])
    with pytest.raises(DataError, match=r"no column that could be a diagnosis.*name it with --label"):
        look(tmp_path)
