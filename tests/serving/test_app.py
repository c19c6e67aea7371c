from __future__ import annotations

import json
import random
import re

import httpx
import pytest
from small_model import NOTE

from bedside.bundle import Bundle
from bedside.serving import create_app
from bedside.serving.schema import Labels, Models, Prediction, ProblemBody, Results

JSON = {"Content-Type": "application/json"}
SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def problem(response: httpx.Response, status: int, name: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = ProblemBody.model_validate(response.json())
    assert body.type == f"urn:bedside:problem:{name}"
    assert body.status == status
    assert body.request_id == response.headers["x-request-id"]
    for header, value in SECURITY.items():
        assert response.headers[header] == value
    return response.json()


@pytest.mark.parametrize("path", ["/v1/diagnose", "/diagnose"])
def test_a_note_is_answered_as_the_bundle_answers_it(client: httpx.Client, bundle: Bundle, path: str) -> None:
    response = client.post(path, json={"text": NOTE, "top_k": 3, "request_id": "abc-1"})
    assert response.status_code == 200
    body = response.json()
    Prediction.model_validate(body)
    assert re.fullmatch(r"pred_[0-9A-HJKMNP-TV-Z]{26}", body.pop("prediction_id"))
    assert body.pop("request_id") == "abc-1"
    assert isinstance(body.pop("elapsed_ms"), int)
    assert body == bundle.diagnose([NOTE], 3)[0].to_json()
    for header, value in SECURITY.items():
        assert response.headers[header] == value
    assert "server" not in response.headers


def test_served_is_offline_for_two_hundred_notes(client: httpx.Client, bundle: Bundle) -> None:
    dice = random.Random(5)
    words = [
        "cough",
        "fever",
        "headache",
        "light",
        "abdominal",
        "nausea",
        "pain",
        "with",
        "the",
        "and",
        "today",
        "since",
        "three",
        "days",
        "no",
        "mild",
    ]
    notes = [" ".join(dice.choices(words, k=dice.randrange(1, 60))) for _ in range(200)]
    offline = [answer.to_json() for answer in bundle.diagnose(notes)]
    for start in range(0, 200, 50):
        items = [{"id": str(n), "text": notes[n]} for n in range(start, start + 50)]
        results = Results.model_validate(client.post("/v1/diagnose/batch", json={"items": items}).json()).results
        for result, mine in zip(results, offline[start : start + 50], strict=True):
            assert result.prediction is not None
            assert result.prediction.status == mine["status"]
            served = [(one.label, one.probability) for one in result.prediction.differential]
            expected = [(one["label"], one["probability"]) for one in mine["differential"]]
            assert [label for label, _ in served] == [label for label, _ in expected]
            assert all(abs(p - q) <= 1e-12 for (_, p), (_, q) in zip(served, expected, strict=True))
            alone = client.post("/v1/diagnose", json={"text": notes[int(result.id)]}).json()["differential"]
            assert all(abs(a["probability"] - p) <= 1e-5 for a, (_, p) in zip(alone, served, strict=True))


def test_prediction_ids_are_unique_and_in_order_of_time(client: httpx.Client) -> None:
    ids = [client.post("/v1/diagnose", json={"text": NOTE}).json()["prediction_id"] for _ in range(20)]
    assert len(set(ids)) == 20
    assert [one[:15] for one in ids] == sorted(one[:15] for one in ids)


def test_a_batch_answers_each_note_and_names_the_blank_one(client: httpx.Client) -> None:
    items = [{"id": "a", "text": NOTE}, {"id": "b", "text": " \n"}, {"id": "c", "text": "cough"}]
    results = client.post("/v1/diagnose/batch", json={"items": items}).json()["results"]
    Results.model_validate({"results": results})
    assert [one["id"] for one in results] == ["a", "b", "c"]
    assert results[0]["prediction"]["status"] == "ok"
    assert results[1]["error"]["type"] == "urn:bedside:problem:validation"
    assert "prediction" not in results[1]
    assert results[2]["prediction"]["status"] == "insufficient_information"


@pytest.mark.parametrize("count", [0, 65])
def test_a_batch_has_one_to_sixty_four_notes(client: httpx.Client, count: int) -> None:
    items = [{"id": str(n), "text": NOTE} for n in range(count)]
    body = problem(client.post("/v1/diagnose/batch", json={"items": items}), 422, "validation")
    assert body["errors"][0]["pointer"] == "/items"


def test_the_model_and_its_labels_are_described(client: httpx.Client, bundle: Bundle) -> None:
    labels = Labels.model_validate(client.get("/v1/labels").json()).labels
    assert tuple(one.label for one in labels) == bundle.labels
    (model,) = Models.model_validate(client.get("/v1/models").json()).models
    assert (model.id, model.digest, model.draft) == ("chest-1.2.0", bundle.digest, True)


@pytest.mark.parametrize(
    ("content", "status", "name"),
    [
        (b"{", 400, "malformed"),
        (b"\xff\xfe\x00", 400, "malformed"),
        (b"[" * 100_000, 400, "malformed"),
        (b'{"text": ' + b"9" * 10_000 + b"}", 400, "malformed"),
        (b"", 422, "validation"),
        (b"null", 422, "validation"),
        (b"[]", 422, "validation"),
        (b'"text"', 422, "validation"),
        (b"{}", 422, "validation"),
        (b'{"text": ""}', 422, "validation"),
        (b'{"text": " \\t\\n\\u00a0"}', 422, "validation"),
        (b'{"text": 5}', 422, "validation"),
        (b'{"text": NaN}', 422, "validation"),
        (b'{"text": null}', 422, "validation"),
        (b'{"text": ["a"]}', 422, "validation"),
        (b'{"text": "fever \\ud800 fever"}', 422, "validation"),
        (b'{"text": "fever", "top_k": 0}', 422, "validation"),
        (b'{"text": "fever", "top_k": 21}', 422, "validation"),
        (b'{"text": "fever", "top_k": true}', 422, "validation"),
        (b'{"text": "fever", "top_k": "3"}', 422, "validation"),
        (b'{"text": "fever", "request_id": "a b"}', 422, "validation"),
        (b'{"text": "fever", "explain": true}', 422, "validation"),
    ],
)
def test_a_bad_body_is_a_problem_of_its_kind(client: httpx.Client, content: bytes, status: int, name: str) -> None:
    body = problem(client.post("/v1/diagnose", content=content, headers=JSON), status, name)
    assert body["instance"] == "/v1/diagnose"
    if name == "validation":
        assert body["errors"]


def test_a_fault_names_its_field_in_our_words(client: httpx.Client) -> None:
    body = problem(client.post("/v1/diagnose", json={"text": ""}), 422, "validation")
    assert body["errors"] == [{"pointer": "/text", "code": "too_short", "message": "is empty"}]
    assert body["detail"] == "text is empty"


def test_strange_but_valid_notes_are_answered(client: httpx.Client) -> None:
    for text in ("x", "fever\x00cough " * 9, "\u200b", "🤒" * 3000, "cough " * 170_000, "\U0010ffff fever"):
        response = client.post("/v1/diagnose", json={"text": text})
        assert response.status_code == 200, text[:20]
        Prediction.model_validate(response.json())
    assert client.post("/v1/diagnose", json={"text": "x"}).json()["status"] == "insufficient_information"


def test_an_error_never_repeats_what_was_sent(client: httpx.Client, stranger: httpx.Client) -> None:
    canary = "CANARY-Marmaduke-1931"
    bodies = [
        {"text": canary, canary: 1},
        {"text": [canary]},
        {"text": {canary: canary}},
        {"text": canary, "top_k": canary},
        {"text": canary, "request_id": f"{canary} x"},
        {"items": canary},
        [canary],
        canary,
    ]
    answers = [client.post(path, json=body) for path in ("/v1/diagnose", "/v1/diagnose/batch") for body in bodies]
    answers += [
        client.post("/v1/diagnose", content=f'{{"text": "{canary}', headers=JSON),
        client.post("/v1/diagnose", content=canary, headers={"Content-Type": f"text/{canary}"}),
        client.get(f"/{canary}"),
        client.get(f"/v1/labels/{canary}?{canary}={canary}"),
        client.request(canary, "/v1/labels"),
        client.put(f"/v1/diagnose?{canary}", json={"text": canary}),
        client.get("/v1/nothing", headers={"X-Request-Id": f"{canary} {canary}"}),
        stranger.post("/v1/diagnose", json={"text": canary}, headers={"Authorization": f"Bearer {canary}"}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        ProblemBody.model_validate(answer.json())
        assert "CANARY" not in answer.text
        assert "CANARY" not in str(answer.headers)


def test_two_hundred_mutated_bodies_bring_no_server_error(client: httpx.Client) -> None:
    dice = random.Random(20)
    base = json.dumps({"text": NOTE, "top_k": 3, "request_id": "r"}).encode()
    for _ in range(200):
        body = bytearray(base)
        for _ in range(dice.randrange(1, 6)):
            place = dice.randrange(len(body))
            match dice.randrange(4):
                case 0:
                    body[place] = dice.randrange(256)
                case 1:
                    del body[place : place + dice.randrange(1, 20)]
                case 2:
                    body[place:place] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 9)))
                case _:
                    body[place:place] = dice.choice([b"null", b"{", b"\\ud800", b"\\u0000", b"1e999", b'"', b"[[[["])
            body = body or bytearray(b"{")
        path = dice.choice(["/v1/diagnose", "/diagnose", "/v1/diagnose/batch"])
        response = client.post(path, content=bytes(body), headers=JSON)
        assert response.status_code in {200, 400, 422}, response.text


