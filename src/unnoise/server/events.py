"""What happens to a job, as a stream of server-sent events (WHATWG HTML, "Server-sent events")."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from unnoise.server.answers import of_event
from unnoise.server.job import Event

QUIET = 15.0
"""Seconds without an event after which a comment is sent: proxies close what is silent for a minute."""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx hands each event on at once then."""

_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def last_heard(request: Request) -> tuple[int, int]:
    """Attempt and step that a client heard last, before it was cut off: of the id of an event, which it sends back."""
    found = _ID.fullmatch(request.headers.get("last-event-id", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def stream(request: Request, found: AsyncIterator[Event]) -> Response:
    """The answer that tells these events while they come. A client that goes away ends the stream, and no job."""
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type="text/event-stream")
    return StreamingResponse(_texts(found), headers=HEADERS, media_type="text/event-stream")


def text(event: Event) -> str:
    """One event as it goes over the line."""
    id = f"id: {event.job.attempt}-{event.seen.index}\n" if event.seen else ""
    return f"event: {event.name}\n{id}data: {json.dumps(of_event(event), allow_nan=False)}\n\n"


async def _texts(found: AsyncIterator[Event]) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"  # milliseconds after which a browser asks again, when the server was away
    async for event in heard(found, QUIET):
        yield ": still here\n\n" if event is None else text(event)


async def heard(
    found: AsyncIterator[Event], quiet: float, until: asyncio.Future[None] | None = None
) -> AsyncGenerator[Event | None, None]:
    """These events, and None whenever none came for `quiet` seconds; none any more once `until` is done."""
    coming: asyncio.Future[Any] = asyncio.ensure_future(anext(found, None))
    try:
        while True:
            watched = (coming,) if until is None else (coming, until)
            done, _ = await asyncio.wait(watched, timeout=quiet, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield None
            elif coming not in done or (event := coming.result()) is None:
                return
            else:
                yield event
                coming = asyncio.ensure_future(anext(found, None))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await coming
