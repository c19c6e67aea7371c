"""From facts to the text of a note, in the hand of its site.

What the note says of the patient now comes from the facts alone. Around it stands what real notes hold too: the
past, relatives, advice ("return if ..."), competing diagnoses. The same words stand there in notes of every
diagnosis, so a word alone says little. The patient's own diagnosis is never named; only a planted leak does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bedside.synthetic.dice import Dice
from bedside.synthetic.identifiers import Form, Identifiers
from bedside.synthetic.knowledge import read_data

# How often a note holds what is not about the patient now, and how it says what is: shares of notes.
PAST = 0.3
FAMILY = 0.4
EXCLUDED = 0.4
RETURN = 0.3
SUMMARY = 0.85
TICK_LIST = 0.25  # of the notes of a site that uses tick lists
PAIRED = 0.35
QUOTED = 0.3  # of findings that a patient has words for
COPIED = 0.6  # of later notes copy the background of the one before
COPIED_OPENING = 0.4  # of those also copy its opening


class Span(NamedTuple):
    """A planted identifier: ``text[start:end]`` in Unicode code points, and its type."""

    start: int
    end: int
    label: str


@dataclass
class Page:
    """A note under way: its pieces, its length so far and its identifiers."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    spans: list[Span] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Add plain text."""
        self.parts.append(text)
        self.length += len(text)

    def plant(self, value: str, label: str) -> None:
        """Add an identifier and remember where it lies."""
        self.spans.append(Span(self.length, self.length + len(value), label))
        self.add(value)

    def lines(self, line: tuple[tuple[str, str], ...], identifiers: Identifiers) -> None:
        """Add a line of a form, its slots filled."""
        labels = read_data("forms")["labels"]
        for literal, slot in line:
            self.add(literal)
            if slot:
                self.plant(identifiers.value(slot), labels[slot])


class Case(NamedTuple):
    """What one note is to say."""

    site: str
    group: str
    male: bool
    age: str  # as written
    years: int
    over_89: bool  # then the age is an identifier
    present: list[str]  # findings
    negated: list[str]
    onset: str
    numbers: list[tuple[str, float]]  # measure and value
    others: Sequence[tuple[str, ...]]  # names of the diagnoses that may be mentioned beside the patient's own
    before: Sequence[tuple[str, ...]]  # those that are not rare at the patient's age
    neighbours: Sequence[tuple[str, ...]]  # those of the same group


class Background(NamedTuple):
    """The patient's past as the first note tells it; later notes copy it forward."""

    text: str
    opening: str


class Draft(NamedTuple):
    """The clinical text of a note."""

    text: str
    age_at: int  # where the age stands; over 89 it is an identifier
    background: Background  # for later notes
    copied: bool  # an earlier note was copied forward


def write_body(case: Case, dice: Dice, earlier: Background | None) -> Draft:
    """Write what stands between the form's lines; ``earlier`` is the background of the patient's note before."""
    site = read_data("phrases")["sites"][case.site]
    opening, place, rest = _history(site, case, dice)
    at, safe = place, "90+" if case.over_89 else case.age
    copied = earlier is not None and dice.chance(COPIED)
    past = _background(site, case, dice) if not copied or earlier is None else earlier.text
    block = f"{dice.pick(site['same'])} {past}" if copied else past
    if copied and earlier is not None and dice.chance(COPIED_OPENING):
        block = f"{block} {dice.pick(site['previous'])} {earlier.opening}"
    numbers = _numbers(case, dice)
    told = " ".join([opening, *rest])
    paragraphs = [told, block, numbers, _plan(site, case, dice)]
    if site["vitals_first"] and numbers:
        paragraphs = [numbers, told, block, paragraphs[-1]]
        at += len(numbers) + 1
    text = "\n".join(item for item in paragraphs if item)
    return Draft(text, at, Background(past, f"{opening[:place]}{safe}{opening[place + len(case.age) :]}"), copied)