def test_other_media_types_are_refused(client: httpx.Client) -> None:
    content = json.dumps({"text": NOTE})
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", ""):
        problem(client.post("/v1/diagnose", content=content, headers={"Content-Type": media}), 415, "media-type")
    fine = client.post("/v1/diagnose", content=content, headers={"Content-Type": "Application/JSON; charset=utf-8"})
    assert fine.status_code == 200


def test_a_body_over_the_limit_is_refused_declared_or_streamed(client: httpx.Client) -> None:
    large = json.dumps({"text": "a" * 1_200_001}).encode()
    body = problem(client.post("/v1/diagnose", content=large, headers=JSON), 413, "too-large")
    assert body["detail"] == "the body is larger than 1200000 bytes"

    def pieces():
        for start in range(0, len(large), 50_000):
            yield large[start : start + 50_000]

    problem(client.post("/v1/diagnose", content=pieces(), headers=JSON), 413, "too-large")
    assert client.post("/v1/diagnose", json={"text": "a " * 500_000}).status_code == 200


def test_an_unknown_path_and_a_wrong_method(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/redoc", "/v1", "/v1/diagnose/", "/healthz/", "//healthz", "/v1/../healthz/x"):
        assert "instance" not in problem(client.get(path), 404, "not-found")
    wrong = client.get("/v1/diagnose")
    assert problem(wrong, 405, "method")["instance"] == "/v1/diagnose"
    assert wrong.headers["allow"] == "POST"


def test_a_request_id_comes_back_if_it_is_one(client: httpx.Client) -> None:
    assert client.get("/v1/labels", headers={"X-Request-Id": "ward-7:42"}).headers["x-request-id"] == "ward-7:42"
    for bad in ("a b", "<x>", "x" * 129, ""):
        made = client.get("/v1/labels", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert re.fullmatch(r"req_[0-9a-f]{24}", made)


def test_the_openapi_document_tells_of_every_route_and_its_problems(client: httpx.Client, bundle: Bundle) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/diagnose", "/diagnose", "/v1/diagnose/batch", "/v1/labels", "/v1/models", "/healthz", "/readyz",
    }  # fmt: skip
    operation = document["paths"]["/v1/diagnose"]["post"]
    assert {"200", "400", "401", "413", "415", "422", "500", "503", "504"} <= set(operation["responses"])
    assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
    assert document["security"] == [{"bearer": []}, {"header": []}]
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    text = json.dumps(document)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in document["components"]["schemas"]
    assert "HTTPValidationError" not in text


def test_no_telemetry_even_if_the_environment_asks_for_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from bedside.protocol import ServeSection

    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    app = create_app(bundle, None, ServeSection())
    native = getattr(app, "_native_telemetry", None)  # fastapi before it had any has no such part
    assert native is None or not native.enabled()
