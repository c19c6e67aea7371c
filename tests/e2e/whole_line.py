"""The whole line as a user types it, with MiniLM, each command in a process of its own.

Called as a program it first makes sure that it runs where there is no network but this machine's own, and prints what
the line came to as JSON.
"""

from __future__ import annotations

import errno
import fcntl
import json
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import httpx
from small_line import BRIEF, MINILM, bedside, change, serving

from bedside.study import Study
from bedside.synthetic import note_for

_READ_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP (netdevice(7))
_NOWHERE = ("192.0.2.1", 9)  # an address for documentation (RFC 5737)


def whole_line(table: Path, folder: Path, code: str | None = None) -> dict[str, Any]:
    """init, run, predict, and one request to the server; ``code`` runs first in each process.

    Returns:
        What ``predict`` and the server answered to one note, and what all of them wrote.
    """
    study, printed = folder / "study", []

    def run(*words: str | Path) -> str:
        done = bedside(*words, code=code)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout + done.stderr)
        return done.stdout

    run("init", table, "--into", study, "--text", "note", "--label", "diagnosis", "--patient", "patient_id")
    change(Study.open(study), "model", **MINILM["model"])
    change(Study.open(study), "train", **{**BRIEF, **MINILM["train"]})
    change(Study.open(study), "evaluate", resamples=100)
    run("run", study)
    note = note_for("Gout", 1)
    (folder / "note.txt").write_text(note, encoding="utf-8")
    predicted = json.loads(run("predict", study, folder / "note.txt", "--json"))
    with serving(study, folder / "server.log", code=code) as server:
        headers = {"Authorization": f"Bearer {server.key}"}
        served = httpx.post(
            f"{server.url}/v1/diagnose", json={"text": note}, headers=headers, timeout=60, trust_env=False
        )
    printed.append(server.log.read_text(encoding="utf-8"))
    return {"predicted": predicted, "status": served.status_code, "served": served.json(), "printed": printed}


def bring_loopback_up() -> None:
    """A new network namespace has a loopback device, but it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _READ_FLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", answer)[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", flags | _UP))


def require_no_network() -> None:
    """Fail where another machine could be reached."""
    assert [name for _, name in socket.if_nameindex() if name != "lo" and _is_up(name)] == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        assert outward.connect_ex(_NOWHERE) == errno.ENETUNREACH


def _is_up(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _READ_FLAGS, struct.pack("16sh22x", name.encode(), 0))
    return bool(struct.unpack("16sh22x", answer)[1] & _UP)


if __name__ == "__main__":
    bring_loopback_up()
    require_no_network()
    json.dump(whole_line(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
