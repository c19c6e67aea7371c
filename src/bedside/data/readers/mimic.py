"""MIMIC-III and MIMIC-IV: a folder with the tables as PhysioNet gives them, packed (.gz) or not, at any usual nesting.

A row is a note with all codes of its admission; the label is the first of them (the principal diagnosis), by its title
where the dictionary is at hand. Tables are found by name, whatever their case:

- MIMIC-III 1.4: ``NOTEEVENTS``, ``DIAGNOSES_ICD``; besides ``D_ICD_DIAGNOSES``, ``PATIENTS``, ``ADMISSIONS``.
- MIMIC-IV: ``discharge`` or ``radiology`` (of MIMIC-IV-Note), ``diagnoses_icd``; besides ``d_icd_diagnoses``,
  ``patients``, ``admissions``.

**Memory.** Notes pass by one at a time, and only those of ``data.note_types`` are kept, as text and joined with their
codes. Measured on 400,000 SYNTHETIC notes (1.0 GB): 1.3 GB for all of them, and 0.15 GB for the one type in fifteen
that was asked for (63 MB of text). MIMIC-III holds about 4 GB of notes; ask for the types that the question needs. Of
the other tables only the columns named here are read, and of the diagnoses only the admissions that have a note.

**Dates** are shifted by the source, per patient and into the future; intervals within a patient hold. Ages over 89 are
hidden: MIMIC-III moves the birth 300 years back, MIMIC-IV writes 91. Both become 90, to be read as "90 or more".

The data are for credentialed users: ``seen`` says so (``credentialed``), so that no later stage makes them public.

Schemas: MIT-LCP/mimic-code, buildmimic/postgres. Johnson et al. 2016 (MIMIC-III), 2023 (MIMIC-IV).
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import encoding_text, opener_of
from bedside.data.table import Table
from bedside.data.wording import counted
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl

OLDEST = 90  # what an age that the source hides becomes
MANY_CODES = 300  # different principal codes beyond which most are too rare to learn
_DEPTH = 6  # folders below the one that is named: physionet.org/files/mimiciv/3.1/hosp
_LONGEST_CELL = 1 << 30
_BATCH = 5_000
_SEPARATOR = ";"
_MAIN = ("noteevents", "discharge", "radiology", "diagnoses_icd")
_TABLES = (*_MAIN, "d_icd_diagnoses", "patients", "admissions")
_TYPES = {
    "DS": "Discharge summary",
    "AD": "Discharge summary addendum",
    "RR": "Radiology",
    "AR": "Radiology addendum",
}
_OF_FILE = {"discharge": ("DS", "AD"), "radiology": ("RR", "AR")}  # MIMIC-IV's types by the table they stand in


@dataclass(frozen=True)
class _Release:
    """How one of the two names its tables and columns.

    Attributes:
        notes: the tables of notes.
        columns: what a note's own columns are called, by our name; those of ``optional`` may lack.
        code: the column of a diagnosis code.
        race: the column of ``admissions``.
    """

    name: str
    format: str
    notes: tuple[str, ...]
    columns: dict[str, str]
    code: str
    race: str
    optional: tuple[str, ...] = ()


_III = _Release(
    "MIMIC-III",
    "mimic_iii",
    ("noteevents",),
    {
        "note_id": "row_id",
        "subject_id": "subject_id",
        "hadm_id": "hadm_id",
        "note_type": "category",
        "text": "text",
        "charttime": "charttime",
        "chartdate": "chartdate",
        "description": "description",
        "iserror": "iserror",
    },
    "icd9_code",
    "ethnicity",
    ("chartdate", "description", "iserror"),
)
_IV = _Release(
    "MIMIC-IV",
    "mimic_iv",
    ("discharge", "radiology"),
    {
        "note_id": "note_id",
        "subject_id": "subject_id",
        "hadm_id": "hadm_id",
        "note_type": "note_type",
        "text": "text",
        "charttime": "charttime",
    },
    "icd_code",
    "race",
)


@dataclass
class _Seen:
    """What the notes held, counted while they pass."""

    read: int = 0
    types: Counter[str] = field(default_factory=Counter)
    out: Counter[str] = field(default_factory=Counter)
    rows: list[int] = field(default_factory=list)
    unopened: set[str] = field(default_factory=set)  # tables of which no type of note is asked for


def holds(folder: Path) -> bool:
    """Whether a folder holds tables of this source; ``discharge`` and ``radiology`` count in a folder ``note``."""
    found = _find(folder)
    return any(
        table in ("noteevents", "diagnoses_icd") or any(file.parent.name.lower() == "note" for file in files)
        for table, files in found.items()
        if table in _MAIN
    )


def files_in(folder: Path) -> list[Path]:
    """The tables that are read, in the order of their paths; those that lie beside them are not."""
    return sorted(_tables(folder)[1].values())


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read the notes of a folder, with the codes of their admissions.

    Raises:
        DataError: a table is missing, there twice, damaged, or without a column; or no note is of ``data.note_types``.
    """
    release, tables = _tables(path)
    seen = _Seen()
    notes = _notes(release, tables, data, seen, progress)
    if not notes.height:
        raise DataError(_nothing(release, path.name, data.note_types, seen))
    tables = {table: file for table, file in tables.items() if table not in seen.unopened}
    frame = _joined(notes, release, tables)
    facts = {
        "format": release.format,
        "credentialed": True,
        "files": len(tables),
        "bytes": sum(file.stat().st_size for file in tables.values()),
        "note_types": dict(seen.types.most_common()),
    }
    said = _says(frame, release, path.name, tables, seen)
    return Table(frame.drop("titled", "versions"), tuple(seen.rows), path.name, facts, said, _warns(frame))


