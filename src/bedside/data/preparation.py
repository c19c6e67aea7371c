"""The prepare stage: read, clean, find duplicates, split; and an account of every row that did not come through."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.core.files import sha256_bytes
from bedside.core.keys import pseudonym
from bedside.core.progress import SILENT, Progress
from bedside.data.audit import Audited, audit_labels
from bedside.data.clean import Seen, Tally, clean_text, join_sections
from bedside.data.codes import with_rolled_labels
from bedside.data.cohort import SPLITS, Cohort
from bedside.data.crossings import Crossings, count_crossings
from bedside.data.duplicates import Duplicates, find_duplicates, join_groups, words
from bedside.data.labels import FEWEST_GROUPS, apply_rare, merged, positive_label, tidy
from bedside.data.masking import with_mask
from bedside.data.moment import Cut, cut_cases, language_of, later_columns, likely_language, without_later_columns
from bedside.data.multilabel import (
    NONE_OF_THESE,
    apply_rare_labels,
    joined,
    merged_sets,
    parted,
    with_label_sets,
)
from bedside.data.sources import Gathered, gather
from bedside.data.split import RowLabels, missing_labels
from bedside.data.split_account import describe, unreached, unreached_of_several
from bedside.data.split_parts import divide, folds_of
from bedside.data.split_plan import Plan, plan_split
from bedside.data.table import Table, is_absent, numbers, text_or_null
from bedside.data.wording import nearest
from bedside.protocol import AuditSection, CleanSection, DataSection, SplitSection

if TYPE_CHECKING:
    import polars as pl

    from bedside.data.lengths import TokenCounter

_ATTEMPTS = 3


@dataclass
class Cases:
    """The rows on their way; each list is [rows] and they are cut together."""

    texts: list[str]
    labels: list[str]
    places: list[int]  # in the table
    flow: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cleaning: Tally = field(default_factory=Tally)

    def keep(self, mask: Sequence[bool] | NDArray[np.bool_], reason: str) -> None:
        """Drop rows and count them under a reason."""
        dropped = len(self.texts) - int(np.sum(np.asarray(mask, dtype=np.bool_)))
        if dropped:
            self.texts = [one for one, stays in zip(self.texts, mask, strict=True) if stays]
            self.labels = [one for one, stays in zip(self.labels, mask, strict=True) if stays]
            self.places = [one for one, stays in zip(self.places, mask, strict=True) if stays]
            self.flow.append({"step": "dropped", "reason": reason, "rows": dropped})


@dataclass(frozen=True)
class Prepared:
    """Everything that the report is written from."""

    table: Table
    gathered: Gathered
    cases: Cases
    frame: pl.DataFrame
    labels: tuple[str, ...]
    duplicates: Duplicates
    crossings: Crossings
    repaired: int
    positive: str | None
    division: dict[str, Any]
    audit: dict[str, Any] | None


def prepare(
    data: DataSection,
    clean: CleanSection,
    split: SplitSection,
    *,
    base: Path,
    seed: int,
    key: bytes,
    audit: AuditSection | None = None,
    codes: Mapping[str, str] | None = None,
    count_tokens: TokenCounter | None = None,
    progress: Progress = SILENT,
) -> Cohort:
    """Make a cohort from a table of notes.

    Args:
        data: which file, which columns, what to do with rare and missing labels.
        clean: how text is made uniform.
        split: shares, and the overlap at which texts stay on one side.
        base: the folder that a relative ``data.source`` is relative to.
        seed: the study's seed.
        key: the site's secret key, for pseudonyms.
        audit: what is asked of the labels; the defaults if not given.
        codes: ICD-10 code of a label, where there is one, to be looked for in its texts.
        count_tokens: of the base model, where its tokenizer is at hand, for what the report says of long notes.
        progress: told what is done and what is odd.

    Raises:
        DataError: the table cannot be read or cannot carry the study; one sentence that says what to do.
    """
    from bedside.data.report import account

    gathered = gather(data, base, progress)
    table, data = gathered.table, gathered.data
    require_columns(parts_of(data.model_dump()), table)
    table, data = with_label_sets(table, data)
    table = with_rolled_labels(table, data, base, progress)
    plan = plan_split(table, data, split)
    _require_written(data, table)
    whole, data = data, without_later_columns(data)
    audit, codes, unmasked = audit or AuditSection(), codes or {}, clean
    clean = with_mask(clean, _labels(table, data), audit, codes)
    cases = _cases(table, data, clean, progress)
    moment = _leave_out(table, data, cases, progress)
    cases.keep(plan.usable(cases.places), plan.missing)
    duplicates, groups, patients = _group(table, data, cases, split.near_duplicate, progress)
    cases.labels, stays, notes = _without_rare(cases, groups, data)
    cases.warnings += notes
    cases.keep(stays, "rare label")
    duplicates, groups, patients = _cut(stays, duplicates, groups, patients)
    placed = _place(cases, groups, duplicates, patients, plan, data.rare, seed, progress, several=data.several)
    labels, duplicates = placed.labels, placed.duplicates
    frame = _frame(table, data, cases, placed, key)
    positive = None if data.several else positive_label(labels, Counter(cases.labels), data.positive)
    stated = cases.texts if clean == unmasked else _stated(table, data, cases, unmasked)
    audited, suspects = None, None
    if not data.several:  # its checks ask of each case for the one label that is right
        audited, suspects = audit_labels(
            Audited(
                cases.texts,
                stated,
                cases.labels,
                duplicates.exact,
                placed.groups,
                placed.keys,
                frame["case_id"].to_list(),
                [table.rows[place] for place in cases.places],
            ),
            audit,
            codes=codes,
            language=likely_language(cases.texts, data.language),
            seed=seed,
            progress=progress,
        )
    done = Prepared(
        table,
        gathered,
        cases,
        frame,
        labels,
        duplicates,
        placed.crossings,
        placed.repaired,
        positive,
        placed.division,
        audited,
    )
    report = account(done, data, clean, split, seed, count_tokens=count_tokens, progress=progress)
    _tell(done, report, split, progress)
    if moment is None:
        return Cohort(frame, labels, report, suspects=suspects)
    report["moment"] = {**moment, "columns": sorted(later_columns(whole))}
    uncut = _texts(table.frame[cases.places], whole.text_columns(), clean, progress)
    return Cohort(frame, labels, report, tuple(uncut), suspects)


def _tell(done: Prepared, report: Mapping[str, Any], split: SplitSection, progress: Progress) -> None:
    """Say on the terminal what is odd, and what was kept."""
    from bedside.data.verdicts import brief

    for sentence in report["warnings"][len(done.table.warnings) :]:  # those of the table were said while reading
        progress.warn(f"{sentence[:1].upper()}{sentence[1:]}.")
    for sentence in brief(report):
        progress.warn(sentence)
    frame = done.frame
    progress.say(
        f"kept {frame.height:,} of {done.table.frame.height:,} rows: {len(done.labels)} labels, "
        + ", ".join(f"{name} {int((frame['split'] == name).sum()):,}" for name in SPLITS)
    )
    if split.method != "random":
        progress.say(done.division["sentence"])


def parts_of(chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which part each named column plays: pairs of a key of ``[data]`` and a column."""
    pairs = []
    for key in ("text", "label", "labels", "patient", "case_id", "time", "site", "note_type", "keep"):
        names = chosen.get(key) or []
        pairs += [(key, name) for name in ([names] if isinstance(names, str) else names)]
    return pairs


