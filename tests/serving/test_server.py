from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import small_model
from small_model import NOTE, Troubled

from bedside.bundle import Bundle
from bedside.core.errors import BundleError, ServingError
from bedside.core.progress import Progress
from bedside.protocol import ServeSection
from bedside.serving import KeyStore, running, serve

CANARY = "Marmaduke Zzyzx 555-01-9999"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_an_address_beyond_loopback_is_refused(tmp_path: Path, host: str) -> None:
    settings = ServeSection.model_construct(host=host, port=0)
    with pytest.raises(ServingError, match="is not loopback") as caught:
        serve(tmp_path, settings, tmp_path / "keys.json", dev=True)
    assert repr(host) in str(caught.value)


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f"Port {port} on 127.0.0.1 cannot be used") as caught:
            serve(tmp_path, ServeSection(port=port), tmp_path / "keys.json", dev=True)
    assert "\n" not in str(caught.value)


def test_without_a_key_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="--new-key"):
        serve(tmp_path, ServeSection(port=0), tmp_path / "keys.json")


def test_an_altered_bundle_is_refused_and_makes_no_key(tmp_path: Path) -> None:
    folder = small_model.write(tmp_path / "b")
    (folder / "labels.json").write_text("[]", encoding="utf-8")
    with pytest.raises(BundleError, match=r"labels\.json was altered"):
        serve(folder, ServeSection(port=0), tmp_path / "keys.json", new_key=True)
    assert not (tmp_path / "keys.json").exists()


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)

    def warn(self, sentence: str) -> None:
        self.lines.append(sentence)


def test_it_says_where_it_listens_shows_the_key_once_and_stops_on_ctrl_c(
    tmp_path: Path, bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    heard, answers = Heard(), []
    key_file = tmp_path / "keys.json"

    def use(url: str) -> None:
        key = next(line for line in heard.lines if "BEDSIDE_KEY=" in line).partition("=")[2]
        answers.append(httpx.post(f"{url}/v1/diagnose?{CANARY}", json={"text": NOTE}, headers={"X-API-Key": key}))
        answers.append(httpx.get(f"{url}/{CANARY}"))
        signal.raise_signal(signal.SIGINT)

    def on_ready(url: str) -> None:  # from beside the event loop, as a user would
        threading.Thread(target=use, args=(url,)).start()

    serve(bundle.folder, ServeSection(port=0), key_file, new_key=True, progress=heard, on_ready=on_ready)
    assert [answer.status_code for answer in answers] == [200, 401]
    said = "\n".join(heard.lines)
    assert said.count("bk_") == 1
    assert f"({bundle.digest})" in said
    assert "curl -s http://127.0.0.1:" in said
    assert heard.lines[-1] == "Stopped."
    assert KeyStore(key_file).names() == ["key-1"]
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["method"], line["route"], line["status"]) for line in logged] == [
        ("POST", "/v1/diagnose", 200),
        ("GET", "unmatched", 401),
    ]
    assert all(set(line) == {"method", "route", "status", "ms"} for line in logged)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_sigterm_finishes_what_is_under_way_and_ends_well(tmp_path: Path) -> None:
    code = """
import dataclasses, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import small_model
import bedside.bundle, bedside.serving.server as server
from bedside.protocol import ServeSection
load = bedside.bundle.Bundle.load
class Slow:
    @staticmethod
    def load(folder):
        bundle = load(folder)
        return dataclasses.replace(bundle, diagnoser=small_model.Troubled(bundle.diagnoser, slow=0.8))
server.Bundle = Slow
server.serve(Path(sys.argv[2]), ServeSection(port=0), Path(sys.argv[3]), dev=True,
             on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""
    folder = small_model.write(tmp_path / "b")
    here = str(Path(small_model.__file__).parent)
    command = [sys.executable, "-c", code, here, str(folder), str(tmp_path / "k.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answers: list[httpx.Response] = []
        asked = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/diagnose", json={"text": NOTE}, timeout=20))
        )
        asked.start()
        asked.join(0.4)
        os.kill(process.pid, signal.SIGTERM)
        asked.join(20)
        out, _ = process.communicate(timeout=20)
    assert [answer.status_code for answer in answers] == [200]
    assert out == "ended\n"
    assert process.returncode == 0


def test_ready_only_after_the_warm_prediction(bundle: Bundle) -> None:
    from bedside.serving import create_app
    from bedside.serving.server import _listen, _server, _url

    gate = threading.Event()

    class Held(Troubled):
        def predict_proba(self, texts):
            gate.wait(20)
            return self.inner.predict_proba(texts)

    app = create_app(dataclasses.replace(bundle, diagnoser=Held(bundle.diagnoser)), None, ServeSection())
    up = threading.Event()
    server = _server(app, ServeSection(), up.set)
    listener = _listen("127.0.0.1", 0)
    url = _url(listener)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert up.wait(20)
    before = httpx.get(f"{url}/readyz")
    assert (before.status_code, before.headers["retry-after"]) == (503, "2")
    assert httpx.get(f"{url}/healthz").status_code == 200
    gate.set()
    while httpx.get(f"{url}/readyz").status_code != 200:
        pass
    server.should_exit = True
    thread.join(20)
    listener.close()


def test_no_word_of_a_note_reaches_a_log_an_error_or_a_terminal(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(exc_info)s %(args)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    names = ["bedside.serving", "uvicorn.error", "uvicorn.access", "asyncio", "fastapi"]
    levels = {name: logging.getLogger(name).level for name in names}
    # The client of this test logs the addresses that it asks; only what the server writes counts.
    handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("bedside.serving").setLevel(logging.DEBUG)
    troubled = dataclasses.replace(bundle, diagnoser=Troubled(bundle.diagnoser))
    seen: list[httpx.Response] = []
    try:
        with running(troubled) as (url, key), httpx.Client(base_url=url, trust_env=False, timeout=20) as session:
            session.headers["X-API-Key"] = key
            for text in (f"{NOTE} {CANARY}", f"CRASHNOW {CANARY}", f"{CANARY}\ud800"):
                body = json.dumps({"text": text})
                seen.append(session.post("/v1/diagnose", content=body, headers={"Content-Type": "application/json"}))
            items = {"items": [{"id": "1", "text": f"CRASHNOW {CANARY}"}]}
            seen.append(session.post("/v1/diagnose/batch", json=items))
            seen.append(session.post("/v1/diagnose", content=f'{{"text": "{CANARY}'))
            seen.append(session.get(f"/v1/{CANARY}?q={CANARY}", headers={"X-Request-Id": CANARY, "Referer": CANARY}))
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as raw:
                raw.sendall(f"{CANARY}\r\n\r\n".encode())
                while raw.recv(4096):
                    pass
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
    assert [answer.status_code for answer in seen] == [200, 500, 422, 200, 415, 404]
    assert seen[1].json()["type"] == "urn:bedside:problem:internal"
    assert seen[3].json()["results"][0]["error"]["type"] == "urn:bedside:problem:internal"
    out, err = capfd.readouterr()
    everything = "".join([stream.getvalue(), out, err, *(answer.text + str(answer.headers) for answer in seen)])
    assert "a batch failed" in everything
    assert "ValueError" in everything
    for word in CANARY.split():
        assert word not in everything
