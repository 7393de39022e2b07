"""Clients that wait for their job in one request, and go away at the worst moments."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from unnoise.server import Card, Event, Job, Limits, Settings, openai

CARD = Card("digits", "unnoise", "", "text", 1, 8, 8, 20, 1.5, "DDIM", True)


class QuietDesk:
    """Takes every job, and none ever runs."""

    settings = Settings(models=("digits",), limits=Limits())
    cards = (CARD,)

    def __init__(self):
        self.jobs = {}

    async def submit(self, asked, client, key=None):
        self.jobs["a"] = Job("a", asked)
        return self.jobs["a"]

    def cancel(self, id):
        self.jobs[id] = replace(self.jobs[id], state="cancelled")
        return self.jobs[id]

    async def events(self, id):
        yield Event("queued", self.jobs[id])
        await asyncio.Event().wait()


async def leaves(desk, stream, hears):
    """Ask for a picture, and be gone before the job is: hears says how many messages of the answer still arrive."""
    body = json.dumps({"prompt": "a seven", "stream": stream}).encode()
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    gone = asyncio.Event()
    if not hears:
        gone.set()
    sent = []

    async def receive():
        if coming:
            return coming.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)
        if len(sent) >= hears:
            raise OSError("nobody listens")
        sent.append(message)
        if len(sent) >= hears:
            gone.set()

    path = "/v1/images/generations"
    (route,) = [route for route in openai.routes(desk) if route.path == path]
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("localhost", 80), "scheme": "http"}
    with contextlib.suppress(OSError):
        await route.app(scope, receive, send)


@pytest.mark.parametrize(("stream", "hears"), [(False, 0), (True, 0), (True, 1)])
def test_a_client_that_is_gone_ends_its_job_even_before_the_answer_has_begun(stream, hears):
    desk = QuietDesk()
    asyncio.run(asyncio.wait_for(leaves(desk, stream, hears), 30))
    assert desk.jobs["a"].state == "cancelled"
