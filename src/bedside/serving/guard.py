"""The outermost layer: who may ask, how much they may send, what every answer carries, what is logged.

Written against ASGI itself, so that no route, known or unknown, can be reached around it. It lets no exception out,
because the server would log its message, which may hold text of a note.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bedside.core.errors import BedsideError
from bedside.protocol import ServeSection
from bedside.serving.engine import LOG, log_failure
from bedside.serving.keys import KeyStore
from bedside.serving.problems import (
    FORBIDDEN,
    INTERNAL,
    MEDIA_TYPE,
    NOT_READY,
    OVERLOADED,
    SLOW,
    TOO_LARGE,
    UNAUTHORIZED,
    Problem,
)
from bedside.serving.schema import REQUEST_ID

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC = frozenset({("GET", "/healthz"), ("GET", "/readyz")})
ID_KEY = "bedside.request_id"
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# A body over the limit is read on and thrown away, so that its sender can read the answer; but only so far.
_DISCARD_FACTOR = 8


class Disconnected(Exception):
    """The client went away while it was sending."""


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: App, *, keys: KeyStore | None, settings: ServeSection, dev: bool) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        self._dev = dev
        self._under_way = 0
        # Each request under way holds its body in memory: no more of them than could wait in the queue.
        self._most_under_way = settings.queue + settings.max_batch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._visit(scope, receive, send)
        else:  # a web socket: nothing here speaks it
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _visit(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        scope[ID_KEY] = _request_id(scope)
        statuses: list[int] = []

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                message["headers"] = [
                    *message.get("headers", []),
                    *_SECURITY,
                    (b"x-request-id", scope[ID_KEY].encode("ascii")),
                ]
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        except Disconnected:
            statuses.append(499)  # nobody is there to be answered; nginx's number for it
        except Problem as problem:
            await _respond(problem, scope, answer, statuses)
        except Exception as error:
            log_failure(error, "a request failed")
            await _respond(Problem(INTERNAL), scope, answer, statuses)
        _log(scope, statuses, start)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or raise the problem that keeps it out."""
        if (scope["method"], scope["path"]) in PUBLIC:
            await self._app(scope, receive, send)
            return
        self._admit(scope)
        if self._under_way >= self._most_under_way:
            raise Problem(OVERLOADED)
        self._under_way += 1
        try:
            await self._app(scope, await self._body(scope, receive), send)
        finally:
            self._under_way -= 1

    def _admit(self, scope: Scope) -> None:
        headers = _headers(scope)
        if self._dev:
            if not _local(scope, headers):
                raise Problem(FORBIDDEN)
            return
        presented = _credential(headers)
        try:
            known = presented is not None and self._keys is not None and self._keys.check(presented) is not None
        except (BedsideError, OSError) as error:
            log_failure(error, "the keys cannot be read")
            raise Problem(NOT_READY, "the server cannot check keys now") from None
        if not known:
            raise Problem(UNAUTHORIZED)

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """Read the whole body, no more of it than is allowed and no longer than the deadline."""
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self._settings.deadline_seconds)
        except TimeoutError:
            raise Problem(SLOW) from None
        pending = [body]

        async def replay() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(), "more_body": False}
            return await receive()

        return replay

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._settings.max_bytes
        headers = _headers(scope)
        declared = headers.get("content-length", "")
        size = 0
        body = bytearray()
        if declared.isdecimal() and int(declared[:20]) > limit and "expect" in headers:
            raise Problem(TOO_LARGE)  # the client waits for leave before it sends
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            size += len(message.get("body", b""))
            if size <= limit:
                body += message.get("body", b"")
            else:
                body.clear()
            if size > limit * _DISCARD_FACTOR or (size > limit and not message.get("more_body", False)):
                raise Problem(TOO_LARGE, f"the body is larger than {limit} bytes")
            if not message.get("more_body", False):
                return bytes(body)


async def _respond(problem: Problem, scope: Scope, send: Send, statuses: list[int]) -> None:
    """Send a problem, unless an answer has begun."""
    if statuses:
        return
    body = problem.to_bytes(route_of(scope), scope[ID_KEY])
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    encoded = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def route_of(scope: Scope) -> str | None:
    """The template of the route that a request matched. The path itself may hold anything and is never repeated."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name; of a repeated one the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _request_id(scope: Scope) -> str:
    given = _headers(scope).get("x-request-id", "")
    return given if re.fullmatch(REQUEST_ID, given) and given.isascii() else f"req_{secrets.token_hex(12)}"


def _credential(headers: dict[str, str]) -> str | None:
    """The key that a request presents: a bearer token, else ``X-API-Key``."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("x-api-key")


def _local(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether a request comes from this machine and asks for it by its own name.

    The name matters: a web page elsewhere can point its own host name at 127.0.0.1 (DNS rebinding).
    """
    client = scope.get("client")
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return client is not None and _is_loopback(client[0]) and name.lower() in _OWN_NAMES


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _log(scope: Scope, statuses: list[int], start: float) -> None:
    """One line: method, template of the route, status, milliseconds. No path, no query, no address."""
    line = {
        "method": scope["method"] if scope["method"] in _METHODS else "OTHER",
        "route": route_of(scope) or "unmatched",
        "status": statuses[0] if statuses else 500,
        "ms": round((time.perf_counter() - start) * 1000, 1),
    }
    LOG.info(json.dumps(line))
