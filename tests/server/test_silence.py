"""A connection is there for requests: one without is cut, and one with is left alone however long it takes."""

import asyncio

import pytest

pytest.importorskip("uvicorn")

import uvicorn
from uvicorn.server import ServerState

from unnoise.server import silence

LOOK = 0.1


async def slow(scope, receive, send):
    await asyncio.sleep(10 * LOOK)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


def heard(monkeypatch, *sent):
    """All that a client is told until it is cut, when it says these bytes, each after half a look."""
    monkeypatch.setattr(silence, "_SILENCE", LOOK)
    config = uvicorn.Config(slow, http=silence.Connection, lifespan="off", timeout_keep_alive=3600)
    config.load()

    async def listen():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: silence.Connection(config, ServerState(), {}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in sent:
                if reader.at_eof():
                    break
                writer.write(part)
                await asyncio.sleep(LOOK / 2)
            try:
                return await asyncio.wait_for(reader.read(), 60)
            except ConnectionResetError:  # what was sent was not read any more
                return b""
            finally:
                writer.close()

    return asyncio.run(listen())


def test_who_says_nothing_is_cut(monkeypatch):
    assert heard(monkeypatch) == b""


def test_who_never_comes_to_the_end_of_the_headers_is_cut(monkeypatch):
    assert heard(monkeypatch, b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 1000) == b""


def test_who_asked_is_answered_however_long_that_takes_and_cut_later(monkeypatch):
    told = heard(monkeypatch, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 200 OK")
    assert told.endswith(b"done")