def _find(folder: Path) -> dict[str, list[Path]]:
    """The tables below a folder, by lower-case name; where one lies beside its packed form, that one."""
    found: dict[str, dict[Path, Path]] = {}
    start = len(folder.parts)
    for place, folders, names in os.walk(folder):
        here = Path(place)
        deep = len(here.parts) - start >= _DEPTH
        folders[:] = [] if deep else sorted(one for one in folders if not one.startswith((".", "__")))
        for name in sorted(names, reverse=True):  # so that the unpacked form comes last
            table = name.lower().removesuffix(".gz").removesuffix(".csv")
            if table in _TABLES and name.lower() in (f"{table}.csv", f"{table}.csv.gz"):
                found.setdefault(table, {})[here] = here / name
    return {table: list(places.values()) for table, places in found.items()}


def _tables(folder: Path) -> tuple[_Release, dict[str, Path]]:
    """Which release lies in a folder, and its tables.

    Raises:
        DataError: a table is missing or there twice, or both releases are there.
    """
    found = _find(folder)
    releases = [release for release in (_III, _IV) if any(table in found for table in release.notes)]
    if len(releases) > 1:
        raise DataError(f"{folder} holds both MIMIC-III and MIMIC-IV; name the folder of one of them (data.source).")
    if not releases:
        raise DataError(
            f"{folder} holds tables of MIMIC but no notes: NOTEEVENTS.csv[.gz] of MIMIC-III, or "
            "note/discharge.csv[.gz] of MIMIC-IV-Note, a download of its own; put them below one folder and name that."
        )
    (release,) = releases
    if "diagnoses_icd" not in found:
        where = "hosp/diagnoses_icd.csv[.gz] of MIMIC-IV" if release is _IV else "DIAGNOSES_ICD.csv[.gz]"
        raise DataError(f"{folder} holds notes of {release.name} but not {where}; put both below one folder.")
    for table, files in found.items():
        if len(files) > 1:
            places = " and ".join(file.relative_to(folder).as_posix() for file in files[:2])
            raise DataError(f"{folder} holds the table {table} more than once ({places}); name the folder of one.")
    wanted = (*release.notes, *_TABLES[3:])
    return release, {table: found[table][0] for table in wanted if table in found}


def _notes(
    release: _Release, tables: dict[str, Path], data: DataSection, seen: _Seen, progress: Progress
) -> pl.DataFrame:
    """The notes that are wanted, in the order of their tables."""
    import polars as pl

    wanted = {one.strip().lower() for one in data.note_types}
    names = ("text", "note_type", "description", "note_id", "subject_id", "hadm_id", "charttime")
    frames = []
    present = [table for table in release.notes if table in tables]
    for table in present:
        if wanted and not wanted & _known_types(table) and table in _OF_FILE:
            seen.unopened.add(table)
            continue
        kept = _wanted(_records(tables[table], release, data.encoding), wanted, seen)
        with progress.task(f"reading {tables[table].name}", unit="notes") as task:
            while batch := list(itertools.islice(kept, _BATCH)):
                frames.append(pl.DataFrame(batch, schema=dict.fromkeys(names, pl.String), orient="row"))
                task.advance(len(batch))
    if len(present) > 1:
        seen.rows = list(range(1, len(seen.rows) + 1))  # numbers of two files would not tell rows apart
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return pl.concat(frames) if frames else empty


