"""Notes from files: what is no note is one sentence, and that sentence does not repeat a note."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedside.core.errors import DataError
from bedside.study.predict import decode_note, read_note


def test_a_note_is_read_whole_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes("\ufeffFieber 39,5 °C\r\nHusten".encode())
    assert read_note(tmp_path / "note.txt") == "Fieber 39,5 °C\r\nHusten"


@pytest.mark.parametrize("note", ["Zyxomarker\nNo fever.", "Zyxomarker " * 30, "Zyxomarker w/o " + "ğ" * 130])
def test_a_note_in_place_of_its_file_is_not_repeated(note: str) -> None:
    with pytest.raises(DataError, match="is no file's name; give a text file with one note, or -") as caught:
        read_note(Path(note))
    assert "Zyxomarker" not in str(caught.value)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt does not exist; give a text file"):
        read_note(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="is a folder; give a text file"):
        read_note(tmp_path)


def test_what_is_not_utf_8_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes("Zyxomarker über".encode("cp1254"))
    with pytest.raises(DataError, match=r"note\.txt is not UTF-8 text \(byte 11\)") as caught:
        read_note(tmp_path / "note.txt")
    assert "Zyxomarker" not in str(caught.value)
    with pytest.raises(DataError, match=r"standard input is not UTF-8 text \(byte 0\)"):
        decode_note(b"\xff", "standard input")
