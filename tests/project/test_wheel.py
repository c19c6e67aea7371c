"""The wheel as a user gets it: built, installed in a place of its own, and asked to work from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import bedside

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An interpreter of its own, with the wheel installed and the libraries of this one within reach."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    interpreter = binaries / "python"
    place = Path(ask(interpreter, "import sysconfig; print(sysconfig.get_path('purelib'))", folder))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel],
        check=True,
        capture_output=True,
    )
    libraries = Path(pytest.__file__).parents[1]
    # A path alone is added; the .pth files in it, one of which leads to this checkout, are not read.
    (place / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return interpreter


def ask(interpreter: Path, code: str, folder: Path) -> str:
    return run(interpreter, "-c", code, folder=folder).strip()


def run(interpreter: Path, *words: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [interpreter, *words], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_data_files(wheel) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    tracked = {path.relative_to(source).as_posix() for path in (source / "bedside").rglob("*") if path.is_file()}
    expected = {name for name in tracked if "__pycache__" not in name}
    assert "bedside/py.typed" in expected
    assert expected <= names
    assert any(name.endswith(".toml") for name in names)
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_carries_the_version_that_the_package_says(wheel) -> None:
    assert wheel.name == f"bedside-{bedside.__version__}-py3-none-any.whl"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project, "the version is said twice"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", bedside.__version__)


def test_it_is_imported_from_its_own_place(python, tmp_path) -> None:
    code = "import bedside; print(bedside.__file__); print(bedside.__version__); print(bedside.Study.__module__)"
    file, version, module = ask(python, code, tmp_path).splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert version == bedside.__version__
    assert module == "bedside.study.study"


def test_its_command_line_works(python, tmp_path) -> None:
    assert "Usage: bedside" in run(python, "-m", "bedside", "--help", folder=tmp_path)
    assert "SYNTHETIC" in run(python, "-m", "bedside", "sample", "clinic", "--notes", "50", folder=tmp_path)
    planted = json.loads((tmp_path / "clinic" / "planted.json").read_text(encoding="utf-8"))
    assert planted["notes"] == 50
    assert "builtin:minilm" in run(python, "-m", "bedside", "models", "list", folder=tmp_path)
    run(python, "-m", "bedside", "init", "clinic/notes.csv", "--quiet", folder=tmp_path)
    assert (tmp_path / "my-study" / "protocol.toml").is_file()


def test_it_installs_the_command(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "bedside = bedside.cli:main" in archive.read(entry).decode("utf-8")
