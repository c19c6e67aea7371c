"""What a user may import, pinned: a name is added or taken away on purpose, and importing stays cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import bedside

PUBLIC = [
    "BedsideError",
    "Bundle",
    "BundleError",
    "Cohort",
    "ConsoleProgress",
    "DataError",
    "Diagnoser",
    "MachineError",
    "MissingExtra",
    "ModelError",
    "Progress",
    "Protocol",
    "ProtocolError",
    "ServingError",
    "Study",
    "StudyError",
    "__version__",
    "create",
    "verify_bundle",
]
ROOMS = [
    *(
        "core",
        "protocol",
        "metrics",
        "reporting",
        "synthetic",
        "data",
        "models",
        "training",
        "evaluation",
        "governance",
    ),
    *("bundle", "serving", "study", "cli"),
]
HEAVY = {"torch", "transformers", "polars", "scipy", "sklearn", "fastapi"}
# What may be loaded besides the standard library when a room is imported.
ALLOWED = {
    "core": set(),
    "protocol": {"pydantic"},
    "metrics": {"numpy"},
    "reporting": set(),
    "synthetic": {"numpy"},
    "data": set(),
    "models": set(),
    "training": {"numpy", "pydantic"},
    "evaluation": {"numpy", "pydantic"},
    "governance": set(),
    "bundle": {"numpy", "pydantic"},
    "serving": {"numpy", "pydantic"},
    "study": {"pydantic"},
    "cli": set(),
}


def test_the_public_names_are_these() -> None:
    assert bedside.__all__ == PUBLIC
    assert sorted(dir(bedside)) == sorted(PUBLIC)


def test_every_public_name_resolves() -> None:
    for name in bedside.__all__:
        assert getattr(bedside, name) is not None


def test_a_name_that_is_not_there_is_told_of_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = bedside.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_room_resolves(room) -> None:
    module = importlib.import_module(f"bedside.{room}")
    assert module.__doc__, f"bedside.{room} does not say why it exists"
    for name in getattr(module, "__all__", []):
        assert getattr(module, name) is not None, name


def test_importing_bedside_loads_the_standard_library_alone() -> None:
    loaded = loaded_by("bedside")
    assert not loaded & (HEAVY | {"numpy", "pydantic", "rich", "typer", "platformdirs"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_without_the_heavy_libraries(room) -> None:
    assert loaded_by(f"bedside.{room}") & (HEAVY | {"numpy", "pydantic"}) <= ALLOWED[room]


def loaded_by(module: str) -> set[str]:
    """The top-level modules that a fresh process holds after importing ``module``."""
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
