"""The list of what looks misspelt, in the cohort's folder where it is asked for and gone where it is not."""

from __future__ import annotations

import csv

from bedside.core.files import read_json, write_text
from bedside.protocol import render
from bedside.study import Study, create
from bedside.synthetic import Plan, generate


def test_the_list_lies_in_the_cohort_where_it_is_asked_for(tmp_path) -> None:
    generate(Plan(notes=800, seed=3, typos=0.05)).write(tmp_path / "sample")
    study = create(tmp_path / "sample" / "notes.csv", tmp_path / "study").study
    protocol = study.protocol
    asked = protocol.model_copy(update={"spelling": protocol.spelling.model_copy(update={"list": True})})
    write_text(study.folder / "protocol.toml", render(asked))
    Study.open(study.folder).run("prepare")
    cohort = study.folder / "cohort"
    with (cohort / "spelling.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    account = read_json(cohort / "report.json")["spelling"]
    assert account["listed"] == len(rows)
    assert account["words"] > len(rows)
    assert all(int(row["groups"]) >= 2 for row in rows)
    write_text(study.folder / "protocol.toml", render(protocol))
    Study.open(study.folder).run("prepare")
    assert not (cohort / "spelling.csv").exists()
    assert "spelling" not in read_json(cohort / "report.json")
