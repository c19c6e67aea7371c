"""Which column is what: a proposal for a new study, with its reasons, and warnings about what would go wrong.

Every proposal is a value in a file that the user reads and may change; nothing is merged, dropped or left out here.
Columns that give the label away, and columns that look like the work of another split, are never proposed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.data.duplicates import exact_texts, find_duplicates, join_groups
from bedside.data.labels import FEWEST_GROUPS, MANY_CASES, lookalikes, sized, tidy
from bedside.data.leaks import ONE_TO_ONE, one_to_one, tells
from bedside.data.readers import read
from bedside.data.split import groups_per_label
from bedside.data.table import Table, is_absent, numbers, text_or_null
from bedside.data.times import time_rank
from bedside.data.verdicts import FEW_TEST_CASES
from bedside.data.wording import counted
from bedside.protocol import DataSection, SplitSection

if TYPE_CHECKING:
    import polars as pl

_LABEL_NAMES = (
    *("diagnosis", "diagnoses", "dx", "disease", "label", "pathology", "condition", "icd", "icd10", "class"),
    *("specialty", "speciality", "category", "outcome", "target"),
    *("tani", "teshis", "diagnose", "diagnostic", "diagnostico", "diagnosi"),  # Turkish, German, French, Spanish, ...
)
_PATIENT = {"patient", "patientid", "subject", "subjectid", "mrn", "person", "personid", "pid", "patid", "hasta"}
_NOT_PATIENT = {"age", "sex", "gender", "name", "race", "history", "complaint", "note", "text", "type", "class"}
_TIME = {"date", "time", "datetime", "timestamp", "charttime", "chartdate", "storetime", "admittime", "dischtime"}
_SITE = {"site", "hospital", "centre", "center", "clinic", "facility", "institution"}
_KEEP = {
    *("age", "sex", "gender", "ethnicity", "ethnic", "race", "ward", "unit", "department", "language", "insurance"),
    *("bmi", "smoker", "smoking", "pregnant", "triage", "acuity", "yas", "cinsiyet", "alter", "geschlecht", "edad"),
}
_CASE = {"id", "caseid", "noteid", "rowid", "sampleid", "recordid", "hadmid", "encounterid", "visitid"}
_NEVER_LABEL = {"notetype"}  # what a note is says nothing of what the patient has
_OTHER_SPLITS = re.compile(
    r"^(cluster\w*|k?folds?\d*|splits?|split_\w+|partition|unnamed.*|index|level_0)$", re.IGNORECASE
)
_DATA = re.compile(r"^\s*([\[{]|https?://|\w+://)")
_LETTERS = r"\pL{2,}"
_FEWEST_WORDS = 2  # on average, in a column of texts
_TEXTS_DIFFER = 0.1  # share of texts that are not repeated, at least
_MOST_LABELS = 300
_LOOK_FOR_NEAR = 20_000  # rows up to which near-duplicates are sought for a proposal
_SAMPLE = 20_000


@dataclass(frozen=True)
class Proposal:
    """What ``init`` writes.

    Attributes:
        section: the values of ``[data]``; ``source`` is the path as it was given.
        remarks: comment lines by key (``"data.rare"``), to stand above it: reasons, and lines to uncomment.
        observations: what was seen, a sentence each.
        warnings: what will go wrong or mislead, a sentence each.
        codes: an ICD-10-CM code for each label, where the file itself gives one.
        labels: the cases of each label.
    """

    section: DataSection
    remarks: dict[str, list[str]]
    observations: list[str]
    warnings: list[str]
    codes: dict[str, str]
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class _View:
    """The table while its columns are being told apart."""

    table: Table
    chosen: dict[str, Any]
    remarks: dict[str, list[str]] = field(default_factory=dict)
    observations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)

    @property
    def frame(self) -> pl.DataFrame:
        return self.table.frame

    def free(self) -> list[str]:
        """Columns that play no part yet and may be proposed for one."""
        used: set[str] = set()
        for value in self.chosen.values():
            used |= set(value) if isinstance(value, list) else {value}
        return [name for name in self.frame.columns if name not in used and not _OTHER_SPLITS.match(name)]

    def say(self, key: str, line: str) -> None:
        """Add a comment line above a key of ``[data]``."""
        self.remarks.setdefault(f"data.{key}", []).append(line)


def look(
    path: Path | str,
    *,
    text: str | list[str] | None = None,
    label: str | None = None,
    patient: str | None = None,
    case_id: str | None = None,
    time: str | None = None,
    site: str | None = None,
    keep: Sequence[str] | None = None,
    rare: str | int | None = None,
    query: str | None = None,
    note_types: Sequence[str] = (),
    encoding: str = "auto",
    separator: str = "auto",
    sheet: str | None = None,
    progress: Progress = SILENT,
) -> Proposal:
    """Look at a table and propose which column is what.

    Args:
        path: the table, or a database's URL.
        text, label, patient, case_id, time, site, keep: what the user already knows; taken as given.
        rare, query, note_types, encoding, separator, sheet: as in ``[data]``.
        progress: shown while reading; what was seen is in the proposal.

    Raises:
        DataError: a named column does not exist, or no text or label column can be told; one sentence.
    """
    from bedside.data.preparation import parts_of, require_columns

    reading: dict[str, Any] = {"source": str(path), "query": query, "note_types": list(note_types)}
    reading |= {"encoding": encoding, "separator": separator, "sheet": sheet}
    table = read(_section({"text": "?", "label": "?", **reading}), Path(), progress, tell=False)
    given = {"text": text, "label": label, "patient": patient, "case_id": case_id, "time": time, "site": site}
    view = _View(table, {key: value for key, value in given.items() if value is not None})
    if keep is not None:
        view.chosen["keep"] = list(keep)
    if len(table.frame.columns) < 2:
        raise DataError(
            f"{table.file} has one column, '{_short(table.frame.columns[0])}', and a study needs a text and a label; "
            "is the separator one of , ; | or a tab?"
        )
    require_columns(parts_of(view.chosen), table)
    for choose in (_choose_text, _choose_label, _choose_patient, _choose_case_id, _choose_time, _choose_site):
        choose(view)
    labels = [tidy(one) for one in table.frame[view.chosen["label"]]]
    _choose_keep(view, labels)
    section = _section({**reading, **view.chosen, **({} if rare is None else {"rare": rare})})
    _propose_labels(view, labels, section, progress)
    seen, odd = [*table.observations, *view.observations], [*table.warnings, *view.warnings]
    counts = dict(Counter(one for one in labels if not is_absent(one)))
    return Proposal(section, view.remarks, seen, odd, view.codes, counts)


def _section(values: Mapping[str, Any]) -> DataSection:
    """``[data]`` with these values.

    Raises:
        DataError: one of them cannot stand there, by name.
    """
    try:
        return DataSection(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        message = fault["msg"].removeprefix("Value error, ")
        raise DataError(f"{fault['loc'][0]} = '{fault['input']}': {message[:1].lower()}{message[1:]}.") from None


def _short(name: str) -> str:
    """A name that is not longer than a line."""
    return name if len(name) <= 60 else f"{name[:57]}..."


def _parts(name: str) -> list[str]:
    """The words of a column's name: ``PatientID`` and ``patient_id`` are both patient, id."""
    plain = unicodedata.normalize("NFKD", name.replace("ı", "i").replace("İ", "I"))  # noqa: RUF001
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", "".join(one for one in plain if not unicodedata.combining(one)))
    return [part for part in re.split(r"[\W_]+", spaced.lower()) if part]


