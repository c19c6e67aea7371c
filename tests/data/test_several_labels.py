"""A cohort of cases with several labels: divided by label, no group cut, every label where it belongs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from bedside.core.errors import DataError, ProtocolError, StudyError
from bedside.data import SPLITS, Cohort
from bedside.data.preparation import prepare
from bedside.protocol import AugmentSection, CleanSection, DataSection, SplitSection, render
from bedside.study import Study

NAMES = ("Asthma", "Gout", "Migraine")


def write(folder, *, kind: str, rows: int = 240) -> dict[str, list[str]]:
    """Notes with none to three labels in one of three layouts; the truth by text."""
    truth = {}
    with (folder / "notes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "patient", *({"list": ["dx"], "flags": NAMES, "columns": ["dx1", "dx2", "dx3"]}[kind])])
        for number in range(rows):
            labels = [name for place, name in enumerate(NAMES) if (number >> place) & 1]
            text = " ".join(f"w{(number * 7919 + step * 104729) % 5000}" for step in range(15))
            cells = {
                "list": ["; ".join(labels)],
                "flags": ["yes" if name in labels else "no" for name in NAMES],
                "columns": [*labels, "", "", ""][:3],
            }[kind]
            table.writerow([text, f"p{number // 2}", *cells])
            truth[text] = labels
    return truth


def sections(kind: str, **more: object) -> DataSection:
    own = {
        "list": {"label": "dx", "delimiter": ";"},
        "flags": {"labels": list(NAMES)},
        "columns": {"labels": ["dx1", "dx2", "dx3"]},
    }[kind]
    return DataSection(source="notes.csv", text="text", patient="patient", **own, **more)


def cohort_of(folder, data: DataSection) -> Cohort:
    return prepare(data, CleanSection(), SplitSection(), base=folder, seed=1, key=b"k" * 32)


@pytest.mark.parametrize("kind", ["list", "flags", "columns"])
def test_every_case_keeps_its_labels_and_no_patient_is_cut(tmp_path, kind) -> None:
    truth = write(tmp_path, kind=kind)
    cohort = cohort_of(tmp_path, sections(kind))
    assert cohort.labels == NAMES
    found = dict(zip(cohort.frame["text"], cohort.frame["label"].to_list(), strict=True))
    assert found == {text: labels for text, labels in truth.items() if labels}
    assert cohort.report["flow"][1] == {"step": "dropped", "reason": "no label", "rows": 30}
    for part in cohort.frame.partition_by("patient"):
        assert part["split"].n_unique() == 1
    for label in NAMES:
        counts = cohort.report["labels"][label]
        assert counts["cases"] == sum(label in labels for labels in truth.values())
        assert abs(counts["train"] - 0.6 * counts["cases"]) <= 3
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "suspects.csv").write_text("of an earlier preparation", encoding="utf-8")
    cohort.save(tmp_path / "cohort")
    assert not (tmp_path / "cohort" / "suspects.csv").exists()
    loaded = Cohort.load(tmp_path / "cohort")
    assert loaded.several
    matrix = np.concatenate([loaded.target_matrix(split) for split in SPLITS])
    assert matrix.sum(axis=0).tolist() == [cohort.report["labels"][label]["cases"] for label in NAMES]
    with pytest.raises(DataError, match="several labels"):
        loaded.targets("test")


def test_the_layouts_give_the_same_split(tmp_path) -> None:
    divided = []
    for kind in ("list", "flags", "columns"):
        write(tmp_path, kind=kind)
        frame = cohort_of(tmp_path, sections(kind)).frame
        divided.append(dict(zip(frame["text"], frame["split"], strict=True)))
    assert divided[0] == divided[1] == divided[2]


def test_none_of_these_is_kept_where_the_protocol_says_so(tmp_path) -> None:
    truth = write(tmp_path, kind="list")
    cohort = cohort_of(tmp_path, sections("list", unlabelled="none"))
    assert cohort.frame.height == len(truth)
    assert sum(not labels for labels in cohort.frame["label"].to_list()) == 30


def test_merged_and_rare_labels(tmp_path) -> None:
    write(tmp_path, kind="list")
    cohort = cohort_of(tmp_path, sections("list", merge={"Gout": "Arthritis"}))
    assert cohort.labels == ("Arthritis", "Asthma", "Migraine")
    with (tmp_path / "notes.csv").open("a", encoding="utf-8") as file:
        file.write("one more note of a rare case,p999,Asthma; Kuru\nanother of it alone,p998,Kuru\n")
    with pytest.raises(DataError, match=r"Kuru \(2\)"):
        cohort_of(tmp_path, sections("list"))
    dropped = cohort_of(tmp_path, sections("list", rare="drop"))
    assert "Kuru" not in dropped.labels
    assert ["Asthma"] in dropped.frame.filter(dropped.frame["text"] == "one more note of a rare case")[
        "label"
    ].to_list()


def test_codes_in_a_list_are_rolled_up(tmp_path) -> None:
    with (tmp_path / "notes.csv").open("w", encoding="utf-8") as file:
        file.write("text,patient,dx\n")
        for number in range(60):
            code = ("J45.40;M10.9", "J45.909", "M1A.00X0;J45.20")[number % 3]
            file.write(f"note {' '.join(f'w{number}x{step}' for step in range(9))},p{number},{code}\n")
    data = sections("list", label_codes={"system": "icd10", "level": "three"})
    cohort = cohort_of(tmp_path, data)
    assert len(cohort.labels) == 3
    assert {label[:3] for label in cohort.labels} == {"J45", "M10", "M1A"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('label = "dx"\nlabels = ["a", "b"]', "both are"),
        ("", "neither is"),
        ('label = "dx"\ndelimiter = ""', "delimiter"),
    ],
)
def test_a_protocol_that_names_labels_in_two_ways_or_none(tmp_path, keys, said) -> None:
    (tmp_path / "protocol.toml").write_text(f'[data]\nsource = "notes.csv"\ntext = "text"\n{keys}\n', encoding="utf-8")
    with pytest.raises(ProtocolError, match=said):
        Study.open(tmp_path)


def test_a_study_of_several_labels_prepares_and_says_before_it_begins_that_it_makes_no_varied_copies(tmp_path) -> None:
    write(tmp_path, kind="list")
    (tmp_path / "protocol.toml").write_text(
        '[data]\nsource = "notes.csv"\ntext = "text"\nlabel = "dx"\ndelimiter = ";"\n[model]\nbase = "builtin:tfidf"\n',
        encoding="utf-8",
    )
    study = Study.open(tmp_path)
    copies = study.protocol.model_copy(update={"augment": AugmentSection(methods=["typos"])})
    (tmp_path / "protocol.toml").write_text(render(copies), encoding="utf-8")
    with pytest.raises(StudyError, match=r"leave augment\.methods empty"):
        Study.open(tmp_path).run()
    assert not (tmp_path / "cohort").exists()
    study.run("prepare")
    report = json.loads((tmp_path / "cohort" / "report.json").read_text(encoding="utf-8"))
    assert set(report["labels"]) == set(NAMES)
    assert (tmp_path / "cohort" / "report.html").stat().st_size > 10_000
