"""The language of a text, on real notes and on sentences of our own."""

from __future__ import annotations

import csv
import json

import pytest

from bedside.core.errors import DataError
from bedside.data.language import detect_language, detect_languages
from bedside.data.rules import LANGUAGES, read_rules

FRENCH = [
    "Le patient se plaint d'une douleur thoracique depuis trois jours.",
    "Elle n'a pas de fièvre mais tousse beaucoup la nuit.",
    "Pas de notion de traumatisme, l'examen clinique est sans particularité.",
    "Il y a deux ans, il a été opéré d'une hernie inguinale droite.",
    "La patiente présente une dyspnée d'effort avec des œdèmes des membres inférieurs.",
    "Aucun antécédent familial de cancer du sein n'est retrouvé.",
    "L’auscultation pulmonaire retrouve des crépitants à la base gauche.",
    "Je me sens très fatigué et j'ai mal à la tête depuis hier.",
    "Le scanner abdominal ne montre pas d'anomalie du foie ou de la rate.",
    "Retour à domicile avec un traitement antibiotique pour sept jours.",
]


@pytest.mark.parametrize("text", FRENCH)
def test_french_is_told(text) -> None:
    assert detect_language(text).code == "fr"


@pytest.mark.parametrize(
    "text",
    [
        "Der Patient klagt seit drei Tagen über Schmerzen in der Brust und hat kein Fieber.",
        "O paciente não tem febre, mas está com dor no peito há três dias.",
        "Il paziente ha dolore toracico da tre giorni e non ha febbre.",
        "Пациент жалуется на боль в груди в течение трёх дней.",
        "患者 胸痛 三日 発熱",
    ],
)
def test_a_language_without_rules_is_other(text) -> None:
    assert detect_language(text).code == "other"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cough",
        "62M CP SOB",
        "120/80 98% 37.2 88",
        "The patient has had a cough for three days. El paciente tiene tos desde hace tres días.",
    ],
)
def test_little_or_mixed_is_unknown(text) -> None:
    assert detect_language(text).code == "unknown"


def test_long_mixed_text_is_unknown() -> None:
    english = "The patient was seen in the clinic with a cough and has no fever. " * 10
    assert detect_language(english).code == "en"
    assert detect_language(english + " ".join(FRENCH)).code == "unknown"


def test_real_notes(shared_data) -> None:
    with (shared_data / "deid_meddocan_es" / "meddocan.jsonl").open(encoding="utf-8") as file:
        spanish = [json.loads(line)["text"] for line in file]
    with (shared_data / "symptom2disease" / "symptom2disease.csv").open(encoding="utf-8", newline="") as file:
        english = [row["text"] for row in csv.DictReader(file)]
    assert detect_languages(spanish)["es"] >= 0.99 * len(spanish)
    assert detect_languages(english)["en"] >= 0.99 * len(english)


def test_every_file_of_rules_is_dated_and_sourced() -> None:
    for language in LANGUAGES:
        rules = read_rules(language)
        assert rules["language"] == language and rules["date"] and rules["sources"]


def test_a_language_without_rules_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="'de'; there are for en, es, fr"):
        read_rules("de")
