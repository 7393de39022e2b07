"""The front while it runs: uvicorn, what it logs, and how it ends.

The first SIGTERM or SIGINT lets the running job end and keeps what waits on disk; the second ends at once, and the job
that ran then begins again at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Mapping
from types import FrameType
from typing import Any

import uvicorn

from unnoise.server import address
from unnoise.server.app import application
from unnoise.server.desk import Desk
from unnoise.server.settings import Settings
from unnoise.server.silence import Connection

_log = logging.getLogger("unnoise.server")

_CONNECTIONS = 512
"""More are answered 503: a process may open 1024 files where nobody has changed that."""
_HEADERS = 32_768
"""Bytes of headers, at most."""
_GOODBYE = 2
"""Seconds that answers under way have once the desk is closed."""


def serve(settings: Settings, told: Callable[[str], None]) -> int:
    """Answer requests until a signal comes; returns the exit status. told: is given the address once we answer.

    Raises InputError and UnnoiseError where it cannot listen there, and what the worker meets with when it loads.
    """
    with address.listening(settings) as listens:
        _log_to_stderr()
        return asyncio.run(_Running(settings, listens, told).until_ended())


class _Server(uvicorn.Server):
    """uvicorn without its signals, telling when it has begun."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Running:
    def __init__(self, settings: Settings, listens: socket.socket, told: Callable[[str], None]) -> None:
        self._settings, self._listens = settings, listens
        self._told = lambda: told(address.url(listens))
        self._desk, self._ending = Desk(settings), asyncio.Event()
        self._guard = application(self._desk, address.rules(settings, listens))

    async def until_ended(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_fault)
        desk, server = self._desk, _Server(self._config(), self._told)
        with self._signals(loop):
            await desk.start()
            serving = asyncio.create_task(server.serve(sockets=[self._listens]))
            loading, asked = asyncio.create_task(desk.loaded()), asyncio.create_task(self._ending.wait())
            drain = 0.0
            try:
                await asyncio.wait({serving, loading, asked}, return_when=asyncio.FIRST_COMPLETED)
                if loading.done():
                    loading.result()  # raises what kept the model from being loaded
                await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
                drain = self._settings.drain
                _log.info("ending: the running job has %g s, the others stay in the queue", drain)
            finally:
                for task in (loading, asked):
                    task.cancel()
                await desk.stop(drain)
                self._guard.closed = True
                server.should_exit = True
                await serving
        return 0

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._guard,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_HEADERS,
            timeout_graceful_shutdown=_GOODBYE,
        )

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Generator[None, None, None]:
        def heard(number: int, _: FrameType | None) -> None:
            if self._ending.is_set():
                _leave(number)
            loop.call_soon_threadsafe(self._ending.set)

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _leave(number: int) -> None:
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(128 + number)


def _log_to_stderr() -> None:
    """Our lines, and faults of others without their words: uvicorn's and asyncio's may hold a prompt."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    _log.handlers[:], _log.propagate = [handler], False
    _log.setLevel(logging.INFO)
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _fault(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    _log.error("fault: %s (%s)", context["message"], type(context.get("exception")).__name__)
