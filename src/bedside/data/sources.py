"""One source or several, made into one table with the same column names.

Each source of ``[[data.sources]]`` is read by its own names; its columns are renamed to those of ``[data]``, its labels
are read as it says, and its ids get its name before them, so that patient 17 of one hospital is not patient 17 of
another. The column ``source`` says where a case comes from. What is true of the cases of one source alone (its labels,
its licence, the ground of its use) is kept apart for the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError
from bedside.core.files import sha256_file, sha256_json
from bedside.core.progress import Progress
from bedside.data.labels import merged, tidy
from bedside.data.multilabel import SEPARATOR, merged_sets, with_label_sets
from bedside.data.readers import files_of, read, resolve
from bedside.data.readers.sql import is_address
from bedside.data.source_label import one_a_row, source_and_label, verdict
from bedside.data.table import Table, is_absent
from bedside.data.times import as_iso
from bedside.data.wording import counted, nearest
from bedside.protocol import DataSection, SourceSection

if TYPE_CHECKING:
    import polars as pl

SOURCE = "source"
_IDS = ("patient", "case_id")
_OPTIONAL = (*_IDS, "time", "site")


@dataclass(frozen=True)
class Origin:
    """One source as it was read.

    Attributes:
        name: as the protocol calls it, or its file.
        facts: file, hash, size and what its reader saw.
        rows: how many it has.
        synthetic: whether the README.md beside it opens with SYNTHETIC, as the sample clinic's does.
        licence: under which it may be used.
        consent: on what ground the patients' texts may be used.
        merge: how its labels were read.
    """

    name: str
    facts: dict[str, Any]
    rows: int
    synthetic: bool
    licence: str = ""
    consent: str = ""
    merge: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Gathered:
    """All cases.

    Attributes:
        table: the rows of every source.
        data: ``[data]`` with the names of that table's columns.
        origins: each source, in order.
    """

    table: Table
    data: DataSection
    origins: tuple[Origin, ...]

    @property
    def named(self) -> bool:
        """Whether the protocol lists its sources, so that the column ``source`` is there."""
        return self.origins[0].merge is not None

    def account(self) -> dict[str, Any]:
        """What the report says of the table that was read."""
        first = self.origins[0].facts
        if len(self.origins) > 1:
            hashes = [one.facts["sha256"] for one in self.origins]
            sizes = [one.facts.get("bytes", 0) for one in self.origins]
            first = {"file": self.table.file, "sha256": sha256_json(hashes), "bytes": sum(sizes), **self.table.seen}
        return {
            **first,
            "rows": self.table.frame.height,
            "columns": self.table.frame.columns,
            "observations": list(self.table.observations),
        }


def gather(data: DataSection, base: Path, progress: Progress) -> Gathered:
    """Read the source, or all of them.

    Args:
        data: where the cases come from.
        base: the folder that relative paths are relative to.
        progress: told what was read, and what is odd.

    Raises:
        DataError: a source cannot be read, or lacks a column; one sentence that names its file.
    """
    if not data.sources:
        table = read(data, base, progress)
        return Gathered(table, data, (_origin(data.source, base, table, table.file),))
    data = _with_label(data)
    columns = _joined_names(data)
    pieces, origins = [], []
    for one in data.sources:
        section = _section(one, data)
        table = read(section, base, progress)
        origins.append(_origin(one.source, base, table, one.name, one))
        pieces.append(_aligned(one, section, _renamed(table, one), columns, data, progress))
    return Gathered(_stacked(pieces, data, progress), _named(data, columns), tuple(origins))


def files(data: DataSection, base: Path) -> dict[str, Path]:
    """The files behind the cases by a name for each: a manifest notices when one of them changes."""
    level = data.label_codes.get("level", "")
    own = {"label codes": base / Path(level).expanduser()} if level.endswith(".csv") else {}
    if not data.sources:
        return {**files_of(data.source, base), **own}
    found = [(f"{place}", files_of(one.source, base)) for place, one in enumerate(data.sources, start=1)]
    return {f"source {place}/{name}": path for place, those in found for name, path in those.items()} | own


def account(origins: Sequence[Origin], frame: pl.DataFrame, seed: int) -> dict[str, Any]:
    """What the report says of several sources.

    Args:
        origins: the sources of ``[[data.sources]]``.
        frame: the cohort's table, with the column ``source``.
        seed: of the study.

    Returns:
        ``each``: of each source its file, rows in, rows kept, labels, licence and consent; and with two or more,
        ``label`` (how far the source predicts it) with a row for the report's verdicts.
    """
    found: dict[str, Any] = {"each": [_one(origin, frame) for origin in origins]}
    if len(origins) > 1:
        found["label"] = source_and_label(frame, seed)
        found["verdicts"] = [verdict(found["label"])]
    return found


def _one(origin: Origin, frame: pl.DataFrame) -> dict[str, Any]:
    """One source's part of the account."""
    own = frame.filter(frame[SOURCE] == origin.name)
    return {
        "name": origin.name,
        **origin.facts,
        "rows": origin.rows,
        "kept": own.height,
        "licence": origin.licence,
        "consent": origin.consent,
        "merge": dict(origin.merge or {}),
        "labels": dict(sorted(Counter(one_a_row(own)["label"].to_list()).items())),
    }