def _is_named(name: str, names: set[str]) -> bool:
    """Whether a column's name, or one of its words, is among these names."""
    parts = _parts(name)
    return bool(names & {*parts, "".join(parts)})


def _choose_text(view: _View) -> None:
    """The column with the longest texts that are prose: words, and not the same few over and over."""
    if "text" in view.chosen:
        return
    lengths = {name: _length(view.frame[name]) for name in view.free()}
    name = max(lengths, key=lambda one: lengths[one], default=None)
    if name is None or not lengths[name]:
        raise DataError(
            f"{view.table.file} has no column of texts, only numbers, codes or a few words that repeat; if one is the "
            f"note all the same, name it with --text (data.text). Its columns are {', '.join(view.frame.columns[:20])}."
        )
    view.chosen["text"] = name
    view.say("text", f"'{name}' has the longest texts: {lengths[name]:,.0f} characters on average")
    if lengths[name] < 20:
        view.warnings.append(f"the longest texts, in column '{name}', have {lengths[name]:.0f} characters on average")


def _length(values: pl.Series) -> float:
    """The mean length of a column's cells in characters; 0 where they are no texts."""
    filled = text_or_null(values).drop_nulls().head(_SAMPLE)
    size = filled.len()
    if not size or filled.n_unique() < min(_TEXTS_DIFFER * size, 100):
        return 0.0
    data = filled.str.contains(_DATA.pattern).sum()
    wordy = filled.str.count_matches(_LETTERS).sum()
    if data >= 0.5 * size or wordy < _FEWEST_WORDS * size:
        return 0.0
    return int(filled.str.len_chars().sum()) / size


