"""Words that look misspelt and what was probably meant: listed, and put right only where that was measured to be safe.

General spelling correction does harm in notes: it turns "pt" into "it" and a drug's name into the nearest city. So
nothing is changed silently here. Only plain words in small letters, of five letters or more, are looked at; numbers,
units, negations, sides and what belongs to them, codes, abbreviations and names stay; and a word is only ever taken for
one that this cohort or medicine knows. Names of drugs are suggested and never put right: two may differ by a letter.

Candidates come from SymSpell (Garbe 2012); they are weighed as in a noisy channel (Kernighan, Church and Gale 1990).
English words are those that symspellpy brings along (82,765, from SCOWL and Google Books Ngram).
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from random import Random
from typing import TYPE_CHECKING, Any

from bedside.core.errors import MissingExtra
from bedside.core.extras import require
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.augmentation.facts import Span, clear_of_facts
from bedside.data.augmentation.methods import medical_groups, slip
from bedside.data.cohort import Cohort
from bedside.data.rules import read_table
from bedside.metrics import exact_interval
from bedside.protocol import SpellingSection

if TYPE_CHECKING:
    from symspellpy import SymSpell  # type: ignore[import-untyped]

_WORD = re.compile(r"(?<![\w'’.@/&-])[a-z]{5,}(?![\w'’@/&-]|\.\w)")
_LETTERS = re.compile(r"[^\W\d_]+")
_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms|miss|prof|professor|nurse|sister|named?)\.?\s+$", re.IGNORECASE)
_LONG = 8  # letters from which two slips are looked for, not one
_SLIP = 0.05  # how much less likely each further slip is
_FIRST = 0.2  # a first letter is rarely wrong
_MEANT = 0.02  # what speaks for an unknown word that stands in one group; it grows with the square
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
RATE = 0.01  # share of words in which a slip is planted
_RARE = 5  # times known_from: a word that stands more often is no example of a rare one
_FEWEST_GROUPS_LISTED = 2  # a word of one patient may be a name
_SPELLINGS = (
    ("ae", "e"),
    ("oe", "e"),
    ("our", "or"),
    ("is", "iz"),
    ("ys", "yz"),
    ("ll", "l"),
    ("tre", "ter"),
    ("ph", "f"),
)
_ENDINGS = ("s", "es", "d", "ed", "r", "er", "ly", "y", "al", "ic", "ing", "n")


@dataclass(frozen=True)
class Suggestion:
    """What a word was probably meant to be.

    Attributes:
        word: as written.
        meant: the known word.
        groups: of patients or near-duplicates, whose notes hold the word.
        distance: letters added, lost, changed, or swapped with their neighbour.
        confidence: 0 to 1, among all known words that are near and the word itself.
        automatic: whether it may be put right without asking; never for what looks like a drug.
    """

    word: str
    meant: str
    groups: int
    distance: int
    confidence: float
    automatic: bool


@dataclass(frozen=True)
class Figure:
    """What correcting from one confidence on does to planted slips, and to as many right words taken for unknown.

    Attributes:
        threshold: the least confidence.
        planted: slips.
        corrected: slips and hidden right words that were changed.
        right: of these, slips that became the word they were made from.
        low: lower bound of the precision (Clopper–Pearson, one-sided 95 %).
    """

    threshold: float
    planted: int
    corrected: int
    right: int
    low: float

    @property
    def precision(self) -> float | None:
        """Share of the changed words that were put right."""
        return self.right / self.corrected if self.corrected else None

    @property
    def recall(self) -> float | None:
        """Share of the slips that were put right."""
        return self.right / self.planted if self.planted else None


class Speller:
    """Knows the words of a cohort, of medicine and of English.

    Args:
        texts: the notes.
        groups: of each note: words of several groups are known, those of one are not.
        known_from: groups that make a word known.
        hidden: words that are to be taken for unknown ones of a single note, to see what becomes of them.

    Raises:
        MissingExtra: symspellpy is not installed.
    """

    def __init__(
        self, texts: Sequence[str], groups: Sequence[object], known_from: int, hidden: Collection[str] = ()
    ) -> None:
        symspell = require("symspellpy", "spelling")
        self._groups = _groups_of_words(texts, groups)
        self._groups.update({word: 1 - self._groups[word] for word in hidden})
        known_here = {word: count for word, count in self._groups.items() if count >= known_from}
        self._known = (_english() | medical_words() | set(known_here)).difference(hidden)
        self._targets = dict.fromkeys(medical_words().difference(hidden), 1) | known_here
        self._search: SymSpell = symspell.SymSpell(max_dictionary_edit_distance=2)
        self._every = symspell.Verbosity.ALL
        for word, count in self._targets.items():
            if len(word) > 3:
                self._search.create_dictionary_entry(word, count)
        self._cache: dict[str, Suggestion | None] = {}

    def knows(self, word: str) -> bool:
        """Whether a word in small letters may be what another was meant to be: this cohort's, or medicine's."""
        return word in self._targets

    def suggest(self, word: str) -> Suggestion | None:
        """What a word in small letters was probably meant to be; None where it is known or nothing is near."""
        if word not in self._cache:
            self._cache[word] = None if word in self._known or len(word) < 5 else self._nearest(word)
        return self._cache[word]

    def find(self, text: str) -> Iterator[tuple[Span, Suggestion]]:
        """The words of a text that look misspelt, with their places."""
        unknown = [one.span() for one in _WORD.finditer(text) if one.group() not in self._known]
        for start, end in clear_of_facts(text, unknown):
            found = self.suggest(text[start:end])
            if found is not None and not _TITLE.search(text, max(start - 14, 0), start):
                yield (start, end), found

    def correct(self, text: str, threshold: float) -> tuple[str, int]:
        """A text with every automatic suggestion from a confidence on put in, and how many there were."""
        chosen = [(span, one) for span, one in self.find(text) if one.automatic and one.confidence >= threshold]
        for (start, end), one in reversed(chosen):
            text = text[:start] + one.meant + text[end:]
        return text, len(chosen)

    def _nearest(self, word: str) -> Suggestion | None:
        reach = 2 if len(word) >= _LONG else 1
        drug = is_drug(word)
        weighed: list[tuple[float, int, str]] = []
        for one in self._search.lookup(word, self._every, max_edit_distance=reach):
            if _same_word(word, one.term) or (drug and not is_drug(one.term)):
                continue
            weight = one.count * _SLIP**one.distance * (1.0 if one.term[0] == word[0] else _FIRST)
            weighed.append((weight, -one.distance, one.term))
        if not weighed:
            return None
        weight, distance, meant = max(weighed)
        groups = self._groups[word]
        whole = sum(one for one, _, _ in weighed) + _MEANT * max(groups, 1) ** 2
        return Suggestion(word, meant, groups, -distance, weight / whole, not (drug or is_drug(meant)))


def is_drug(word: str) -> bool:
    """Whether a word is a drug's name, or ends as they do."""
    endings, names = _drugs()
    return word in names or (len(word) > 6 and word.endswith(endings))


