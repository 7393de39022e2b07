"""The desk: takes jobs, keeps their order, has the worker make them, and tells who waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from unnoise.server.asked import Asked
from unnoise.server.card import Card
from unnoise.server.job import Event, Job
from unnoise.server.settings import Settings


class Desk:
    """The queue and the keeper of its worker. Its methods are called from one event loop.

    cards: of the models that are served, the first the default; empty until the worker has told them. schedulers: the
    names that it knows.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cards: tuple[Card, ...] = ()
        self.schedulers: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether a job would be taken now: the models are known, there is a place, and the server goes on."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open the store and begin the worker; jobs that an earlier process left are run. Returns at once."""
        raise NotImplementedError

    async def loaded(self) -> None:
        """Wait until the first model is loaded. Raises the UnnoiseError that the worker met with instead."""
        raise NotImplementedError

    async def stop(self, drain: float) -> None:
        """Take no new jobs, let the running one end within `drain` seconds, and end the worker.

        What waits, and what did not end in time, stays on disk for the next start.
        """
        raise NotImplementedError

    async def submit(self, asked: Asked, client: str, key: str | None = None) -> Job:
        """Put a job into the queue. A key that was given before gives the job that it gave.

        Raises Full, Closing, Loading, and FieldError for a LoRA that is not in the folder.
        """
        raise NotImplementedError

    def job(self, id: str) -> Job:
        """Where a job stands. Raises Unknown."""
        raise NotImplementedError

    def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """The latest jobs, newest first; those made before the job `before`. Raises Unknown."""
        raise NotImplementedError

    async def cancel(self, id: str) -> Job:
        """End a job: at once where it waits, within a step where it runs; one that has ended stays as it is.

        Raises Unknown.
        """
        raise NotImplementedError

    def forget(self, id: str) -> None:
        """Remove the record and the pictures of a job that has ended. Raises Unknown, InputError where it has not."""
        raise NotImplementedError

    def events(self, id: str) -> AsyncIterator[Event]:
        """Where the job stands now, then what happens to it, until it has ended.

        A reader too slow for its steps misses some, never the last event. Raises Unknown.
        """
        raise NotImplementedError

    def picture(self, name: str) -> Path:
        """The file of a picture of a job that is done. Raises Unknown."""
        raise NotImplementedError

    async def read(self, picture: bytes) -> tuple[Mapping[str, object], tuple[str, ...]]:
        """The settings in a picture of ours or another program's, as fields of a request, and what cannot be honoured.

        Raises InputError for a file that holds none, Loading before the worker has begun.
        """
        raise NotImplementedError
