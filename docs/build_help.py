"""Put the command line's own help and the protocol's own keys into the documentation, between markers.

Run ``python docs/build_help.py`` after a verb or a key has changed; a test fails where a page is not current.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin

from bedside.protocol.sections import Protocol, Section

DOCS = Path(__file__).resolve().parent
COLUMNS = "100"
VERBS = {
    "init": ("init",),
    "prepare": ("prepare",),
    "train": ("train",),
    "evaluate": ("evaluate",),
    "package": ("package",),
    "card": ("card",),
    "run": ("run",),
    "predict": ("predict",),
    "serve": ("serve",),
    "verify": ("verify",),
    "models": ("models", "models list", "models show", "models get"),
    "keys": ("keys", "keys list", "keys new", "keys revoke"),
    "doctor": ("doctor",),
    "selftest": ("selftest", "selftest training"),
    "sample": ("sample",),
    "demo": ("demo",),
}
_FREE_TEXT = re.compile(r"([|<>])")


def help_text(command: str) -> str:
    """What ``bedside COMMAND --help`` prints on a terminal of 100 columns without colour."""
    environment = {**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    words = [sys.executable, "-m", "bedside", *command.split(), "--help"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=True, env=environment)
    return done.stdout.rstrip()


def verb_page(page: str, commands: tuple[str, ...]) -> str:
    """A verb's page with its help put in."""
    helps = "\n\n".join(f"```text\n{help_text(command)}\n```" for command in commands)
    return between(page, "help", helps)


def protocol_page(page: str) -> str:
    """The page of the protocol with every section and key put in."""
    parts = [_section(f"[{name}]", field.annotation) for name, field in Protocol.model_fields.items()]
    return between(page, "keys", "\n\n".join(parts))


def between(page: str, name: str, content: str) -> str:
    """A page with what stands between two markers replaced."""
    start, end = f"<!-- {name}: written by docs/build_help.py -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    if not after and end not in rest:
        raise ValueError(f"the page has no place for {name}: {start} … {end}")
    return f"{before}{start}\n\n{content}\n\n{end}{after}"


def _section(name: str, section: type[Section] | None) -> str:
    if not (isinstance(section, type) and issubclass(section, Section)):
        raise TypeError(f"{name} is no section")
    rows = [
        f"| `{key}` | {_default(field)} | {_cell(field.description or '')} |"
        for key, field in section.model_fields.items()
    ]
    says = (section.__doc__ or "").strip().splitlines()[0]
    parts = ["\n".join([f"## `{name}`", "", says, "", "| key | default | is |", "|---|---|---|", *rows])]
    for key, field in section.model_fields.items():
        inner = get_args(field.annotation)[0] if get_origin(field.annotation) is list else None
        if isinstance(inner, type) and issubclass(inner, Section):
            parts.append(_section(f"[[{name.strip('[]')}.{key}]]", inner))
    return "\n\n".join(parts)


def _default(field: object) -> str:
    """A key's default as it stands in TOML."""
    from pydantic.fields import FieldInfo

    from bedside.protocol.file import _value

    if not isinstance(field, FieldInfo):
        raise TypeError("no field")
    if field.is_required():
        return "none: must be given"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    return "empty" if value in ({}, []) else f"`{_value(value)}`"


def _cell(text: str) -> str:
    return _FREE_TEXT.sub(r"\\\1", text)


def main() -> None:
    """Write every page anew."""
    for name, commands in VERBS.items():
        path = DOCS / "verbs" / f"{name}.md"
        path.write_text(verb_page(path.read_text(encoding="utf-8"), commands), encoding="utf-8", newline="\n")
    path = DOCS / "protocol.md"
    path.write_text(protocol_page(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
