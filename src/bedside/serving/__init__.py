"""A bundle behind HTTP: closed by default, on loopback, without a word of a note in any log or error.

Needs the extra ``serving`` (fastapi, uvicorn), which is imported when an application is made.
"""

from __future__ import annotations

from bedside.serving.app import create_app
from bedside.serving.engine import Engine
from bedside.serving.keys import KeyStore
from bedside.serving.server import Running, running, serve

__all__ = ["Engine", "KeyStore", "Running", "create_app", "running", "serve"]
