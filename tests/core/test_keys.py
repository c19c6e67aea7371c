from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.core.errors import MachineError
from bedside.core.keys import config_folder, pseudonym, site_key


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_its_owner_can_read_the_key() -> None:
    assert len(site_key()) == 32
    assert stat.S_IMODE((config_folder() / "site.key").stat().st_mode) == 0o600
    assert [file.name for file in config_folder().iterdir()] == ["site.key"]


def test_processes_that_race_get_one_key(tmp_path: Path) -> None:
    code = "from bedside.core.keys import site_key; print(site_key().hex())"
    for trial in range(3):
        environment = {**os.environ, "BEDSIDE_CONFIG": str(tmp_path / str(trial))}
        command = [sys.executable, "-c", code]
        racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
        found = {racer.communicate(timeout=60)[0] for racer in racers}
        assert len(found) == 1
        assert len(found.pop().strip()) == 64
        assert [file.name for file in (tmp_path / str(trial)).iterdir()] == ["site.key"]


def test_a_damaged_key_is_named_and_never_replaced() -> None:
    site_key()
    path = config_folder() / "site.key"
    path.write_text("0" * 63, encoding="ascii")
    with pytest.raises(MachineError, match=r"site\.key does not hold a key of 32 bytes"):
        site_key()
    assert path.read_text(encoding="ascii") == "0" * 63


def test_a_pseudonym_depends_on_key_kind_and_value() -> None:
    one = pseudonym(b"k" * 32, "patient", "123")
    assert one == pseudonym(b"k" * 32, "patient", "123")
    others = (pseudonym(b"l" * 32, "patient", "123"), pseudonym(b"k" * 32, "case", "123"))
    assert len({one[2:], *(other[2:] for other in others), pseudonym(b"k" * 32, "patient", "124")[2:]}) == 4
    assert "123" not in one[:2]
