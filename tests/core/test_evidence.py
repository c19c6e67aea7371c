from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bedside.core import evidence
from bedside.core.errors import StudyError


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.jsonl"
    for number in range(12):
        evidence.append(path, "evaluated", {"look": number, "metrics": f"{number:064x}"})
    return path


@pytest.mark.parametrize("trial", range(100))
def test_an_edit_a_deletion_or_a_reordering_is_detected(chain: Path, trial: int) -> None:
    dice = random.Random(trial)
    lines = chain.read_text(encoding="utf-8").splitlines()
    place = dice.randrange(len(lines) - 1)  # that the end was cut off, a chain alone cannot show
    match trial % 4:
        case 0:
            entry = json.loads(lines[place])
            entry["body"]["look"] += 1
            lines[place] = json.dumps(entry)
        case 1:
            del lines[place]
        case 2:
            other = dice.choice([number for number in range(len(lines)) if number != place])
            lines[place], lines[other] = lines[other], lines[place]
        case _:
            letters = list(lines[place])
            spot = lines[place].index('"hash": "') + 9 + dice.randrange(64)
            letters[spot] = "0" if letters[spot] != "0" else "1"
            lines[place] = "".join(letters)
    chain.write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = chain.read_bytes()
    with pytest.raises(StudyError, match=r"line \d+ does not fit the chain"):
        evidence.read(chain)
    with pytest.raises(StudyError):
        evidence.append(chain, "evaluated", {})
    assert chain.read_bytes() == content


def test_an_untouched_chain_is_read(chain: Path) -> None:
    assert [entry["body"]["look"] for entry in evidence.read(chain)] == list(range(12))