def _word(finding: str, dice: Dice) -> str:
    return str(dice.pick(read_data("findings")[finding]["words"]))


def _kind(finding: str) -> str:
    return str(read_data("findings")[finding]["kind"])


def _bare(finding: str, dice: Dice) -> str:
    """A word without its article, for lists and after a negation."""
    return _word(finding, dice).removeprefix("a ").removeprefix("an ")


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def _end(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _list(items: list[str], joiner: str) -> str:
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}{joiner}{items[-1]}"


def _history(site: dict[str, Any], case: Case, dice: Dice) -> tuple[str, int, list[str]]:
    """The opening sentence, the place of the age in it, and the sentences after it."""
    present, negated = dice.shuffle(list(case.present)), dice.shuffle(list(case.negated))
    main = [item for item in present if _kind(item) == "symptom"][: 1 + dice.below(2)]
    rest = [item for item in present if item not in main]
    opening, at = _opening(site, case, dice, " and ".join(_word(item, dice) for item in main))
    if site["checks"] and dice.chance(TICK_LIST):
        return opening, at, [_checks(rest, negated, dice)] if rest or negated else []
    sentences = _pairs(site, rest, negated, dice) + [_told(site, item, dice) for item in rest]
    asked = [item for item in negated if _kind(item) in {"symptom", "risk"}]
    looked = [item for item in negated if item not in asked]
    sentences += _negations(site, "deny", asked, dice) + _negations(site, "absent", looked, dice)
    return opening, at, dice.shuffle(sentences)


def _negations(site: dict[str, Any], style: str, findings: list[str], dice: Dice) -> list[str]:
    """Sentences that say what is not there, two to five at a time."""
    sentences = []
    while findings:
        size = min(len(findings), 2 + dice.below(4))
        words = _list([_bare(item, dice) for item in findings[:size]], site["joiner"])
        findings = findings[size:]
        sentences.append(_end(dice.pick(site[style]).format(list=words, list_cap=_cap(words))))
    return sentences


def _opening(site: dict[str, Any], case: Case, dice: Dice, words: str) -> tuple[str, int]:
    data = read_data("phrases")
    person = "man" if case.male else "woman"
    template = dice.pick(site["open"])
    text = template.format(
        age="\x00",
        person=person,
        person_cap=_cap(person),
        s="M" if case.male else "F",
        f=words or site["vague"][case.group],
        time=dice.pick(data["time"][case.onset]),
    )
    at = text.index("\x00")
    return _end(text.replace("\x00", case.age)), at


def _told(site: dict[str, Any], finding: str, dice: Dice) -> str:
    said = read_data("findings")[finding].get("said")
    if said and dice.chance(QUOTED):
        return _end(dice.pick(site["said"]).format(x=dice.pick(said), their="their"))
    return _end(dice.pick(site["also"][_kind(finding)]).format(f=_word(finding, dice)))


def _pairs(site: dict[str, Any], rest: list[str], negated: list[str], dice: Dice) -> list[str]:
    """Sentences that hold one finding that is there and one that is not; both leave their lists."""
    sentences = []
    while rest and negated and dice.chance(PAIRED):
        here, gone = _bare(rest.pop(), dice), _bare(negated.pop(), dice)
        text = dice.pick(site["but"]).format(f=here, g=gone, f_cap=_cap(here), g_cap=_cap(gone))
        sentences.append(_end(text))
    return sentences


def _checks(rest: list[str], negated: list[str], dice: Dice) -> str:
    """A tick list: what is there and what is not, by a sign alone."""
    plus, minus = dice.pick(((" +", " -"), (": y", ": n"), (" yes", " no"), (" (+)", " (-)")))
    ticks = [_bare(item, dice) + plus for item in rest] + [_bare(item, dice) + minus for item in negated]
    return _end(", ".join(dice.shuffle(ticks)))


