"""FHIR R4: bundles (.json), single resources and bulk exports (.ndjson), one file or a folder of them.

A case is a document: a DocumentReference's attachment, a DiagnosticReport's presented form, conclusion or authored
narrative, or a Composition's sections. Its label is a Condition **of the same encounter** that was neither entered in
error nor refuted; a problem list that names no encounter says nothing about this note, and is not used. Where an
encounter has several, its own ranking (``Encounter.diagnosis.rank``) decides, then the time of recording.

Nothing is fetched: an attachment that lies behind an address is counted and left out. Names of files in a folder are
never shown, because exports name them after patients; a file is named by its place in the order of names.

Format: HL7 FHIR Release 4 (4.0.1), https://hl7.org/fhir/R4/.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeGuard

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import find_encoding, opener_of
from bedside.data.readers.records import table_of
from bedside.data.table import Table
from bedside.data.wording import counted
from bedside.protocol import DataSection

Resource = Mapping[str, Any]
COLUMNS = (
    *("text", "label", "code", "code_system", "labels", "patient", "encounter", "time"),
    *("note_type", "note_type_name", "resource", "sex"),
)
_SUFFIXES = (".json", ".ndjson")
_NOTES = ("DocumentReference", "DiagnosticReport", "Composition")
_ICD10 = re.compile(r"icd-10", re.IGNORECASE)
_UNTRUE = frozenset({"entered-in-error", "refuted"})
_VOID = frozenset({"entered-in-error", "cancelled", "superseded"})
_LAST_RANK = 1 << 30


@dataclass(frozen=True)
class _Diagnosis:
    """A condition that may be a label."""

    key: str
    label: str
    code: str
    system: str
    recorded: str


@dataclass
class _Seen:
    """What the files held, counted while they pass."""

    binaries: dict[str, Resource] = field(default_factory=dict)
    notes: list[tuple[str, Resource]] = field(default_factory=list)
    by_encounter: dict[str, list[_Diagnosis]] = field(default_factory=dict)
    ranks: dict[str, dict[str, int]] = field(default_factory=dict)
    sexes: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    out: Counter[str] = field(default_factory=Counter)


def holds(folder: Path) -> bool:
    """Whether a folder holds files of this format, by their names."""
    return bool(files_in(folder))


def files_in(folder: Path) -> list[Path]:
    """The files of a folder in the order of their names."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and (file.suffix.lower() in _SUFFIXES or file.name.lower().endswith((".ndjson.gz", ".json.gz")))
    )