def require_columns(parts: Sequence[tuple[str, str]], table: Table) -> None:
    """Refuse columns that the file does not have, and a column that plays two parts.

    A label inside the text is no diagnosis, and an id that is kept is an identifier in the cohort; but a case may be
    named by its patient, and the site may be a subgroup.

    Raises:
        DataError: naming the first, the nearest names and all names.
    """
    first: dict[str, str] = {}
    for key, name in parts:
        if name not in table.frame.columns:
            raise DataError(f"data.{key} = '{name}' is no column of {table.file}{nearest(name, table.frame.columns)}.")
        if name in first and {first[name], key} not in ({"patient", "case_id"}, {"site", "keep"}):
            raise DataError(
                f"column '{name}' of {table.file} is named twice, for data.{first[name]} and for data.{key}; "
                "name another for one of them."
            )
        first.setdefault(name, key)


def _require_written(data: DataSection, table: Table) -> None:
    """Refuse a column of ``data.written`` that the file does not have: it would be left in without a word."""
    for name in data.written:
        if name not in table.frame.columns:
            raise DataError(
                f"data.written names '{name}', no column of {table.file}{nearest(name, table.frame.columns)}."
            )


def _cases(table: Table, data: DataSection, clean: CleanSection, progress: Progress) -> Cases:
    """Cleaned texts and tidied labels of the rows that have both."""
    columns, tally = data.text_columns(), Tally()
    texts = _texts(table.frame, columns, clean, progress, tally)
    labels = _row_labels(table, data)
    cases = Cases(texts, labels, list(range(len(texts))), warnings=list(table.warnings), cleaning=tally)
    absent = [] if data.unlabelled == "none" else [place for place, label in enumerate(labels) if is_absent(label)]
    if absent and data.unlabelled == "refuse":
        raise DataError(
            f"{table.file}: {len(absent):,} rows have no label (the first is {table.row(absent[0])}); "
            "fill them in, or set data.unlabelled = 'drop'."
        )
    unlabelled = set(absent)
    cases.keep([place not in unlabelled for place in cases.places], "no label")
    cases.keep([bool(words(text)) and not is_absent(text) for text in cases.texts], "no text")
    if not cases.texts:
        raise DataError(
            f"{table.file}: no row has both a text (data.text = {', '.join(columns)}) and a label "
            f"(data.label = '{data.label}'); are these the right columns?"
        )
    cases.labels, idle = (merged_sets if data.several else merged)(cases.labels, data.merge)
    cases.warnings += idle
    return cases