def _choose_label(view: _View) -> None:
    """A column of few values that repeat: by its name, then by having words rather than numbers."""
    if "label" in view.chosen:
        return
    scores = {name: score for name in view.free() if (score := _label_score(view.frame[name], name)) is not None}
    if not scores:
        raise DataError(
            f"{view.table.file} has no column that could be a diagnosis (2 to {_MOST_LABELS} values that repeat) "
            f"beside '{view.chosen['text']}'; name it with --label (data.label). Its columns are "
            f"{', '.join(view.frame.columns[:20])}."
        )
    name = max(scores, key=lambda one: scores[one])
    twins = [other for other in scores if other != name and _alike(view.frame, name, other)]
    view.chosen["label"] = name
    count = len({tidy(one) for one in view.frame[name]} - {""})
    view.say("label", f"'{name}' has {count:,} values" + (f"; one-to-one with {', '.join(twins)}" if twins else ""))
    others = [
        other for other in sorted(scores, key=lambda one: scores[one], reverse=True) if other not in {name, *twins}
    ]
    if others:
        view.say("label", f"it could also be: {', '.join(others[:5])}")
    if not scores[name][0]:
        view.warnings.append(f"the label column '{name}' is a guess, its name does not say so; check data.label")


def _label_score(values: pl.Series, name: str) -> tuple[float, ...] | None:
    """How likely a column is the label: name, words, few values; None where it cannot be."""
    filled = [one for one in map(tidy, values) if not is_absent(one)]
    distinct = len(set(filled))
    never = _PATIENT | _TIME | _CASE | _NEVER_LABEL
    if not 2 <= distinct <= min(_MOST_LABELS, len(filled) // 2) or _is_named(name, never):
        return None
    if sum(map(len, filled)) > 100 * len(filled):
        return None
    parts = _parts(name)
    named = next((len(_LABEL_NAMES) - place for place, one in enumerate(_LABEL_NAMES) if one in parts), 0)
    wordy = sum(any(char.isalpha() for char in one) for one in filled) / len(filled) > 0.5
    single = not any("|" in one for one in set(filled))
    other = _is_named(name, _KEEP | _SITE)
    return (float(named > 0), float(wordy), float(single), float(not other), float(named), -float(distinct))


def _alike(frame: pl.DataFrame, one: str, other: str) -> bool:
    """Whether two columns say the same in other words."""
    return one_to_one([pair for pair in zip(frame[one], frame[other], strict=True) if all(pair)])


def _choose_patient(view: _View) -> None:
    if "patient" not in view.chosen:
        found = [one for one in view.free() if _is_named(one, _PATIENT) and not _is_named(one, _NOT_PATIENT)]
        if found:
            view.chosen["patient"] = found[0]
    if "patient" not in view.chosen:
        view.say("patient", "no column names the patient; only duplicate texts are kept on one side of the split")
        view.warnings.append("no column names the patient: notes of one patient may cross the splits unseen")
        return
    values = view.frame[view.chosen["patient"]]
    view.say("patient", f"{values.n_unique():,} patients in {values.len():,} rows")


def _choose_case_id(view: _View) -> None:
    if "case_id" in view.chosen:
        return
    for name in view.free():
        values = view.frame[name]
        if _is_named(name, _CASE) and values.n_unique() == values.len() and (values.str.strip_chars() != "").all():
            view.chosen["case_id"] = name
            return


def _choose_time(view: _View) -> None:
    if "time" in view.chosen:
        return
    for name in view.free():
        if _is_named(name, _TIME):
            ranks, _ = time_rank(view.frame[name].head(_SAMPLE))
            if ranks.drop_nulls().len() >= 0.8 * ranks.len():
                view.chosen["time"] = name
                return


def _choose_site(view: _View) -> None:
    if "site" in view.chosen:
        return
    for name in view.free():
        if _is_named(name, _SITE) and 2 <= view.frame[name].n_unique() <= 200:
            view.chosen["site"] = name
            return


def _choose_keep(view: _View, labels: Sequence[str]) -> None:
    """Columns for subgroups, but none that gives the label away; those are named."""
    away = {}
    for name in [one for one in view.frame.columns if one not in _roles(view)]:
        how = tells(view.frame[name].to_list(), labels)
        if how is not None and not _OTHER_SPLITS.match(name):
            away[name] = how
    wanted = view.chosen.get("keep", [])
    for name, how in away.items():
        if name in wanted:
            view.warnings.append(f"column '{name}' {how}: it is kept as you said, and must not be used to predict")
        elif how == ONE_TO_ONE:
            view.observations.append(
                f"column '{name}' says the same as the label '{view.chosen['label']}' in other words: it is not kept"
            )
        else:
            view.warnings.append(f"column '{name}' gives the label away, it {how}: it is not kept")
    left = [name for name in away if name not in wanted]
    if left:
        view.say("keep", f"left out because they give the label away: {', '.join(left)}")
    _note_codes(view, list(away), labels)
    if "keep" not in view.chosen:
        view.chosen["keep"] = [
            name for name in view.free() if name not in away and _is_subgroup(view.frame[name], name)
        ]


def _roles(view: _View) -> set[str]:
    """The columns that are text or label."""
    text = view.chosen["text"]
    return {*([text] if isinstance(text, str) else text), view.chosen["label"]}


def _is_subgroup(values: pl.Series, name: str) -> bool:
    """A column named as a subgroup, of numbers or of few values."""
    return _is_named(name, _KEEP) and (2 <= values.n_unique() <= 50 or numbers(values) is not None)


def _note_codes(view: _View, columns: Sequence[str], labels: Sequence[str]) -> None:
    """Where a column of ICD-10 codes is one-to-one with the label, its codes are the labels' codes."""
    for name in columns:
        given = [one for one in zip(view.frame[name], labels, strict=True) if not any(map(is_absent, one))]
        pairs = {(tidy(value).upper(), label) for value, label in given if value}
        codes = {label: code for code, label in pairs}
        if len(codes) == len(pairs) and all(
            re.fullmatch(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?", code) for code, _ in pairs
        ):
            view.codes.update(sorted(codes.items()))
            return


def _propose_labels(view: _View, labels: list[str], section: DataSection, progress: Progress) -> None:
    """Look-alike, absent, rare and thin labels: counted, named, and answered with lines to uncomment."""
    rows = [place for place, label in enumerate(labels) if not is_absent(label)]
    if len(rows) < len(labels):
        without = f"{len(labels) - len(rows):,} of {len(labels):,} rows have no label"
        view.say("unlabelled", without)
        view.observations.append(f"{without}: they are left out and counted (data.unlabelled)")
    kept = [labels[place] for place in rows]
    counts = Counter(kept)
    if len(counts) < 2:
        raise DataError(
            f"{view.table.file}: column '{section.label}' has {len(counts)} label"
            f"{'' if len(counts) == 1 else 's'}, and a diagnosis needs two to tell apart; name another with data.label."
        )
    twins = lookalikes(counts)
    for old, new in twins.items():
        view.say("merge", f'"{_quoted(old)}" = "{_quoted(new)}"  # {counts[old]:,} and {counts[new]:,} cases')
    if twins:
        view.warnings.append(
            f"{len(twins)} labels differ from another only by case, space, sign, plural or spelling: see data.merge"
        )
    _propose_rare(view, kept, _grouped(view, section, rows, progress), section.rare)
    _say_thin(view, counts)
    if len(counts) == 2:
        rarer = min(counts, key=lambda label: (counts[label], label))
        view.say("positive", f"two labels; '{rarer}' is the rarer")


def _quoted(text: str) -> str:
    """Text that stands between quotes in TOML."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _grouped(view: _View, section: DataSection, rows: Sequence[int], progress: Progress) -> NDArray[np.int64]:
    """[rows] number of each labelled row's group of patients and duplicates."""
    columns = section.text_columns()
    frame = view.frame[list(rows)]
    texts = [" ".join(cells) for cells in frame.select(columns).iter_rows()]
    if len(texts) <= _LOOK_FOR_NEAR:
        threshold = float(SplitSection.model_fields["near_duplicate"].default)
        cluster = find_duplicates(texts, threshold, progress).cluster
    else:
        cluster, _ = exact_texts(texts)
    numbered: dict[str, int] = {}
    column = frame[section.patient].to_list() if section.patient else [""] * len(texts)
    named = [-1 if is_absent(one.strip()) else numbered.setdefault(one.strip(), len(numbered)) for one in column]
    return join_groups(len(texts), cluster, np.asarray(named, dtype=np.int64))


def _propose_rare(view: _View, labels: Sequence[str], groups: NDArray[np.int64], chosen: str | int) -> None:
    """Lines to uncomment for labels that cannot reach every split; or what the user's choice will do to them."""
    counts, spread = Counter(labels), groups_per_label(groups, labels)
    small = sorted(label for label in counts if spread[label] < FEWEST_GROUPS)
    tied = [label for label in small if counts[label] >= MANY_CASES]
    if tied:
        _propose_near(view, sized(tied, counts, spread, ", "))
    if isinstance(chosen, int):
        few = sorted(label for label in counts if counts[label] < chosen)
        if few:
            cases = sum(counts[label] for label in few)
            view.warnings.append(
                f"{counted(len(few), 'label')} with under {chosen:,} cases ({cases:,} in all) will be left out"
            )
        return
    small = [label for label in small if label not in tied]
    if not small:
        return
    shown = ", ".join(
        f"{label} ({counted(counts[label], 'case')}, {counted(spread[label], 'group')})" for label in small[:10]
    )
    shown += f" and {len(small) - 10} more" if len(small) > 10 else ""
    rare = f"{counted(len(small), 'label')} cannot reach every split, with fewer than {FEWEST_GROUPS} groups: {shown}"
    view.say("rare", rare)
    if chosen != "refuse":
        doing = "left out" if chosen == "drop" else f"read as '{str(chosen)[6:]}'"
        view.warnings.append(f"{rare}; as you said, {'it is' if len(small) == 1 else 'they are'} {doing}")
        return
    lines = ['rare = "drop"']
    together = len({group for group, label in zip(groups.tolist(), labels, strict=True) if label in set(small)})
    if len(small) > 1 and together >= FEWEST_GROUPS:
        lines.append('rare = "merge:Other"')
    for line in lines:
        view.say("rare", line)
    view.warnings.append(
        f"{rare}; until you choose, prepare refuses: in protocol.toml uncomment {' or '.join(lines)}, or begin again "
        f"with {' or '.join('--rare ' + line[8:-1] for line in lines)}"
    )


def _propose_near(view: _View, tied: Sequence[str]) -> None:
    """Lines for labels whose many cases all hang together: texts from a template."""
    threshold = "near_duplicate = 0.9"
    key = "split.near_duplicate"
    view.remarks.setdefault(key, []).extend(
        [f"near-duplicates tie the cases of a label together: {', '.join(tied[:10])}", threshold]
    )
    view.warnings.append(
        f"near-duplicates tie the cases of {counted(len(tied), 'label')} together: {', '.join(tied[:10])}; if the "
        f"texts come from a template, uncomment {threshold} in protocol.toml"
    )


def _say_thin(view: _View, counts: Counter[str]) -> None:
    """Which labels the default split would leave with few cases in the test."""
    share, total = float(SplitSection.model_fields["test"].default), sum(counts.values())
    thin = [label for label in sorted(counts) if share * counts[label] < FEW_TEST_CASES]
    if not thin:
        return
    shown = ", ".join(thin[:8]) + (f" and {len(thin) - 8} more" if len(thin) > 8 else "")
    every = f"each of the {len(counts)} labels" if len(thin) == len(counts) else counted(len(thin), "label")
    view.warnings.append(
        f"{every} would have fewer than {FEW_TEST_CASES} test cases of {total:,} labelled rows, so the figures of a "
        f"single label will be too uncertain to say much{'' if len(thin) == len(counts) else ': ' + shown}"
    )