def is_resource(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is a FHIR resource."""
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a file or a folder.

    Raises:
        DataError: a file is no FHIR, by its place; or there is no text in any of them.
    """
    files = files_in(path) if path.is_dir() else [path]
    seen = _Seen()
    with progress.task(f"reading {path.name}", total=len(files), unit="files") as task:
        for place, file in enumerate(files, start=1):
            name = path.name if file == path else f"{path.name}, file {place:,} of {len(files):,} by name"
            for resource in _resources(file, name, data.encoding, seen):
                _take(resource, seen)
            task.advance()
    _settle(seen)
    records = [record for key, note in seen.notes if (record := _record(key, note, seen)) is not None]
    if data.note_types:
        records = _of_types(records, data.note_types, path.name)
    if not records:
        raise DataError(_nothing(path.name, len(files), seen))
    facts = {"format": "fhir_r4", "files": len(files), "resources": dict(sorted(seen.kinds.items()))}
    facts["bytes"] = sum(file.stat().st_size for file in files)
    return table_of(records, COLUMNS, path.name, facts, _says(records, path.name, len(files), seen), _warns(records))


def _resources(file: Path, name: str, wanted: str, seen: _Seen) -> Iterator[Resource]:
    """The resources of a file: of its bundle, or of its lines."""
    opener = opener_of(file)
    encoding, _ = find_encoding(opener, name, wanted)
    with opener() as raw:
        if ".ndjson" in file.name.lower() or file.suffix.lower() == ".jsonl":
            for number, line in enumerate(raw, start=1):
                if line.strip():
                    yield _checked(line.decode(encoding), f"{name}, line {number:,}")
            return
        value = _checked(raw.read().decode(encoding), name)
    if value["resourceType"] == "Bundle":
        yield from _entries(value, seen)
    else:
        yield value


def _checked(text: str, name: str) -> Resource:
    """One resource of JSON text.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise DataError(f"{name} is not valid JSON; export it again as a FHIR R4 bundle or as .ndjson.") from None
    if not is_resource(value):
        raise DataError(
            f"{name} is JSON without a resourceType, so it is no FHIR; export a FHIR R4 bundle, or a table as .jsonl."
        )
    return value


def _entries(bundle: Resource, seen: _Seen) -> Iterator[Resource]:
    """The resources of a bundle; an entry's address is another name for its resource."""
    for entry in _list(bundle, "entry"):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not is_resource(resource):
            continue
        address = _tail(entry.get("fullUrl"))
        if address and resource.get("id"):
            seen.aliases[address] = str(resource["id"])
        elif address:
            resource = {**resource, "id": address}
        if resource["resourceType"] == "Bundle":
            yield from _entries(resource, seen)
        else:
            yield resource


def _take(resource: Resource, seen: _Seen) -> None:
    """Keep what a case may need of a resource."""
    kind = resource["resourceType"]
    seen.kinds[kind] += 1
    key = str(resource.get("id") or f"{kind} {seen.kinds[kind]}")
    if kind in _NOTES:
        seen.notes.append((key, resource))
    elif kind == "Condition":
        _take_condition(key, resource, seen)
    elif kind == "Binary":
        seen.binaries[key] = resource
    elif kind == "Patient":
        seen.sexes[key] = str(resource.get("gender") or "")
    elif kind == "Encounter":
        for one in _list(resource, "diagnosis"):
            condition = _tail(_dict(one, "condition").get("reference"))
            rank = str(one.get("rank", ""))
            seen.ranks.setdefault(key, {})[condition] = int(rank) if rank.isdigit() else _LAST_RANK - 1


def _take_condition(key: str, resource: Resource, seen: _Seen) -> None:
    """Keep a condition under its encounter, or count why it is no label."""
    status = {
        coding.get("code")
        for name in ("verificationStatus", "clinicalStatus")
        for coding in _list(_dict(resource, name), "coding")
    }
    encounter = _tail(_dict(resource, "encounter").get("reference"))
    label, code, system = _concept(_dict(resource, "code"))
    if status & _UNTRUE:
        seen.out["conditions entered in error or refuted"] += 1
    elif not label:
        seen.out["conditions without text or code"] += 1
    elif not encounter:
        seen.out["conditions without an encounter"] += 1
    else:
        recorded = str(resource.get("recordedDate") or resource.get("onsetDateTime") or "")
        seen.by_encounter.setdefault(encounter, []).append(_Diagnosis(key, label, code, system, recorded))


def _settle(seen: _Seen) -> None:
    """Put conditions under their encounters' own ids, now that every entry's address is known."""
    settled: dict[str, list[_Diagnosis]] = {}
    for encounter, found in seen.by_encounter.items():
        settled.setdefault(_known(encounter, seen), []).extend(found)
    seen.by_encounter = settled


def _record(key: str, note: Resource, seen: _Seen) -> dict[str, str] | None:
    """A note as a case, or None with the reason counted."""
    if {note.get("status"), note.get("docStatus")} & _VOID:
        seen.out["notes entered in error, cancelled or superseded"] += 1
        return None
    text = _text(note, seen)
    if not text:
        seen.out["documents without readable text"] += 1
        return None
    reference = _dict(note, "encounter") or next(iter(_list(_dict(note, "context"), "encounter")), {})
    encounter = _known(_tail(reference.get("reference")), seen)
    patient = _known(_tail(_dict(note, "subject").get("reference")), seen)
    found = _ranked(encounter, seen)
    chosen = found[0] if found else _Diagnosis("", "", "", "", "")
    name, code, _ = _concept(_dict(note, "type") or _dict(note, "code"), "loinc")
    return {
        "text": text,
        "label": chosen.label,
        "code": chosen.code,
        "code_system": chosen.system,
        "labels": " | ".join(dict.fromkeys(one.label for one in found)),
        "patient": patient,
        "encounter": encounter,
        "time": _time(note),
        "note_type": code,
        "note_type_name": name,
        "resource": f"{note['resourceType']}/{key}",
        "sex": seen.sexes.get(patient, ""),
    }


def _ranked(encounter: str, seen: _Seen) -> list[_Diagnosis]:
    """The conditions of an encounter, the main one first."""
    ranks = {_known(key, seen): rank for key, rank in seen.ranks.get(encounter, {}).items()}
    found = seen.by_encounter.get(encounter, [])
    return sorted(found, key=lambda one: (ranks.get(one.key, _LAST_RANK), one.recorded, one.label))


def _time(note: Resource) -> str:
    """When the note was written, or what it speaks of."""
    period = _dict(note, "effectivePeriod") or _dict(_dict(note, "context"), "period")
    found = (note.get(name) for name in ("date", "effectiveDateTime", "issued"))
    return str(next((one for one in found if one), period.get("start") or ""))


def _text(note: Resource, seen: _Seen) -> str:
    """All readable text of a note."""
    kind = note["resourceType"]
    if kind == "Composition":
        return "\n\n".join(_sections(_list(note, "section")))
    if kind == "DocumentReference":
        forms = [_dict(one, "attachment") for one in _list(note, "content")]
    else:
        forms = _list(note, "presentedForm")
    parts = [_attachment(form, seen) for form in forms]
    if kind == "DiagnosticReport":
        parts.append(str(note.get("conclusion") or "").strip())
        # A generated narrative repeats the resource's own fields; one marked 'additional' was written by a person.
        if _dict(note, "text").get("status") == "additional":
            parts.append(strip_html(str(_dict(note, "text").get("div") or "")))
    return "\n\n".join(dict.fromkeys(part for part in parts if part))


def _sections(sections: Sequence[Resource]) -> list[str]:
    """Each section's title over its narrative, sections inside sections after it."""
    parts = []
    for section in sections:
        title, _, _ = _concept(_dict(section, "code"))
        title = str(section.get("title") or title)
        body = strip_html(str(_dict(section, "text").get("div") or ""))
        if body:
            parts.append(f"{title}:\n{body}" if title else body)
        parts += _sections(_list(section, "section"))
    return parts


def _attachment(form: Resource, seen: _Seen) -> str:
    """An attachment's text; what is none, or lies elsewhere, is counted."""
    kind, _, rest = str(form.get("contentType") or "").partition(";")
    kind, data = kind.strip().lower(), form.get("data")
    if data is None and form.get("url"):
        binary = seen.binaries.get(_known(_tail(form["url"]), seen), {})
        kind, data = kind or str(binary.get("contentType") or ""), binary.get("data")
        if data is None:
            seen.out["attachments behind an address, which is not fetched"] += 1
            return ""
    reader = _STRIPPERS.get(kind)
    if reader is None or not isinstance(data, str):
        seen.out[f"attachments of type {kind or 'unknown'}"] += 1
        return ""
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        seen.out["attachments whose data is no base64"] += 1
        return ""
    return reader(_decoded(content, rest)).strip()


def _decoded(content: bytes, parameters: str) -> str:
    """Bytes as text: in the named character set, else UTF-8, else as most Windows programs write."""
    named = re.search(r"charset=\"?([\w.:-]+)", parameters, re.IGNORECASE)
    for encoding in (named[1] if named else "utf-8-sig", "utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("latin-1")


class _Stripper(HTMLParser):
    """Text of a page: blocks become lines, cells are kept apart, scripts and styles are no text."""

    _BLOCKS = frozenset({"p", "div", "br", "tr", "li", "ul", "ol", "table", "pre", *(f"h{n}" for n in range(1, 7))})
    _SILENT = frozenset({"script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A new line, a gap between cells, or the start of what is no text."""
        self._silent += tag in self._SILENT
        if tag in self._BLOCKS:
            self.parts.append("\n")
        elif tag in {"td", "th"}:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """The end of a line, or of what is no text."""
        self._silent -= tag in self._SILENT and self._silent > 0
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Text; its own line ends are spaces in a page."""
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))


def strip_html(page: str) -> str:
    """The text of a page or of a narrative."""
    stripper = _Stripper()
    stripper.feed(page)
    stripper.close()
    lines = (" ".join(line.split()) for line in "".join(stripper.parts).split("\n"))
    return "\n".join(line for line in lines if line)


_RTF = re.compile(
    r"\\'([0-9a-fA-F]{2})|\\u(-?\d+) ?\??|\\([a-zA-Z]+)(-?\d+)? ?|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_RTF_SILENT = frozenset({"fonttbl", "colortbl", "stylesheet", "info", "pict", "header", "footer", "generator"})
_RTF_SIGNS = {
    "par": "\n",
    "line": "\n",
    "row": "\n",
    "sect": "\n",
    "tab": "\t",
    "cell": " ",
    "emdash": "—",
    "bullet": "•",
}


def strip_rtf(document: str) -> str:
    """The text of a rich-text document: its paragraphs, without fonts, colours and pictures."""
    parts: list[str] = []
    silent: list[bool] = [False]
    for found in _RTF.finditer(document):
        code, point, word, _, sign, brace, text = found.groups()
        if brace == "{":
            silent.append(silent[-1])
        elif brace == "}" and len(silent) > 1:
            silent.pop()
        elif word in _RTF_SILENT or sign == "*":
            silent[-1] = True
        elif not silent[-1]:
            parts.append(_rtf_piece(code, point, word, sign, text))
    lines = ("".join(parts)).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines).strip()


def _rtf_piece(code: str | None, point: str | None, word: str | None, sign: str | None, text: str | None) -> str:
    """What one sign of a rich-text document stands for."""
    if code:
        return bytes([int(code, 16)]).decode("cp1252", errors="replace")
    if point:
        return chr(int(point) % 65536)
    if word:
        return _RTF_SIGNS.get(word, "")
    if sign:
        return " " if sign == "~" else sign if sign in "\\{}" else ""
    return text or ""


_STRIPPERS: dict[str, Callable[[str], str]] = {
    "text/plain": str,
    "text/html": strip_html,
    "application/xhtml+xml": strip_html,
    "text/rtf": strip_rtf,
    "application/rtf": strip_rtf,
}


def _concept(concept: Resource, prefer: str = "") -> tuple[str, str, str]:
    """A concept's words, code and system: the preferred system's coding, else ICD-10's, else the first."""
    codings = [one for one in _list(concept, "coding") if isinstance(one, dict)]
    wanted = re.compile(prefer, re.IGNORECASE) if prefer else _ICD10
    best = next((one for one in codings if wanted.search(str(one.get("system") or ""))), codings[0] if codings else {})
    words = concept.get("text") or best.get("display") or next((o["display"] for o in codings if o.get("display")), "")
    code = str(best.get("code") or "")
    return str(words or code).strip(), code, str(best.get("system") or "")


def _tail(reference: Any) -> str:
    """The id at the end of a reference, however it is written: ``Encounter/7``, ``urn:uuid:7``, an address."""
    if not isinstance(reference, str):
        return ""
    plain = reference.partition("/_history/")[0].partition("?")[0].rstrip("/")
    return re.split(r"[/#]|urn:(?:uuid|oid):", plain)[-1]


def _known(key: str, seen: _Seen) -> str:
    """A resource's own id, where it was referred to by its entry's address."""
    return seen.aliases.get(key, key)


def _list(resource: Any, name: str) -> list[Any]:
    """A repeated element, or nothing where it is absent or of another form."""
    value = resource.get(name) if isinstance(resource, dict) else None
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _dict(resource: Any, name: str) -> Resource:
    """An element with parts, or an empty one."""
    value = resource.get(name) if isinstance(resource, dict) else None
    return value if isinstance(value, dict) else {}


def _of_types(records: list[dict[str, str]], wanted: Sequence[str], file: str) -> list[dict[str, str]]:
    """The notes of the types that the protocol names, by LOINC code or by name."""
    names = {one.lower() for one in wanted}
    kept = [one for one in records if {one["note_type"].lower(), one["note_type_name"].lower()} & names]
    if not kept:
        there = ", ".join(f"'{name}'" for name, _ in Counter(one["note_type"] for one in records).most_common(10))
        raise DataError(f"{file} has no note of a type in data.note_types; there are: {there}.")
    return kept


def _counts(counts: Mapping[str, int]) -> str:
    """Counts with their names."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _nothing(file: str, files: int, seen: _Seen) -> str:
    """Why there is no case."""
    found = _counts(dict(seen.kinds.most_common(6))) or "no resource"
    notes = sum(seen.kinds[kind] for kind in _NOTES)
    why = f"none of its {notes:,} documents and reports has readable text" if notes else "no document or report"
    return (
        f"{file} holds no note ({counted(files, 'file')}: {found}; {why}); export DocumentReference, DiagnosticReport "
        "or Composition with their text."
    )


def _says(records: list[dict[str, str]], file: str, files: int, seen: _Seen) -> list[str]:
    """What was read, how labels were found, and what was left out."""
    labelled = sum(bool(one["label"]) for one in records)
    several = sum(" | " in one["labels"] for one in records)
    said = [
        f"read {counted(len(records), 'note')} of {file}: FHIR R4, {counted(files, 'file')} with "
        f"{_counts(dict(seen.kinds.most_common(6)))}",
        f"{counted(labelled, 'note has', 'notes have')} a condition of the same encounter as label; "
        f"{several:,} have several (column 'labels'), of which the encounter's first in rank, then in time, is 'label'",
    ]
    if seen.out:
        said.append("left out: " + ", ".join(f"{name} ({count:,})" for name, count in seen.out.most_common()))
    return said


def _warns(records: list[dict[str, str]]) -> list[str]:
    """What would mislead."""
    if not any(one["label"] for one in records):
        return ["no note has a condition of its own encounter, so there is no label; export Condition with encounter"]
    return []
