"""What is answered when there is no picture, in OpenAI's form: {"error": {message, type, param, code}}."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from unnoise.errors import InputError, UnnoiseError
from unnoise.server.answers import answer
from unnoise.server.job import Job
from unnoise.server.refusals import FieldError, Full, NotNow, NotServed
from unnoise.server.renamed import failure

Table = dict[str, object]

_FINAL = {"x-should-retry": "false"}
"""The official client asks again after 409 and 5xx, which would have the job run again to fail again."""


def refused(error: UnnoiseError) -> Response:
    """The answer to a request that was not taken."""
    if isinstance(error, NotNow):
        return answer(told(error), error.status, error.headers)
    if isinstance(error, NotServed):
        return answer(told(error), 404)
    return answer(told(error), 400) if isinstance(error, InputError) else answer(told(error), 500, _FINAL)


def told(error: UnnoiseError) -> Table:
    """What is said of it."""
    message = str(error)
    if isinstance(error, FieldError):
        code = "model_not_found" if isinstance(error, NotServed) else None
        return _told(message, "invalid_request_error", error.field, code)
    if isinstance(error, InputError):
        return _told(message, "invalid_request_error")
    if isinstance(error, Full):
        return _told(message, "rate_limit_error", code="full")
    return _told(message, "server_error", code=type(error).__name__.lower())


def ended(job: Job, theirs: Mapping[str, str]) -> tuple[int, Table]:
    """Status and body for a job that is over without pictures. theirs: field of ours -> their name."""
    if job.state != "failed":
        return 409, _told("the job was cancelled before it was done.", "cancelled", code="cancelled")
    problem = failure(job, theirs)
    bad = problem.code == "bad_input"
    kind = "invalid_request_error" if bad else "server_error"
    return (400 if bad else 500), _told(problem.message, kind, problem.field, problem.code)


def failed(job: Job, theirs: Mapping[str, str]) -> Response:
    """The answer to a request whose job is over without pictures."""
    status, told = ended(job, theirs)
    return answer(told, status, _FINAL)


def _told(message: str, kind: str, param: str | None = None, code: str | None = None) -> Table:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
