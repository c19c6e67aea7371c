"""No network: the whole line where there is none, and not one attempt to reach another machine where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_line

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no network namespaces, and no fcntl"),
]

# Writes down whom a process looks up, connects to or sends to, but for this machine itself.
_WATCH = """
import sys
_PLACES = {{"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}}
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
def _watch(event, arguments):
    if event in _PLACES and isinstance(arguments[_PLACES[event]], tuple):  # else a socket of this machine's own kind
        host = arguments[_PLACES[event]][0]
    elif event in _LOOKUPS:
        host = arguments[0]
    else:
        return
    if host not in {{None, "", "localhost", "127.0.0.1", "::1"}}:
        with open({place!r}, "a", encoding="utf-8") as file:
            file.write(f"{{event}} {{host}}\\n")
sys.addaudithook(_watch)
"""


@pytest.fixture(autouse=True)
def _nothing_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have set what keeps the Hub's client silent; a user has not."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_line.small_table(tmp_path_factory.mktemp("network") / "sample", shown=150)


def _check(line: dict[str, Any]) -> None:
    assert line["status"] == 200
    predicted, served = line["predicted"]["differential"], line["served"]["differential"]
    assert predicted != []
    assert [one["label"] for one in served] == [one["label"] for one in predicted]
    for one, other in zip(served, predicted, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    assert not any("Traceback" in text for text in line["printed"])


def test_the_whole_line_without_a_network(table: Path, tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs network namespaces")
    driver = Path(__file__).with_name("whole_line.py")
    words = [unshare, "-rn", sys.executable, str(driver), str(table), str(tmp_path)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _check(json.loads(done.stdout))


def test_the_whole_line_tries_to_reach_nobody(table: Path, tmp_path: Path) -> None:
    import whole_line

    attempts = tmp_path / "attempts"
    _check(whole_line.whole_line(table, tmp_path, _WATCH.format(place=str(attempts))))
    assert not attempts.exists(), attempts.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("act", "written"),
    [
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))", ["socket.connect 192.0.2.1"]),
        ("socket.getaddrinfo('192.0.2.1', 80, flags=socket.AI_NUMERICHOST)", ["socket.getaddrinfo 192.0.2.1"]),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))", []),
        ("socket.getaddrinfo('localhost', 80)", []),
        ("asyncio.new_event_loop().close()", []),
    ],
)
def test_an_attempt_would_be_seen(tmp_path: Path, act: str, written: list[str]) -> None:
    attempts = tmp_path / "attempts"
    code = f"{_WATCH.format(place=str(attempts))}\nimport asyncio, socket\ntry:\n    {act}\nexcept OSError:\n    pass"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (attempts.read_text(encoding="utf-8").splitlines() if attempts.exists() else []) == written
