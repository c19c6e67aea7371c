from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from small_model import NOTE, Troubled

from bedside.bundle import Bundle
from bedside.protocol import ServeSection
from bedside.serving import Engine, running
from bedside.serving.engine import Expired, Failed, NotReady, Overloaded

WAIT = 20.0


def _engine(bundle: Bundle, *, max_batch: int = 8, queue: int = 64, **trouble) -> tuple[Engine, Troubled]:
    model = Troubled(bundle.diagnoser, **trouble)
    engine = Engine(dataclasses.replace(bundle, diagnoser=model), max_batch=max_batch, queue=queue)
    engine.start()
    while not engine.ready:
        time.sleep(0.001)
    model.calls.clear()
    return engine, model


def test_waiting_notes_are_answered_together_and_as_if_alone(bundle: Bundle) -> None:
    gate = threading.Event()
    engine, model = _engine(bundle, gate=gate)
    first = engine.submit(NOTE, None, WAIT)
    while not model.calls:
        time.sleep(0.001)
    notes = [f"{NOTE} {word}" for word in ("cough", "headache", "nausea", "fever", "light", "none")]
    futures = [engine.submit(note, 3, WAIT) for note in notes]
    gate.set()
    answers = [future.result(WAIT) for future in futures]
    first.result(WAIT)
    engine.close()
    assert model.calls == [1, 6]
    for note, answer in zip(notes, answers, strict=True):
        alone = bundle.diagnose([note], 3)[0]
        assert [one.label for one in answer.differential] == [one.label for one in alone.differential]
        pairs = zip(answer.differential, alone.differential, strict=True)
        assert all(abs(a.probability - b.probability) <= 1e-5 for a, b in pairs)


def test_a_batch_has_no_more_notes_and_characters_than_it_may(bundle: Bundle) -> None:
    gate = threading.Event()
    engine, model = _engine(bundle, gate=gate, max_batch=4)
    futures = [engine.submit(NOTE, None, WAIT)]
    while not model.calls:
        time.sleep(0.001)
    futures += [engine.submit(NOTE, None, WAIT) for _ in range(6)]
    futures += [engine.submit("cough " * 15_000, None, WAIT) for _ in range(2)]
    gate.set()
    for future in futures:
        future.result(WAIT)
    engine.close()
    assert model.calls == [1, 4, 3, 1]


def test_a_full_queue_refuses_and_a_closing_engine_finishes_what_waits(bundle: Bundle) -> None:
    gate = threading.Event()
    engine, model = _engine(bundle, gate=gate, queue=2)
    futures = [engine.submit(NOTE, None, WAIT)]
    while not model.calls:
        time.sleep(0.001)
    futures += [engine.submit(NOTE, None, WAIT) for _ in range(2)]
    with pytest.raises(Overloaded):
        engine.submit(NOTE, None, WAIT)
    closer = threading.Thread(target=engine.close)
    closer.start()
    gate.set()
    assert [future.result(WAIT).status for future in futures] == ["ok"] * 3
    closer.join(WAIT)
    assert not engine.ready
    with pytest.raises(Overloaded):
        engine.submit(NOTE, None, WAIT)


def test_a_crash_fails_its_batch_alone_and_carries_nothing(bundle: Bundle) -> None:
    engine, _ = _engine(bundle)
    error = engine.submit("CRASHNOW secret", None, WAIT).exception(WAIT)
    assert type(error) is Failed
    assert (error.args, error.__cause__, error.__context__) == ((), None, None)
    assert engine.submit(NOTE, None, WAIT).result(WAIT).status == "ok"
    engine.close()


def test_a_note_nobody_waits_for_costs_nothing(bundle: Bundle) -> None:
    gate = threading.Event()
    engine, model = _engine(bundle, gate=gate)
    first = engine.submit(NOTE, None, WAIT)
    while not model.calls:
        time.sleep(0.001)
    late, gone = engine.submit(NOTE, None, 0.0), engine.submit(NOTE, None, WAIT)
    assert gone.cancel()
    gate.set()
    assert first.result(WAIT).status == "ok"
    assert isinstance(late.exception(WAIT), Expired)
    engine.close()
    assert model.calls == [1]


def test_a_failed_warm_up_is_never_ready(bundle: Bundle) -> None:
    class Dead(Troubled):
        def predict_proba(self, texts):
            raise RuntimeError("no weights")

    engine = Engine(dataclasses.replace(bundle, diagnoser=Dead(bundle.diagnoser)), max_batch=2, queue=2)
    early = engine.submit(NOTE, None, WAIT)
    engine.start()
    assert isinstance(early.exception(WAIT), NotReady)
    assert engine.broken
    assert not engine.ready
    with pytest.raises(NotReady):
        engine.submit(NOTE, None, WAIT)
    engine.close()


def test_ten_times_the_load_is_answered_200_or_503_and_then_recovers(bundle: Bundle) -> None:
    slow = dataclasses.replace(bundle, diagnoser=Troubled(bundle.diagnoser, slow=0.05))
    with running(slow, ServeSection(queue=4, max_batch=2)) as (url, key):
        headers = {"X-API-Key": key}
        limits = httpx.Limits(max_connections=60)
        with httpx.Client(base_url=url, headers=headers, timeout=WAIT, limits=limits, trust_env=False) as session:
            with ThreadPoolExecutor(60) as pool:
                answers = list(pool.map(lambda _: session.post("/v1/diagnose", json={"text": NOTE}), range(60)))
            assert {answer.status_code for answer in answers} == {200, 503}
            for answer in answers:
                if answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.json()["type"] == "urn:bedside:problem:overloaded"
            assert session.get("/readyz").status_code == 200
            assert session.post("/v1/diagnose", json={"text": NOTE}).status_code == 200


def test_a_batch_that_does_not_fit_the_queue_is_answered_in_part(bundle: Bundle) -> None:
    with running(bundle, ServeSection(queue=4, max_batch=2)) as (url, key):
        items = [{"id": str(n), "text": NOTE} for n in range(64)]
        results = httpx.post(
            f"{url}/v1/diagnose/batch", json={"items": items}, headers={"X-API-Key": key}, trust_env=False
        ).json()["results"]
    refused = [one["error"]["type"] for one in results if "error" in one]
    assert len(results) - len(refused) >= 4
    assert set(refused) == {"urn:bedside:problem:overloaded"}


def test_a_request_that_waits_too_long_is_504_and_health_still_answers(bundle: Bundle) -> None:
    gate = threading.Event()
    held = dataclasses.replace(bundle, diagnoser=Troubled(bundle.diagnoser, gate=gate))
    with (
        running(held, ServeSection(deadline_seconds=0.2)) as (url, key),
        httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=WAIT, trust_env=False) as session,
    ):
        answer = session.post("/v1/diagnose", json={"text": NOTE})
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:bedside:problem:timeout"
        assert session.get("/healthz").status_code == 200
        gate.set()
        end = time.monotonic() + WAIT
        while (status := session.post("/v1/diagnose", json={"text": NOTE}).status_code) != 200:
            assert status == 504
            assert time.monotonic() < end