def _of_age(items: Sequence[Sequence[Any]], case: Case) -> list[str]:
    """What fits the patient's age, out of (text, least age, greatest age)."""
    return [text for text, least, greatest in items if least <= case.years <= greatest]


def _mention(names: Sequence[tuple[str, ...]], symptoms: list[str], naming: float, dice: Dice) -> str:
    """A word that is not about the patient now: another diagnosis, or a symptom of the same group."""
    if names and dice.chance(naming):
        return str(dice.pick(dice.pick(names)))
    return _bare(dice.pick(symptoms), dice)


def _symptoms(case: Case) -> list[str]:
    names = read_data("diagnoses")["groups"][case.group]["findings"]
    return [name for name in names if _kind(name) == "symptom"]


def _background(site: dict[str, Any], case: Case, dice: Dice) -> str:
    data = read_data("phrases")
    symptoms = _symptoms(case)
    history = dice.pick(_of_age(data["chronic"], case))
    if history != "nil of note" and dice.chance(0.3):
        history = f"{history}, {dice.pick(_of_age(data['medicines'], case))}"
    sentences = [dice.pick(site["history"]).format(list=history)]
    if dice.chance(PAST):
        sentences.append(dice.pick(site["past"]).format(x=_mention(case.before, symptoms, 0.4, dice)))
    if dice.chance(FAMILY):
        relative = dice.pick(data["relatives"])
        text = dice.pick(site["family"])
        word = _mention(case.others, symptoms, 0.7, dice)
        sentences.append(text.format(rel=relative, rel_cap=_cap(relative), x=word))
    if dice.chance(0.3):
        sentences.append(dice.pick(_of_age(data["social"], case)))
    return " ".join(_end(item) for item in sentences)


def _numbers(case: Case, dice: Dice) -> str:
    rows = read_data("measures")["measures"]
    texts = []
    for name, value in case.numbers:
        text, times, plus, digits = dice.pick(rows[name]["written"])
        shown = f"{value * times + plus:.{digits}f}"
        lower = round(value * (0.54 + 0.12 * dice.draw())) if name == "sbp" else 0
        texts.append(text.format(v=shown, d=lower))
    return f"{', '.join(dice.shuffle(texts))}." if texts else ""


def _plan(site: dict[str, Any], case: Case, dice: Dice) -> str:
    sentences = []
    if case.present and dice.chance(SUMMARY):
        found = dice.shuffle(list(case.present))[: 1 + dice.below(3)]
        words = _list([_bare(item, dice) for item in found], ", ")
        sentences.append(_end(dice.pick(site["summary"]).format(list=words)))
    if dice.chance(EXCLUDED) and case.neighbours:  # a patient may have had every diagnosis of a small group
        names = dice.shuffle(list(case.neighbours))[: 1 + dice.below(2)]
        words = _list([str(dice.pick(item)) for item in names], site["joiner"])
        sentences.append(_end(dice.pick(site["exclude"]).format(list=words)))
    if dice.chance(RETURN):
        picked = dice.shuffle(_symptoms(case))[: 1 + dice.below(3)]
        words = _list([_bare(item, dice) for item in picked], " or ")
        sentences.append(_end(dice.pick(site["return"]).format(list=words)))
    return " ".join(sentences)


def put_on_form(form: Form | None, body: str, age_at: int, case: Case, identifiers: Identifiers, dice: Dice) -> Page:
    """The note: the body between the form's lines, with every identifier's span."""
    page = Page()
    if form is None:
        page.add(body)
        return page
    page.lines(form.header, identifiers)
    page.add("\n")
    if case.over_89:
        page.add(body[:age_at])
        page.plant(case.age, "AGE")
        page.add(body[age_at + len(case.age) :])
    else:
        page.add(body)
    page.add("\n")
    if dice.chance(0.5):
        page.lines(dice.pick(form.extra), identifiers)
        page.add("\n")
    page.lines(form.signature, identifiers)
    return page
