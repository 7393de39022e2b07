"""Jobs, steps and refusals as the JSON that our API answers with."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from unnoise.errors import UnnoiseError
from unnoise.server.job import Event, Job, Seen
from unnoise.server.pictures import data_address

Handler = Callable[[Request], Awaitable[Response]]


def guarded(handler: Handler, refused: Callable[[UnnoiseError], Response]) -> Handler:
    """The same, with refusals in the form that another program's clients know."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except UnnoiseError as error:
            return refused(error)

    return answered


def answer(table: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII, so that half a letter in a prompt is no fault. Raises ValueError where JSON has no number."""
    content = json.dumps(table, allow_nan=False).encode()
    return Response(content, status, headers, "application/json")


def refusal(
    status: int,
    code: str,
    message: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error, told in one shape everywhere."""
    return answer({"error": {"code": code, "message": message, "field": field}}, status, headers)


def of_job(job: Job) -> dict[str, Any]:
    """Where a job stands; the pictures that it begins from are left out."""
    problem = job.problem
    return {
        "id": job.id,
        "state": job.state,
        "place": job.place,
        "created": job.created,
        "begun": job.begun,
        "ended": job.ended,
        "attempt": job.attempt,
        "step": job.step,
        "steps": job.steps,
        "asked": job.asked.to_dict(),
        "images": [
            {
                "name": made.name,
                "url": f"/api/images/{made.name}",
                "seed": made.seed,
                "width": made.width,
                "height": made.height,
                "recipe": dict(made.recipe),
            }
            for made in job.images
        ],
        "notes": list(job.notes),
        "error": problem and {"code": problem.code, "message": problem.message, "field": problem.field},
    }


def of_event(event: Event) -> dict[str, Any]:
    """What happened, and where the job stands since."""
    return {"job": of_job(event.job), "seen": event.seen and _seen(event.seen)}


def _seen(seen: Seen) -> dict[str, Any]:
    levels = {"sigma": seen.sigma, "alpha": seen.alpha, "log_snr": seen.log_snr}
    return {
        "index": seen.index,
        "steps": seen.steps,
        # the ratio of a clean picture has no number in JSON
        **{name: value if math.isfinite(value) else None for name, value in levels.items()},
        "seconds": seen.seconds,
        "previews": {what: data_address(png) for what, png in seen.previews.items()},
    }
