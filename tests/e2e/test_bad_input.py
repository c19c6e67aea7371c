"""What a user may get wrong ends in exit code 2 and a sentence that names the fault and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import small_line
from small_line import bedside, copy

from bedside.cli import main
from bedside.study import Study

pytestmark = pytest.mark.e2e
NOTE = "Seen today for a routine check, without any complaint at all. " * 8
Told = Callable[..., str]

# Writes down every attempt to reach another machine, and lets none of them succeed.
WITHOUT_NETWORK = """
import sys
def _watch(event, arguments):
    if event in {{"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}}:
        with open({place!r}, "a", encoding="utf-8") as file:
            file.write(event + "\\n")
        raise OSError(101, "Network is unreachable")
sys.addaudithook(_watch)
"""


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a command that must end in exit code 2, and give what it said, without what it announced before."""

    def run(*words: str | Path, lines: int = 1) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        seen = capsys.readouterr()
        assert seen.out == ""
        said = [line for line in seen.err.strip().splitlines() if not line.startswith("[")]
        assert len(said) == lines, seen.err
        assert "Traceback" not in seen.err
        return "\n".join(said)

    return run


@pytest.fixture
def study(snapshots: dict[str, Path], tmp_path: Path) -> Path:
    """A study before its first stage."""
    (tmp_path / "sample").symlink_to(snapshots["done"].parent / "sample")
    return copy(snapshots["prepare"], tmp_path / "study")


def _replace(study: Path, *pairs: tuple[str, str]) -> None:
    path = study / "protocol.toml"
    content = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert content.count(old) == 1, old
        content = content.replace(old, new)
    path.write_text(content, encoding="utf-8")


VERBS = ("run", "prepare", "train", "evaluate", "package", "verify", "serve")


def test_a_typo_in_a_key_names_the_nearest_right_key(study: Path, told: Told) -> None:
    _replace(study, ("\nresamples = ", "\nresample = "))
    for verb in VERBS:
        said = told(verb, study, lines=2)
        assert said.startswith(f"{study / 'protocol.toml'} has 1 fault:\n  - ")
        assert said.endswith("evaluate.resample is not a key; did you mean evaluate.resamples?")
    assert sorted(place.name for place in study.iterdir()) == ["protocol.toml"]


def test_three_faults_are_told_at_once(study: Path, told: Told) -> None:
    _replace(study, ("\nepochs = ", "\nepoch = "), ("\nresamples = 100", "\nresamples = -5"), ("[answer]", "[anser]"))
    said = told("run", study, lines=4)
    assert f"{study / 'protocol.toml'} has 3 faults:" in said
    assert "train.epoch is not a key; did you mean train.epochs?" in said
    assert "evaluate.resamples = -5: " in said
    assert "anser is not a key; did you mean answer?" in said


def test_a_folder_that_is_no_study(tmp_path: Path, told: Told) -> None:
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")
    for verb in VERBS:
        assert "is not a study; make one with: bedside init notes.csv --into " in told(verb, tmp_path)
        assert f"{tmp_path / 'absent'} does not exist, and a study is a folder; " in told(verb, tmp_path / "absent")
        assert "is a file, and a study is a folder" in told(verb, tmp_path / "note.txt")
    assert "is not a study" in told("predict", tmp_path, tmp_path / "note.txt")
    assert [place.name for place in tmp_path.iterdir()] == ["note.txt"]


def test_a_study_that_was_not_run(study: Path, told: Told, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")
    for words in (("verify", study), ("serve", study), ("predict", study, tmp_path / "note.txt")):
        assert told(*words) == f"{study} holds no bundle yet; make it with: bedside run {study}"


@pytest.fixture(params=["tfidf", "encoder"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A finished study's bundle of each kind."""
    done = request.getfixturevalue("snapshots")["done"] if request.param == "tfidf" else None
    return copy((done or request.getfixturevalue("encoder_study")) / "bundle", tmp_path / "bundle")


@pytest.fixture
def refused(bundle: Path, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Ask for ``verify``, ``predict`` and ``serve`` of the bundle: all must refuse it with the same sentence."""
    from bedside.serving import server

    def served(*_: object) -> None:
        pytest.fail("the server would have started")

    monkeypatch.setattr(server, "_server", served)
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")

    def ask() -> str:
        said = {
            told("verify", bundle),
            told("predict", bundle, tmp_path / "note.txt"),
            told("serve", bundle, "--port", "0", "--quiet"),
        }
        assert len(said) == 1, said
        return said.pop()

    yield ask
    assert main(["verify", str(bundle)]) == 0


def _files(folder: Path) -> list[Path]:
    return sorted(place for place in folder.rglob("*") if place.is_file())


def test_a_flipped_byte_in_any_file_of_a_bundle(bundle: Path, refused: Told) -> None:
    assert len(_files(bundle)) >= 8
    for file in _files(bundle):
        content = file.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            said = refused()
            if file.name != "SHA256SUMS":  # with a fault in the list, the file that no longer fits it is named
                assert f"{file} was altered: its SHA-256 is not the one in SHA256SUMS" in said
            assert "package the study again" in said
        file.write_bytes(content)


def test_a_missing_and_an_added_file_of_a_bundle(bundle: Path, refused: Told) -> None:
    for file in _files(bundle):
        content = file.read_bytes()
        file.unlink()
        if file.name != "SHA256SUMS":  # a folder without its list is no bundle; another test
            assert f"{file} is missing; fetch the bundle again, or package the study again." in refused()
        file.write_bytes(content)
    for name in ("notes.txt", ".hidden", "model2.safetensors", "deep/er/x.json"):
        file = bundle / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        assert f"{file} was added: SHA256SUMS does not list it; remove it, or " in refused()
        file.unlink()
    (bundle / "model.pkl").write_bytes(b"")
    assert f"{bundle / 'model.pkl'} is of a kind" in refused()
    (bundle / "model.pkl").unlink()


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("builtin:minlm", "'builtin:minlm' is no base model, no folder and no Hub id; did you mean builtin:minilm"),
        ("biobrt", "did you mean dmis-lab/biobert-v1.1"),
        ("ClinicalBRT", "did you mean emilyalsentzer/Bio_ClinicalBERT"),
        ("qqqqq", "bedside models list shows what there is."),
    ],
)
def test_an_unknown_base_model_names_near_ones_before_anything_is_done(
    study: Path, told: Told, base: str, said: str
) -> None:
    _replace(study, ('"builtin:tfidf"', json.dumps(base)))
    assert said in told("run", study)
    assert said in told("train", study)
    assert not Study.open(study).done("prepare")
    assert said in told("models", "get", base)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{}", "lacks tokenizer.json"),
        ("pytorch_model.bin", "x", "lacks config.json and tokenizer.json"),
    ],
)
def test_a_folder_that_is_no_base_model(study: Path, told: Told, name: str, content: str, said: str) -> None:
    folder = study / "weights"
    folder.mkdir()
    (folder / name).write_text(content, encoding="utf-8")
    _replace(study, ('"builtin:tfidf"', json.dumps(str(folder))))
    assert f"{folder} {said}" in told("run", study)


def test_a_hub_id_without_a_network(study: Path, tmp_path: Path) -> None:
    base, attempts = "dmis-lab/biobert-v1.1", tmp_path / "attempts"
    _replace(study, ('"builtin:tfidf"', json.dumps(base)))
    code = WITHOUT_NETWORK.format(place=str(attempts))
    cache = {"BEDSIDE_CACHE": str(tmp_path / "cache")}
    done = bedside("run", study, code=code, **cache)
    assert done.returncode == 2
    assert done.stdout == ""
    place = tmp_path / "cache" / "models" / "dmis-lab--biobert-v1.1"
    assert done.stderr == (
        f"{base} is not at hand. With a network: bedside models get {base}. Without one: on another machine fetch "
        "config.json, tokenizer.json, tokenizer_config.json and model.safetensors from its Hub page, put them in a "
        f"folder here, and name that folder in model.base (or put them in {place}).\n"
    )
    assert bedside("models", "list", code=code, **cache).returncode == 0
    assert not attempts.exists()
    # Only now is the network asked for by name.
    done = bedside("models", "get", base, code=code, **cache)
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()[-1]
    assert f"{base} could not be fetched from the Hub (" in said
    assert f"on another machine, put them in {place}, and run the same again." in said
    assert "Traceback" not in done.stderr
    assert attempts.exists()
    assert small_line.leftovers(tmp_path / "cache") == []
    assert not place.exists()
