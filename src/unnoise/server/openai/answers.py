"""What is answered: pictures in base64 or as addresses, whole or as a stream that begins with partial pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from unnoise.server import pictures
from unnoise.server.openai import failures
from unnoise.server.refusals import Closing
from unnoise.server.waiting import follow

if TYPE_CHECKING:
    from starlette.types import Receive

    from unnoise.server.desk import Desk
    from unnoise.server.job import Event, Job, Made
    from unnoise.server.openai.wanted import Wanted

Table = dict[str, object]

_USAGE: Table = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}
"""The client's types have it in every last event; nothing is counted here."""


class Answers:
    """The answers to one request.

    base: the server's own address, with a slash. event: what the events' names begin with, "image_generation" or
    "image_edit".
    """

    def __init__(self, desk: Desk, wanted: Wanted, base: str, event: str) -> None:
        self._desk, self._wanted, self._base, self._event = desk, wanted, base, event

    async def whole(self, job: Job) -> Table:
        """All pictures of a job that is done."""
        entries = []
        for made in job.images:
            if self._wanted.as_url:
                entries.append({"url": f"{self._base}api/images/{made.name}"})
            else:
                entries.append({"b64_json": await self._file(made)})
        form = {"background": "opaque", "output_format": self._wanted.kind, "size": job.images[0].size}
        return {"created": int(job.ended or 0), "data": entries, **form, "unnoise": self._more(job)}

    async def stream(self, job: Job, receive: Receive) -> AsyncIterator[str]:
        """The same as server-sent events, each picture an event, after the partial ones."""
        try:
            async with aclosing(follow(self._desk, job, receive)) as events:
                sent = 0
                async for event in events:
                    if event is None:
                        yield ": still here\n\n"
                        continue
                    if sent < self._wanted.partial and self._due(event, sent):
                        yield await self._partial(event, sent)
                        sent += 1
                    job = event.job
        except Closing as error:
            yield _event("error", failures.told(error))
        if job.state == "done":
            for made in job.images:
                yield await self._completed(job, made)
        elif job.over:
            yield _event("error", failures.ended(job, self._wanted.theirs)[1])

    def _due(self, event: Event, sent: int) -> bool:
        """Whether this step is far enough for the next partial picture; the last step's is the picture itself."""
        seen = event.seen
        if seen is None or "x0" not in seen.previews or seen.index >= seen.steps:
            return False
        return seen.index >= (sent + 1) * (seen.steps // (self._wanted.partial + 1))

    async def _partial(self, event: Event, sent: int) -> str:
        assert event.seen is not None
        shown = await asyncio.to_thread(self._recoded, event.seen.previews["x0"])
        return self._event_of(
            "partial_image",
            {
                "partial_image_index": sent,
                "b64_json": shown,
                "created_at": int(event.job.begun or event.job.created),
                "size": pictures.size_of(event.seen.previews["x0"]),
            },
        )

    async def _completed(self, job: Job, made: Made) -> str:
        told = {"b64_json": await self._file(made), "created_at": int(job.ended or 0), "usage": _USAGE}
        return self._event_of("completed", told | {"size": made.size, "unnoise": self._more(job)})

    def _event_of(self, name: str, told: Table) -> str:
        name = f"{self._event}.{name}"
        form: Table = {"type": name, "background": "opaque", "quality": "auto"}
        return _event(name, form | {"output_format": self._wanted.kind} | told)

    def _more(self, job: Job) -> Table:
        """What OpenAI's answers have no field for."""
        seeds = [made.seed for made in job.images]
        return {"job": job.id, "seeds": seeds, "notes": [*self._wanted.notes, *job.notes]}

    async def _file(self, made: Made) -> str:
        path = self._desk.picture(made.name)
        return await asyncio.to_thread(lambda: self._recoded(path.read_bytes()))

    def _recoded(self, content: bytes) -> str:
        return pictures.base64_of(pictures.recoded(content, self._wanted.kind, self._wanted.quality))


def _event(name: str, told: Table) -> str:
    return f"event: {name}\ndata: {json.dumps(told)}\n\n"
