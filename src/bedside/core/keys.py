"""The site's secret key, and the pseudonyms made with it.

Identifiers of patients, encounters and cases are replaced by keyed hashes (HMAC-SHA-256) in everything that
bedside writes. The key lies in the user's own configuration folder, never in a study or a bundle: whoever
holds a study alone cannot test whether a known identifier is in it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

import platformdirs

from bedside.core.errors import MachineError
from bedside.core.files import plain_errors

_KEY_BYTES = 32


def config_folder() -> Path:
    """Where the user's own settings and the site key lie (``BEDSIDE_CONFIG`` moves it)."""
    named = os.environ.get("BEDSIDE_CONFIG")
    return Path(named) if named else Path(platformdirs.user_config_dir("bedside", appauthor=False))


def cache_folder() -> Path:
    """Where base models are kept (``BEDSIDE_CACHE`` moves it)."""
    named = os.environ.get("BEDSIDE_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("bedside", appauthor=False))


def site_key() -> bytes:
    """The site's secret key of 32 bytes, made on first use with mode 0600.

    Raises:
        MachineError: the key file is damaged, or its folder cannot be written.
    """
    path = config_folder() / "site.key"
    if not path.exists():
        _create(path)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise MachineError(
            f"{path} does not hold a key of {_KEY_BYTES} bytes in hexadecimal; "
            "restore it from a backup, or move it away to start with a new one (pseudonyms will change)."
        )
    return key


def _create(path: Path) -> None:
    """Write a new key that only its owner can read; if another process was first, keep that one."""
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A drawn name, because process numbers come again; mkstemp gives mode 0600.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A stable stand-in for an identifier: 64 bits of HMAC-SHA-256 in hexadecimal, behind the kind's initial.

    Args:
        key: the site's key.
        kind: what is named, for example ``"patient"``; the same value under another kind gets another name.
        value: the identifier as it stands in the source.
    """
    digest = hmac.new(key, f"{kind}\x1f{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind[0]}_{digest[:16]}"
