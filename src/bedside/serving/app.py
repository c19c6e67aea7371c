"""The application: routes over an engine, inside the guard.

Public without a key are ``/healthz`` and ``/readyz``, nothing else, not even the OpenAPI document.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from bedside.bundle import Bundle
from bedside.core.extras import require
from bedside.protocol import ServeSection
from bedside.serving.engine import Engine, Expired, Failed, NotReady, Overloaded
from bedside.serving.guard import ID_KEY, Guard, route_of
from bedside.serving.keys import KeyStore
from bedside.serving.problems import (
    BY_STATUS,
    INTERNAL,
    MALFORMED,
    MEDIA,
    MEDIA_TYPE,
    NOT_READY,
    OVERLOADED,
    TIMEOUT,
    VALIDATION,
    Kind,
    Problem,
    from_validation,
)
from bedside.serving.schema import (
    BatchRequest,
    DiagnoseRequest,
    Health,
    Labels,
    Models,
    Prediction,
    ProblemBody,
    Results,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def create_app(bundle: Bundle, keys: KeyStore | None, settings: ServeSection, *, dev: bool = False) -> FastAPI:
    """An ASGI application that answers notes.

    Args:
        bundle: the model.
        keys: who may ask; ``None`` lets nobody in, unless ``dev``.
        settings: limits; host and port are the server's.
        dev: answer this machine without a key, and nobody else.

    Raises:
        MissingExtra: fastapi is not installed.
    """
    require("fastapi", extra="serving")
    from fastapi import FastAPI

    app = FastAPI(
        title="bedside",
        version=bundle.info["version"],
        description="Ranked diagnoses for a note. Decision support. Not a diagnosis.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(bundle, settings),
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.router.route_class = _json_route()
    _add_diagnosis(app, bundle, settings)
    _add_descriptions(app, bundle)
    _add_health(app)
    _add_problems(app)
    _describe(app)
    app.add_middleware(Guard, keys=keys, settings=settings, dev=dev)
    return app


def _lifespan(
    bundle: Bundle, settings: ServeSection
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Start the engine with the server; when it stops, let the engine finish what waits."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = Engine(bundle, max_batch=settings.max_batch, queue=settings.queue)
        app.state.engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(app.state.engine.close, settings.deadline_seconds)

    return lifespan


def _json_route() -> Any:
    """A route that takes a body only as JSON; asked once the path and the method are known."""
    from fastapi.routing import APIRoute

    class JsonRoute(APIRoute):
        def get_route_handler(self) -> Any:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if self.body_field is not None and media != "application/json":
                    raise Problem(MEDIA)
                return await handle(request)

            return handler

    return JsonRoute


def _add_diagnosis(app: FastAPI, bundle: Bundle, settings: ServeSection) -> None:
    from fastapi.responses import JSONResponse

    async def diagnose(body: DiagnoseRequest) -> JSONResponse:
        """Ranked diagnoses for one note, or why there are none."""
        answer = await _ask(app.state.engine, body.text, body.top_k, settings.deadline_seconds)
        if body.request_id is not None:
            answer = {"prediction_id": answer.pop("prediction_id"), "request_id": body.request_id, **answer}
        return JSONResponse(answer)

    async def diagnose_batch(body: BatchRequest) -> JSONResponse:
        """The same for up to 64 notes; each has an answer or a problem of its own."""
        tasks = [_try(app.state.engine, item.text, settings.deadline_seconds) for item in body.items]
        outcomes = await asyncio.gather(*tasks)
        if all(isinstance(outcome, Problem) and outcome.kind is OVERLOADED for outcome in outcomes):
            raise Problem(OVERLOADED)
        results = [
            {"id": item.id, "error": outcome.to_json()}
            if isinstance(outcome, Problem)
            else {"id": item.id, "prediction": outcome}
            for item, outcome in zip(body.items, outcomes, strict=True)
        ]
        return JSONResponse({"results": results})

    errors = _documented(MALFORMED, *(BY_STATUS[status] for status in (413, 415, 422, 500, 503, 504)))
    for path, hidden in (("/v1/diagnose", True), ("/diagnose", False)):
        app.post(
            path,
            response_model=None,
            responses={200: {"model": Prediction}, **errors},
            operation_id=None if hidden else "diagnose_alias",
        )(diagnose)
    app.post("/v1/diagnose/batch", response_model=None, responses={200: {"model": Results}, **errors})(diagnose_batch)


async def _ask(engine: Engine, text: str, top_k: int | None, deadline: float) -> dict[str, Any]:
    """Ask the engine and wait for its answer, no longer than the deadline."""
    start = time.perf_counter()
    try:
        answer = await asyncio.wait_for(asyncio.wrap_future(engine.submit(text, top_k, deadline)), deadline)
    except Overloaded:
        raise Problem(OVERLOADED) from None
    except NotReady:
        raise Problem(NOT_READY) from None
    except (Expired, TimeoutError):
        raise Problem(TIMEOUT) from None
    except Failed:
        raise Problem(INTERNAL) from None
    elapsed = round((time.perf_counter() - start) * 1000)
    return {"prediction_id": _prediction_id(), **answer.to_json(), "elapsed_ms": elapsed}


async def _try(engine: Engine, text: str, deadline: float) -> dict[str, Any] | Problem:
    if not text.strip():
        return Problem(VALIDATION, "text is empty")
    try:
        return await _ask(engine, text, None, deadline)
    except Problem as problem:
        return problem


def _prediction_id() -> str:
    """``pred_`` and a ULID: 48 bits of time in milliseconds, 80 random bits, in Crockford's base 32."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "pred_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def _add_descriptions(app: FastAPI, bundle: Bundle) -> None:
    from fastapi.responses import JSONResponse

    described = {
        "id": bundle.model_id,
        "digest": bundle.digest,
        "kind": bundle.info["kind"],
        "version": bundle.info["version"],
        "calibrated": True,
        "draft": bundle.info["draft"],
        "intended_use": bundle.info["intended_use"],
        "labels": len(bundle.labels),
        "warnings": list(bundle.warnings),
    }

    async def labels() -> JSONResponse:
        """The diagnoses that the model knows."""
        return JSONResponse({"labels": list(bundle.label_entries)})

    async def models() -> JSONResponse:
        """Which model answers here, and what it is for."""
        return JSONResponse({"models": [described]})

    app.get("/v1/labels", response_model=None, responses={200: {"model": Labels}})(labels)
    app.get("/v1/models", response_model=None, responses={200: {"model": Models}})(models)


