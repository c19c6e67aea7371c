"""Trackers: what they write down, that they reach nobody, and that a training does not depend on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedside.core.errors import MissingExtra
from bedside.core.progress import Progress
from bedside.training import trackers
from bedside.training.trackers import Trackers, flat

NAMES = ("wandb", "mlflow", "tensorboard")
SETTINGS = {
    "base": "/home/planted-person/models/tiny-bert",
    "device": "cpu",
    "precision_trial": {"name": "fp32", "seconds": [0.5, 0.25]},
    "nothing": None,
}

# Starts a tracker in a process of its own, in which nobody but this machine may be reached, and notes who was tried.
_CHILD = """
import json, sys
from pathlib import Path
names, folder, attempts = sys.argv[1:]
def watch(event, arguments):
    if event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        host = arguments[0]
    else:
        return
    if host not in {None, "", "localhost", "127.0.0.1", "::1"}:
        with open(attempts, "a", encoding="utf-8") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(f"nobody may be reached: {host}")
sys.addaudithook(watch)
from bedside.core.progress import Progress
from bedside.training.trackers import Trackers
class Told(Progress):
    def warn(self, sentence):
        print(sentence, file=sys.stderr)
settings = json.loads(sys.stdin.read())
with Trackers.start(names.split(","), Path(folder), settings, study="Chest pain: who?", progress=Told()) as found:
    for step in range(1, 4):
        found.log({"loss": 1 / step, "validation_macro_f1": None, "rate": float("nan")}, step=step)
    found.finish({"best_epoch": 2, "took": {"seconds": 1.5}, "kind": "encoder"})
"""
_PRIVATE = (
    "PYTEST_CURRENT_TEST",
    "CI",
    "DO_NOT_TRACK",
    "WANDB_MODE",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_DISABLE_TELEMETRY",
)


class Told(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, sentence: str) -> None:
        self.warned.append(sentence)


class Proxy:
    """A proxy on this machine that lets nothing through and notes who was asked for: also by programs not in Python."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self.socket.accept()
            except OSError:
                return
            with caller:
                self.asked.append(caller.recv(4096).decode("latin-1").partition("\r\n")[0])


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    found = Proxy()
    yield found
    found.socket.close()