@cache
def _drugs() -> tuple[tuple[str, ...], frozenset[str]]:
    table = read_table("drugs_en")
    return tuple(table["endings"]), frozenset(table["names"])


@cache
def _english() -> frozenset[str]:
    require("symspellpy", "spelling")
    place = resources.files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt")
    return frozenset(line.split(" ")[0] for line in place.read_text(encoding="utf-8-sig").splitlines())


@cache
def medical_words() -> frozenset[str]:
    """Words of the synonym table, names of drugs and, where simple-icd-10-cm is installed, titles of ICD-10-CM."""
    phrases: list[str] = [one for group in medical_groups() for one in group]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it reads its files by a function of old
            codes = require("simple_icd_10_cm", "codes")
    except MissingExtra:
        pass
    else:
        phrases += [codes.get_description(code) for code in codes.get_all_codes(with_dots=True)]
    words = {word for phrase in phrases for word in _LETTERS.findall(phrase.lower())}
    return frozenset(words | _drugs()[1])


def _same_word(word: str, other: str) -> bool:
    """Whether two spellings are of one word: British and American, or one with another ending."""
    longer, shorter = (word, other) if len(word) >= len(other) else (other, word)
    if any(longer == shorter + ending for ending in _ENDINGS):
        return True
    return any(
        one.replace(old, new) == two.replace(old, new) for old, new in _SPELLINGS for one, two in ((word, other),)
    )


