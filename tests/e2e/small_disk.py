"""A real disk of a few megabytes that can be full, or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PAGE = 4096
_LARGE = 256 << 20


class SmallDisk:
    """A file system in memory, mounted in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, spare: int) -> None:
        """Make it so small that, beside what it holds, ``spare`` bytes are free."""
        state = os.statvfs(self.folder)
        self._mount(f"remount,size={(state.f_blocks - state.f_bfree) * state.f_frsize + spare // _PAGE * _PAGE}")

    def make_room(self) -> None:
        """Make it large again."""
        self._mount(f"remount,rw,size={_LARGE}")

    def forbid_writing(self) -> None:
        """Make it read-only."""
        self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True, capture_output=True)


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[SmallDisk]:
    """A small disk in a new folder; the test is skipped where this user may mount none."""
    reason = "needs root to mount a small disk"
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip(reason)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_LARGE}", "small", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip(reason)
    try:
        (folder / "taken").write_bytes(b"x")  # a size of 0, which an empty disk would be given, means without bound
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
