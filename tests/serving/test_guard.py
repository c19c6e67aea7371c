from __future__ import annotations

import asyncio
import itertools
import socket
from pathlib import Path
from typing import Any

import httpx
from small_model import NOTE

from bedside.bundle import Bundle
from bedside.protocol import ServeSection
from bedside.serving import KeyStore, running
from bedside.serving.guard import PUBLIC, Guard

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")


def test_the_public_routes_are_exactly_two() -> None:
    assert {("GET", "/healthz"), ("GET", "/readyz")} == PUBLIC


def test_without_a_key_every_other_path_and_method_is_401(client: httpx.Client, stranger: httpx.Client) -> None:
    known = [*client.get("/openapi.json").json()["paths"], "/openapi.json"]
    others = [
        "/",
        "/docs",
        "/redoc",
        "/metrics",
        "/healthz/",
        "/healthz/x",
        "//healthz",
        "/HEALTHZ",
        "/readyz;",
        "/nope",
    ]
    answers = {}
    for path, method in itertools.product([*known, *others], METHODS):
        response = stranger.request(method, path, headers={"X-Request-Id": "same"})
        if (method.upper(), path) in PUBLIC:  # httpx sends every method in capitals
            assert response.status_code == 200
            continue
        assert response.status_code == 401, (method, path)
        assert response.headers["www-authenticate"] == "Bearer"
        answers[response.content if method.upper() != "HEAD" else b""] = path
    assert len(answers) == 2  # one body for all of them, and none for HEAD: nothing tells what exists


def test_wrong_credentials_are_401_and_identical(client: httpx.Client, stranger: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    wrong: list[dict[str, Any]] = [
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {key[:-1]}"},
        {"Authorization": f"Bearer {key}x"},
        {"Authorization": f"Bearer {key.lower()}"},
        {"Authorization": f"Basic {key}"},
        {"Authorization": key},
        {"Authorization": b"Bearer \xff\xfe"},
        {"X-API-Key": ""},
        {"X-API-Key": f"Bearer {key}"},
        {"Cookie": f"key={key}"},
        {"Authorization": "Bearer wrong", "X-API-Key": key},
    ]
    bodies = set()
    for headers in wrong:
        response = stranger.post("/v1/diagnose", json={"text": NOTE}, headers={"X-Request-Id": "same", **headers})
        assert response.status_code == 401, headers
        bodies.add(response.content)
    assert len(bodies) == 1
    assert stranger.get(f"/v1/labels?key={key}&api_key={key}").status_code == 401


def test_a_key_opens_as_bearer_and_as_header(client: httpx.Client, stranger: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert stranger.get("/v1/labels", headers=headers).status_code == 200


def test_without_keys_and_without_dev_nobody_gets_in(bundle: Bundle) -> None:
    statuses = _drive(Guard(_app, keys=None, settings=ServeSection(), dev=False), path="/v1/labels")
    assert statuses == [401]


def test_dev_answers_this_machine_by_its_own_name_only(bundle: Bundle) -> None:
    with running(bundle, dev=True) as (url, key), httpx.Client(base_url=url, trust_env=False) as session:
        assert key == ""
        assert session.post("/v1/diagnose", json={"text": NOTE}).status_code == 200
        assert session.get("/v1/labels", headers={"Host": "localhost:80"}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8000", "localhost.", ""):
            assert session.get("/v1/labels", headers={"Host": host}).status_code in {400, 403}
    guard = Guard(_app, keys=None, settings=ServeSection(), dev=True)
    assert _drive(guard, client=("127.0.0.1", 1)) == [204]
    assert _drive(guard, client=("10.0.0.7", 1)) == [403]
    assert _drive(guard, client=None) == [403]


def test_a_damaged_key_file_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = KeyStore(path)
    key = keys.create("ward")
    guard = Guard(_app, keys=keys, settings=ServeSection(), dev=False)
    headers = [(b"x-api-key", key.encode())]
    assert _drive(guard, headers=headers) == [204]
    path.write_text("{", encoding="utf-8")
    assert _drive(guard, headers=headers) == [503]
    path.unlink()
    assert _drive(guard, headers=headers) == [401]


def test_a_body_that_does_not_arrive_is_not_waited_for_beyond_the_deadline(bundle: Bundle) -> None:
    with running(bundle, ServeSection(deadline_seconds=0.3)) as (url, key):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            head = f"POST /v1/diagnose HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nContent-Length: 100\r\n\r\n{{"
            connection.sendall(head.encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_web_socket_is_closed() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(_app, keys=None, settings=ServeSection(), dev=True)
    asyncio.run(guard({"type": "websocket", "path": "/healthz"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_more_requests_than_can_wait_are_not_even_read(bundle: Bundle) -> None:
    guard = Guard(_app, keys=None, settings=ServeSection(queue=1, max_batch=1), dev=True)
    guard._under_way = 2
    assert _drive(guard) == [503]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _drive(guard: Guard, *, path: str = "/x", headers: Any = (), client: Any = ("127.0.0.1", 1)) -> list[int]:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"host", b"127.0.0.1:1"), *headers],
        "client": client,
    }
    asyncio.run(guard(scope, receive, send))
    return statuses
