"""API keys: 256 random bits each, of which only the SHA-256 is kept.

A key is shown once, when it is made, and cannot be shown again. A fast hash is right here: nothing that random can
be guessed, whatever the hash. The file is read again when it changes, so a key that is revoked stops working at once.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bedside.core.errors import ServingError
from bedside.core.files import plain_errors, read_json, sha256_bytes

_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODE = 0o600


@dataclass(frozen=True)
class _Key:
    """What is kept of a key. Times are ISO 8601 with an offset."""

    name: str
    sha256: str
    created: str
    expires: str | None = None

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now


class KeyStore:
    """The keys in one JSON file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[_Key, ...] = ()

    def create(self, name: str, *, expires: datetime | None = None) -> str:
        """Make a key and return it; it is not kept and cannot be shown again.

        Args:
            name: who or what will use it.
            expires: with a time zone; after it the key is refused.

        Raises:
            ServingError: the name is taken or malformed, or ``expires`` has no time zone.
        """
        if not _NAME.fullmatch(name):
            raise ServingError(f"key name {name!r}: use up to 64 letters, digits, dots, dashes and underscores.")
        if expires is not None and expires.tzinfo is None:
            raise ServingError(f"key {name!r}: the expiry {expires} has no time zone; add one.")
        keys = self._read()
        if any(key.name == name for key in keys):
            raise ServingError(f"{self.path} has a key named {name!r}; revoke it first, or take another name.")
        presented = f"bk_{secrets.token_urlsafe(32)}"
        fresh = _Key(
            name, _digest(presented), _now().isoformat(timespec="seconds"), expires.isoformat() if expires else None
        )
        self._write([*keys, fresh])
        return presented

    def check(self, presented: str) -> str | None:
        """The name of the key that was presented, or ``None``. Takes the same time for every wrong key."""
        digest = _digest(presented)
        now = _now()
        name = None
        for key in self._read():
            if hmac.compare_digest(key.sha256, digest) and not key.expired(now):
                name = key.name
        return name

    def revoke(self, name: str) -> None:
        """Remove a key; a running server refuses it from the next request.

        Raises:
            ServingError: there is none of that name.
        """
        keys = self._read()
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise ServingError(f"{self.path} has no key named {name!r}; it has: {', '.join(self.names()) or 'none'}.")
        self._write(left)

    def names(self) -> list[str]:
        """The names of the keys, sorted; expired ones too."""
        return sorted(key.name for key in self._read())

    def _read(self) -> tuple[_Key, ...]:
        """The keys as the file has them now; an absent file has none."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, ()
            return ()
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen != self._seen:
            self._keys, self._seen = self._parse(), seen
        return self._keys

    def _parse(self) -> tuple[_Key, ...]:
        try:
            content = read_json(self.path)
            if content["schema"] != _SCHEMA:
                raise ValueError("schema")
            keys = tuple(_key(entry) for entry in content["keys"])
        except (ValueError, KeyError, TypeError):
            raise ServingError(
                f"{self.path} is not a key file of bedside; restore it from a backup, or remove it and make new keys."
            ) from None
        return keys

    def _write(self, keys: list[_Key]) -> None:
        content = json.dumps({"schema": _SCHEMA, "keys": [asdict(key) for key in keys]}, indent=2) + "\n"
        with plain_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # mkstemp gives mode 0600, so the keys are never readable by others, not even for a moment.
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            temporary = Path(name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.chmod(_MODE)
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)


def _key(entry: dict[str, Any]) -> _Key:
    """One key of the file; anything malformed raises, so that a damaged file never lets anyone in."""
    key = _Key(**entry)
    if not (isinstance(key.name, str) and re.fullmatch("[0-9a-f]{64}", key.sha256)):
        raise ValueError("key")
    key.expired(_now())
    return key


def _digest(presented: str) -> str:
    return sha256_bytes(presented.encode("utf-8", errors="surrogatepass"))


def _now() -> datetime:
    return datetime.now(UTC)
