"""A messy export: foreign bytes, semicolons, decimal commas, question marks, columns that give the label away."""

from __future__ import annotations

import random
import tomllib

import polars as pl
import pytest
from small_notes import as_csv

from bedside.cli import main
from bedside.core.files import read_json
from bedside.data.columns import look

# ruff: noqa: RUF001
TURKISH = {
    "Grip": "ateş, öksürük, halsizlik ve baş ağrısı var, boğaz kızarık, üşüyor",
    "Apandisit": "sağ alt karın ağrısı, bulantı, kusma ve iştahsızlık, karında hassasiyet",
    "Migren": "şiddetli baş ağrısı, ışığa duyarlılık, bulantı, görme bozukluğu, sağ şakakta",
}
FRENCH = {
    "Grippe": "fièvre, toux sèche, fatigue et céphalées, gorge rouge, frissons à la nuit",
    "Appendicite": "douleur de la fosse iliaque droite, nausées, vomissements, défense à la palpation",
    "Migraine": "céphalée pulsatile sévère, gêne à la lumière, nausées, troubles visuels répétés",
}
CODES = dict(zip(["Grip", "Apandisit", "Migren"], ["J11.1", "K35.8", "G43.9"], strict=True))
CODES |= dict(zip(FRENCH, CODES.values(), strict=True))
TREATMENT = {"J11.1": "oseltamivir", "K35.8": "cerrahi", "G43.9": "triptan"}


def messy(texts: dict[str, str]) -> str:
    """150 rows of 20 columns; ``icd_code`` and ``treatment`` say the diagnosis again."""
    dice = random.Random(1)
    rows = []
    for number in range(150):
        label = list(texts)[number % 3]
        words = texts[label].split()
        dice.shuffle(words)
        code = CODES[label]
        mark = "??" if number % 10 == 0 else ""
        row = {
            "note_id": f"{number:06d}",
            "hasta_no": "??" if number in {7, 8, 9, 10} else f"{1000 + number // 2}",
            "yas": mark or f"{dice.randrange(1, 95)}",
            "cinsiyet": mark or dice.choice("KE"),
            "ates": mark or f"{dice.randrange(360, 405) / 10}".replace(".", ","),
            "crp": f"{dice.randrange(1, 900) / 10}".replace(".", ","),
            "note": "??" if number == 20 else f"{' '.join(words)} {' '.join(map(str, dice.sample(range(10**6), 15)))}",
            "diagnosis": "??" if number == 30 else label,
            "icd_code": code,
            "treatment": TREATMENT[code],
        }
        row |= {f"alan{place:02d}": dice.choice(["", "??", "var", "yok"]) for place in range(20 - len(row))}
        rows.append(row)
    return as_csv(rows, ";")


@pytest.fixture(params=[("cp1254", TURKISH), ("latin-1", FRENCH)], ids=["cp1254", "latin-1"])
def export(request, write):
    encoding, texts = request.param
    return write(messy(texts).encode(encoding), "export.csv"), "cp1254" if encoding == "cp1254" else "cp1252", texts


def test_init_says_what_it_saw(export) -> None:
    path, encoding, _ = export
    proposal = look(path)
    section, seen, odd = proposal.section, " | ".join(proposal.observations), " | ".join(proposal.warnings)
    assert (section.text, section.label, section.patient) == ("note", "diagnosis", "hasta_no")
    assert section.keep == ["yas", "cinsiyet"]
    assert f"semicolon, {encoding}" in seen
    assert "decimal comma" in seen
    assert "'ates'" in seen
    assert "'crp'" in seen
    assert "count as absent" in seen
    for column in ("icd_code", "treatment"):
        assert f"column '{column}'" in seen + odd
        assert column in proposal.remarks["data.keep"][0]
    assert f"read as {encoding}, a guess" in odd
    assert set(proposal.codes.values()) == {"J11.1", "K35.8", "G43.9"}


def test_init_and_prepare_get_through(export, tmp_path, capsys) -> None:
    path, encoding, texts = export
    folder = tmp_path / "study"
    assert main(["init", str(path), "--into", str(folder), "--quiet", "--keep", "yas", "--keep", "ates"]) == 0
    assert main(["prepare", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    report = read_json(folder / "cohort" / "report.json")
    cases = pl.read_parquet(folder / "cohort" / "cases.parquet")
    assert report["source"]["encoding"] == encoding
    assert report["source"]["separator"] == ";"
    assert {one["reason"]: one["rows"] for one in report["flow"] if one["step"] == "dropped"} == {
        "no label": 1,
        "no text": 1,
    }
    assert cases.height == 148
    some = next(iter(texts.values())).split()[0].rstrip(",")
    assert cases["text"].str.contains(some, literal=True).any()  # letters came through as they were written
    assert cases["ates"].dtype == pl.Float64
    assert cases["ates"].is_between(36, 40.5).sum() == cases["ates"].count()
    assert cases["ates"].null_count() == cases["yas"].null_count() > 0  # the cells of ??
    assert any("4 rows name no patient" in one for one in report["warnings"])
    unknown = cases.filter(pl.col("text").str.len_chars() > 0).group_by("patient").len()["len"].max()
    assert unknown <= 2  # ?? is no patient that ties four notes together
    page = (folder / "cohort" / "report.html").read_text(encoding="utf-8")
    assert "icd_code" in page and "treatment" in page


def test_what_gives_the_label_away_is_kept_only_when_named(export) -> None:
    path, *_ = export
    proposal = look(path, keep=["treatment"])
    assert proposal.section.keep == ["treatment"]
    assert any("'treatment'" in one and "kept as you said" in one for one in proposal.warnings)


def test_the_codes_of_the_file_reach_the_protocol(export, tmp_path, capsys) -> None:
    path, *_ = export
    assert main(["init", str(path), "--into", str(tmp_path / "s"), "--quiet"]) == 0
    assert "icd_code" in capsys.readouterr().out
    codes = tomllib.loads((tmp_path / "s" / "protocol.toml").read_text(encoding="utf-8"))["package"]["codes"]
    assert sorted(codes.values()) == ["G43.9", "J11.1", "K35.8"]


def test_commas_that_may_separate_thousands_stay_text() -> None:
    from bedside.data.table import numbers

    assert numbers(pl.Series(["250,000", "310,000", "98,500"])) is None
    assert numbers(pl.Series(["38,5", "37,0", "??"])).to_list() == [38.5, 37.0, None]
    assert numbers(pl.Series(["007", "012"])) is None