def _origin(source: str, base: Path, table: Table, name: str, one: SourceSection | None = None) -> Origin:
    """What is to be said of a source as a whole."""
    found = list(files_of(source, base).values())
    facts: dict[str, Any] = {"file": table.file, "sha256": table.seen.get("rows_sha256", "")}
    synthetic = False
    if found:
        place = found[0] if is_address(source) else resolve(source, base)
        facts |= {"file": place.name, "sha256": sha256_file(place), "bytes": sum(file.stat().st_size for file in found)}
        synthetic = is_synthetic(place)
    made = Origin(name, {**facts, **table.seen}, table.frame.height, synthetic)
    return made if one is None else replace(made, licence=one.licence, consent=one.consent, merge=one.merge)


def is_synthetic(table: Path) -> bool:
    """Whether the README.md beside the table opens with SYNTHETIC, as the sample clinic's does."""
    try:
        with (table.parent / "README.md").open(encoding="utf-8") as file:
            return "SYNTHETIC" in file.readline()
    except (OSError, UnicodeDecodeError):
        return False


def _with_label(data: DataSection) -> DataSection:
    """``[data]`` with a name for the joined label, where it names several columns of labels instead."""
    return data if data.label else data.model_copy(update={"label": "label"})


def _section(one: SourceSection, data: DataSection) -> DataSection:
    """``[data]`` as it would be for this source alone."""
    own = {key: getattr(one, key) for key in ("source", "query", "encoding", "separator", "sheet")}
    parts = {key: getattr(one, key) or getattr(data, key) for key in ("text", "label")}
    for key in _OPTIONAL:
        given = getattr(one, key)
        parts[key] = None if given == "" else given or getattr(data, key)
    return data.model_copy(update={**own, **parts, "sources": []})


def _joined_names(data: DataSection) -> dict[str, str]:
    """What the optional columns are called in the joined table, if any source has them.

    Raises:
        DataError: one of them is called as the column that says where a case comes from.
    """
    names = {}
    for key in _OPTIONAL:
        shared = getattr(data, key)
        if shared or any(getattr(one, key) for one in data.sources):
            names[key] = shared or key
    for key, name in [("text", one) for one in data.text_columns()] + [("label", data.label), *names.items()]:
        if name == SOURCE:
            raise DataError(
                f"data.{key} = '{SOURCE}' is what the column is called that says where a case comes from; call it "
                f"otherwise under [data], and write {key} = '{SOURCE}' under each of [[data.sources]]."
            )
    return names


def _named(data: DataSection, columns: Mapping[str, str]) -> DataSection:
    """``[data]`` with the names of the joined table."""
    several = {"labels": [], "delimiter": SEPARATOR} if data.several else {}
    keep = list(dict.fromkeys([*data.keep, SOURCE]))
    return data.model_copy(update={**columns, **several, "keep": keep, "sources": []})


def _renamed(table: Table, one: SourceSection) -> Table:
    """A table with the columns that a source calls otherwise under their common names.

    Raises:
        DataError: there is no such column, or two would have one name.
    """
    for old, new in one.rename.items():
        if old not in table.frame.columns:
            raise DataError(
                f"rename of source '{one.name}': '{old}' is no column of {table.file}"
                f"{nearest(old, table.frame.columns)}."
            )
        if new in table.frame.columns:
            raise DataError(f"rename of source '{one.name}': {table.file} has a column '{new}' already.")
    return replace(table, frame=table.frame.rename(one.rename))


@dataclass(frozen=True)
class _Piece:
    """The rows of one source under the joined names."""

    frame: pl.DataFrame
    table: Table
    warnings: tuple[str, ...]


