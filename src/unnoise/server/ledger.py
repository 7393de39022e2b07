"""The ledger: where every job stands, those that have not ended in memory too, and the line of those that wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from unnoise.errors import FileError
from unnoise.server.job import Job
from unnoise.server.refusals import Unknown
from unnoise.server.store import Store

_log = logging.getLogger("unnoise.server")


class Ledger:
    """The jobs of a store. line: ids of those that wait, the next first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._live: dict[str, Job] = {}
        self._clients: dict[str, str] = {}
        self._unsaved: dict[str, Job] = {}  # how jobs stand that the disk had no place for
        self.line: list[str] = []

    def take_up(self) -> Iterator[Job]:
        """Jobs that an earlier process left; those that waited are in line, the others are the caller's."""
        for job, client in self._store.waiting():
            self._live[job.id], self._clients[job.id] = job, client
            if job.state == "queued":
                self.line.append(job.id)
            else:
                yield job

    def live(self, id: str | None) -> Job | None:
        """The job, if it has not ended."""
        return None if id is None else self._live.get(id)

    def get(self, id: str) -> Job:
        """The job, with its place in the line. Raises Unknown."""
        job = self._live.get(id) or self._unsaved.get(id) or self._store.get(id)
        if job is None:
            raise Unknown(f"there is no job '{id[:40]}'; it was forgotten, or never was.")
        return replace(job, place=self.line.index(id)) if id in self.line else job

    def latest(self, limit: int, before: str | None) -> list[Job]:
        """Jobs, the newest first; those that came before another. Raises Unknown."""
        if before is not None:
            self.get(before)
        known = self._live.keys() | self._unsaved.keys()
        return [self.get(job.id) if job.id in known else job for job in self._store.latest(limit, before)]

    def by_key(self, client: str, key: str) -> Job | None:
        """The job that this client gave this key."""
        job = self._store.by_key(client, key)
        return None if job is None else self.get(job.id)

    def waiting_of(self, client: str) -> int:
        """How many jobs of this client wait."""
        return sum(self._clients[id] == client for id in self.line)

    def waiting(self) -> list[Job]:
        """The jobs in line."""
        return [self.get(id) for id in self.line]

    def add(self, job: Job, client: str, key: str | None) -> None:
        """A new job, last in line. Its pictures are on the disk alone. Raises FileError."""
        self._store.add(job, client, key)
        self._live[job.id] = replace(job, asked=replace(job.asked, init=None, mask=None))
        self._clients[job.id] = client
        self.line.append(job.id)

    def update(self, job: Job) -> None:
        """How a job stands, in memory: of single steps the disk is not told."""
        self._live[job.id] = job

    def put(self, job: Job) -> None:
        """How a job stands, on the disk too; one that has ended leaves the line."""
        if job.over:
            self._live.pop(job.id, None)
            self._clients.pop(job.id, None)
            if job.id in self.line:
                self.line.remove(job.id)
        else:
            self._live[job.id] = job
        self._unsaved[job.id] = job
        for waiting in list(self._unsaved.values()):
            try:
                self._store.save(waiting)
            except FileError as error:
                _log.error("%s", error)
                return
            del self._unsaved[waiting.id]

    def forget(self, id: str) -> None:
        """Remove a job that has ended. Raises FileError."""
        self._store.forget(id)
        self._unsaved.pop(id, None)
