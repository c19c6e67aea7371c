"""Errors as RFC 9457 problems. None of them repeats what the request said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its name in the type's URN, its status, its title and its usual detail."""

    name: str
    status: int
    title: str
    detail: str


MALFORMED = Kind("malformed", 400, "Request is malformed", "the body is not valid JSON")
UNAUTHORIZED = Kind("unauthorized", 401, "Credentials are needed", "send a valid API key as a bearer token")
FORBIDDEN = Kind("forbidden", 403, "Not allowed", "without a key the server answers only this machine, by its own name")
NOT_FOUND = Kind("not-found", 404, "Not found", "there is no such path; GET /openapi.json lists those there are")
METHOD = Kind("method", 405, "Method not allowed", "the path does not take this method; the header Allow names those")
SLOW = Kind("request-timeout", 408, "Request took too long", "the body did not arrive in time")
TOO_LARGE = Kind("too-large", 413, "Request is too large", "the body is larger than this server takes")
MEDIA = Kind("media-type", 415, "Media type is not supported", "send the body as application/json")
VALIDATION = Kind("validation", 422, "Request is not valid", "the body does not fit the schema")
INTERNAL = Kind("internal", 500, "Internal error", "the server could not answer; its log names the kind of failure")
OVERLOADED = Kind("overloaded", 503, "Too many requests", "the queue is full; try again after Retry-After seconds")
NOT_READY = Kind("not-ready", 503, "Not ready", "the model is not loaded yet")
TIMEOUT = Kind("timeout", 504, "No answer in time", "the note waited longer than this server's deadline")
KINDS = (
    MALFORMED, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD, SLOW, TOO_LARGE, MEDIA, VALIDATION, INTERNAL, OVERLOADED,
    NOT_READY, TIMEOUT,
)  # fmt: skip
BY_STATUS: Mapping[int, Kind] = {kind.status: kind for kind in KINDS if kind is not OVERLOADED}
_HEADERS: Mapping[Kind, Mapping[str, str]] = {
    UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    OVERLOADED: {"Retry-After": "1"},
    NOT_READY: {"Retry-After": "2"},
    TOO_LARGE: {"Connection": "close"},
    SLOW: {"Connection": "close"},
}
# What pydantic calls a fault, and what we say: our own words, because pydantic's may quote the value.
_MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "has a field that is not known",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "string_type": "must be text",
    "string_unicode": "holds half of a surrogate pair, which is no character",
    "string_pattern_mismatch": "has characters that are not allowed here, or too many",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "too_long": "has too many items",
    "list_type": "must be a list",
}


class Problem(Exception):
    """A request that ends in a problem."""

    def __init__(self, kind: Kind, detail: str | None = None, errors: Iterable[Mapping[str, str]] = ()) -> None:
        self.kind = kind
        self.detail = detail or kind.detail
        self.errors = [dict(error) for error in errors]
        super().__init__(kind.name)

    @property
    def headers(self) -> dict[str, str]:
        """What the problem adds to the headers."""
        return dict(_HEADERS.get(self.kind, {}))

    def to_json(self, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
        """The problem as JSON. ``instance`` is the template of the route, never the path that was asked for."""
        body: dict[str, Any] = {
            "type": f"urn:bedside:problem:{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if instance is not None:
            body["instance"] = instance
        if request_id is not None:
            body["request_id"] = request_id
        if self.errors:
            body["errors"] = self.errors
        return body

    def to_bytes(self, instance: str | None = None, request_id: str | None = None) -> bytes:
        """The problem as the body of a response."""
        return json.dumps(self.to_json(instance, request_id)).encode("utf-8")


def from_validation(errors: Iterable[Mapping[str, Any]]) -> Problem:
    """A problem from pydantic's faults, without the values, the messages and the unknown names they quote."""
    faults = [_fault(error) for error in errors]
    if any(fault["code"] == "json_invalid" for fault in faults):
        return Problem(MALFORMED)
    first = faults[0] if faults else {"pointer": "", "message": VALIDATION.detail}
    detail = f"{first['pointer'].lstrip('/') or 'the body'} {first['message']}"
    return Problem(VALIDATION, detail, faults)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    code = str(error["type"])
    place = list(error["loc"])
    if code == "extra_forbidden":
        place = place[:-1]  # the name of an unknown field is the sender's text
    pointer = "".join(f"/{part}" for part in place[1:])
    empty = code in {"string_too_short", "too_short"} or (code == "string_pattern_mismatch" and place[-1:] == ["text"])
    return {
        "pointer": pointer,
        "code": "too_short" if empty else code,
        "message": _MESSAGES["too_short"] if empty else _MESSAGES.get(code, "does not fit the schema"),
    }
