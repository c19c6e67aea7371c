"""Reading and writing ``protocol.toml``.

All faults are reported at once, each with file, key, the bad value and the nearest right key. Writing keeps a
comment on every key, taken from the section that declares it.
"""

from __future__ import annotations

import difflib
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bedside.core.errors import ProtocolError, StudyError
from bedside.protocol.sections import Protocol, Section

_BARE_KEY = re.compile(r"^[A-Za-z0-9_-]+$")
_LONGEST_VALUE_SHOWN = 60
_PASSWORD = re.compile(r"(://[^\s:@/]*:)[^\s/]*@")  # in the URL of a database
_TYPE_NAMES = frozenset(
    {"str", "int", "constrained-str", "list[constrained-str]", "constrained-float", "literal['auto']"}
)  # as pydantic names branches of a union


def load(path: Path) -> Protocol:
    """Read and check a protocol.

    Raises:
        StudyError: there is no such file.
        ProtocolError: with every fault, not only the first.
    """
    if not path.is_file():
        raise StudyError(
            f"{path} does not exist, so {path.parent} is not a study; "
            f"make one with: bedside init notes.csv --into {path.parent}"
        )
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProtocolError(str(path), [f"is not UTF-8 text (byte {error.start}); save it as UTF-8"]) from None
    return parse(content, str(path))


def parse(content: str, name: str = "protocol.toml") -> Protocol:
    """Check the text of a protocol.

    Args:
        content: TOML.
        name: how the file is called in the faults.

    Raises:
        ProtocolError: with every fault.
    """
    try:
        values = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ProtocolError(name, [f"is not valid TOML: {_lower_first(str(error))}"]) from None
    try:
        return Protocol.model_validate(values)
    except ValidationError as error:
        raise ProtocolError(name, _faults(error.errors())) from None


def _faults(details: Sequence[ErrorDetails]) -> list[str]:
    """Every fault once. A key with several possible types fails in each of them, which is still one fault."""
    sentences: dict[str, str] = {}
    for detail in details:
        sentences.setdefault(_where(detail), _fault(detail))
    return list(sentences.values())


def _where(detail: ErrorDetails) -> str:
    """The key at fault, without the names of the types that were tried."""
    return ".".join(str(part) for part in detail["loc"] if str(part) not in _TYPE_NAMES)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fault(detail: ErrorDetails) -> str:
    """One fault as a sentence: the key, the value, what is wrong, the nearest right key."""
    where = _where(detail)
    if detail["type"] == "extra_forbidden":
        return _unknown_key(detail["loc"], where)
    if detail["type"] == "missing":
        return f"{where} is missing and has no default{_described(detail['loc'])}"
    message = _lower_first(detail["msg"]).removeprefix("value error, ").removeprefix("Value error, ")
    if isinstance(detail["input"], Mapping):
        return f"{where}: {message}"
    return f"{where} = {_shown(detail['input'])}: {message}"


def _described(location: tuple[int | str, ...]) -> str:
    """What a missing key is for, in brackets."""
    owner = _section_at(location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner else None
    return f" ({field.description})" if field and field.description else ""


def _unknown_key(location: tuple[int | str, ...], where: str) -> str:
    """A sentence for a key that does not exist, with the nearest that does."""
    owner = _section_at(location[:-1])
    known = list(owner.model_fields) if owner else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
    if near:
        right = ".".join([*(str(part) for part in location[:-1]), near[0]])
        return f"{where} is not a key; did you mean {right}?"
    elsewhere = [path for path in _all_keys() if path.rpartition(".")[2] == str(location[-1])]
    if elsewhere:
        return f"{where} is not a key; {elsewhere[0]} is: move it there"
    return f"{where} is not a key; known here: {', '.join(known)}"


def _section_at(location: tuple[int | str, ...]) -> type[Section] | None:
    """The section that a location lies in."""
    owner: type[Section] = Protocol
    for part in location:
        if isinstance(part, int):
            continue  # the place in a list of sections
        field = owner.model_fields.get(str(part))
        annotation = _listed(field.annotation if field else None)
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            return None
        owner = annotation
    return owner


def _listed(annotation: Any) -> Any:
    """What a list is a list of; anything else as it is."""
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation


def _holds_sections(annotation: Any) -> bool:
    """Whether a key is a list of sections, which TOML writes as ``[[section.key]]``."""
    inner = _listed(annotation)
    return inner is not annotation and isinstance(inner, type) and issubclass(inner, Section)


def _all_keys() -> Iterator[str]:
    for name in Protocol.model_fields:
        section = _section_at((name,))
        if section:
            yield from (f"{name}.{key}" for key in section.model_fields)


def _shown(value: Any) -> str:
    text = _PASSWORD.sub(r"\1***@", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 1] + "…"


def render(protocol: Protocol, remarks: Mapping[str, list[str]] | None = None) -> str:
    """Write a protocol as TOML with a comment on every key.

    Args:
        protocol: the values.
        remarks: further comment lines, by key (``"data.rare"``), put above it as they are: proposals that the
            user may uncomment.
    """
    remarks = remarks or {}
    lines = ["# The plan of this study. Every key is here with its default or what was seen in the file.", ""]
    for name in Protocol.model_fields:
        section = getattr(protocol, name)
        lines += [f"# {_summary(type(section))}", f"[{name}]", *_section_lines(name, section, remarks), ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _section_lines(name: str, section: Section, remarks: Mapping[str, list[str]]) -> list[str]:
    """The keys of one section; tables of their own come last, as TOML demands."""
    lines: list[str] = []
    tables: list[str] = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        comment = [f"# {line}" for line in textwrap.wrap(field.description or "", 106)]
        remark = [f"# {line}" for line in remarks.get(f"{name}.{key}", [])]
        if _holds_sections(field.annotation):
            tables += ["", *comment, *remark, *_section_tables(f"{name}.{key}", value)]
        elif isinstance(value, dict):
            # Below the head, so that a line that is uncommented lands in this table.
            tables += ["", *comment, f"[{name}.{key}]", *remark]
            tables += [f"{_key(inner)} = {_value(item)}" for inner, item in value.items()]
        elif value is None:
            example = "''" if type(None) in get_args(field.annotation) else "…"
            lines += [*comment, *remark, f"# {key} = {example}"]
        else:
            # TOML refuses a key that stands twice: where a remark offers a line to uncomment, the default waits too.
            offered = value == field.default and any(line.startswith(f"# {key} = ") for line in remark)
            lines += [*comment, *remark, f"{'# ' if offered else ''}{key} = {_value(value)}"]
    return lines + tables


def _section_tables(name: str, sections: Sequence[Section]) -> list[str]:
    """A list of sections, each under its own head; an empty list is left out, or no head could be added by hand."""
    lines: list[str] = [] if sections else [f"# [[{name}]]"]
    for one in sections:
        lines += ["", f"[[{name}]]"]
        tables: list[str] = []
        for key, value in one.model_dump(exclude_defaults=True).items():
            if isinstance(value, dict):
                tables += [f"[{name}.{key}]", *(f"{_key(inner)} = {_value(item)}" for inner, item in value.items())]
            else:
                lines.append(f"{key} = {_value(value)}")
        lines += tables
    return lines


def _key(name: str) -> str:
    return name if _BARE_KEY.match(name) else _value(name)


def _value(value: Any) -> str:
    """A value as TOML. JSON's strings, numbers and booleans are TOML's, once DEL is escaped too."""
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
