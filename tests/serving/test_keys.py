from __future__ import annotations

import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bedside.bundle import Bundle
from bedside.core.errors import ServingError
from bedside.protocol import ServeSection
from bedside.serving import KeyStore, create_app, running


def test_a_key_is_known_by_name_and_kept_only_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    keys = KeyStore(path)
    assert keys.check("bk_anything") is None
    one, two = keys.create("ward-7"), keys.create("ehr")
    assert one.startswith("bk_")
    assert len(one) == 3 + 43  # 32 bytes in base 64
    assert (keys.check(one), keys.check(two)) == ("ward-7", "ehr")
    assert keys.names() == ["ehr", "ward-7"]
    for wrong in ("", one[:-1], one + "x", one.upper(), "bk_", "\ud800"):
        assert keys.check(wrong) is None
    text = path.read_text(encoding="utf-8")
    assert one not in text
    assert one[3:] not in text
    entry = json.loads(text)["keys"][0]
    assert set(entry) == {"name", "sha256", "created", "expires"}
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


def test_the_hash_itself_opens_nothing(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    keys.create("a")
    assert keys.check(json.loads(keys.path.read_text(encoding="utf-8"))["keys"][0]["sha256"]) is None


def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    now = datetime.now(UTC)
    old = keys.create("old", expires=now - timedelta(seconds=1))
    fresh = keys.create("fresh", expires=now + timedelta(hours=1))
    assert keys.check(old) is None
    assert keys.check(fresh) == "fresh"
    with pytest.raises(ServingError, match="time zone"):
        keys.create("naive", expires=datetime(2030, 1, 1))


def test_another_process_s_change_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    here, there = KeyStore(path), KeyStore(path)
    key = there.create("a")
    assert here.check(key) == "a"
    there.revoke("a")
    assert here.check(key) is None


@pytest.mark.parametrize("name", ["", "a b", "ü", "-a", "a\n", "x" * 65])
def test_a_malformed_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServingError, match="key name"):
        KeyStore(tmp_path / "keys.json").create(name)


def test_a_taken_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    keys.create("a")
    with pytest.raises(ServingError, match="'a'"):
        keys.create("a")
    with pytest.raises(ServingError, match="it has: a"):
        keys.revoke("b")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"schema": 2, "keys": []}', '{"schema": 1, "keys": [{"name": "a"}]}',
     '{"schema": 1, "keys": [{"name": "a", "sha256": "x", "created": "", "expires": null}]}'],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ServingError, match=r"keys\.json is not a key file"):
        KeyStore(path).check("x")


def test_a_running_server_refuses_a_revoked_key(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import bedside.serving.server as server

    stores: list[KeyStore] = []

    def watched(bundle: Bundle, keys: KeyStore, settings: ServeSection, *, dev: bool):
        stores.append(keys)
        return create_app(bundle, keys, settings, dev=dev)

    monkeypatch.setattr(server, "create_app", watched)
    with running(bundle) as (url, key), httpx.Client(base_url=url, trust_env=False) as session:
        session.headers["X-API-Key"] = key
        assert session.get("/v1/labels").status_code == 200
        stores[0].revoke("running")
        assert session.get("/v1/labels").status_code == 401
