"""The worker's process as the front sees it: begun, spoken to, listened to, and mourned."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from unnoise.server import worker
from unnoise.server.settings import Settings

_FAREWELL = 10.0  # seconds to end once the pipe has


class Keeper:
    """One process of the worker. `heard` is called in the event loop with each of its messages, `lost` when it is gone.

    lost: takes its exit status, negative for a signal. Two threads move what is said, so that a worker that does not
    listen never stops the loop.
    """

    def __init__(
        self,
        settings: Settings,
        eager: bool,
        heard: Callable[[object], None],
        lost: Callable[[int | None], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._loop = asyncio.get_running_loop()
        self._heard, self._lost = heard, lost
        self._gone = asyncio.Event()
        self._ours, theirs = context.Pipe()
        self._said: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.process = context.Process(
            target=worker.main, args=(theirs, replace(settings, token=""), eager), name="unnoise worker"
        )
        with _without_interrupts(), _without_names_of_this_folder():
            self.process.start()
        theirs.close()
        # the interpreter waits for its children as it ends, and this one waits for our end of the pipe
        atexit.register(self.kill)
        for work in (self._listen, self._speak):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: object) -> None:
        """Say something; returns at once."""
        self._said.put(message)

    def kill(self) -> None:
        """End it now; nothing in it is worth keeping."""
        atexit.unregister(self.kill)
        with contextlib.suppress(ValueError):  # closed already
            self.process.kill()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._gone.wait()

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # the end of the pipe, or what nobody can read
            while True:
                self._tell(self._heard, self._ours.recv())
        self._said.put(None)
        self.process.join(_FAREWELL)
        self.process.kill()
        self.process.join()
        atexit.unregister(self.kill)
        self._tell(self._mourn, self.process.exitcode)

    def _mourn(self, status: int | None) -> None:
        self._gone.set()
        self._lost(status)

    def _tell(self, to: Callable[..., None], what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to hear
            self._loop.call_soon_threadsafe(to, what)

    def _speak(self) -> None:
        with contextlib.suppress(OSError):
            while (message := self._said.get()) is not None:
                self._ours.send(message)


@contextlib.contextmanager
def _without_names_of_this_folder() -> Iterator[None]:
    """A process that is begun here looks for its modules where this one does; a random.py of this folder is none."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH") if before is None else os.environ.update(PYTHONSAFEPATH=before)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is begun here does not hear Ctrl-C, which a terminal sends to all, before it can say so itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