def _add_health(app: FastAPI) -> None:
    from fastapi.responses import JSONResponse

    async def healthz() -> JSONResponse:
        """The process lives."""
        return JSONResponse({"status": "ok"})

    async def readyz() -> JSONResponse:
        """The model is loaded and one warm prediction is done."""
        if not app.state.engine.ready:
            raise Problem(NOT_READY)
        return JSONResponse({"status": "ready"})

    app.get("/healthz", response_model=None, responses={200: {"model": Health}})(healthz)
    app.get("/readyz", response_model=None, responses={200: {"model": Health}, **_documented(NOT_READY)})(readyz)


def _add_problems(app: FastAPI) -> None:
    """Turn whatever a route raises into a problem; the guard turns what is left."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    def respond(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
        content = problem.to_bytes(route_of(request.scope), request.scope[ID_KEY])
        return Response(
            content, problem.kind.status, media_type=MEDIA_TYPE, headers={**problem.headers, **(headers or {})}
        )

    def on_problem(request: Request, error: Exception) -> Response:
        return respond(request, error if isinstance(error, Problem) else Problem(INTERNAL))

    def on_validation(request: Request, error: Exception) -> Response:
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        return respond(request, from_validation(faults))

    def on_http(request: Request, error: Exception) -> Response:
        status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
        return respond(request, Problem(BY_STATUS.get(status, INTERNAL)), headers)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def _documented(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Problems for the OpenAPI document, by status."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {kind.status: {"description": kind.title, "content": {MEDIA_TYPE: {"schema": schema}}} for kind in kinds}


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI document: the problem's schema, the keys, and the 401 that every closed route can give."""
    from fastapi.openapi.utils import get_openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _complete(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    template = "#/components/schemas/{model}"
    components.setdefault("schemas", {}).update(_schemas(ProblemBody, template))
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in {"/healthz", "/readyz"}:
                operation["security"] = []
            else:
                operation["responses"].update({str(status): one for status, one in _closed().items()})


def _closed() -> dict[int | str, dict[str, Any]]:
    return _documented(*(BY_STATUS[status] for status in (401, 403, 503)))


def _schemas(model: type[BaseModel], template: str) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=template)
    return {**schema.pop("$defs", {}), model.__name__: schema}