def _groups_of_words(texts: Sequence[str], groups: Sequence[object]) -> Counter[str]:
    """In the notes of how many groups each word stands, in small letters."""
    holders: dict[str, set[object]] = defaultdict(set)
    for text, group in zip(texts, groups, strict=True):
        for word in set(_LETTERS.findall(text.lower())):
            holders[word].add(group)
    return Counter({word: len(held) for word, held in holders.items()})


def measure(
    texts: Sequence[str],
    groups: Sequence[object],
    section: SpellingSection,
    *,
    seed: int,
    rate: float = RATE,
    progress: Progress = SILENT,
) -> tuple[list[Figure], list[Figure]]:
    """Plant slips in a copy of the texts, hide as many right words, correct it, and count; for each half of the groups.

    A right word that is unknown is the other thing that a corrector meets. So words that only this cohort knows (else
    any of its words) are taken for unknown ones, until they stand in the texts as often as slips were planted: each of
    them that is changed is wrong. Other unknown words are not judged, as nobody knows what was meant.

    Returns:
        For each of ``THRESHOLDS`` the figures of the first half, which a threshold may be chosen by, and of the other.
    """
    planted = [_plant(text, rate, Random(derive(seed, "spelling", str(row)))) for row, text in enumerate(texts)]  # noqa: S311
    hidden = _hidden(texts, groups, section.known_from, sum(len(truth) for _, truth in planted), seed)
    speller = Speller([text for text, _ in planted], groups, section.known_from, hidden)
    tallies: dict[bool, list[tuple[float, bool]]] = {False: [], True: []}
    slips: Counter[bool] = Counter()
    with progress.task("Measuring the spelling", total=len(texts), unit="notes") as task:
        for (text, truth), group in zip(planted, groups, strict=True):
            second = bool(derive(seed, "spelling half", str(group)) % 2)
            slips[second] += len(truth)
            for (start, _), one in speller.find(text):
                if one.automatic and (start in truth or one.word in hidden):
                    tallies[second].append((one.confidence, truth.get(start) == one.meant))
            task.advance()
    return _figures(tallies[False], slips[False]), _figures(tallies[True], slips[True])


def _hidden(texts: Sequence[str], groups: Sequence[object], known_from: int, wanted: int, seed: int) -> frozenset[str]:
    """Words of this cohort that stand in its texts about as often as wanted; first those that no dictionary has."""
    spread = _groups_of_words(texts, groups)
    often = Counter(word for text in texts for word in _WORD.findall(text) if spread[word] >= known_from)
    dictionary = _english() | medical_words()
    order = sorted(often)
    Random(derive(seed, "spelling hidden")).shuffle(order)  # noqa: S311 (no secret)
    order.sort(key=lambda word: (word in dictionary, often[word] > _RARE * known_from))
    chosen, total = [], 0
    for word in order:
        if total >= wanted:
            break
        chosen.append(word)
        total += often[word]
    return frozenset(chosen)


def _figures(tally: Sequence[tuple[float, bool]], planted: int) -> list[Figure]:
    found = []
    for threshold in THRESHOLDS:
        kept = [right for confidence, right in tally if confidence >= threshold]
        low = exact_interval(sum(kept), len(kept), 0.9)[0] if kept else 0.0
        found.append(Figure(threshold, planted, len(kept), sum(kept), low))
    return found


