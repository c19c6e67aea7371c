"""A loaded bundle, and the real server on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bedside.bundle import Bundle
from bedside.protocol import ServeSection
from bedside.serving import running

sys.path.insert(0, str(Path(__file__).parents[1] / "bundle"))
import small_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(small_model.write(tmp_path_factory.mktemp("bundle") / "b"))


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[httpx.Client]:
    with running(bundle, ServeSection(max_bytes=1_200_000)) as (url, key):
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as session:
            yield session


@pytest.fixture(scope="module")
def stranger(client: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=client.base_url, timeout=30, trust_env=False) as session:
        yield session
