"""The desk: takes jobs, keeps their order, has the worker make them, and tells who waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import string
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unnoise.checkpoints import find, is_foreign
from unnoise.errors import FileError, InputError
from unnoise.limits import counted
from unnoise.server.album import Album
from unnoise.server.asked import Asked
from unnoise.server.card import Card
from unnoise.server.entrance import Entrance
from unnoise.server.job import Event, Job, Problem, Seen
from unnoise.server.ledger import Ledger
from unnoise.server.messages import Answer, Begun, Cancel, Ended, Known, Read, Shape, Texts
from unnoise.server.past import Past
from unnoise.server.readers import Reader
from unnoise.server.refusals import Closing, FieldError, Full, Loading, Unknown
from unnoise.server.settings import Settings
from unnoise.server.shaping import Shaping
from unnoise.server.store import Store
from unnoise.server.workshop import Workshop

_log = logging.getLogger("unnoise.server")

_ATTEMPTS = 2
_READING = 16  # pictures at a time
_PATIENCE = 60.0  # seconds for what they say
_GRACE = 20.0  # seconds that a layer may take once nobody wants it; another worker is there about as soon
_LETTERS = string.ascii_letters + string.digits


class Desk:
    """The queue and the keeper of its worker. Its methods are called from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._album = Album(settings.folder / "images")
        self._store: Store
        self._ledger: Ledger
        self._workshop = Workshop(settings, self._heard, self._lost)
        self._entrance = Entrance(settings, self._workshop)
        self._running: str | None = None  # what the worker is busy with, even where nobody wants it any more
        self._past = Past()
        self._readers: dict[str, set[Reader]] = {}
        self._reading = 0
        self._closing = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._usual = 2.0  # seconds of a job

    async def start(self) -> None:
        """Open the store and begin the worker; jobs that an earlier process left are run. Returns at once.

        Raises InputError and CheckpointError for models that are not there, FileError where the folder cannot be used.
        """
        for source in self.settings.models:
            if not is_foreign(source):
                find(source)
        self._store = Store(self.settings.folder / "jobs.sqlite")
        self._ledger = Ledger(self._store)
        self._album.sweep()
        for job in self._ledger.take_up():
            self._again(job)
        self._trim(self.settings.keep)
        self._workshop.start()

    async def loaded(self) -> None:
        """Wait until the first model is loaded. Raises the UnnoiseError that the worker met with instead."""
        await self._workshop.loaded()

    async def stop(self, drain: float) -> None:
        """Take no new jobs, let the running one end within `drain` seconds, and end the worker.

        What waits, and what did not end in time, stays on disk for the next start.
        """
        self._closing = True
        self._hush([id for id in self._readers if id != self._running])  # nothing more happens to these here
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), drain)
        job = self._ledger.live(self._running)
        if job is not None:  # it did not crash: the attempt does not count
            self._ledger.put(replace(job, state="queued", attempt=job.attempt - 1, begun=None, step=0))
        self._hush(list(self._readers))  # while the store is open: whoever waits for a job may cancel it now
        await self._workshop.stop()
        self._store.close()

    def _hush(self, ids: list[str]) -> None:
        """End what those who follow these jobs hear."""
        for reader in [reader for id in ids for reader in self._readers.get(id, ())]:
            reader.close()

    @property
    def cards(self) -> tuple[Card, ...]:
        """Of the models that are served, the first the default; empty until the worker has told them."""
        return self._workshop.cards

    @property
    def schedulers(self) -> Mapping[str, Mapping[str, object]]:
        """By name, what `unnoise schedulers` tells of them; a grid may follow each name."""
        return self._workshop.schedulers

    @property
    def grids(self) -> tuple[str, ...]:
        """Names of grids."""
        return self._workshop.grids

    @property
    def ready(self) -> bool:
        """Whether a job would be taken now: the models are known, there is a place, and the server goes on."""
        if not self.cards or self._closing:
            return False
        return len(self._ledger.line) < self.settings.limits.queue

    async def submit(self, asked: Asked, client: str, key: str | None = None) -> Job:
        """Put a job into the queue. A key that this client gave before gives the job that it gave.

        client: whose part of the queue it takes; "" for one that may have all of it.
        Raises Full, Closing, Loading, FieldError for a scheduler or a LoRA that is not there and for a key that was
        given with another request, and FileError where the job cannot be kept.
        """
        if (known := self._taken(asked, client, key)) is not None:
            return known
        sound = await self._entrance.sound(asked)
        if (known := self._taken(asked, client, key)) is not None:  # others came while the worker was asked
            return known
        job = Job("".join(secrets.choice(_LETTERS) for _ in range(20)), sound, created=time.time())
        self._ledger.add(job, client, key)
        self._next()
        return self.job(job.id)

    def job(self, id: str) -> Job:
        """Where a job stands. Raises Unknown."""
        return self._ledger.get(id)

    def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """The latest jobs, newest first; those made before the job `before`. Raises Unknown."""
        return self._ledger.latest(limit, before)

    def cancel(self, id: str) -> Job:
        """End a job: where it waits at once, else within a layer; one that has ended stays.

        Raises Unknown.
        """
        job = self.job(id)
        if not job.over:
            if id == self._running:
                self._workshop.send(Cancel(id))
                asyncio.get_running_loop().call_later(_GRACE, self._insist, id)
            self._end(replace(job, state="cancelled"))
        return self.job(id)

    def forget(self, id: str) -> None:
        """Remove the record and the pictures of a job that has ended. Raises Unknown, InputError where it has not."""
        job = self.job(id)
        if not job.over:
            raise InputError(f"job '{id}' has not ended; cancel it first.")
        self._ledger.forget(id)
        self._let_go(job)

    def events(self, id: str, after: tuple[int, int] = (0, 0)) -> AsyncIterator[Event]:
        """Where the job stands now, the steps that were seen before, then what happens, until it has ended.

        Of one that has ended the steps come first, as far as they are kept. A reader too slow for new steps misses
        some, never the last event; where the desk closes before the job ends, there is none. after: attempt and step
        up to which nothing is told again. Raises Unknown.
        """
        self.job(id)
        return self._follow(id, after)

    def picture(self, name: str) -> Path:
        """The file of a picture of a job that is done. Raises Unknown."""
        id = Album.job_of(name)
        if id is not None and name in [made.name for made in self.job(id).images]:
            path = self._album.path(name)
            if path is not None:
                return path
        raise Unknown(f"there is no picture '{name[:40]}'.")

    async def read(self, picture: bytes) -> tuple[Mapping[str, object], tuple[str, ...]]:
        """The settings in a picture of ours or another program's, as fields of a request, and what cannot be honoured.

        Raises FieldError for a file that holds none, Full, and Loading before the worker has begun.
        """
        answer = await self._asked(partial(Read, picture=picture))
        return answer.fields, answer.notes

    async def texts(self, picture: bytes) -> Mapping[str, str]:
        """The texts in a picture by name. Raises FieldError for what is no picture, and as `read`."""
        answer = await self._asked(partial(Texts, picture=picture))
        return {name: str(text) for name, text in answer.fields.items()}

    async def shaped(self, asked: Asked, how: Shaping) -> Asked:
        """The request with its pictures in another shape. Raises FieldError for what is no picture, and as `read`."""
        if asked.init is None:
            return asked
        answer = await self._asked(partial(Shape, init=asked.init, mask=asked.mask, how=how))
        shaped: Mapping[str, Any] = answer.fields
        return replace(asked, **shaped)

    async def _asked(self, question: Callable[[int], object]) -> Answer:
        """What the worker makes of a picture. Raises FieldError, Full, and Loading before the worker has begun."""
        if self._reading >= _READING:
            raise Full("many pictures are being read; ask again.", 2)
        self._reading += 1
        try:
            answer = await self._workshop.ask(question, _PATIENCE)
        finally:
            self._reading -= 1
        if answer.problem is not None:
            raise FieldError(answer.problem.field or "image", answer.problem.message)
        return answer

    async def _follow(self, id: str, after: tuple[int, int]) -> AsyncIterator[Event]:
        job, reader = self.job(id), Reader()
        if after > (job.attempt, job.step):  # heard of a run before this one
            after = (0, 0)
        past = [
            step for step in self._past.of(id) if step.seen and (step.job.attempt, step.seen.index) > after
        ]
        now = Event(job.state, job)
        readers = self._readers.setdefault(id, set())
        readers.add(reader)
        try:
            for event in (*past, now) if job.over else (now, *past):
                yield event
            if job.over:
                return
            async for event in reader:
                yield event
        finally:
            readers.discard(reader)
            if not readers and self._readers.get(id) is readers:
                del self._readers[id]

    def _taken(self, asked: Asked, client: str, key: str | None) -> Job | None:
        """The job that the key gave already. Raises what `submit` raises where one more would not be taken."""
        if self._closing:
            raise Closing()
        if not self.cards:
            raise Loading()
        known = None if key is None else self._ledger.by_key(client, key)
        if known is None:
            self._entrance.check_places(self._ledger, client, max(1, round(self._usual)))
        elif other := asked.other_than(known.asked):
            text = f"this key was given with job '{known.id}', and {other} differs; give a new one."
            raise FieldError("Idempotency-Key", text)
        return known

    def _next(self) -> None:
        """Give the worker the next job, where it is free."""
        line = self._ledger.line
        while self._running is None and line and self._workshop.open and not self._closing:
            job = self.job(line.pop(0))
            job = replace(job, state="running", begun=time.time(), attempt=job.attempt + 1, step=0)
            try:
                whole = self._store.whole(job)
            except FileError as error:
                self._end(replace(job, state="failed", problem=Problem("failed", str(error))))
                continue
            self._running = job.id
            self._quiet.clear()
            self._ledger.put(job)
            self._workshop.send(whole)
            self._tell(Event("running", job))
            self._tell_places()

    def _heard(self, message: object) -> None:
        job = self._ledger.live(self._running)
        match message:
            case Known(cards):
                self._refuse_unknown({card.name for card in cards})
                self._next()
            case Begun(steps, notes) if job is not None:
                self._past.forget(job.id)
                # after steps of a run that memory did not suffice for, this one begins anew
                begun = time.time() if job.step else job.begun
                self._ledger.update(replace(job, begun=begun, step=0, steps=steps, notes=notes))
                self._tell(Event("running", self.job(job.id)))
            case Seen(index) if job is not None:
                step = Event("step", replace(job, step=index), message)
                self._ledger.update(step.job)
                self._past.keep(step)
                self._tell(step)
            case Ended():
                self._free()
                self._finish(message)
                self._next()

    def _finish(self, ended: Ended) -> None:
        job = self._ledger.live(ended.id)
        if job is None or not ended.images:
            self._album.remove_of(ended.id)
        for made in ended.images[:1]:
            self._workshop.told(job.asked.model if job else None, str(made.recipe["model_hash"]))
        if job is not None:
            state = "done" if ended.images else "failed"
            self._end(replace(job, state=state, images=ended.images, problem=ended.problem))

    def _lost(self) -> None:
        """The worker died."""
        job = self._ledger.live(self._running)
        if self._running is not None:
            self._album.remove_of(self._running)
        self._free()
        if job is not None:
            self._again(job)

    def _again(self, job: Job) -> None:
        """A job that was begun and never ended: it comes next, unless it has taken two workers with it."""
        if job.attempt < _ATTEMPTS:
            self._past.forget(job.id)
            self._ledger.line.insert(0, job.id)
            self._ledger.put(replace(job, state="queued", begun=None, step=0))
            self._tell_places()
        else:
            times = f"in the middle of this job {_ATTEMPTS} times"
            text = f"the worker ended {times}; ask for less, or see the server's log."
            self._end(replace(job, state="failed", problem=Problem("crashed", text)))

    def _insist(self, id: str) -> None:
        """A worker that does not leave a cancelled job is ended, and another begun."""
        if self._running == id:
            self._workshop.kill()

    def _refuse_unknown(self, names: set[str]) -> None:
        """Jobs of an earlier start, of models that are not served at this one."""
        for job in self._ledger.waiting():
            if job.asked.model not in names:
                text = f"model '{job.asked.model}' is not served now; this server has {', '.join(sorted(names))}."
                self._end(replace(job, state="failed", problem=Problem("bad_input", text, "model")))

    def _free(self) -> None:
        self._running = None
        self._quiet.set()

    def _end(self, job: Job) -> None:
        job = replace(job, place=None, ended=time.time())
        # before this one counts: it does not go as it ends, whatever its age
        self._trim(self.settings.keep - 1)
        self._ledger.put(job)
        if job.begun is not None and job.state == "done":
            self._usual += 0.3 * (time.time() - job.begun - self._usual)
        self._report(job)
        self._tell(Event(job.state, job))
        self._tell_places()

    def _report(self, job: Job) -> None:
        seconds = 0.0 if job.begun is None else time.time() - job.begun
        first = next(iter(job.images), None)
        size = "no picture" if first is None else f"{len(job.images)} x {first.size}"
        code = "" if job.problem is None else f" ({job.problem.code})"
        steps = counted(job.step, "step")
        _log.info("job %s %s%s: %s, %s, %.2f s", job.id, job.state, code, steps, size, seconds)
        if self.settings.log_prompts:
            _log.info("job %s prompt: %r", job.id, job.asked.prompt)

    def _tell(self, event: Event) -> None:
        for reader in self._readers.get(event.job.id, ()):
            reader.tell(event)

    def _tell_places(self) -> None:
        for id in self._ledger.line:
            if id in self._readers:
                self._tell(Event("queued", self.job(id)))

    def _trim(self, keep: int) -> None:
        """Let go of the oldest that have ended, where they are more than that."""
        try:
            gone = self._store.trim(keep)
        except FileError as error:
            _log.error("%s", error)
            return
        for job in gone:
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        self._past.forget(job.id)
        self._album.remove(job.images)