def _plant(text: str, rate: float, random: Random) -> tuple[str, dict[int, str]]:
    """A text with slips in a share of its plain words, and at which place of it which word was meant."""
    truth: dict[int, str] = {}
    parts, done, length = [], 0, 0
    for start, end in clear_of_facts(text, [one.span() for one in _WORD.finditer(text)]):
        word = text[start:end]
        if random.random() >= rate or (fresh := slip(word, random)) == word:
            continue
        parts += [text[done:start], fresh]
        length += start - done
        truth[length] = word
        length += len(fresh)
        done = end
    return "".join([*parts, text[done:]]), truth


def chosen_threshold(first: Iterable[Figure], second: Iterable[Figure], precision: float) -> float | None:
    """The least confidence whose precision is sure enough in one half and, once chosen, in the other; else None."""
    other = {one.threshold: one for one in second}
    least = next((one.threshold for one in first if one.low >= precision), None)
    return least if least is not None and other[least].low >= precision else None


@dataclass(frozen=True)
class Spelled:
    """What came of a cohort's spelling.

    Attributes:
        cohort: with the training texts corrected where that was asked for and measured to be safe.
        listed: suggestions for words of two groups or more, the commonest first.
        account: JSON-able counts and figures, without a word of a note.
    """

    cohort: Cohort
    listed: tuple[Suggestion, ...]
    account: dict[str, Any]

    def table(self) -> str:
        """The suggestions as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("word", "suggestion", "groups", "distance", "confidence", "automatic"))
        for one in self.listed:
            row = (
                one.word,
                one.meant,
                one.groups,
                one.distance,
                f"{one.confidence:.3f}",
                "yes" if one.automatic else "no",
            )
            writer.writerow(row)
        return out.getvalue()


def spell(cohort: Cohort, section: SpellingSection, *, seed: int, progress: Progress = SILENT) -> Spelled:
    """List what looks misspelt in the training texts; put right what may be.

    Only training texts are read, and only they are corrected: the model is chosen, measured and served on texts as they
    are written.
    """
    part = cohort.part("train")
    texts, groups = part["text"].to_list(), part["group"].to_list()
    speller = Speller(texts, groups, section.known_from)
    found: dict[str, Suggestion] = {}
    with progress.task("Reading the spelling", total=len(texts), unit="notes") as task:
        for text in texts:
            found |= {one.word: one for _, one in speller.find(text)}
            task.advance()
    listed = sorted(
        (one for one in found.values() if one.groups >= _FEWEST_GROUPS_LISTED),
        key=lambda one: (-one.groups, -one.confidence, one.word),
    )
    account: dict[str, Any] = {"words": len(found), "listed": len(listed), "known_from": section.known_from}
    if section.correct == "off":
        return Spelled(cohort, tuple(listed), account | {"corrected": 0})
    first, second = measure(texts, groups, section, seed=seed, progress=progress)
    threshold = chosen_threshold(first, second, section.precision)
    account |= {"planted_share": RATE, "threshold": threshold, "figures": [_described(one) for one in second]}
    if threshold is None:
        progress.warn(
            f"No word was corrected: on planted slips no confidence showed a precision of {section.precision:g} beyond "
            f"doubt ({second[-1].right:,} of {second[-1].corrected:,} corrections were right); see spelling.csv."
        )
        return Spelled(cohort, tuple(listed), account | {"corrected": 0})
    fixed = [speller.correct(text, threshold) for text in texts]
    fresh = cohort.frame.with_columns(
        _placed(cohort.frame, dict(zip(part["case_id"], (one for one, _ in fixed), strict=True)))
    )
    count = sum(number for _, number in fixed)
    progress.say(f"      {count:,} words of the training texts were put right, from a confidence of {threshold:g} on")
    return Spelled(replace(cohort, frame=fresh), tuple(listed), account | {"corrected": count})


def _described(one: Figure) -> dict[str, Any]:
    return {**vars(one), "precision": one.precision, "recall": one.recall}


def _placed(frame: Any, texts: Mapping[str, str]) -> Any:
    """The column of texts with those of the named cases replaced."""
    import polars as pl

    ids, old = frame["case_id"].to_list(), frame["text"].to_list()
    return pl.Series("text", [texts.get(name, text) for name, text in zip(ids, old, strict=True)], dtype=pl.String)
