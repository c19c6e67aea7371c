"""FHIR R4: what becomes text and label, what does not, and that nothing names a patient in a sentence."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from bedside.core.errors import DataError
from bedside.core.files import sha256_file
from bedside.data import look, prepare
from bedside.data.readers import files_of, read
from bedside.data.readers.fhir_r4 import strip_html, strip_rtf
from bedside.protocol import CleanSection, DataSection, SplitSection


def section(source: Path | str, **more) -> DataSection:
    return DataSection(source=str(source), text="text", label="label", **more)


def attachment(text: str, kind: str = "text/plain", encoding: str = "utf-8") -> dict:
    return {"contentType": kind, "data": base64.b64encode(text.encode(encoding)).decode()}


def note(text: str, number: int = 1, kind: str = "text/plain", encoding: str = "utf-8", **more) -> dict:
    return {
        "resourceType": "DocumentReference",
        "id": f"d{number}",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34117-2", "display": "History and physical"}]},
        "subject": {"reference": f"Patient/p{number}"},
        "date": "2020-02-03T04:05:06Z",
        "content": [{"attachment": attachment(text, kind, encoding)}],
        "context": {"encounter": [{"reference": f"Encounter/e{number}"}]},
        **more,
    }


def condition(words: str, number: int = 1, key: str = "c1", verified: str = "confirmed", **more) -> dict:
    return {
        "resourceType": "Condition",
        "id": key,
        "verificationStatus": {"coding": [{"code": verified}]},
        "code": {
            "text": words,
            "coding": [
                {"system": "http://snomed.info/sct", "code": "1"},
                {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J18.9"},
            ],
        },
        "encounter": {"reference": f"Encounter/e{number}"},
        **more,
    }


def bundle(*resources: dict) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]})


def rows(path: Path, **more) -> list[dict]:
    return read(section(path, **more), Path()).frame.to_dicts()


def test_a_note_gets_the_condition_of_its_own_encounter(write) -> None:
    path = write(bundle(note("Cough and fever."), condition("Pneumonia"), condition("Asthma", 2)), "b.json")
    (row,) = rows(path)
    assert (row["text"], row["label"], row["code"]) == ("Cough and fever.", "Pneumonia", "J18.9")
    assert (row["patient"], row["encounter"], row["time"]) == ("p1", "e1", "2020-02-03T04:05:06Z")
    assert (row["note_type"], row["resource"]) == ("34117-2", "DocumentReference/d1")


@pytest.mark.parametrize("status", ["entered-in-error", "refuted"])
def test_an_untrue_condition_is_no_label(write, status: str) -> None:
    path = write(bundle(note("Cough."), condition("Pneumonia", verified=status)), "b.json")
    table = read(section(path), Path())
    assert table.frame["label"].to_list() == [""]
    assert any("entered in error or refuted (1)" in one for one in table.observations)
    assert any("no label" in one for one in table.warnings)


def test_a_condition_without_an_encounter_is_no_label(write) -> None:
    loose = {key: value for key, value in condition("Pneumonia").items() if key != "encounter"}
    table = read(section(write(bundle(note("Cough."), loose), "b.json")), Path())
    assert table.frame["label"].to_list() == [""]
    assert any("conditions without an encounter (1)" in one for one in table.observations)


def test_rank_goes_before_time_and_all_labels_are_kept(write) -> None:
    late = condition("Pneumonia", key="c1", recordedDate="2020-02-09")
    early = condition("Asthma", key="c2", recordedDate="2020-02-01")
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "diagnosis": [{"condition": {"reference": "Condition/c1"}, "rank": 1}],
    }
    (row,) = rows(write(bundle(note("Cough."), early, late, encounter), "ranked.json"))
    assert (row["label"], row["labels"]) == ("Pneumonia", "Pneumonia | Asthma")
    (row,) = rows(write(bundle(note("Cough."), late, early), "unranked.json"))
    assert (row["label"], row["labels"]) == ("Asthma", "Asthma | Pneumonia")


def test_references_by_address_meet_references_by_id(write) -> None:
    """A transaction bundle refers to entries by urn:uuid, in any order."""
    sick = condition("Pneumonia", encounter={"reference": "urn:uuid:aaa"})
    entries = [
        {"resource": sick},
        {"resource": note("Cough.")},
        {"fullUrl": "urn:uuid:aaa", "resource": {"resourceType": "Encounter", "id": "e1"}},
    ]
    path = write(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}), "t.json")
    assert [row["label"] for row in rows(path)] == ["Pneumonia"]


@pytest.mark.parametrize(
    ("kind", "content", "encoding"),
    [
        ("text/plain", "Fièvre 38.5 °C", "utf-8"),
        ("text/plain", "Fièvre 38.5 °C", "cp1252"),
        ("text/plain; charset=utf-16", "Fièvre 38.5 °C", "utf-16"),
        ("text/html", "<html><style>p {}</style><body><p>Fi&egrave;vre  38.5 &#176;C</p></body></html>", "utf-8"),
        ("application/rtf", r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 Fi\'e8vre 38.5 \u176?C\par}", "ascii"),
    ],
)
def test_attachments_are_stripped_to_their_text(write, kind: str, content: str, encoding: str) -> None:
    (row,) = rows(write(bundle(note(content, kind=kind, encoding=encoding)), "b.json"))
    assert row["text"] == "Fièvre 38.5 °C"


def test_pages_and_rich_text_keep_their_lines() -> None:
    assert (
        strip_html("<h2>A</h2><p>no fever<br/>BP <b>120/80</b></p><td>x</td><td>y</td>")
        == "A\nno fever\nBP 120/80\nx y"
    )
    assert strip_rtf(r"{\rtf1{\*\generator Word;}{\info{\author X}}no fever\par BP 120/80\line a\{b\}}") == (
        "no fever\nBP 120/80\na{b}"
    )


def test_reports_and_compositions_are_notes_too(write) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"text": "Chest film"},
        "encounter": {"reference": "Encounter/e1"},
        "presentedForm": [attachment("Left lower lobe is dense.")],
        "conclusion": "Consolidation.",
        "text": {"status": "generated", "div": "<div>id: r</div>"},
    }
    written = {
        "resourceType": "Composition",
        "id": "w",
        "status": "final",
        "encounter": {"reference": "Encounter/e1"},
        "section": [
            {
                "title": "History",
                "text": {"div": "<div>Cough.</div>"},
                "section": [{"title": "Family", "text": {"div": "<div>None.</div>"}}],
            }
        ],
    }
    first, second = rows(write(bundle(report, written, condition("Pneumonia")), "b.json"))
    assert first["text"] == "Left lower lobe is dense.\n\nConsolidation."
    assert second["text"] == "History:\nCough.\n\nFamily:\nNone."
    assert first["label"] == second["label"] == "Pneumonia"


def test_what_is_left_out_is_counted(write) -> None:
    away = note("", 3)
    away["content"] = [{"attachment": {"contentType": "text/plain", "url": "https://example.org/Binary/9"}}]
    wrong = note("Wrong patient.", 2, status="entered-in-error")
    table = read(section(write(bundle(note("Cough."), wrong, away, note("x", 4, "application/pdf")), "b.json")), Path())
    assert table.frame["text"].to_list() == ["Cough."]
    said = " ".join(table.observations)
    assert "documents without readable text (2)" in said
    assert "entered in error, cancelled or superseded (1)" in said
    assert "behind an address, which is not fetched (1)" in said
    assert "attachments of type application/pdf (1)" in said


def test_a_binary_of_the_same_export_is_read(write) -> None:
    linked = note("")
    linked["content"] = [{"attachment": {"contentType": "text/plain", "url": "Binary/b1"}}]
    binary = {"resourceType": "Binary", "id": "b1", **attachment("Cough.")}
    assert [row["text"] for row in rows(write(bundle(linked, binary), "b.json"))] == ["Cough."]


def test_note_types_are_chosen_by_code_or_name(write) -> None:
    other = note("Later.", 2, type={"coding": [{"system": "http://loinc.org", "code": "18842-5"}]})
    path = write(bundle(note("First."), other), "b.json")
    assert [row["text"] for row in rows(path, note_types=["18842-5"])] == ["Later."]
    assert [row["text"] for row in rows(path, note_types=["history and physical"])] == ["First."]
    with pytest.raises(DataError, match=r"data\.note_types; there are: '34117-2', '18842-5'"):
        rows(path, note_types=["11111-1"])


def export(folder: Path, patients: int) -> Path:
    """A bulk export: a file for each type, a line for each resource."""
    folder.mkdir()
    signs = {"Pneumonia": "cough and green sputum with fever", "Migraine": "throbbing one-sided pain and bright lights"}
    names = list(signs)
    notes = [note(f"Visit {n}: {signs[names[n % 2]]} for {n} days, seen in room {n * 7}.", n) for n in range(patients)]
    conditions = [condition(names[n % 2], n, f"c{n}") for n in range(patients)]
    for kind, found in (("Condition", conditions), ("DocumentReference", notes)):
        lines = "\n".join(map(json.dumps, found))
        (folder / f"{kind}.ndjson").write_text(lines, encoding="utf-8")
    return folder


def test_a_bulk_export_goes_through_init_and_prepare(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", 80)
    chosen = look(folder).section
    assert (chosen.text, chosen.label, chosen.patient, chosen.time) == ("text", "label", "patient", "time")
    cohort = prepare(chosen, CleanSection(), SplitSection(near_duplicate=1), base=tmp_path, seed=1, key=b"k" * 32)
    assert cohort.labels == ("Migraine", "Pneumonia")
    assert cohort.frame.height == 80
    assert cohort.report["source"]["sha256"] == sha256_file(folder)
    assert cohort.report["source"]["bytes"] == sum(file.stat().st_size for file in folder.iterdir())


def test_a_change_inside_a_folder_is_noticed_and_names_no_patient(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", 2)
    (folder / "Smith_John.json").write_text(bundle(note("Cough.")), encoding="utf-8")
    before = sha256_file(folder)
    assert list(files_of("export", tmp_path)) == ["table/1", "table/2", "table/3"]
    (folder / "Smith_John.json").write_text(bundle(note("Fever.")), encoding="utf-8")
    assert sha256_file(folder) != before


def test_single_lines_are_told_from_tables(write) -> None:
    line = json.dumps(note("Cough."))
    assert [row["text"] for row in rows(write(line, "a.ndjson"))] == ["Cough."]
    assert rows(write('{"text": "a", "label": "b"}', "b.ndjson")) == [{"text": "a", "label": "b"}]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("{", "b.json", "b.json is not valid JSON"),
        ("[1]", "b.json", "without a resourceType"),
        (json.dumps(note("Cough.")) + "\n{", "b.ndjson", "b.ndjson, line 2 is not valid JSON"),
        (json.dumps(note("Cough.")) + '\n{"a": 1}', "b.ndjson", "line 2 is JSON without a resourceType"),
        ('{"resourceType": "Bundle"}', "b.json", "holds no note"),
        ('{"resourceType": "Bundle", "entry": [{"resource": 7}, 3, null]}', "b.json", "holds no note"),
        ('{"resourceType": "DocumentReference", "content": [{"attachment": {"data": 7}}]}', "b.json", "holds no note"),
        (
            json.dumps(note("x", content=[{"attachment": {"contentType": "text/plain", "data": "?"}}])),
            "b.json",
            "no note",
        ),
    ],
)
def test_wrong_files_are_one_sentence(write, content: str, name: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        rows(write(content, name))
    assert "\n" not in str(caught.value)


def test_a_fault_in_a_folder_is_named_by_place_not_by_patient(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", 2)
    (folder / "Smith_John.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="file 3 of 3 by name is not valid JSON") as caught:
        rows(folder)
    assert "Smith" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; name the table inside it"):
        rows(tmp_path)


def test_published_patients_without_notes_are_said_to_have_none(shared_data: Path) -> None:
    folder = shared_data / "fhir_r4" / "synthea"
    with pytest.raises(DataError, match=r"synthea holds no note \(42 files: .*none of its 267 documents") as caught:
        rows(folder)
    assert not any(file.stem.split("_")[0] in str(caught.value) for file in folder.iterdir())


def test_published_examples_give_their_reports_and_compositions(shared_data: Path) -> None:
    found = {row["resource"]: row for row in rows(shared_data / "fhir_r4" / "hl7_examples")}
    assert found["DiagnosticReport/ultrasound"]["text"] == "Unremarkable study"
    assert found["DiagnosticReport/f201"]["text"] == "CT brains: large tumor sphenoid/clivus."
    assert "Atypical squamous cells" in found["DiagnosticReport/pap"]["text"]  # an authored narrative
    assert "DiagnosticReport/example-pgx" not in found  # a PDF
    assert not any("Generated Narrative" in row["text"] for row in found.values())