def _aligned(
    one: SourceSection,
    section: DataSection,
    table: Table,
    columns: Mapping[str, str],
    data: DataSection,
    progress: Progress,
) -> _Piece:
    """One source's rows under the names of the joined table."""
    import polars as pl

    from bedside.data.preparation import parts_of, require_columns

    own = {key: getattr(section, key) for key in _OPTIONAL}
    label = {"labels": section.labels} if section.labels else {"label": section.label}
    require_columns(parts_of({"text": section.text, **label, **own}), table)
    texts = _texts(one, section, data, table.file)
    if section.labels:
        section = section.model_copy(update={"label": ""})
    table, section = with_label_sets(table, section)
    made = {new: table.frame[old] for old, new in texts}
    labels, warnings = _labels(one, table.frame[section.label].to_list(), several=data.several)
    made[data.label] = pl.Series(labels, dtype=pl.String)
    for key, name in columns.items():
        column = own[key]
        values = table.frame[column] if column else pl.Series([""] * table.frame.height, dtype=pl.String)
        if key == "time":
            values, notes = as_iso(values)
            warnings += notes
        if key in _IDS and not data.same_patients:
            values = pl.Series([_of(one.name, cell) for cell in values], dtype=pl.String)
        made[name] = values
    made[SOURCE] = pl.Series([one.name] * table.frame.height, dtype=pl.String)
    used = {*section.text_columns(), section.label, *(name for name in own.values() if name), *made}
    made |= {name: table.frame[name] for name in table.frame.columns if name not in used}
    said = tuple(f"{table.file}: {sentence}" for sentence in warnings)
    for sentence in said:
        progress.warn(f"{sentence}.")
    return _Piece(pl.DataFrame(made), table, said)


def _texts(one: SourceSection, section: DataSection, data: DataSection, file: str) -> list[tuple[str, str]]:
    """Pairs of a source's text column and its joined name.

    A source's headings would tell the model where a note comes from, so all have those of ``data.text``.

    Raises:
        DataError: it has more or fewer than ``data.text``.
    """
    own, joined = section.text_columns(), data.text_columns()
    if len(own) != len(joined):
        raise DataError(
            f"source '{one.name}' ({file}) names {counted(len(own), 'text column')} and data.text "
            f"{counted(len(joined), 'column')}; name as many, in the same order."
        )
    return list(zip(own, joined, strict=True))


def _labels(one: SourceSection, cells: Sequence[str], *, several: bool) -> tuple[list[str], list[str]]:
    """Labels as the source's own ``merge`` reads them, and what matched nothing."""
    labels, idle = merged_sets(cells, one.merge) if several else merged([tidy(cell) for cell in cells], one.merge)
    return labels, [sentence.replace("data.merge", f"merge of source '{one.name}'", 1) for sentence in idle]


def _of(name: str, cell: str) -> str:
    """An id that says whose it is; an absent one stays absent."""
    return cell if is_absent(cell.strip()) else f"{name}\x1f{cell.strip()}"


def _stacked(pieces: Sequence[_Piece], data: DataSection, progress: Progress) -> Table:
    """All rows in one table, with the file of each; a column that a source lacks is empty there.

    Raises:
        DataError: a kept column is in no source.
    """
    import polars as pl

    frame = pl.concat([piece.frame for piece in pieces], how="diagonal").with_columns(pl.all().fill_null(""))
    observations = [_with_file(sentence, piece.table) for piece in pieces for sentence in piece.table.observations]
    for name in data.keep:
        if name not in frame.columns:
            raise DataError(f"data.keep = '{name}' is a column of no source{nearest(name, frame.columns)}.")
        lacking = [piece.table.file for piece in pieces if name not in piece.frame.columns]
        if lacking:
            observations.append(f"column '{name}' is not in {' and '.join(lacking)}, and empty for its cases")
            progress.say(observations[-1])
    names = [piece.table.file for piece in pieces]
    shown = [
        f"{name} ({one.name})" if names.count(name) > 1 else name for name, one in zip(names, data.sources, strict=True)
    ]
    told = [_with_file(sentence, piece.table) for piece in pieces for sentence in piece.table.warnings]
    return Table(
        frame,
        tuple(row for piece in pieces for row in piece.table.rows),
        _together([piece.table.file for piece in pieces]),
        {"format": f"{len(pieces)} sources"},
        tuple(observations),
        (*told, *(sentence for piece in pieces for sentence in piece.warnings)),
        tuple(name for name, piece in zip(shown, pieces, strict=True) for _ in piece.table.rows),
    )


def _with_file(sentence: str, table: Table) -> str:
    """A sentence that says which file it is about."""
    return sentence if table.file in sentence else f"{table.file}: {sentence}"


def _together(names: Sequence[str]) -> str:
    """The sources in a sentence: all of them, or the first and how many more."""
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
