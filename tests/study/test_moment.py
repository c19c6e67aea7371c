"""The moment of asking over the line: what is cut, what it would have added, and that a bundle cuts the same."""

from __future__ import annotations

import csv
import json

import pytest

from bedside.bundle import Bundle
from bedside.core.errors import BedsideError, DataError
from bedside.data import Cohort
from bedside.study import Study
from bedside.study.moment import in_words

KINDS = {"Pneumonia": ("cough", "fever"), "Migraine": ("headache", "photophobia"), "Gout": ("toe", "swelling")}
PLAN = """
[data]
source = "notes.csv"
text = {text}
label = "label"
{more}

[model]
base = "builtin:tfidf"

[evaluate]
resamples = 100
"""


def write_study(folder, *, text='"text"', more="") -> Study:
    """Summaries whose complaint says little of the label and whose discharge diagnosis says it all."""
    folder.mkdir()
    with (folder / "notes.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "letter", "type", "label"])
        labels = list(KINDS)
        for number in range(180):
            label = labels[number % 3]
            shown = label if number % 5 else labels[(number + 1) % 3]  # every fifth complaint speaks of another disease
            words = " ".join(KINDS[shown])
            own = " ".join(f"w{(number * 7919 + step * 104729) % 5000}" for step in range(12))
            note = f"HPI: {words} and {own} for days.\nDISCHARGE DIAGNOSIS: {label.lower()} {own}"
            rows.writerow([note, f"The letter says {label.lower()} too", "Discharge summary", label])
    (folder / "protocol.toml").write_text(PLAN.format(text=text, more=more), encoding="utf-8")
    return Study.open(folder)


def test_the_line_cuts_what_is_written_later_and_says_what_it_would_have_added(tmp_path) -> None:
    more = 'moment = "admission"\nlanguage = "en"\nnote_type = "type"\nwritten = { letter = "after" }'
    study = write_study(tmp_path / "study", text='["text", "letter"]', more=more)
    study.run()
    account = json.loads((study.folder / "cohort" / "report.json").read_text(encoding="utf-8"))["moment"]
    assert account["columns"] == ["letter"]
    assert account["sections"] == {"discharge diagnosis": 180}
    assert (account["notes_cut"], account["later_notes"]) == (180, 180)
    scores = account["scores"]
    assert scores["with"]["value"] == 1.0  # it reads the answer
    assert scores["without"]["value"] < 0.95
    assert scores["difference"]["value"] == pytest.approx(scores["with"]["value"] - scores["without"]["value"])
    texts = Cohort.load(study.folder / "cohort").frame["text"].to_list()
    assert not any("DIAGNOSIS" in text or "letter" in text for text in texts)

    bundle = Bundle.load(study.folder / "bundle")
    short = "HPI: cough and fever for days, came with them to the ward in the night."
    long = f"{short}\nDISCHARGE DIAGNOSIS: gout"
    assert bundle.predict_proba([long]).tolist() == bundle.predict_proba([short]).tolist()


def test_without_a_moment_nothing_is_cut(tmp_path) -> None:
    study = write_study(tmp_path / "study")
    study.run("prepare")
    assert all("DIAGNOSIS" in text for text in Cohort.load(study.folder / "cohort").frame["text"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('moment = "admission"\nwritten = { text = "after" }', "every text column is written after"),
        ('moment = "admission"\nwritten = { lettre = "after" }', "data.written names 'lettre'.*'letter'"),
        ('moment = "noon"', "triage"),
    ],
)
def test_a_moment_that_cannot_be(tmp_path, more, said) -> None:
    with pytest.raises(BedsideError, match=said):
        write_study(tmp_path / "study", more=more).run("prepare")


def test_notes_of_which_nothing_is_at_hand(tmp_path) -> None:
    more = 'moment = "triage"\nlanguage = "en"\nnote_type = "type"'
    study = write_study(tmp_path / "study", text='"letter"', more=more)
    with pytest.raises(DataError, match="of no note anything is at hand"):
        study.run("prepare")


def test_the_comparison_in_words() -> None:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    said = in_words({"without": figure, "with": figure, "difference": figure, "n": 1200, "method": "m"}, "admission")
    assert "(admission)" in said
    assert said.count("0.500 (0.400 to 0.600)") == 3
    assert said.endswith("n = 1,200")
