"""A request that lasts as long as its job: it hears what happens, and the client that goes away ends the job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from unnoise.errors import UnnoiseError
from unnoise.server.events import HEADERS, QUIET, heard
from unnoise.server.refusals import Closing

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from unnoise.server.desk import Desk
    from unnoise.server.job import Event, Job

_log = logging.getLogger("unnoise.server")


async def follow(desk: Desk, job: Job, receive: Receive) -> AsyncGenerator[Event | None, None]:
    """What happens to `job` until it has ended, or until its client goes away, which cancels it.

    receive: of the request, whose body was read already. None where nothing has happened for QUIET seconds. The last
    event is of a job that is over, unless the client went away. Raises Closing where the server ends before the job.
    """
    left = asyncio.ensure_future(_left(receive))
    over = False
    try:
        async with aclosing(heard(desk.events(job.id), QUIET, left)) as events:
            async for event in events:
                over = event is not None and event.job.over
                yield event
                if over:
                    return
        if not left.done():
            raise Closing()
    finally:
        left.cancel()
        if not over:
            _leave(desk, job.id)


async def outcome(
    desk: Desk, job: Job, receive: Receive, see: Callable[[Event], None] | None = None
) -> Job | None:
    """The job when it is over; None where its client went away first. see: is shown each event on the way.

    Raises Closing as `follow`.
    """
    last = job
    async with aclosing(follow(desk, job, receive)) as events:
        async for event in events:
            if event is not None:
                last = event.job
            if event is not None and see is not None:
                see(event)
    return last if last.over else None


class Stream(StreamingResponse):
    """An answer in server-sent events that lasts as long as its job, which ends with it.

    A client that is gone before the first event has no iterator that could tell: nobody ever asks `texts` then.
    """

    def __init__(self, desk: Desk, job: Job, texts: AsyncIterator[str]) -> None:
        super().__init__(texts, headers=HEADERS, media_type="text/event-stream")
        self._desk, self._job = desk, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and let go of the job."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            _leave(self._desk, self._job.id)


def client_of(request: Request) -> str:
    """By what clients are told apart: the address that a request came from."""
    return request.client.host if request.client else ""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _leave(desk: Desk, id: str) -> None:
    """Cancel the job, unless it is over."""
    try:
        desk.cancel(id)
    except UnnoiseError as error:  # a closed desk, a forgotten job: there is nobody left to tell
        _log.debug("job %s was not cancelled: %s", id, type(error).__name__)
