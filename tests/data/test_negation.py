"""Denied, of a relative, hypothetical, of the past, or present: sentences of our own, and the sample clinic's truth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.errors import DataError
from bedside.data.negation import KINDS, assertions, status_in, status_of
from bedside.data.rules import LANGUAGES, compared, read_part
from bedside.synthetic import Plan, generate
from bedside.synthetic.knowledge import read_data

# [what is asked for] and what the sentence says of it.
ENGLISH = """
Denies [chest pain], cough or fever. | negated
Denies chest pain, cough or [fever]. | negated
Denies cough but has [fever]. | present
No [SOB], palpitations or syncope. | negated
No cough; [wheeze] since Monday. | present
There is no evidence of [pneumonia]. | negated
CT negative for [pulmonary embolism]. | negated
[Pulmonary embolism] was ruled out. | negated
[Fever], chills, rigors: denied. | negated
[Rash] absent. | negated
Chest pain present, [rash] absent. | negated
[Chest pain] present, rash absent. | present
Patient presents with [chest pain]. | present
Without [rebound tenderness]. | negated
w/o [headache] | negated
He has not had any [vomiting]. | negated
She doesn't have [dysuria]. | negated
Neither cough nor [fever]. | negated
Never had [angina]. | negated
Abdomen: free of [tenderness]. | negated
ROS negative for [weight loss], night sweats. | negated
Troponin negative, [ST elevation] in II. | present
wheeze +, [calf pain] -, fever (+). | negated
[wheeze] +, calf pain -, fever (+). | present
wheeze +, calf pain -, [fever] (+). | present
rash: n, [cough]: y, fever: n. | present
[rash]: n, cough: y, fever: n. | negated
No increase in the size of the [nodule]. | present
Gram negative [sepsis]. | present
Not only [cough] but fever. | present
Walks without difficulty despite [knee pain]. | present
Chest pain without relief from nitrates, [dyspnoea]. | present
Denies chest
pain or [dyspnoea] today. | negated
Denies cough.
[Fever] since Monday. | present
Mother had [breast cancer]. | family
Family history: father - [MI] at 50. | family
FH: [stroke] (uncle). | family
Her mother has no history of [asthma]. | family
Mother denies [vomiting]. | negated
Mother reports [fever] for two days. | present
Lives with his mother; [cough] for a week. | present
Accompanied by her mother, has [fever]. | present
[Diabetes] runs in the family. | family
Father had a stroke; the patient has [hypertension]. | present
No family history of [colon cancer]. | negated
Return if [fever] or bleeding. | hypothetical
Call if [chest pain] develops. | hypothetical
r/o [DVT]. | hypothetical
?[PE] | hypothetical
Possible [appendicitis]. | hypothetical
DDx includes [gastritis] and reflux. | hypothetical
[Pulmonary embolism] cannot be excluded. | hypothetical
Heparin for prophylaxis against [DVT]. | hypothetical
If she develops [bleeding], stop the drug. | hypothetical
History of [asthma]. | historical
h/o [COPD] presents with fever. | historical
h/o COPD presents with [fever]. | present
[Pneumonia] 2 years ago. | historical
[Pneumonia] in childhood, now cough. | historical
s/p [cholecystectomy] | historical
Previous [TIA], now well. | historical
No history of [diabetes]. | negated
No chest pain, h/o [COPD]. | historical
Headache over the past 3 days with [fever]. | present
Previously well, now [fever]. | present
If the mother gets [measles], call. | family
Consider [sepsis]; no rash. | hypothetical
No rash, consider [sepsis]. | hypothetical
Temp 38.5, no [murmur], BP 120/80. | negated
Seen by Dr. Lee without [pain]. | negated
[Pain] - denied. | negated
nil [of note]. | negated
[Chest pain] nil. | negated
Absent [breath sounds] on the left. | present
Unlikely, but watch for [infection]. | hypothetical
"""

SPANISH = """
Niega [dolor torácico], tos o fiebre. | negated
Niega dolor torácico, tos o [fiebre]. | negated
No presenta [fiebre]. | negated
Sin [disnea] ni edemas. | negated
Sin disnea ni [edemas]. | negated
Niega tos pero refiere [fiebre]. | present
No hay evidencia de [neumonía]. | negated
[Signo de Murphy] negativo. | negated
Se descarta [embolia pulmonar]. | negated
[Trombosis] ausente. | negated
Ausencia de [masas]. | negated
Refiere [cefalea] desde ayer. | present
Paciente con [tos] y fiebre. | present
No solo [tos], también fiebre. | present
Sin cambios respecto al [nódulo]. | present
Madre con [cáncer de mama]. | family
Antecedentes familiares de [diabetes]. | family
La madre refiere [fiebre] en el niño. | present
Padre hipertenso; el paciente presenta [disnea]. | present
Acudir si [fiebre] o sangrado. | hypothetical
Sospecha de [apendicitis]. | hypothetical
No se puede descartar [neumonía]. | hypothetical
Antecedentes de [asma]. | historical
[Neumonía] hace 3 años. | historical
Antecedente de asma, presenta [sibilancias]. | present
No [vómitos]. Tos seca. | negated
No vómitos. [Tos] seca. | present
Nego [fiebre]. | negated
"""

FRENCH = """
Pas de [fièvre]. | negated
Pas d'[œdème] ni de dyspnée. | negated
Pas d'œdème ni de [dyspnée]. | negated
Le patient nie toute [douleur thoracique]. | negated
Absence de [signe méningé]. | negated
Aucune [masse] palpée. | negated
Sans [fièvre], mais avec toux. | negated
Sans fièvre, mais avec [toux]. | present
N'a pas de [vomissements]. | negated
Il n'y a pas d’[anomalie]. | negated
[Signe de Murphy] négatif. | negated
[Embolie pulmonaire] éliminée. | negated
Se plaint de [céphalées] depuis hier. | present
Patient fébrile avec [toux]. | present
Pas de modification du [nodule]. | present
Sans doute une [grippe]. | present
Mère atteinte d'un [cancer du sein]. | family
Antécédents familiaux de [diabète]. | family
La mère rapporte une [fièvre]. | present
Père hypertendu ; le patient présente une [dyspnée]. | present
Consulter en cas de [fièvre]. | hypothetical
Suspicion d'[appendicite]. | hypothetical
On ne peut exclure une [pneumonie]. | hypothetical
Antécédent d'[asthme]. | historical
[Pneumonie] il y a 3 ans. | historical
Revenir si [saignement]. | hypothetical
Pas de toux. [Fièvre] à 39. | present
"""


def cases(block: str) -> list[tuple[str, str]]:
    """Pairs of a sentence, which may hold a line end, and what it says."""
    pairs, held = [], ""
    for line in block.strip().splitlines():
        text, bar, wanted = line.rpartition(" | ")
        if not bar:
            held += wanted + "\n"
            continue
        pairs.append((held + text, wanted))
        held = ""
    return pairs


def said(sentence: str, language: str) -> str:
    start, end = sentence.index("["), sentence.index("]") - 1
    return status_of(sentence.replace("[", "").replace("]", ""), start, end, language)


@pytest.mark.parametrize(("sentence", "wanted"), cases(ENGLISH))
def test_english(sentence, wanted) -> None:
    assert said(sentence, "en") == wanted


@pytest.mark.parametrize(("sentence", "wanted"), cases(SPANISH))
def test_spanish(sentence, wanted) -> None:
    assert said(sentence, "es") == wanted


@pytest.mark.parametrize(("sentence", "wanted"), cases(FRENCH))
def test_french(sentence, wanted) -> None:
    assert said(sentence, "fr") == wanted


def test_there_are_enough_sentences() -> None:
    assert len(cases(ENGLISH)) >= 60 and len(cases(SPANISH)) >= 20 and len(cases(FRENCH)) >= 20


def test_the_section_on_the_family_is_the_family_s() -> None:
    note = "HPI: cough.\nFAMILY HISTORY:\nBreast cancer at 50.\nNo stroke.\nEXAM: wheeze."
    for words, wanted in (("cough", "present"), ("cancer", "family"), ("stroke", "family"), ("wheeze", "present")):
        at = note.index(words)
        assert status_of(note, at, at + len(words)) == wanted, words


def test_the_first_of_family_hypothetical_negated_historical_is_said() -> None:
    text = "Mother: no history of asthma."
    at = text.index("asthma")
    kinds = {one.kind for one in assertions(text) if one.start <= at < one.end}
    assert kinds == {"family", "negated"}
    assert status_of(text, at, at + 6) == "family"
    assert KINDS == ("family", "hypothetical", "negated", "historical")


@pytest.mark.parametrize("language", ["de", "other", "unknown", ""])
def test_a_language_without_rules_is_refused(language) -> None:
    with pytest.raises(DataError, match=r"no rules of negation for the language .*en, es, fr"):
        assertions("kein Fieber", language)


PIECES = [
    "no ",
    "denies ",
    "fever",
    ", ",
    ". ",
    "; ",
    "\n",
    "mother ",
    "if ",
    "h/o ",
    "absent",
    " (-)",
    "FH:",
    "2 years ago",
    "é",
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_scopes_lie_in_the_text_and_hold_their_cue(text) -> None:
    for one in assertions(text):
        assert 0 <= one.start < one.end <= len(text) and one.kind in KINDS
        assert one.cue in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_are_dated_sourced_and_say_one_thing_of_a_cue(language) -> None:
    rules = read_part("negation", language)
    assert rules["date"] and rules["sources"] and rules["language"] == language
    for side in ("before", "after"):
        cues = [compared(cue) for kind in KINDS for cue in rules[side][kind]]
        assert sorted({cue for cue in cues if cues.count(cue) > 1}) == []


def test_the_sample_clinic_s_negated_findings_are_found() -> None:
    """SYNTHETIC. Every finding that a note names once; benchmarks/negation.py prints the whole table."""
    words = {
        word.removeprefix("a ").removeprefix("an "): finding
        for finding, row in read_data("findings").items()
        if isinstance(row, dict)
        for word in row["words"]
    }
    right = total = 0
    for row, truth in generate(Plan(notes=60, seed=3, typos=0.0)).rows():
        note = row["note"]
        scopes = assertions(note)
        for word, finding in words.items():
            if finding in truth["negated"] and note.count(word) == 1 and len(word) > 8:
                at = note.index(word)
                total += 1
                right += status_in(scopes, at, at + len(word)) != "present"
    assert total > 60
    assert right >= 0.97 * total