def _row_labels(table: Table, data: DataSection) -> list[str]:
    """[rows] the label, ``""`` where there is none; of several labels a case, these joined."""
    column: list[str] = table.frame[data.label].to_list()
    if data.several:
        return column
    labels = [tidy(label) for label in column]
    return [NONE_OF_THESE if is_absent(label) else label for label in labels] if data.unlabelled == "none" else labels


def _labels(table: Table, data: DataSection) -> list[str]:
    """The labels of all rows, as they will stand in the cohort unless they are rare."""
    labels, _ = merged([part for label in _row_labels(table, data) for part in parted(label)], data.merge)
    return [label for label in labels if not is_absent(label)]


def _stated(table: Table, data: DataSection, cases: Cases, clean: CleanSection) -> list[str]:
    """The texts of the cases as they are without masking, for what the audit says of masking."""
    texts = _texts(table.frame[cases.places], data.text_columns(), clean, SILENT)
    if not data.moment:
        return texts
    types = None if data.note_type is None else table.frame[data.note_type][cases.places].to_list()
    return cut_cases(texts, types, Cut.at(data.moment, language_of(texts, data.language)), SILENT).texts


def _leave_out(table: Table, data: DataSection, cases: Cases, progress: Progress) -> dict[str, Any] | None:
    """Leave out what is written after the moment of asking; the account of it, or ``None`` where no moment is named."""
    if not data.moment:
        return None
    cut = Cut.at(data.moment, language_of(cases.texts, data.language))
    types = None if data.note_type is None else table.frame[data.note_type][cases.places].to_list()
    done = cut_cases(cases.texts, types, cut, progress)
    cases.texts = done.texts
    cases.keep([bool(words(text)) for text in cases.texts], f"written after the moment of asking ({data.moment})")
    if not cases.texts:
        raise DataError(
            f"{table.file}: of no note anything is at hand at data.moment = '{data.moment}': all are of a type that is "
            "written later, and none has a heading that is known; take an earlier type of note, or a later moment."
        )
    return {"cut": cut.to_json(), **done.account()}


def _texts(
    frame: pl.DataFrame, columns: list[str], clean: CleanSection, progress: Progress, tally: Tally | None = None
) -> list[str]:
    """The text of each row, cleaned; what was done is added to ``tally``."""
    texts, tally = [], tally or Tally()
    with progress.task("cleaning", total=frame.height, unit="notes") as task:
        for row in frame.select(columns).iter_rows():
            seen = Seen()
            cells = {name: clean_text(cell, clean, seen) for name, cell in zip(columns, row, strict=True)}
            texts.append(join_sections(columns, cells))
            tally.add(seen)
            task.advance()
    return texts


