from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import small_model

from bedside.bundle import verify_bundle
from bedside.core.errors import BundleError
from bedside.protocol import CleanSection, PackageSection


def test_the_folder_holds_what_the_design_lists(folder: Path) -> None:
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert names == {
        "SHA256SUMS", "abstention.json", "bundle.json", "calibration.json", "diagnoser.json", "evidence.jsonl",
        "card.html", "card.json", "card.md", "labels.json", "model.safetensors", "vocabulary.json",
    }  # fmt: skip
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert labels[2] == {
        "label": "pneumonia",
        "display": "Pneumonia",
        "codes": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J18.9"}],
        "support": 41,
    }
    assert labels[0] == {"label": "appendicitis", "display": "Appendicitis"}
    info = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert info["draft"] is True
    assert info["clean"] == CleanSection().model_dump(mode="json")


def test_an_intended_use_ends_the_draft(tmp_path: Path) -> None:
    place = small_model.write(
        tmp_path / "b", package=PackageSection(intended_use="emergency doctors, at triage", limits="no children")
    )
    assert json.loads((place / "bundle.json").read_text(encoding="utf-8"))["draft"] is False


def test_sha256sum_can_check_it(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == 11


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import small_model; "
        "small_model.write(Path(sys.argv[2]))"
    )
    digests = []
    for number in ("1", "2"):
        place = tmp_path / number / "bundle"
        subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(place)], check=True)
        digests.append(verify_bundle(place))
    assert digests[0] == digests[1]
    other = small_model.write(tmp_path / "3", shown=3)
    assert verify_bundle(other) != digests[0]


def test_the_order_of_mappings_changes_no_byte(tmp_path: Path) -> None:
    one = small_model.write(tmp_path / "1", provenance={"study": "a", "look": 1})
    two = small_model.write(tmp_path / "2", provenance={"look": 1, "study": "a"})
    assert verify_bundle(one) == verify_bundle(two)


@pytest.mark.parametrize("codes", [{"pneumonia": "pneumonia"}, {"pneumonia": "J18."}, {"Pneumonia": "J18.9"}])
def test_a_code_that_cannot_be_is_refused_by_name(tmp_path: Path, codes: dict[str, str]) -> None:
    with pytest.raises(BundleError, match=next(iter(codes))):
        small_model.write(tmp_path / "b", package=PackageSection(codes=codes))
    assert not (tmp_path / "b").exists()


def test_a_failure_leaves_the_old_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = verify_bundle(folder)
    with pytest.raises(BundleError):
        small_model.write(folder, package=PackageSection(codes={"no such": "J18.9"}))
    assert verify_bundle(folder) == digest
