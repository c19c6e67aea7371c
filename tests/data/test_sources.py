"""Several sources joined into one cohort, and whether the source tells the label."""

from __future__ import annotations

import csv
import io
import random
import re
import sqlite3
from collections import Counter

import numpy as np
import polars as pl
import pytest
from small_notes import KEY, notes
from told import Told

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data import Cohort, prepare
from bedside.data.source_label import cramers_v, source_and_label
from bedside.data.sources import files, gather
from bedside.data.times import as_iso
from bedside.protocol import CleanSection, DataSection, SourceSection, SplitSection

NORTH = {"note_id": "note_id", "patient_id": "patient_id", "note": "note", "diagnosis": "diagnosis"}
SOUTH = {"note_id": "fall", "patient_id": "patient", "note": "befund", "diagnosis": "diagnose"}
GERMAN = {"Influenza": "Grippe", "Appendicitis": "appendicitis ", "Migraine": "Migräne"}


def written(rows, names, separator=",", **more) -> str:
    """Rows under other column names, and further columns that are functions of a row's number."""
    out = io.StringIO()
    changed = [
        {new: row[old] for old, new in names.items()} | {name: make(n) for name, make in more.items()}
        for n, row in enumerate(rows)
    ]
    writer = csv.DictWriter(out, list(changed[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(changed)
    return out.getvalue()


def two(write, *, north=60, south=48, keep=None, **data) -> DataSection:
    """Two files that write the same otherwise: names of columns, separator, spellings of labels, dates."""
    write(
        written(notes(north, 1), NORTH, age=lambda n: 20 + n, when=lambda n: f"2024-01-{n % 28 + 1:02d}"), "north.csv"
    )
    rows = [row | {"diagnosis": GERMAN[row["diagnosis"]]} for row in notes(south, 2)]
    write(written(rows, SOUTH, ";", alter=lambda n: f"{30 + n},5", tag=lambda n: f"{n % 28 + 1}.02.2024"), "south.csv")
    values = {
        "text": "note",
        "label": "diagnosis",
        "patient": "patient_id",
        "case_id": "note_id",
        "time": "when",
        "keep": ["age"] if keep is None else keep,
        "sources": [
            SourceSection(name="north", source="north.csv", licence="CC-BY-4.0", consent="broad consent, form 3"),
            SourceSection(
                name="south",
                source="south.csv",
                text="befund",
                label="diagnose",
                patient="patient",
                case_id="fall",
                time="tag",
                rename={"alter": "age"},
                merge={"Grippe": "Influenza", "appendicitis": "Appendicitis", "Migräne": "Migraine"},
                consent="waived by the board",
            ),
        ],
    }
    return DataSection(**(values | data))


def cohort_of(section: DataSection, base, progress=None) -> Cohort:
    more = {"progress": progress} if progress else {}
    return prepare(section, CleanSection(), SplitSection(), base=base, seed=42, key=KEY, **more)


def test_two_files_that_write_otherwise_become_one_cohort(write, tmp_path) -> None:
    cohort = cohort_of(two(write), tmp_path)
    assert cohort.labels == ("Appendicitis", "Influenza", "Migraine")
    assert cohort.frame.height == 108
    assert Counter(cohort.frame["source"]) == {"north": 60, "south": 48}
    assert cohort.frame["age"].dtype == pl.Float64  # with a decimal point here, a comma there
    assert cohort.frame["time_rank"].null_count() == 0
    assert all("#" not in text and "befund" not in text for text in cohort.frame["text"])
    assert cohort.report["source"]["file"] == "north.csv, south.csv"
    assert cohort.report["source"]["rows"] == 108
    assert cohort.report["columns"]["keep"] == ["age", "source"]


def test_the_report_says_of_each_source_what_it_gave_and_under_which_terms(write, tmp_path) -> None:
    first, second = cohort_of(two(write), tmp_path).report["sources"]["each"]
    assert (first["name"], first["file"], first["rows"], first["kept"]) == ("north", "north.csv", 60, 60)
    assert (first["licence"], first["consent"]) == ("CC-BY-4.0", "broad consent, form 3")
    assert (second["licence"], second["consent"]) == ("", "waived by the board")
    assert second["separator"] == ";"
    assert second["labels"] == {"Appendicitis": 16, "Influenza": 16, "Migraine": 16}
    assert second["merge"]["Grippe"] == "Influenza"
    assert len({first["sha256"], second["sha256"]}) == 2


def test_times_in_different_forms_are_ranked_together(write, tmp_path) -> None:
    cohort = cohort_of(two(write), tmp_path)
    ranks = cohort.frame.group_by("source").agg(pl.col("time_rank").min().alias("first"), pl.col("time_rank").max())
    held = {row["source"]: (row["first"], row["time_rank"]) for row in ranks.to_dicts()}
    assert held["north"] == (0, 27)  # January
    assert held["south"] == (28, 55)  # February


def test_equal_ids_of_two_hospitals_are_two_people_unless_said_otherwise(write, tmp_path) -> None:
    apart = cohort_of(two(write), tmp_path)
    assert apart.report["patients"] == 30 + 24
    assert apart.frame["case_id"].n_unique() == 108
    together = cohort_of(two(write, same_patients=True), tmp_path)
    assert together.report["patients"] == 30
    shared = together.frame.group_by("patient").agg(pl.col("source").n_unique(), pl.col("split").n_unique())
    assert shared["source"].max() == 2
    assert shared["split"].max() == 1


def test_rows_of_one_number_and_text_in_two_files_are_two_cases(write, tmp_path) -> None:
    section = two(write, case_id=None)
    write((tmp_path / "north.csv").read_text(), "again.csv")
    same = section.sources[0].model_copy(update={"name": "again", "source": "again.csv"})
    cohort = cohort_of(section.model_copy(update={"sources": [section.sources[0], same], "time": None}), tmp_path)
    assert cohort.frame["case_id"].n_unique() == cohort.frame.height == 120


def test_two_files_of_one_name_are_told_apart(write, tmp_path) -> None:
    section = two(write)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "notes.csv").write_text((tmp_path / "north.csv").read_text())
    both = [section.sources[0].model_copy(update={"name": one, "source": f"{one}/notes.csv"}) for one in ("a", "b")]
    gathered = gather(section.model_copy(update={"sources": both}), tmp_path, Progress())
    assert gathered.table.row(0) == "row 2 of notes.csv (a)"
    assert len({gathered.table.key(place) for place in range(120)}) == 120


def test_a_row_in_a_sentence_names_its_file(write, tmp_path) -> None:
    section = two(write, unlabelled="refuse")
    lines = (tmp_path / "south.csv").read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(";")[3], "")
    write("\n".join(lines) + "\n", "south.csv")
    with pytest.raises(DataError, match=r"1 rows have no label \(the first is row 4 of south\.csv\)"):
        cohort_of(section, tmp_path)


def changed(section: DataSection, **update) -> DataSection:
    """The protocol with other values for its second source."""
    return section.model_copy(update={"sources": [section.sources[0], section.sources[1].model_copy(update=update)]})


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"label": "diagnoses"}, "'diagnoses' is no column of south.csv; did you mean 'diagnose'"),
        ({"text": None}, "data.text = 'note' is no column of south.csv"),
        ({"text": ["befund", "age"]}, "source 'south' (south.csv) names 2 text columns and data.text 1 column"),
        ({"rename": {"alta": "age"}}, "rename of source 'south': 'alta' is no column of south.csv; did you mean"),
        ({"rename": {"alter": "tag"}}, "rename of source 'south': south.csv has a column 'tag' already"),
        ({"source": "west.csv"}, "west.csv does not exist"),
    ],
)
def test_what_a_source_lacks_is_told_with_its_file(update, said, write, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        cohort_of(changed(two(write), **update), tmp_path)
    assert said in str(caught.value)


def test_a_column_that_no_source_has_and_one_that_only_some_have(write, tmp_path) -> None:
    with pytest.raises(DataError, match=r"data\.keep = 'ward' is a column of no source"):
        cohort_of(two(write, keep=["ward"]), tmp_path)
    cohort = cohort_of(changed(two(write), rename={}), tmp_path)
    assert cohort.frame.filter(pl.col("source") == "south")["age"].null_count() == 48
    assert "column 'age' is not in south.csv, and empty for its cases" in cohort.report["source"]["observations"]


def test_a_source_without_patients_and_a_merge_that_matches_nothing(write, tmp_path) -> None:
    section = changed(two(write), patient="", merge={"Grippe": "Influenza", "Gicht": "Gout"})
    told = Told()
    gathered = gather(section, tmp_path, told)
    assert gathered.table.frame["patient_id"].to_list()[60:] == [""] * 48
    assert "south.csv: merge of source 'south' names 'Gicht', which is no label here." in told.lines
    assert set(gathered.table.frame["diagnosis"][60:]) == {"Influenza", "appendicitis", "Migräne"}


def test_the_name_of_the_column_of_sources_is_taken(write, tmp_path) -> None:
    with pytest.raises(DataError, match="is what the column is called that says where a case comes from"):
        gather(two(write, label="source"), tmp_path, Progress())


def test_a_file_and_a_database_are_joined(write, tmp_path) -> None:
    section = two(write)
    connection = sqlite3.connect(tmp_path / "south.db")
    connection.execute("CREATE TABLE f (befund TEXT, diagnose TEXT, patient TEXT, fall TEXT, tag TEXT, alter_ TEXT)")
    with (tmp_path / "south.csv").open(encoding="utf-8") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file, delimiter=";")]
    connection.executemany(
        "INSERT INTO f (fall, patient, befund, diagnose, alter_, tag) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    connection.commit()
    connection.close()
    section = changed(section, source="sqlite:///south.db", query='SELECT *, alter_ AS "alter" FROM f ORDER BY fall')
    cohort = cohort_of(section, tmp_path)
    assert Counter(cohort.frame["source"]) == {"north": 60, "south": 48}
    assert cohort.report["sources"]["each"][1]["file"] == "south.db"
    assert files(section, tmp_path) == {
        "source 1/table": tmp_path / "north.csv",
        "source 2/table": tmp_path / "south.db",
    }


@pytest.mark.parametrize("columns", [False, True])
def test_cases_with_several_labels_are_merged_label_by_label(columns, write, tmp_path) -> None:
    """From one column with a delimiter, or from two columns; each source under its own spellings."""
    section = two(write, case_id=None, time=None, patient=None, keep=[])
    for name, sign, more in (("north.csv", ",", "Gout"), ("south.csv", ";", "Gicht")):
        with (tmp_path / name).open(encoding="utf-8") as file:
            rows = list(csv.reader(file, delimiter=sign))
        at = 3
        for n, row in enumerate(rows[1:]):
            extra = more if n % 2 else ""
            row[at:] = [row[at], extra] if columns else [f"{row[at]}|{extra}"]
        rows[0][at:] = ["first", "second"] if columns else [rows[0][at]]
        write("\n".join(sign.join(f'"{cell}"' for cell in row) for row in rows) + "\n", name)
    merge = {**section.sources[1].merge, "Gicht": "Gout"}
    own = {"patient": None, "case_id": None, "time": None, "rename": {}, "merge": merge}
    own |= {"label": None} if columns else {}
    section = changed(section, **own)
    labels = {"labels": ["first", "second"], "label": ""} if columns else {"delimiter": "|"}
    cohort = cohort_of(section.model_copy(update=labels), tmp_path)
    assert set(cohort.labels) == {"Influenza", "Appendicitis", "Migraine", "Gout"}
    first, second = cohort.report["sources"]["each"]
    assert (first["labels"]["Gout"], second["labels"]["Gout"]) == (30, 24)
    assert "first" not in cohort.frame.columns
    found = cohort.report["sources"]["label"]
    assert found["cramers_v"]["value"] < 0.2
    assert not found["predicts"]
    assert "accuracy" not in found


def test_one_source_is_as_it_was(write, tmp_path) -> None:
    section = two(write)
    single = section.model_copy(update={"source": "north.csv", "sources": []})
    cohort = cohort_of(single, tmp_path)
    assert "sources" not in cohort.report
    assert "source" not in cohort.frame.columns
    assert files(single, tmp_path) == {"table": tmp_path / "north.csv"}


# --- does the source tell the label? ----------------------------------------------------------------------------------


def test_a_balanced_source_passes(write, tmp_path) -> None:
    report = cohort_of(two(write), tmp_path).report
    found = report["sources"]["label"]
    assert not found["predicts"]
    assert found["only_in_one"] == []
    row = next(one for one in report["verdicts"] if "source" in one["check"].lower())
    assert (row["check"], row["verdict"]) == ("The source does not predict the label", "PASS")


def test_a_source_that_tells_the_label_is_warned_of_in_words(write, tmp_path) -> None:
    section = two(write, north=90, south=90)
    for name, most in (("north.csv", "Influenza"), ("south.csv", "Grippe")):
        lines = (tmp_path / name).read_text().splitlines()
        # North keeps its influenza and a few others; the south its others and little influenza.
        kept = [line for n, line in enumerate(lines[1:]) if (most in line) == (name == "north.csv") or n % 4 == 0]
        write("\n".join([lines[0], *kept]) + "\n", name)
    told = Told()
    report = cohort_of(section, tmp_path, told).report
    found = report["sources"]["label"]
    assert found["predicts"]
    assert found["cramers_v"]["value"] > 0.3
    assert found["accuracy"]["value"] > found["majority"]["value"]
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    row = next(one for one in report["verdicts"] if one["check"] == "The source predicts the label")
    assert row["verdict"] == "WARN"
    assert "A model may learn the hospital instead of the disease." in row["sentence"]
    assert any("may learn the hospital instead of the disease" in line for line in told.lines)


def test_the_page_shows_terms_and_figures_and_hides_small_counts(write, tmp_path) -> None:
    from bedside.data.report_page import page

    section = two(write)
    lines = (tmp_path / "south.csv").read_text().splitlines()
    few = [n for n, line in enumerate(lines) if "Grippe" in line][:14]
    write("\n".join(line for n, line in enumerate(lines) if n not in few) + "\n", "south.csv")
    report = cohort_of(section, tmp_path).report
    assert report["sources"]["each"][1]["labels"]["Influenza"] == 2
    html = page(report)
    shown = html[html.index(">Sources<") :]
    rows = re.findall(r"<tr>(.*?)</tr>", shown)
    influenza = next(re.sub(r"<[^>]+>", " ", row).split() for row in rows if "Influenza" in row)
    assert influenza[0] == "Influenza" and influenza[2] == "&lt;5"
    assert "hidden" in influenza  # else 22 - 20 would tell it
    assert "CC-BY-4.0" in shown and "waived by the board" in shown
    assert f"V {report['sources']['label']['cramers_v']['value']:.2f}" in shown
    assert f"{report['sources']['label']['accuracy']['value']:.1%}" in shown


def test_cramers_v_against_values_worked_out_by_hand() -> None:
    # chi² = 4 and n = 40: phi² = 0.1 - 1/39, both sizes 2 - 1/39.
    table = np.array([[12, 8], [8, 12]])
    squared = 40 * (12 * 12 - 8 * 8) ** 2 / 20**4
    by_hand = ((squared / 40 - 1 / 39) / (1 - 1 / 39)) ** 0.5 if squared / 40 > 1 / 39 else 0.0
    assert cramers_v(table)[0] == pytest.approx(by_hand, abs=1e-12)
    assert cramers_v(np.array([[20, 0], [0, 20]]))[0] == pytest.approx(1.0)
    assert cramers_v(np.array([[10, 10], [10, 10]])) == (0.0, 1.0)
    assert cramers_v(np.array([[5, 7]])) == (0.0, 1.0)


def test_the_p_value_is_scipys() -> None:
    from scipy.stats import chi2_contingency

    table = np.array([[30, 10, 5], [12, 25, 9]])
    assert cramers_v(table)[1] == pytest.approx(chi2_contingency(table, correction=False).pvalue, rel=1e-12)


def test_chance_alone_is_not_called_a_source_effect() -> None:
    """Independent sources and labels: V is centred on nothing, and the warning is as rare as its level says."""
    dice = random.Random(7)
    values, warned = [], 0
    for _ in range(60):
        rows = [
            (f"g{n}", dice.choice("ab"), dice.choice("xyz"), dice.choice(["train", "calibration"])) for n in range(200)
        ]
        frame = pl.DataFrame(rows, schema=["group", "source", "label", "split"], orient="row")
        found = source_and_label(frame, seed=1)
        values.append(found["cramers_v"]["value"])
        warned += found["predicts"]
    assert np.mean(values) < 0.07
    assert warned <= 5


def test_many_notes_of_one_patient_count_once() -> None:
    rows = [("one", "a", "x", "train")] * 300 + [(f"g{n}", "ab"[n % 2], "xy"[n // 2 % 2], "train") for n in range(40)]
    frame = pl.DataFrame(rows, schema=["group", "source", "label", "split"], orient="row")
    found = source_and_label(frame, seed=1)
    assert found["cramers_v"]["groups"] == 41
    assert not found["predicts"]
    assert "accuracy" not in found  # nothing was held out


def test_of_several_labels_the_one_that_tells_most_is_named() -> None:
    rows = [(f"g{n}", "ab"[n % 2], ["common", "fever"] if n % 2 else ["common"], "train") for n in range(80)]
    frame = pl.DataFrame(rows, schema=["group", "source", "label", "split"], orient="row")
    found = source_and_label(frame, seed=1)
    assert found["predicts"]
    assert found["cramers_v"]["label"] == "fever"
    assert found["cramers_v"]["value"] == pytest.approx(1.0)
    assert found["only_in_one"] == ["fever"]


def test_times_become_one_form() -> None:
    fresh, said = as_iso(pl.Series("t", ["3.2.2024", "", "x"]))
    assert fresh.to_list() == ["2024-02-03T00:00:00.000000", "", ""]
    assert said == ["the time of 1 rows could not be read and has no rank"]
    assert as_iso(pl.Series("t", ["2024-02-03T04:05:06Z"]))[0].to_list() == ["2024-02-03T04:05:06.000000"]
    assert as_iso(pl.Series("t", ["1999"]))[0].to_list() == ["1999-01-01T00:00:00.000000"]
