"""The application: our own API and the page, beside the routes that speak other programs' words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unnoise.errors import FileError, InputError
from unnoise.server import a1111, bodies, events, fields, openai
from unnoise.server.address import Rules
from unnoise.server.answers import answer, of_job, refusal
from unnoise.server.asked import PICTURES, Asked
from unnoise.server.desk import Desk
from unnoise.server.guard import Guard
from unnoise.server.refusals import FieldError, Loading, NotNow, Unknown
from unnoise.server.waiting import client_of

_log = logging.getLogger("unnoise.server")

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MOST_JOBS, _KEY_LENGTH = 200, 200


def application(desk: Desk, rules: Rules) -> Guard:
    """Everything that is answered, behind the guard."""
    faults: Mapping[Any, Any] = {
        HTTPException: _http,
        InputError: _bad_input,
        NotNow: _not_now,
        Unknown: _unknown,
        FileError: _unwritable,
        Exception: _fault,
    }
    routes = [*Api(desk).routes(), *openai.routes(desk), *a1111.routes(desk), *page()]
    made = Starlette(routes=routes, exception_handlers=faults)
    made.router.redirect_slashes = False  # an address is there or not
    return Guard(made, rules)


class Api:
    """Our own routes: jobs and what is seen of them, pictures, models."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        """Paths, each with its methods."""
        return [
            Route("/api/jobs", self.submit, methods=["POST"]),
            Route("/api/jobs", self.jobs, methods=["GET"]),
            Route("/api/jobs/{id}", self.job, methods=["GET"]),
            Route("/api/jobs/{id}", self.end, methods=["DELETE"]),
            Route("/api/jobs/{id}/events", self.events, methods=["GET"]),
            Route("/api/images/{name}", self.picture, methods=["GET"]),
            Route("/api/read", self.read, methods=["POST"]),
            Route("/api/models", self.models, methods=["GET"]),
            Route("/api/schedulers", self.schedulers, methods=["GET"]),
            Route("/healthz", self.alive, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """A new job, or the one that its Idempotency-Key gave before."""
        given, limits = await bodies.fields(request), self._desk.settings.limits
        length = len(await request.body())
        if length > limits.body and not set(PICTURES) & set(given):
            words = f"the body is longer than {limits.body:,} bytes, the most that is taken without pictures."
            return refusal(413, "too_large", words)
        asked = Asked.read(given, limits, self._desk.cards)
        job = await self._desk.submit(asked, client_of(request), _key(request))
        return answer(of_job(job), 202, {"Location": f"/api/jobs/{job.id}"})

    async def jobs(self, request: Request) -> Response:
        """The latest jobs, newest first."""
        limit, before = request.query_params.get("limit", "50"), request.query_params.get("before")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST_JOBS):
            raise fields.refusal("limit", limit, f"a whole number from 1 to {_MOST_JOBS}")
        return answer({"jobs": [of_job(job) for job in self._desk.jobs(int(limit), before)]})

    async def job(self, request: Request) -> Response:
        """Where one stands."""
        return answer(of_job(self._desk.job(request.path_params["id"])))

    async def end(self, request: Request) -> Response:
        """Cancel one that waits or runs; forget one that has ended, with its pictures."""
        job = self._desk.job(request.path_params["id"])
        if not job.over:
            return answer(of_job(self._desk.cancel(job.id)))
        self._desk.forget(job.id)
        return answer({**of_job(job), "forgotten": True})

    async def events(self, request: Request) -> Response:
        """What happens to one, while it does."""
        job = self._desk.job(request.path_params["id"])  # refused before anything is sent
        return events.stream(request, self._desk.events(job.id, events.last_heard(request)))

    async def picture(self, request: Request) -> Response:
        """A finished picture. It is one that we wrote: nothing else is ever sent as a picture."""
        path = self._desk.picture(request.path_params["name"])
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError:
            raise Unknown(f"the picture '{path.name}' is no longer in the folder; make it again.") from None
        named = {"Content-Disposition": f'inline; filename="{path.name}"'}
        return Response(content, headers=named, media_type="image/png")

    async def read(self, request: Request) -> Response:
        """What a picture says of how it was made, as fields of a request."""
        given = await bodies.fields(request)
        content = fields.picture("image", given.get("image"), self._desk.settings.limits.body_with_pictures)
        asked, notes = await self._desk.read(content)
        return answer({"asked": dict(asked), "notes": list(notes)})

    async def models(self, _: Request) -> Response:
        """What is known of the models that are served; the first is the default."""
        cards = [asdict(card) for card in self._known().cards]
        return answer({"models": cards, "limits": asdict(self._desk.settings.limits)})

    async def schedulers(self, _: Request) -> Response:
        """Schedulers by name, the grids that may follow one, and the programs whose values `compat` takes."""
        desk = self._known()
        rows = [{"name": name, **facts} for name, facts in desk.schedulers.items()]
        return answer({"schedulers": rows, "grids": desk.grids, "compat": fields.PROGRAMS})

    async def alive(self, _: Request) -> Response:
        """That this process answers."""
        return answer({"alive": True})

    async def ready(self, _: Request) -> Response:
        """Whether a job would be taken now."""
        return answer({"ready": self._desk.ready}, 200 if self._desk.ready else 503)

    def _known(self) -> Desk:
        if not self._desk.cards:
            raise Loading()
        return self._desk


def page() -> list[Route]:
    """The page's own files: those that the package has, under exactly these names."""
    folder = resources.files("unnoise.server").joinpath("page")
    served = {}
    for file in folder.iterdir():
        kind = _KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            served["/" if file.name == "index.html" else f"/page/{file.name}"] = (file.read_bytes(), kind)
    return [Route(path, _file(*content), methods=["GET"]) for path, content in sorted(served.items())]


def _file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)

    return send


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()):
        text = f"give an Idempotency-Key of 1 to {_KEY_LENGTH} plain characters."
        raise FieldError("Idempotency-Key", text)
    return key


async def _http(_: Request, error: HTTPException) -> Response:
    words = {404: "there is nothing at this address.", 405: "this address does not take that method."}
    code = "not_found" if error.status_code == 404 else "bad_request"
    message = words.get(error.status_code, error.detail)
    return refusal(error.status_code, code, message, headers=error.headers)


async def _bad_input(_: Request, error: InputError) -> Response:
    return refusal(400, "bad_input", str(error), getattr(error, "field", None))


async def _not_now(_: Request, error: NotNow) -> Response:
    return refusal(error.status, error.code, str(error), headers=error.headers)


async def _unknown(_: Request, error: Unknown) -> Response:
    return refusal(404, "not_found", str(error))


async def _unwritable(_: Request, error: FileError) -> Response:
    _log.error("%s", error)
    return refusal(500, "failed", "the server cannot write to its folder; its log says why.")


async def _fault(_: Request, __: Exception) -> Response:
    return refusal(500, "failed", "a fault of ours; the server's log says where.")
