"""A folder that the ``datasets`` library saved (``save_to_disk``), or a data set of the Hugging Face Hub.

A folder is read by its layout (``state.json``, ``dataset_info.json`` and Arrow files; ``dataset_dict.json`` above the
splits), so that the library need not be installed. The Hub is asked only where the source names it
(``hf:owner/name:config@revision``), through the library; code of a data set is never run. What stands there may change,
so name a revision.

Numbers that stand for classes become the classes' names, and splits become the column ``split``. Pictures, sound and
the like are left out and named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError, MissingExtra
from bedside.core.extras import require
from bedside.core.files import sha256_bytes
from bedside.core.progress import Progress
from bedside.data.readers.parquet_file import as_text
from bedside.data.table import Table, name_columns
from bedside.data.wording import counted
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl

SPLIT = "split"
_HUB = re.compile(r"hf:(?P<name>(?:[\w.-]+/)?[\w.-]+)(?::(?P<config>[^@:\s]+))?(?:@(?P<revision>\S+))?")
_KEPT = frozenset({"Value", "ClassLabel", "List", "LargeList", "Sequence", "Translation"})
_LISTS = ("List", "LargeList", "Sequence")


@dataclass(frozen=True)
class _Part:
    """One split: its columns as they are stored, and what they are."""

    frame: pl.DataFrame
    features: Mapping[str, Any]


def is_hub(source: str) -> bool:
    """Whether a source is the name of a data set on the Hub."""
    return source.startswith("hf:")


def holds(folder: Path) -> bool:
    """Whether a folder is one that the library saved."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def files_in(folder: Path) -> list[Path]:
    """The files that are read, in the order of their paths."""
    heads = [folder / name for name in ("dataset_dict.json", "state.json", "dataset_info.json")]
    own = [file for file in heads if file.is_file()]
    places = _splits(folder)
    if places is None:
        return sorted(own + _arrows(folder))
    return sorted(own + [file for place in places.values() for file in files_in(place)])


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a saved folder.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    del data
    places = _splits(path)
    files = files_in(path)
    with progress.task(f"reading {path.name}", total=len(files), unit="files") as task:
        parts = {}
        for name, place in ({"": path} if places is None else places).items():
            parts[name] = _saved(place)
            task.advance(len(files) / len(places or [""]))
    facts = {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    return _table(parts, path.name, facts, f"a folder of the datasets library, {counted(len(files), 'file')}")


def read_hub(source: str, progress: Progress) -> Table:
    """Read a data set of the Hub; what was loaded before is taken from the library's own cache.

    Args:
        source: ``hf:owner/name``, with ``:config`` and ``@revision`` where they are needed.
        progress: told that the network is used.

    Raises:
        MissingExtra: the library is not installed.
        DataError: the name is none, or the Hub cannot be reached or has no such data set; one sentence.
    """
    named = _HUB.fullmatch(source)
    if named is None:
        raise DataError(
            f"data.source = '{source}' is no name of a data set on the Hub; write hf:owner/name, hf:owner/name:config "
            "or hf:owner/name@revision."
        )
    library = _library(source)
    progress.say(f"asking the Hugging Face Hub for {named['name']}, because data.source names it")
    loaded = _loaded(library, source, named)
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    parts = {str(name): _Part(_stored(one), one.features.to_dict()) for name, one in splits.items()}
    table = _table(parts, source, {"hub": source}, "the Hugging Face Hub")
    digest = sha256_bytes("\x1e".join("\x1f".join(row) for row in table.frame.iter_rows()).encode("utf-8"))
    table.seen["rows_sha256"] = digest
    return table


def _library(source: str) -> Any:
    """The library, which only the Hub needs.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return require("datasets", "datasets")
    except MissingExtra as error:
        raise MissingExtra(f"data.source = '{source}': {error}") from None


def _loaded(library: Any, source: str, named: re.Match[str]) -> Any:
    """What the library loads, its faults in one sentence each."""
    try:
        return library.load_dataset(named["name"], named["config"], revision=named["revision"])
    except library.exceptions.DatasetNotFoundError:
        raise DataError(
            f"{source} is not on the Hub, or only for those who may see it; check the name and the revision, or run "
            "'hf auth login' if you have access."
        ) from None
    except (ConnectionError, TimeoutError):
        raise DataError(f"{source}: the Hub cannot be reached from here; {_by_hand(named)}.") from None
    except ValueError as error:
        if "config" not in str(error).lower():
            raise DataError(f"{source} cannot be loaded; {_by_hand(named)}.") from None
        raise DataError(
            f"{source} needs the name of one of its configurations, or has none of that name: write "
            f"hf:{named['name']}:CONFIG; the data set's page on the Hub lists them."
        ) from None
    except (RuntimeError, OSError, library.exceptions.DatasetsError):
        raise DataError(
            f"{source} has no files that can be read without running its code, which is never done; get its files as "
            ".csv, .jsonl or .parquet from its page on the Hub and name one of them."
        ) from None


def _by_hand(named: re.Match[str]) -> str:
    """How to get the files without a network here."""
    more = [f"'{named['config']}'"] if named["config"] else []
    more += [f"revision='{named['revision']}'"] if named["revision"] else []
    call = ", ".join([f"'{named['name']}'", *more])
    return (
        'on a machine that reaches it run python -c "import datasets; '
        f"datasets.load_dataset({call}).save_to_disk('saved')\", copy the folder and name it as data.source"
    )


def _stored(part: Any) -> pl.DataFrame:
    """A split of the library as a frame, its rows in their order."""
    import polars as pl

    return pl.DataFrame(part.with_format("arrow")[:])


def _splits(folder: Path) -> dict[str, Path] | None:
    """The folders of the splits, or None where the folder is a single table."""
    if not (folder / "dataset_dict.json").is_file():
        return None
    names = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not names:
        raise DataError(f"{folder.name}/dataset_dict.json names no splits; save the data set again.")
    return {str(name): folder / Path(str(name)).name for name in names}


def _json(file: Path) -> dict[str, Any]:
    """A JSON file of the layout.

    Raises:
        DataError: it is missing or none.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(f"{file.parent.name}/{file.name} is missing or damaged; save the data set again.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file.parent.name}/{file.name} is no JSON object; save the data set again.")
    return value


def _arrows(folder: Path) -> list[Path]:
    """The Arrow files of one table, in their order.

    Raises:
        DataError: the layout is of a version that keeps rows apart from their order.
    """
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder.name} keeps its rows in another order than its files (an old version of datasets); call "
            "flatten_indices() and save it again."
        )
    found = [str(one.get("filename")) for one in state.get("_data_files") or [] if isinstance(one, dict)]
    files = [folder / Path(name).name for name in found]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise DataError(f"{folder.name} lacks {absent[0]}, which its state.json names; copy or save it again.")
    return files


