from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import small_model

from bedside.bundle import Bundle, verify_bundle
from bedside.core.errors import BundleError
from bedside.core.files import sha256_file


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("trial", range(60))
def test_a_flipped_byte_an_added_or_a_missing_file_is_named(folder: Path, trial: int) -> None:
    dice = random.Random(trial)
    target = dice.choice(_files(folder))
    if trial % 3 == 0:
        content = bytearray(target.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        target.write_bytes(bytes(content))
    elif trial % 3 == 1:
        target.unlink()
    else:
        target = target.with_name(f"{dice.choice(['notes.txt', 'a.json', '.hidden', 'z.safetensors'])}")
        target.write_bytes(b"")
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    # A change of the list itself shows as a file that no longer fits it.
    assert target.name in str(caught.value) or target.name == "SHA256SUMS"


def test_every_byte_of_the_list_counts(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BundleError):
            verify_bundle(folder)
    for other in (content + b"\n", content[:-1], b"", content.replace(b"\n", b"\r\n"), content + content):
        path.write_bytes(other)
        with pytest.raises(BundleError):
            verify_bundle(folder)
    path.write_bytes(content)
    assert verify_bundle(folder).startswith("sha256:")


@pytest.mark.parametrize("name", ["model.bin", "a.PT", "tokenizer/x.pkl", "m.joblib", "c.ckpt", "code.py"])
def test_a_file_that_can_run_code_is_refused_even_if_listed(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    lines = [f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}" for file in _files(folder)]
    lines = sorted((line for line in lines if not line.endswith("SHA256SUMS")), key=lambda line: line[66:])
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"can run code") as caught:
        verify_bundle(folder)
    assert name in str(caught.value)


def test_a_link_is_refused_wherever_it_points(folder: Path, tmp_path: Path) -> None:
    same = tmp_path / "same.json"
    shutil.copy(folder / "labels.json", same)
    (folder / "labels.json").unlink()
    (folder / "labels.json").symlink_to(same)
    with pytest.raises(BundleError, match=r"labels\.json is a link"):
        verify_bundle(folder)


def test_a_linked_folder_and_a_linked_list_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "words.txt").write_text("cough\n", encoding="utf-8")
    small_model.reseal(folder)
    verify_bundle(folder)
    shutil.move(folder / "tokenizer", tmp_path / "elsewhere")
    (folder / "tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="tokenizer is a link"):
        verify_bundle(folder)
    (folder / "tokenizer").unlink()
    shutil.move(tmp_path / "elsewhere", folder / "tokenizer")
    verify_bundle(folder)
    shutil.move(folder / "SHA256SUMS", tmp_path / "sums")
    (folder / "SHA256SUMS").symlink_to(tmp_path / "sums")
    with pytest.raises(BundleError, match="SHA256SUMS is a link"):
        verify_bundle(folder)


def test_a_place_that_is_no_bundle_is_one_sentence(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent", Path(__file__)):
        with pytest.raises(BundleError, match="is not a bundle") as caught:
            verify_bundle(place)
        assert "\n" not in str(caught.value)


def test_nothing_is_parsed_before_it_is_verified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bedside.bundle.load as load

    read: list[Path] = []
    monkeypatch.setattr(load, "read_json", lambda path: read.append(path))
    (folder / "vocabulary.json").write_bytes(b"changed")
    with pytest.raises(BundleError, match=r"vocabulary\.json was altered"):
        Bundle.load(folder)
    assert read == []
