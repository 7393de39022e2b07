"""The workshop: a worker is always in it, another where one has died, and it answers questions."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from unnoise.errors import UnnoiseError
from unnoise.server.card import Card, with_hash
from unnoise.server.keeper import Keeper
from unnoise.server.messages import Answer, Known, Loaded, Refused
from unnoise.server.refusals import Loading
from unnoise.server.settings import Settings

_log = logging.getLogger("unnoise.server")

_TRIES = 3  # workers that die before the first model is loaded
_LONGEST = 60.0  # seconds between two workers, where one after the other dies at once


class Workshop:
    """The worker, whichever process it is now.

    heard: takes its messages on jobs. lost: is told that it died in the middle of whatever it did. cards,
    schedulers, grids: what the first worker told. open: whether there is one that takes jobs.
    """

    def __init__(self, settings: Settings, heard: Callable[[object], None], lost: Callable[[], None]) -> None:
        self._settings, self._heard, self._lost = settings, heard, lost
        self.cards: tuple[Card, ...] = ()
        self.schedulers: Mapping[str, Mapping[str, object]] = {}
        self.grids: tuple[str, ...] = ()
        self.open = False
        self._keeper: Keeper | None = None
        self._settled = asyncio.Event()
        self._trouble: UnnoiseError | None = None
        self._refused = ""
        self._early = 0
        self._closed = False
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Answer]] = {}

    def start(self) -> None:
        """Begin a worker."""
        if self._closed:
            return
        try:
            self._keeper = Keeper(self._settings, not self._settled.is_set(), self._hear, self._mourn)
        except OSError as error:
            self._refused = f"the system begins no worker: {error.strerror}."
            self._mourn(None)

    async def stop(self) -> None:
        """End it, and begin no other."""
        self._closed, self.open = True, False
        self.kill()
        if self._keeper is not None:
            await self._keeper.gone()

    async def loaded(self) -> None:
        """Wait for the first model. Raises the UnnoiseError that came instead."""
        await self._settled.wait()
        if self._trouble is not None:
            raise self._trouble

    def send(self, message: object) -> None:
        """Say something to the worker, where there is one."""
        if self._keeper is not None:
            self._keeper.send(message)

    def told(self, model: str | None, digest: str) -> None:
        """The hash of a model."""
        self.cards = with_hash(self.cards, model, digest)

    def kill(self) -> None:
        """End the worker as it is; another begins."""
        if self._keeper is not None:
            self._keeper.kill()

    async def ask(self, question: Callable[[int], object], patience: float) -> Answer:
        """What the worker answers. question: made with its number. Raises Loading where none comes in that time."""
        if not self.open:
            raise Loading()
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self.send(question(number))
        try:
            return await asyncio.wait_for(self._asked[number], patience)
        except (asyncio.TimeoutError, ConnectionError) as error:
            raise Loading("the worker did not answer; ask again.") from error
        finally:
            del self._asked[number]

    def _hear(self, message: object) -> None:
        match message:
            case Known(cards, schedulers, grids):
                told = {card.name: card.hash for card in self.cards}  # by an earlier worker
                self.cards = tuple(replace(card, hash=card.hash or told.get(card.name, "")) for card in cards)
                self.schedulers, self.grids = schedulers, grids
                self.open = True
                self._heard(message)
            case Loaded():
                self._settled.set()
            case Refused(text):
                self._refused = text
            case Answer(number):
                if (future := self._asked.get(number)) is not None and not future.done():
                    future.set_result(message)
            case _:
                self._early = 0
                self._heard(message)

    def _mourn(self, status: int | None) -> None:
        self.open = False
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionError())
        if self._closed:
            return
        self._early += 1
        reason = self._refused or f"the worker ended ({_ending(status)})"
        if not self._settled.is_set() and (self._refused or self._early >= _TRIES):
            self._trouble = UnnoiseError(reason)
            self._settled.set()
            return
        _log.error("%s", reason)
        self._refused = ""
        self._lost()
        delay = 0.0 if self._early <= 1 else min(2.0**self._early, _LONGEST)
        asyncio.get_running_loop().call_later(delay, self.start)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {-status}" + (", which the system sends when memory is short" if status == -9 else "")
    return f"status {status}"