def _saved(folder: Path) -> _Part:
    """One table of a saved folder."""
    import polars as pl

    features = _json(folder / "dataset_info.json").get("features")
    files = _arrows(folder)
    frames = []
    for file in files:
        try:
            frames.append(pl.read_ipc_stream(file))
        except (pl.exceptions.PolarsError, OSError):
            raise DataError(f"{folder.name}/{file.name} is cut off or damaged; copy or save it again.") from None
    frame = pl.concat(frames) if frames else pl.DataFrame()
    return _Part(frame, features if isinstance(features, dict) else {})


def _table(parts: Mapping[str, _Part], name: str, facts: dict[str, Any], origin: str) -> Table:
    """All splits below each other, as text."""
    import polars as pl

    several = [split for split in parts if split]
    stored = list(dict.fromkeys(column for part in parts.values() for column in part.frame.columns))
    out = [one for one in stored if any(_is_left_out(part.features.get(one)) for part in parts.values())]
    kept = [one for one in stored if one not in out]
    names, remarks = name_columns(kept, name)
    column = SPLIT if SPLIT not in names else "saved_split"
    frames = []
    for split, part in parts.items():
        cells = [
            _cells(part.frame[old], part.features.get(old)).rename(new)
            if old in part.frame.columns
            else pl.Series(new, [""] * part.frame.height, dtype=pl.String)
            for old, new in zip(kept, names, strict=True)
        ]
        whole = [pl.Series(column, [split] * part.frame.height, dtype=pl.String)] if several else []
        frames.append(pl.DataFrame([*cells, *whole]))
    frame = pl.concat(frames)
    said = [f"read {counted(frame.height, 'row')} and {counted(frame.width, 'column')} of {name}: {origin}"]
    if several:
        shares = ", ".join(f"{split} {part.frame.height:,}" for split, part in parts.items())
        said.append(f"the source's own split is in the column '{column}' and is not used unless you use it: {shares}")
    classes = [one for one in kept if any(_class_names(part.features.get(one)) for part in parts.values())]
    if classes:
        said.append(f"numbers of classes are read as their names: {', '.join(classes)}")
    if out:
        said.append(f"left out because they hold no text: {', '.join(out)}")
    seen = {"format": "datasets", **facts, **({"splits": several} if several else {})}
    return Table(frame, tuple(range(1, frame.height + 1)), name, seen, tuple(said), tuple(remarks))


def _is_left_out(feature: Any) -> bool:
    """Whether a column holds pictures, sound, volumes or arrays; a column of unknown kind is kept."""
    return isinstance(feature, dict) and isinstance(feature.get("_type"), str) and feature["_type"] not in _KEPT


def _class_names(feature: Any) -> list[str] | None:
    """The names of a column's classes, also of a list of them; None where it has no classes."""
    if isinstance(feature, list) and feature:
        return _class_names(feature[0])  # how earlier versions wrote a list
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in _LISTS:
        return _class_names(feature.get("feature"))
    names = feature.get("names")
    return [str(one) for one in names] if feature.get("_type") == "ClassLabel" and isinstance(names, list) else None


def _cells(values: pl.Series, feature: Any) -> pl.Series:
    """A column as text; a number of no class, such as the -1 of an unlabelled row, is empty."""
    import polars as pl

    names = _class_names(feature)
    if names is None:
        return as_text(values)
    numbers, place = dict(enumerate(names)), pl.element() if values.dtype.is_nested() else pl.col(values.name)
    told = place.cast(pl.Int64).replace_strict(numbers, default="", return_dtype=pl.String)
    if values.dtype.is_nested():
        lists = values.to_frame().select(pl.col(values.name).list.eval(told).list.join("; "))
        return lists.to_series().fill_null("")
    return values.to_frame().select(told).to_series().fill_null("")