def child(names: str, folder: Path, proxy: Proxy, *before: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run trackers as a user would who has set nothing."""
    told = {key: value for key, value in os.environ.items() if key not in _PRIVATE and "proxy" not in key.lower()}
    told |= {"HTTP_PROXY": proxy.address, "HTTPS_PROXY": proxy.address, "NO_PROXY": "", "HOME": str(folder / "home")}
    told |= {"USER": "planted-person", "LOGNAME": "planted-person", "USERNAME": "planted-person", **more}
    words = [*before, sys.executable, "-c", _CHILD, names, str(folder / "run"), str(folder / "attempts")]
    return subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        env=told,
        cwd=folder,
        input=json.dumps(SETTINGS),
        timeout=200,
    )


@pytest.fixture(scope="module")
def by_default(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Path:
    """The folder in which a process ran every tracker; where strace is here, ``calls`` holds what they connected to."""
    folder = tmp_path_factory.mktemp("by-default")
    strace = shutil.which("strace")
    sees = strace and not subprocess.run([strace, "-qq", "true"], check=False, capture_output=True).returncode
    watch = [str(strace), "-f", "-qq", "-o", str(folder / "calls"), "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    done = child(",".join(NAMES), folder, proxy, *(watch if sees else []))
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def logged(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    """Settings, and figures by name as step and value, as the tracker's own library reads them back."""
    return {"wandb": _from_wandb, "mlflow": _from_mlflow, "tensorboard": _from_tensorboard}[name](folder / name)


def _from_wandb(folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.rglob("*.wandb")
    settings: dict[str, Any] = {}
    figures: dict[str, list[tuple[int, float]]] = {}
    for content in _records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        settings |= {one.key: json.loads(one.value_json) for one in record.config.update}
        row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
        for key, value in row.items():
            if not key.startswith("_"):
                figures.setdefault(key, []).append((record.history.step.num or row["_step"], value))
    return {key: value for key, value in settings.items() if key != "_wandb"}, figures


def _records(content: bytes) -> Iterator[bytes]:
    """LevelDB's log: blocks of 32 KiB, and in them pieces with a checksum, a length and a kind (1 whole … 4 last)."""
    place, whole = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in {1, 4}:
            yield whole
            whole = b""


def _from_mlflow(folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    (file,) = folder.glob("*/*/meta.yaml")

    def below(part: str) -> list[tuple[str, str]]:
        place = file.parent / part
        return [
            (one.relative_to(place).as_posix(), one.read_text("utf-8")) for one in place.rglob("*") if one.is_file()
        ]

    lines = {key: [line.split() for line in text.splitlines()] for key, text in below("metrics")}
    return dict(below("params")), {key: [(int(s), float(v)) for _, v, s, *_ in rows] for key, rows in lines.items()}


def _from_tensorboard(folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    import yaml
    from tensorboardX.proto import event_pb2

    figures: dict[str, list[tuple[int, float]]] = {}
    for file in folder.rglob("*tfevents*"):
        content = file.read_bytes()
        while content:  # a record is its length, a checksum, itself, a checksum
            size = int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for one in event.summary.value:
                if one.WhichOneof("value") == "simple_value":
                    figures.setdefault(one.tag, []).append((event.step, one.simple_value))
    (told,) = folder.rglob("hparams.yml")
    return yaml.safe_load(told.read_text("utf-8")), figures


def test_by_default_nobody_is_reached(by_default: Path, proxy: Proxy) -> None:
    attempts = by_default / "attempts"
    assert not attempts.exists(), attempts.read_text("utf-8")
    assert proxy.asked == []


def test_no_program_that_they_start_reaches_anybody(by_default: Path) -> None:
    """What is not Python, such as wandb's own program, is seen by its system calls."""
    calls = by_default / "calls"
    if not calls.exists():
        pytest.skip("strace is not here, or may not look")
    lines = calls.read_text("utf-8").splitlines()
    assert any("AF_UNIX" in line for line in lines)
    assert [line for line in lines if "AF_INET" in line] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_logged_can_be_read_again(name: str, by_default: Path) -> None:
    settings, figures = logged(name, by_default / "run" / "tracking")
    assert settings["base"] == "tiny-bert"
    assert settings["precision_trial/name"] == "fp32"
    assert "nothing" not in settings
    assert figures["loss"] == [(step, pytest.approx(1 / step)) for step in (1, 2, 3)]
    assert [value for _, value in figures["summary/took/seconds"]] == [1.5]
    assert not {"rate", "validation_macro_f1", "summary/kind"} & set(figures)


def test_nothing_says_whose_machine_it_was(by_default: Path) -> None:
    words = ["planted-person", str(by_default), socket.gethostname(), "github.com", sys.executable]
    files = [file for file in (by_default / "run").rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        text = str(file.relative_to(by_default)) + file.read_bytes().decode("latin-1")
        assert [one for one in words if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text)] == [], file


def test_an_attempt_would_be_seen(tmp_path: Path, proxy: Proxy) -> None:
    """The same child with a server named: what is tried is noted."""
    server = "http://tracking.example.invalid"
    done = child("mlflow", tmp_path, proxy, MLFLOW_TRACKING_URI=server, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode == 0
    assert done.stderr.count("The tracker 'mlflow' failed") == 1
    assert proxy.asked != []
    assert all("tracking.example.invalid" in one for one in proxy.asked)


def test_without_a_name_it_does_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    found = Trackers.start((), tmp_path / "run", SETTINGS, study="x", progress=Told())
    found.log({"loss": 0.5}, step=1)
    found.finish({"best_epoch": 1})
    assert not (tmp_path / "run").exists()
    assert threading.active_count() == threads


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_installed_is_said_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("wandb", "mlflow", "tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=re.escape(f"pip install 'bedside[{name}]'")):
        Trackers.start([name], tmp_path, {}, study="x", progress=Told())


def test_one_that_fails_is_told_of_once_and_the_others_go_on(tmp_path: Path) -> None:
    told = Told()
    with Trackers.start(["mlflow", "tensorboard"], tmp_path, {}, study="x", progress=told) as found:
        found.log({"loss": 0.5}, step=1)
        found.log({"a name: that MLflow refuses?": 0.5}, step=2)
        found.log({"loss": 0.25}, step=3)
        found.finish({"best_epoch": 1})
    assert [sentence.partition(" (")[0] for sentence in told.warned] == ["The tracker 'mlflow' failed"]
    _, figures = logged_scalars(tmp_path)
    assert [step for step, _ in figures["loss"]] == [1, 3]


def logged_scalars(folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    return logged("tensorboard", folder / "tracking")


def test_one_that_hangs_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and never answers."""
    monkeypatch.setattr(trackers, "_START", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
        told = Told()
        found = Trackers.start(["mlflow"], tmp_path, {}, study="x", progress=told)
        found.log({"loss": 0.5}, step=1)
        found.finish({})
    assert len(told.warned) == 1
    assert "did not start within 1 s" in told.warned[0]


_STOPPED = """
import signal, sys
import psutil
from pathlib import Path
from bedside.core.progress import ConsoleProgress
from bedside.training import trackers
trackers._FINISH = 1.0
found = trackers.Trackers.start(["wandb"], Path(sys.argv[1]), {}, study="x", progress=ConsoleProgress())
(core,) = [one for one in psutil.Process().children() if one.name().startswith("wandb-core")]
core.send_signal(getattr(signal, sys.argv[2]))
for step in range(1, 200):
    found.log({"loss": 0.5}, step=step)
found.finish({})
print("the run went on")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no process")
@pytest.mark.parametrize(("how", "said"), [("SIGSTOP", "did not finish within"), ("SIGKILL", "failed")])
def test_a_process_ends_though_what_works_for_a_tracker_does_not(tmp_path: Path, how: str, said: str) -> None:
    """wandb's own program answers no more, or is gone: without care wandb waits for it for ever."""
    words = [sys.executable, "-c", _STOPPED, str(tmp_path), how]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "the run went on\n")
    assert done.stderr.startswith(f"Note: The tracker 'wandb' {said}")
    assert len(done.stderr.splitlines()) == 1


def test_a_second_run_of_a_process_is_local_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number in (1, 2):
        told = Told()
        with Trackers.start(["mlflow"], tmp_path / str(number), {"seed": number}, study="x", progress=told) as found:
            found.log({"loss": 0.5}, step=1)
        assert told.warned == []
        assert "MLFLOW_TRACKING_URI" not in os.environ
        settings, figures = logged("mlflow", tmp_path / str(number) / "tracking")
        assert (settings, figures) == ({"seed": str(number)}, {"loss": [(1, 0.5)]})


def test_lines_of_the_log_stand_at_their_step(tmp_path: Path) -> None:
    lines = [
        {"epoch": 0, "validation_loss": 1.0},
        {"epoch": 1, "step": 1, "loss": 0.5},
        {"epoch": 1, "step": 2, "loss": 0.25},
        {"epoch": 1, "validation_loss": 0.125},
        {"epoch": 2, "step": 3, "loss": None, "fault": "the loss is nan"},
    ]
    with Trackers.start(["tensorboard"], tmp_path, {}, study="x", progress=Told()) as found:
        for line in lines:
            found.log_line(line)
    _, figures = logged_scalars(tmp_path)
    assert figures["loss"] == [(1, 0.5), (2, 0.25)]
    assert figures["validation_loss"] == [(0, 1.0), (2, 0.125)]
    assert figures["epoch"] == [(0, 0), (1, 1), (2, 1), (2, 1), (3, 2)]


def test_what_an_earlier_run_left_is_no_part_of_this_one(tmp_path: Path) -> None:
    for value in (0.5, 0.25):
        with Trackers.start(["tensorboard"], tmp_path, {}, study="x", progress=Told()) as found:
            found.log({"loss": value}, step=1)
    assert logged_scalars(tmp_path)[1]["loss"] == [(1, 0.25)]


def test_only_the_first_of_several_processes_has_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    found = Trackers.start(["tensorboard"], tmp_path, {}, study="x", progress=Told())
    found.log({"loss": 0.5}, step=1)
    found.finish({})
    assert list(tmp_path.iterdir()) == []


def test_settings_lie_flat_and_name_no_place_of_the_machine() -> None:
    given = {
        "base": "/srv/models/tiny",
        "other": r"C:\Users\someone\tiny",
        "hub": "organisation/model",
        "in": {"list": ["/srv/a", 1], "none": None},
        "note": f"kept in {Path.home()}/models",
        "long": "x" * 900,
    }
    found = flat(given)
    assert found["base"] == found["other"] == "tiny"
    assert found["hub"] == "organisation/model"
    assert found["in/list"] == '["a", 1]'
    assert "in/none" not in found
    assert str(Path.home()) not in str(found["note"]) or str(Path.home()) == "/"
    assert len(str(found["long"])) == 250


def test_an_error_is_told_without_the_password_of_its_address() -> None:
    said = trackers._message(ValueError("no answer from https://someone:secret@tracking.example/api"))
    assert "secret" not in said
    assert "https://tracking.example" in said
