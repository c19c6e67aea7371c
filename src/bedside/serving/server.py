"""The server: a verified bundle on a socket of this machine.

It refuses to listen beyond loopback: without TLS, notes and keys would cross the network in clear.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bedside.bundle import Bundle
from bedside.core.errors import ServingError
from bedside.core.extras import require
from bedside.core.progress import SILENT, Progress
from bedside.protocol import ServeSection
from bedside.serving.app import create_app
from bedside.serving.engine import LOG
from bedside.serving.keys import KeyStore

if TYPE_CHECKING:
    from fastapi import FastAPI

_PATIENCE = 60.0  # seconds that a server in a thread may take to start or to stop


class Running(NamedTuple):
    """A server under way: where it listens, and a key for it (empty in dev mode)."""

    base_url: str
    key: str


def serve(
    bundle_folder: Path,
    settings: ServeSection,
    key_file: Path,
    *,
    new_key: bool = False,
    dev: bool = False,
    progress: Progress = SILENT,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a bundle until Ctrl-C or SIGTERM; what is under way then is finished first.

    Args:
        bundle_folder: verified before anything in it is loaded.
        settings: address and limits.
        key_file: the keys that may ask.
        new_key: make a key first and show it, once.
        dev: answer this machine without a key.
        progress: where to say what happens.
        on_ready: called with the base URL once the server listens.

    Raises:
        ServingError: the address is not loopback or is taken, or nobody has a key.
        BundleError: the bundle was altered.
        MissingExtra: fastapi or uvicorn is not installed.
    """
    require("uvicorn", extra="serving")
    require("fastapi", extra="serving")
    keys = KeyStore(key_file)
    with contextlib.closing(_listen(settings.host, settings.port)) as listener:
        if not (dev or new_key or keys.names()):
            raise ServingError(f"{key_file} holds no key, so nobody could ask; start with --new-key to make one.")
        bundle = Bundle.load(bundle_folder)
        shown = keys.create(_free_name(keys)) if new_key else None
        app = create_app(bundle, keys, settings, dev=dev)
        url = _url(listener)

        def announce() -> None:
            _announce(progress, bundle, url, shown, dev)
            if on_ready is not None:
                on_ready(url)

        with _logging_to_stderr(), _calm_signals():
            try:
                _server(app, settings, announce).run(sockets=[listener])
            except KeyboardInterrupt:
                progress.say("Stopped.")


@contextlib.contextmanager
def running(bundle: Bundle, settings: ServeSection | None = None, *, dev: bool = False) -> Iterator[Running]:
    """The real server on a free port of this machine, in a thread, while the block runs.

    Args:
        bundle: what to serve.
        settings: limits; host and port are not read.
        dev: without a key.

    Yields:
        Its base URL and a key that works for it alone; the model is warm.
    """
    require("uvicorn", extra="serving")
    settings = settings or ServeSection()
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(_listen("127.0.0.1", 0)) as listener:
        keys = KeyStore(Path(folder, "keys.json"))
        key = "" if dev else keys.create("running")
        app = create_app(bundle, keys, settings, dev=dev)
        server = _server(app, settings, lambda: None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="bedside-server", daemon=True)
        thread.start()
        try:
            _wait_ready(app, server, thread)
            yield Running(_url(listener), key)
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)


def _wait_ready(app: FastAPI, server: Any, thread: threading.Thread) -> None:
    """Wait for the warm prediction."""
    end = time.monotonic() + _PATIENCE
    while not (server.started and app.state.engine.ready):
        if not thread.is_alive() or time.monotonic() > end or (server.started and app.state.engine.broken):
            raise ServingError("The server did not become ready; its log names the kind of failure.")
        time.sleep(0.01)


def _server(app: FastAPI, settings: ServeSection, announce: Callable[[], None]) -> Any:
    """A uvicorn server that logs no request, names no software and says when it listens."""
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            await asyncio.to_thread(announce)

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        http="h11",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(settings.deadline_seconds) + 5,
    )
    return Announcing(config)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket on loopback, or a sentence that says why not."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ServingError(
            f"serve.host = {host!r} is not loopback, and this server does not speak TLS: notes and keys would cross "
            "the network in clear; bind to 127.0.0.1 and put a TLS proxy before it."
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol must be named: asyncio switches Nagle's wait off (40 ms an answer) only for sockets that name it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there the option would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ServingError(
            f"Port {port} on {host} cannot be used ({error.strerror}); "
            "stop what listens there, or take another with --port (0 takes a free one)."
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _free_name(keys: KeyStore) -> str:
    """``key-1``, ``key-2``, …: the first that is not taken."""
    taken = set(keys.names())
    return next(f"key-{number}" for number in range(1, len(taken) + 2) if f"key-{number}" not in taken)


def _announce(progress: Progress, bundle: Bundle, url: str, key: str | None, dev: bool) -> None:
    """Say what is served, where, and how to ask."""
    progress.say(f"Serving {bundle.model_id} ({bundle.digest}) on {url}")
    for warning in bundle.warnings:
        progress.warn(warning)
    if dev:
        progress.warn("dev: this machine is answered without a key.")
    if key is not None:
        progress.say("A new key, shown this once; keep it where you keep passwords:")
        progress.say(f"  export BEDSIDE_KEY={key}")
    header = "" if dev else ' -H "Authorization: Bearer $BEDSIDE_KEY"'
    progress.say("Ask it:")
    progress.say(
        f"  curl -s {url}/v1/diagnose{header} -H 'Content-Type: application/json' "
        '-d \'{"text": "the note, as it was written"}\''
    )
    progress.say("Ctrl-C stops it.")


@contextlib.contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """Send the request log, one JSON object a line, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level, propagate = LOG.level, LOG.propagate
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate


@contextlib.contextmanager
def _calm_signals() -> Iterator[None]:
    """Let SIGTERM end the server without killing the process on the way out.

    uvicorn raises the signal again once it has shut down; with the default handler that would be the end, before
    files are closed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
