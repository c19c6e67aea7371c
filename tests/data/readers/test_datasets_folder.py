"""What the datasets library saved, and what a name on the Hub needs; the folders beside this file are SYNTHETIC."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import polars as pl
import pytest

from bedside.core.errors import DataError, MissingExtra
from bedside.data import look, prepare
from bedside.data.readers import files_of, read
from bedside.protocol import CleanSection, DataSection, SplitSection
from bedside.study import create

SAVED = Path(__file__).parent / "saved_by_datasets_5_2_0"


def table(source: Path | str):
    return read(DataSection(source=str(source), text="text", label="label"), Path())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The saved folders, to be damaged."""
    return Path(shutil.copytree(SAVED, tmp_path / "saved"))


def save(folder: Path, frame: pl.DataFrame, features: dict) -> Path:
    """A folder in the library's layout."""
    folder.mkdir()
    frame.write_ipc_stream(folder / "data.arrow")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}), encoding="utf-8")
    return folder


def test_splits_become_a_column_and_numbers_of_classes_their_names() -> None:
    read_in = table(SAVED / "splits")
    rows = read_in.frame.to_dicts()
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"] * 2
    assert [row["label"] for row in rows[:4]] == ["", "Migraine", "Asthma", "Migraine"]  # the first was saved as -1
    assert [row["more"] for row in rows[:4]] == ["", "a", "a; b", ""]
    assert (rows[0]["age"], rows[1]["age"], rows[1]["weight"], rows[1]["vitals"]) == ("", "41", "71.5", '{"pulse": 61}')
    said = " ".join(read_in.observations)
    assert "read 6 rows and 10 columns" in said and "train 4, test 2" in said
    assert "numbers of classes are read as their names: label, more" in said
    assert read_in.seen["splits"] == ["train", "test"]


def test_a_single_table_in_several_files_has_no_split() -> None:
    frame = table(SAVED / "one").frame
    assert frame["text"].to_list() == [f"Synthetic note {number}." for number in range(3)]
    assert "split" not in frame.columns
    assert [path.name for path in files_of(str(SAVED / "one"), Path()).values()] == [
        "data-00000-of-00002.arrow",
        "data-00001-of-00002.arrow",
        "dataset_info.json",
        "state.json",
    ]


def test_what_holds_no_text_is_left_out_and_a_split_column_is_not_overwritten(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a"], "split": ["mine"], "film": [b"\x89PNG"], "kinds": [[0]]})
    kinds = [{"_type": "ClassLabel", "names": ["x"]}]  # how earlier versions wrote a list
    features = {"text": {"_type": "Value"}, "film": {"_type": "Image"}, "kinds": kinds}
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "dataset_dict.json").write_text('{"splits": ["train", "test"]}', encoding="utf-8")
    save(whole / "train", frame, features)
    save(whole / "test", frame.drop("split", "kinds"), features)
    read_in = table(whole)
    assert read_in.frame.to_dicts() == [
        {"text": "a", "split": "mine", "kinds": "x", "saved_split": "train"},
        {"text": "a", "split": "", "kinds": "", "saved_split": "test"},
    ]
    assert "left out because they hold no text: film" in read_in.observations


@pytest.mark.parametrize(
    ("place", "content", "says"),
    [
        ("splits/dataset_dict.json", b"{", r"splits/dataset_dict\.json is missing or damaged"),
        ("splits/dataset_dict.json", b"[]", "is no JSON object"),
        ("splits/dataset_dict.json", b'{"splits": []}', "names no splits"),
        ("splits/dataset_dict.json", b'{"splits": ["gone"]}', r"gone/state\.json is missing or damaged"),
        ("one/dataset_info.json", b"\xff", r"one/dataset_info\.json is missing or damaged"),
        ("one/data-00000-of-00002.arrow", b"no arrow", r"one/data-00000-of-00002\.arrow is cut off or damaged"),
        ("one/state.json", b'{"_data_files": [{"filename": "x.arrow"}]}', r"one lacks x\.arrow"),
        ("one/state.json", b'{"_indices_data_files": [{"filename": "i.arrow"}]}', r"flatten_indices"),
        ("one/state.json", b'{"_data_files": []}', "has column names but no rows"),
    ],
)
def test_wrong_folders_are_one_sentence(copy: Path, place: str, content: bytes, says: str) -> None:
    (copy / place).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        table((copy / place).parent)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_is_refused(copy: Path) -> None:
    file = copy / "one" / "data-00001-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:-700])
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow is cut off or damaged"):
        table(copy / "one")