def _without_rare(
    cases: Cases, groups: NDArray[np.int64], data: DataSection
) -> tuple[list[str], NDArray[np.bool_], list[str]]:
    """Labels, [rows] which rows stay, and what was done to labels that cannot reach every split."""
    if not data.several:
        return apply_rare(cases.labels, groups, data.rare)
    sets, notes = apply_rare_labels([parted(one) for one in cases.labels], groups, data.rare, FEWEST_GROUPS)
    stays = np.asarray([bool(one) or not before for one, before in zip(sets, cases.labels, strict=True)])
    return [joined(one) for one in sets], stays, notes


def _group(
    table: Table, data: DataSection, cases: Cases, threshold: float, progress: Progress
) -> tuple[Duplicates, NDArray[np.int64], list[str]]:
    """Duplicates, the groups that no split may cut, and each row's patient ('' where not known)."""
    duplicates = find_duplicates(cases.texts, threshold, progress)
    patients = [""] * len(cases.texts)
    if data.patient is not None:
        column = table.frame[data.patient].to_list()
        names = [unicodedata.normalize("NFC", column[place]).strip() for place in cases.places]
        patients = ["" if is_absent(name) else name for name in names]
        unknown = patients.count("")
        if unknown:
            cases.warnings.append(f"{unknown:,} rows name no patient and are each taken as one of their own")
    return duplicates, _join(duplicates, patients), patients


