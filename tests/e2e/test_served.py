"""What is served is what is predicted is what was measured, and nobody is let in without a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from small_line import bedside

from bedside.bundle import Bundle
from bedside.serving import running
from bedside.study import Study
from bedside.synthetic import note_for

pytestmark = pytest.mark.e2e
# None is shorter than what the studies were trained on, so every one is answered; one is longer than any window.
NOTES = [
    *(note_for("Pulmonary embolism", seed) for seed in range(4)),
    *(note_for("Gout", seed) for seed in range(4)),
    note_for("Appendicitis", 1) * 3,
    "Seen today for a routine check, without any complaint at all. " * 8,
]
CLOSE = 1e-5


class Served(NamedTuple):
    """A finished study, its bundle, and a client of the real server on it."""

    folder: Path
    bundle: Bundle
    client: httpx.Client


@pytest.fixture(scope="module", params=["tfidf", "minilm"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    folder = request.getfixturevalue("snapshots" if request.param == "tfidf" else "minilm")["done"]
    bundle = Study.open(folder).diagnoser()
    with running(bundle) as (url, key):
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            yield Served(folder, bundle, client)


def _row(bundle: Bundle, answer: dict[str, Any]) -> list[float]:
    """The probabilities of an answer, in the order of the labels."""
    found = {one["label"]: one["probability"] for one in answer["differential"]}
    return [found[label] for label in bundle.labels]


def test_served_is_predicted_is_offline_alone_and_in_a_batch(served: Served, tmp_path: Path) -> None:
    offline = served.bundle.predict_proba(NOTES)
    alone = np.concatenate([served.bundle.predict_proba([note]) for note in NOTES])
    assert np.abs(offline - alone).max() <= CLOSE
    files = [tmp_path / f"{number}.txt" for number in range(len(NOTES))]
    for file, note in zip(files, NOTES, strict=True):
        file.write_text(note, encoding="utf-8")
    done = bedside("predict", served.folder, *files, "--json", "--top", "20")
    assert done.returncode == 0, done.stderr
    predicted = json.loads(done.stdout)
    assert [len(answer["differential"]) for answer in predicted] == [len(served.bundle.labels)] * len(NOTES)
    assert np.abs([_row(served.bundle, answer) for answer in predicted] - offline).max() <= CLOSE
    one_by_one = [served.client.post("/v1/diagnose", json={"text": note, "top_k": 20}).json() for note in NOTES]
    assert np.abs([_row(served.bundle, answer) for answer in one_by_one] - offline).max() <= CLOSE
    items = [{"id": str(number), "text": note} for number, note in enumerate(NOTES)]
    together = served.client.post("/v1/diagnose/batch", json={"items": items}).json()["results"]
    assert [result["id"] for result in together] == [item["id"] for item in items]
    for result in together:
        assert result["prediction"]["differential"] != []
        for one in result["prediction"]["differential"]:
            expected = offline[int(result["id"])][served.bundle.labels.index(one["label"])]
            assert one["probability"] == pytest.approx(expected, abs=CLOSE)


def test_what_was_measured_is_what_the_bundle_answers(served: Served) -> None:
    import polars as pl

    cases = pl.read_parquet(served.folder / "cohort" / "cases.parquet")
    measured = pl.read_parquet(served.folder / "evaluation" / "predictions.parquet").filter(pl.col("split") == "test")
    joined = measured.join(cases.select("case_id", "text"), on="case_id", how="left", maintain_order="left")
    columns = [f"p_{place}" for place in range(len(served.bundle.labels))]
    found = served.bundle.predict_proba(joined["text"].to_list())
    assert np.abs(found - joined.select(columns).to_numpy()).max() <= CLOSE


def test_every_route_but_the_public_ones_needs_a_key(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    with httpx.Client(base_url=served.client.base_url, timeout=60, trust_env=False) as stranger:
        for path, operations in {**document["paths"], "/openapi.json": {"get": {}}}.items():
            for method in operations:
                answer = stranger.request(method, path, json={"text": NOTES[0]} if method == "post" else None)
                assert answer.status_code == (200 if path in {"/healthz", "/readyz"} else 401), (method, path)


@pytest.mark.parametrize(
    ("content", "status"), [('{"text": "%s', 400), ('{"text": ["%s"]}', 422), ('{"note": "%s"}', 422)]
)
def test_a_bad_body_is_a_problem_that_does_not_repeat_it(served: Served, content: str, status: int) -> None:
    marker = "Zyxomarker"
    headers = {"Content-Type": "application/json"}
    answer = served.client.post("/v1/diagnose", content=content % marker, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert marker not in answer.text