def _known_types(table: str) -> set[str]:
    """The names that a table's types of notes go by, in lower case."""
    codes = _OF_FILE.get(table, ())
    return {one.lower() for code in codes for one in (code, _TYPES[code])}


def _wanted(records: Iterator[tuple[int, dict[str, str]]], wanted: set[str], seen: _Seen) -> Iterator[tuple[str, ...]]:
    """The notes that are no error and of a type that is asked for, the others counted."""
    for number, note in records:
        seen.read += 1
        code = note["note_type"].strip()
        name = _TYPES.get(code, code)
        seen.types[name] += 1
        if note.get("iserror", "").strip() in ("1", "1.0"):
            seen.out["notes that the source marks as errors"] += 1
        elif wanted and not {code.lower(), name.lower()} & wanted:
            seen.out["notes of other types"] += 1
        else:
            seen.rows.append(number)
            time = note["charttime"].strip() or note.get("chartdate", "").strip()
            ids = (note["note_id"].strip(), note["subject_id"].strip(), note["hadm_id"].strip().removesuffix(".0"))
            yield (note["text"], name, note.get("description", "").strip(), *ids, time)


def _records(file: Path, release: _Release, encoding: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each note's cells by our names, with its row in the file, where the names of columns are row 1.

    Raises:
        DataError: a column is missing, a row cannot be cut into cells, or the file is damaged.
    """
    encoding = "utf-8-sig" if encoding == "auto" else encoding
    limit = csv.field_size_limit(_LONGEST_CELL)
    number = 1
    try:
        with opener_of(file)() as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            places = _places(header, release, file.name)
            for number, row in enumerate(reader, start=2):
                if len(row) != len(header):
                    raise DataError(
                        f"{file.name}, row {number:,} has {counted(len(row), 'cell')} where the columns are "
                        f"{len(header)}; unpack or download it again."
                    )
                yield number, {name: row[place] for name, place in places}
    except csv.Error as error:
        raise DataError(
            f"{file.name}, row {number + 1:,} cannot be cut into cells ({error}); unpack or download it again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"{file.name} is not {encoding_text(encoding)}: some row after {number:,} holds bytes that do not decode; "
            "set data.encoding to the encoding it was exported in."
        ) from None
    except (EOFError, zlib.error, OSError) as error:
        raise _damaged(file, error) from None
    finally:
        csv.field_size_limit(limit)


def _damaged(file: Path, error: BaseException) -> DataError:
    """The sentence for a file that cannot be read."""
    if isinstance(error, PermissionError):
        return DataError(f"{file} may not be read by this user; ask for the right to read it.")
    return DataError(f"{file.name} is cut off or damaged; download it again.")


def _places(header: Sequence[str], release: _Release, file: str) -> list[tuple[str, int]]:
    """Where each of a note's columns stands."""
    absent = [
        theirs for ours, theirs in release.columns.items() if theirs not in header and ours not in release.optional
    ]
    if absent:
        raise DataError(f"{file} has no column {', '.join(absent)}; is it the table of {release.name} as published?")
    return [(ours, header.index(theirs)) for ours, theirs in release.columns.items() if theirs in header]


def _scan(file: Path, columns: Sequence[str], key: str) -> pl.LazyFrame:
    """Some columns of a small table as trimmed text, one row a key if it has one.

    Raises:
        DataError: it is damaged, or a column is missing.
    """
    import polars as pl

    try:
        frame = pl.scan_csv(file, infer_schema=False)
        names = {name: name.strip().lower() for name in frame.collect_schema().names()}
        absent = [one for one in columns if one not in names.values()]
        if absent:
            raise DataError(f"{file.name} has no column {', '.join(absent)}; is it the table as published?")
        chosen = frame.rename(names).select(pl.col(columns).str.strip_chars())
        return chosen.unique(key, keep="first", maintain_order=True) if key else chosen
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(file, error) from None


def _joined(notes: pl.DataFrame, release: _Release, tables: dict[str, Path]) -> pl.DataFrame:
    """The notes with codes, title, age, sex and race; nothing is null."""
    import polars as pl

    lazy = notes.lazy()
    with_codes = lazy.join(_codes(notes, release, tables), on="hadm_id", how="left", maintain_order="left")
    frame = _titled(with_codes, release, tables)
    if "admissions" in tables:
        wanted = ["hadm_id", "admittime", release.race]
        stays = _scan(tables["admissions"], wanted, "hadm_id").rename({release.race: "race"})
        frame = frame.join(stays, on="hadm_id", how="left", maintain_order="left")
    if "patients" in tables:
        frame = _with_patient(frame, release, tables["patients"])
    try:
        joined = frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(_culprit(release, tables), error) from None
    first = ("text", "diagnosis", "code", "codes", "icd_version")
    filled = joined.with_columns(pl.col(pl.String).fill_null(""))
    unnamed = [] if "description" in release.columns else ["description"]
    return filled.select(*first, pl.exclude(*first, *unnamed))


def _culprit(release: _Release, tables: dict[str, Path]) -> Path:
    """The table that cannot be read to its end; polars does not say which."""
    import polars as pl

    small = [file for table, file in tables.items() if table not in release.notes]
    for file in small:
        try:
            pl.scan_csv(file, infer_schema=False).select(pl.all().count()).collect()
        except (pl.exceptions.PolarsError, OSError):
            return file
    return small[-1]


def _codes(notes: pl.DataFrame, release: _Release, tables: dict[str, Path]) -> pl.LazyFrame:
    """For each admission with a note: its codes in their order, the first of them and its version."""
    import polars as pl

    versioned = release is _IV
    columns = ["hadm_id", "seq_num", release.code, *(["icd_version"] if versioned else [])]
    stays = notes.lazy().select("hadm_id").filter(pl.col("hadm_id") != "").unique()
    found = _scan(tables["diagnoses_icd"], columns, "").rename({release.code: "code"})
    if not versioned:
        found = found.with_columns(icd_version=pl.lit("9"))
    return (
        found.filter(pl.col("code") != "")
        .join(stays, on="hadm_id", how="semi", maintain_order="left")
        .with_columns(pl.col("seq_num").cast(pl.Float64, strict=False))
        .sort("hadm_id", "seq_num", nulls_last=True, maintain_order=True)
        .group_by("hadm_id", maintain_order=True)
        .agg(
            pl.col("code").first(),
            codes=pl.col("code").unique(maintain_order=True).str.join(_SEPARATOR),
            version=pl.col("icd_version").first(),
            versions=pl.col("icd_version").n_unique(),
        )
        .rename({"version": "icd_version"})
    )


def _titled(frame: pl.LazyFrame, release: _Release, tables: dict[str, Path]) -> pl.LazyFrame:
    """The first code by its title where the dictionary has it, else by itself."""
    import polars as pl

    if "d_icd_diagnoses" not in tables:
        return frame.with_columns(diagnosis=pl.col("code"), titled=pl.lit(False))
    keys = ["code", "icd_version"] if release is _IV else ["code"]
    columns = [release.code, *keys[1:], "long_title"]
    titles = _scan(tables["d_icd_diagnoses"], columns, "").rename({release.code: "code"})
    titles = titles.filter(pl.col("long_title") != "").unique(keys, keep="first", maintain_order=True)
    frame = frame.join(titles, on=keys, how="left", maintain_order="left")
    return frame.with_columns(
        diagnosis=pl.coalesce("long_title", "code"), titled=pl.col("long_title").is_not_null()
    ).drop("long_title")


def _with_patient(frame: pl.LazyFrame, release: _Release, file: Path) -> pl.LazyFrame:
    """Sex, and the age in whole years when the note was written."""
    import polars as pl

    own = ["anchor_age", "anchor_year"] if release is _IV else ["dob"]
    patients = _scan(file, ["subject_id", "gender", *own], "subject_id").rename({"gender": "sex"})
    joined = frame.join(patients, on="subject_id", how="left", maintain_order="left")
    written = _date("charttime")
    if release is _IV:
        passed = written.dt.year() - pl.col("anchor_year").cast(pl.Int32, strict=False)
        age = pl.col("anchor_age").cast(pl.Int32, strict=False) + passed
    else:
        birth = _date("dob")
        before = written.dt.month() * 32 + written.dt.day() < birth.dt.month() * 32 + birth.dt.day()
        age = written.dt.year() - birth.dt.year() - before.cast(pl.Int32)
    shown = pl.when(age >= OLDEST).then(OLDEST).when(age >= 0).then(age)
    return joined.with_columns(age=shown.cast(pl.String)).drop(own)


def _date(column: str) -> pl.Expr:
    """The day of a time."""
    import polars as pl

    return pl.col(column).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def _nothing(release: _Release, folder: str, wanted: Sequence[str], seen: _Seen) -> str:
    """Why there is no note."""
    known = seen.types or Counter(dict.fromkeys(_TYPES.values(), 0) if release is _IV else {})
    there = ", ".join(f"'{name}'" for name, _ in known.most_common(15))
    if wanted and there:
        return f"{folder} has no note of a type in data.note_types; there are: {there}."
    return f"{folder} holds no note ({release.name}, {counted(seen.read, 'row')}); was the download finished?"


def _says(frame: pl.DataFrame, release: _Release, folder: str, tables: dict[str, Path], seen: _Seen) -> tuple[str, ...]:
    """What was read, how labels were found, and what was left out."""
    import polars as pl

    kinds = frame["note_type"].value_counts(sort=True).rows()
    shares = ", ".join(f"{name} {count:,}" for name, count in kinds[:8])
    said = [
        f"read {counted(frame.height, 'note')} of {folder}: {release.name}, for credentialed users only; {shares}",
        f"tables read: {', '.join(file.name for file in tables.values())}",
    ]
    labelled = frame.filter(pl.col("code") != "")
    admissions = labelled.unique("hadm_id")
    versions = ", ".join(
        f"{count:,} in ICD-{name}" for name, count in sorted(admissions["icd_version"].value_counts().rows())
    )
    without = frame.height - labelled.height
    said.append(
        f"{counted(labelled.height, 'note has', 'notes have')} codes ({counted(admissions.height, 'admission')}: "
        f"{versions or 'none'}), all in 'codes' and the first in 'code'; {without:,} have none, or no admission"
    )
    if labelled.height and "d_icd_diagnoses" in tables:
        missing = labelled.filter(~pl.col("titled"))["code"].n_unique()
        more = f"; {counted(missing, 'code has', 'codes have')} none there and stand for themselves" if missing else ""
        said.append(f"'diagnosis' is the first code's title in {tables['d_icd_diagnoses'].name}{more}")
    if seen.out:
        said.append("left out: " + ", ".join(f"{name} ({count:,})" for name, count in seen.out.most_common()))
    if "age" in frame.columns:
        hidden = frame.filter(pl.col("age") == str(OLDEST)).height
        said.append(f"ages are those at the note; {OLDEST} stands for {OLDEST} or more ({counted(hidden, 'note')})")
    return tuple(said)


def _warns(frame: pl.DataFrame) -> tuple[str, ...]:
    """What would mislead."""
    import polars as pl

    warnings = []
    late = frame.filter(pl.col("note_type").str.to_lowercase().str.starts_with("discharge")).height
    if late:
        warnings.append(
            f"{counted(late, 'note is a discharge summary', 'notes are discharge summaries')}, written when the "
            "diagnosis was known and mostly stating it: a score on them says little of an earlier moment"
        )
    labelled = frame.filter(pl.col("code") != "")
    if not labelled.height:
        warnings.append("no note has an admission with codes, so there is no label")
        return tuple(warnings)
    if labelled["icd_version"].n_unique() > 1 or labelled.filter(pl.col("versions") > 1).height:
        warnings.append(
            "codes of ICD-9 and ICD-10 stand side by side, so one disease has two names: keep one version "
            "(column 'icd_version'), or join labels with data.merge"
        )
    count = labelled["code"].n_unique()
    if count > MANY_CODES:
        system = "icd9cm" if labelled["icd_version"][0] == "9" else "icd10"
        warnings.append(
            f"there are {count:,} different principal codes; to predict broader groups, set data.label = 'code' and "
            f"data.label_codes = {{ system = '{system}', level = 'chapter' }}"
        )
    return tuple(warnings)