def _join(duplicates: Duplicates, patients: Sequence[str], *more: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components of patients, clusters and further links."""
    numbers: dict[str, int] = {}
    named = np.asarray([numbers.setdefault(one, len(numbers)) if one else -1 for one in patients], dtype=np.int64)
    return join_groups(len(patients), duplicates.cluster, named, *more)


@dataclass(frozen=True)
class _Placed:
    """Where each row that was kept went, and how that was checked."""

    splits: NDArray[np.int64]
    folds: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    keys: list[str]  # of each group
    patients: list[str]
    labels: tuple[str, ...]
    duplicates: Duplicates
    crossings: Crossings
    repaired: int
    division: dict[str, Any]


def _place(
    cases: Cases,
    groups: NDArray[np.int64],
    duplicates: Duplicates,
    patients: list[str],
    plan: Plan,
    rare: str | int,
    seed: int,
    progress: Progress,
    *,
    several: bool,
) -> _Placed:
    """Divide, then check by brute force that nothing crosses; a pair that hashing missed joins its groups."""
    sets = [parted(label) for label in cases.labels]
    labels = tuple(sorted({label for held in sets for label in held}))
    numbers = {label: number for number, label in enumerate(labels)}
    targets: RowLabels = [[numbers[label] for label in held] for held in sets]
    if not several:  # the same cohort is divided as it always was: by one number a row
        targets = np.asarray([numbers[label] for label in cases.labels], dtype=np.int64)
    links: list[NDArray[np.int64]] = []
    for _ in range(_ATTEMPTS):
        groups = join_groups(len(groups), groups, *links)
        keys = _group_keys(groups, duplicates)
        parts = divide(plan, cases.places, groups, targets, keys, seed, progress)
        people = [one or f"\x1fgroup\x1f{keys[group]}" for one, group in zip(patients, groups.tolist(), strict=True)]
        held = np.flatnonzero(parts.splits >= 0)
        texts, splits = [cases.texts[row] for row in held], parts.splits[held]
        people = [people[row] for row in held]
        crossings = count_crossings(texts, people, splits, plan.split.near_duplicate, progress)
        if not crossings.near:
            break
        for pair in crossings.near:
            link = np.full(len(groups), -1, dtype=np.int64)
            link[held[list(pair)]] = 0
            links.append(link)
    absent = dict(missing_labels([sets[row] for row in held], splits, SPLITS))
    absent |= {label: list(SPLITS) for label in set(labels) - {label for row in held for label in sets[row]}}
    if absent:
        fresh, stays, note = (unreached_of_several if several else unreached)(cases.labels, absent, plan, rare)
        cases.labels, (duplicates, groups, patients) = fresh, _cut(stays, duplicates, groups, patients)
        cases.warnings.append(note)
        cases.keep(stays, "label that does not reach every split")
        return _place(cases, groups, duplicates, patients, plan, rare, seed, progress, several=several)
    duplicates, groups, _ = _cut(parts.splits >= 0, duplicates, groups, patients)
    cases.keep(parts.splits >= 0, "tied to a case of a later part (a patient or a near-duplicate)")
    kept = targets[held] if isinstance(targets, np.ndarray) else [targets[row] for row in held.tolist()]
    folds, moved = folds_of(plan, cases.places, groups, kept, splits, keys, seed, progress)
    division = describe(plan, parts, cases.places, [parted(label) for label in cases.labels], folds, moved)
    return _Placed(splits, folds, groups, keys, people, labels, duplicates, crossings, len(links), division)


def _cut(
    stays: NDArray[np.bool_], duplicates: Duplicates, groups: NDArray[np.int64], patients: Sequence[str]
) -> tuple[Duplicates, NDArray[np.int64], list[str]]:
    """Duplicates, groups and patients of the rows that stay."""
    held = Duplicates(duplicates.exact[stays], duplicates.cluster[stays], duplicates.keys)
    return held, groups[stays], [one for one, kept in zip(patients, stays, strict=True) if kept]


def _group_keys(groups: NDArray[np.int64], duplicates: Duplicates) -> list[str]:
    """A name of each group that does not depend on the order of rows: the least hash of its texts."""
    digests = [sha256_bytes(key.encode("utf-8")) for key in duplicates.keys]
    least: dict[int, str] = {}
    for group, text in zip(groups.tolist(), duplicates.exact.tolist(), strict=True):
        digest = digests[text]
        if group not in least or digest < least[group]:
            least[group] = digest
    return [least[group] for group in range(len(least))]


def _frame(table: Table, data: DataSection, cases: Cases, placed: _Placed, key: bytes) -> pl.DataFrame:
    """The cohort's table."""
    import polars as pl

    groups = [pseudonym(key, "group", placed.keys[group]) for group in placed.groups.tolist()]
    people = {one: pseudonym(key, "patient", one) for one in sorted(set(placed.patients))}
    columns: dict[str, Any] = {
        "case_id": _case_ids(table, data, cases, key),
        "text": cases.texts,
        "label": cases.labels,
        "patient": [people[one] for one in placed.patients],
        "split": [SPLITS[number] for number in placed.splits.tolist()],
        "group": groups,
    }
    schema: dict[str, Any] = dict.fromkeys(columns, pl.String)
    if data.several:
        columns["label"] = [list(parted(label)) for label in cases.labels]
        schema["label"] = pl.List(pl.String)
    frame = pl.DataFrame(columns, schema=schema)
    if placed.folds is not None:
        frame = frame.with_columns(pl.Series("fold", placed.folds))
    return frame.with_columns(_extra(table, data, cases, set(frame.columns)))


def _case_ids(table: Table, data: DataSection, cases: Cases, key: bytes) -> list[str]:
    """A pseudonym of each case: of its id where a column names it, else of its row and text."""
    if data.case_id is None:
        return [
            pseudonym(key, "case", f"{table.key(place)}\x1f{sha256_bytes(text.encode('utf-8'))}")
            for place, text in zip(cases.places, cases.texts, strict=True)
        ]
    column = table.frame[data.case_id].to_list()
    seen: Counter[str] = Counter()
    ids = []
    for place in cases.places:
        name = column[place].strip()
        seen[name] += 1
        usable = seen[name] == 1 and not is_absent(name)
        ids.append(pseudonym(key, "case", name if usable else f"{name}\x1f{table.key(place)}"))
    again = len(cases.places) - len(seen)
    if again:
        cases.warnings.append(
            f"{again:,} rows repeat a case id of column '{data.case_id}' or have none; they were told apart by row"
        )
    return ids


def _extra(table: Table, data: DataSection, cases: Cases, taken: set[str]) -> list[pl.Series]:
    """Time rank, site and kept columns."""
    from bedside.data.times import time_rank

    rows = table.frame[cases.places]
    extra = []
    if data.time is not None:
        ranks, notes = time_rank(rows[data.time])
        cases.warnings += notes
        extra.append(ranks)
    if data.site is not None:
        extra.append(text_or_null(rows[data.site]).rename("site"))
    used = {"time_rank", "site"} | taken
    for name in dict.fromkeys(data.keep):
        if name in used:
            raise DataError(
                f"data.keep = '{name}' has the name of a column that bedside writes; rename it in the file."
            )
        extra.append(_kept(rows[name]))
    return extra


def _kept(values: pl.Series) -> pl.Series:
    """A kept column as numbers where it is one of numbers, else as text."""
    found = numbers(values)
    return text_or_null(values) if found is None else found
