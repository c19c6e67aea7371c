"""Everything that is installed is pinned, and the two files of pins differ only where CUDA does."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CUDA = re.compile(r"^(cuda-|nvidia-|triton$|setuptools$)")


def pins(text: str) -> dict[str, str]:
    """Version by name, as pip compares names."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines)}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_two_files_agree_but_for_cuda() -> None:
    common, _, more = read("constraints-cuda.txt").partition("# CUDA only\n")
    assert pins(common) == pins(read("constraints.txt"))
    assert pins(more), "nothing is pinned for CUDA"
    assert [name for name in pins(more) if not _CUDA.match(name)] == []
    assert not [name for name in pins(common) if name.startswith(("cuda-", "nvidia-"))]


def test_every_line_pins_one_version() -> None:
    for name, version in pins(read("constraints-cuda.txt")).items():
        assert re.fullmatch(r"[\w.]+", version), f"{name} is not pinned to one version: {version!r}"


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {plain(re.split(r"[\[<>=!~;\s]", one, maxsplit=1)[0]) for one in wanted} - {"bedside"}
    assert names <= set(pins(read("constraints.txt")))


def test_what_runs_here_is_what_is_pinned() -> None:
    """The tests speak for the pinned versions only if those are the ones that run."""
    for name, version in pins(read("constraints.txt")).items():
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        assert here.partition("+")[0] == version, f"{name} {here} runs here, {version} is pinned"