def test_a_folder_goes_through_init_and_prepare(tmp_path: Path) -> None:
    signs = ["cough and green sputum with fever", "throbbing one-sided pain and bright lights"]
    frame = pl.DataFrame(
        {
            "note": [f"Day {n}: {signs[n % 2]}, bed {n * 7}." for n in range(80)],
            "diagnosis": [n % 2 for n in range(80)],
            "patient_id": [str(n) for n in range(80)],
        }
    )
    names = {"_type": "ClassLabel", "names": ["Pneumonia", "Migraine"]}
    folder = save(tmp_path / "saved", frame, {"diagnosis": names})
    chosen = look(folder).section
    assert (chosen.text, chosen.label, chosen.patient) == ("note", "diagnosis", "patient_id")
    cohort = prepare(chosen, CleanSection(), SplitSection(near_duplicate=1), base=tmp_path, seed=1, key=b"k" * 32)
    assert cohort.labels == ("Migraine", "Pneumonia")


@pytest.mark.parametrize("source", ["hf:", "hf:a b", "hf:owner/name:", "hf:owner/name@", "hf:/name", "hf:a/b/c"])
def test_a_name_that_is_none_is_refused(source: str) -> None:
    with pytest.raises(DataError, match="is no name of a data set on the Hub; write hf:owner/name"):
        table(source)


def test_the_hub_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"'hf:owner/name'.*pip install 'bedside\[datasets\]'"):
        table("hf:owner/name")


def test_without_a_network_the_way_by_hand_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: bedside[datasets]")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"load_dataset\('owner/name', 'small', revision='v1'\)\.save_to_disk"):
        table("hf:owner/name:small@v1")


def test_the_hub_has_no_files_to_watch() -> None:
    assert files_of("hf:owner/name", Path()) == {}


class Faults:
    """The library's own faults, as far as they are told apart."""

    class DatasetsError(Exception):
        pass

    class DatasetNotFoundError(DatasetsError, FileNotFoundError):
        pass


class Split:
    """A split as the library hands it out; its table is Arrow, which polars gives too."""

    def __init__(self, frame: pl.DataFrame, features: dict) -> None:
        self.frame, self.features = frame, self
        self._features = features

    def to_dict(self) -> dict:
        return self._features

    def with_format(self, kind: str) -> Split:
        assert kind == "arrow"
        return self

    def __getitem__(self, rows: slice) -> pl.DataFrame:
        return self.frame[rows]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A stand-in for the library, since no test uses a network; it answers or fails as it is told."""
    asked = []

    def install(answer):
        def load_dataset(*args, **more):
            asked.append((args, more))
            if isinstance(answer, Exception):
                raise answer
            return answer

        library = types.ModuleType("datasets")
        library.load_dataset, library.exceptions = load_dataset, Faults
        monkeypatch.setitem(sys.modules, "datasets", library)
        return asked

    return install


def test_a_data_set_of_the_hub_is_asked_for_by_name_and_revision(hub, tmp_path: Path) -> None:
    frame = pl.DataFrame({"note": [f"Sees {n} bright lights." for n in range(40)], "dx": [n % 2 for n in range(40)]})
    asked = hub({"train": Split(frame, {"dx": {"_type": "ClassLabel", "names": ["Asthma", "Migraine"]}})})
    read_in = table("hf:owner/name:small@v1")
    assert asked == [(("owner/name", "small"), {"revision": "v1"})]  # and nothing that runs code
    assert read_in.frame.row(1) == ("Sees 1 bright lights.", "Migraine", "train")
    assert len(read_in.seen["rows_sha256"]) == 64
    create(Path("hf:owner/name"), tmp_path / "study", label="dx")
    assert 'source = "hf:owner/name"' in (tmp_path / "study" / "protocol.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Faults.DatasetNotFoundError("secret"), "is not on the Hub, or only for those who may see it"),
        (ConnectionError("secret"), r"cannot be reached from here; on a machine that reaches it run python -c"),
        (ValueError("Config name is missing"), "needs the name of one of its configurations"),
        (ValueError("secret"), "cannot be loaded; on a machine"),
        (RuntimeError("Dataset scripts are no longer supported"), "without running its code, which is never done"),
    ],
)
def test_faults_of_the_hub_are_one_sentence(hub, fault: Exception, says: str) -> None:
    hub(fault)
    with pytest.raises(DataError, match=says) as caught:
        table("hf:owner/name")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
