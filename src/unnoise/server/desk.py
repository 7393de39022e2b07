"""The desk: takes jobs, keeps their order, has the worker make them, and tells who waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import string
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unnoise.checkpoints.adapters.asked import of_tag
from unnoise.errors import FileError, InputError
from unnoise.server.asked import Asked
from unnoise.server.card import Card
from unnoise.server.job import Event, Job, Problem, Seen
from unnoise.server.messages import Begun, Cancel, Check, Ended, Known, Read, Run, Saw, Shape, Texts
from unnoise.server.readers import Reader
from unnoise.server.refusals import Closing, FieldError, Full, Loading, Unknown
from unnoise.server.settings import Settings
from unnoise.server.shaping import Shaping
from unnoise.server.store import Store
from unnoise.server.workshop import Workshop
from unnoise.text.prompts import Prompt

_log = logging.getLogger("unnoise.server")

_ATTEMPTS = 2
_LETTERS = string.ascii_letters + string.digits
_PICTURE = re.compile(r"([A-Za-z0-9]{20})-\d{1,3}\.png")
_LEFT_BEHIND = re.compile(r"\.[A-Za-z0-9]{20}-\d{1,3}\.png\.tmp-[0-9a-f]{8}")


class Desk:
    """The queue and the keeper of its worker. Its methods are called from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._images = settings.folder / "images"
        self._store: Store
        self._workshop = Workshop(settings, self._heard, self._lost)
        self._live: dict[str, Job] = {}  # jobs that have not ended
        self._unsaved: dict[str, Job] = {}  # how jobs stand that the disk had no place for
        self._line: list[str] = []
        self._clients: dict[str, str] = {}
        self._running: str | None = None  # what the worker is busy with, even where nobody wants it any more
        self._seen: Seen | None = None
        self._readers: dict[str, set[Reader]] = {}
        self._closing = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._usual = 2.0  # seconds of a job

    async def start(self) -> None:
        """Open the store and begin the worker; jobs that an earlier process left are run. Returns at once.

        Raises FileError where the folder cannot be used.
        """
        self._store = Store(self.settings.folder / "jobs.sqlite")
        for left in self._images.glob(".*.tmp-*") if self._images.is_dir() else ():
            if _LEFT_BEHIND.fullmatch(left.name):
                left.unlink(missing_ok=True)
        for job, client in self._store.waiting():
            self._live[job.id], self._clients[job.id] = job, client
            if job.state == "running":
                self._again(job)
            else:
                self._line.append(job.id)
        self._workshop.start()

    async def loaded(self) -> None:
        """Wait until the first model is loaded. Raises the UnnoiseError that the worker met with instead."""
        await self._workshop.loaded()

    async def stop(self, drain: float) -> None:
        """Take no new jobs, let the running one end within `drain` seconds, and end the worker.

        What waits, and what did not end in time, stays on disk for the next start.
        """
        self._closing = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), drain)
        job = self._live.get(self._running or "")
        if job is not None:  # it did not crash: the attempt does not count
            self._save(replace(job, state="queued", attempt=job.attempt - 1, begun=None, step=0))
        await self._workshop.stop()
        for reader in [reader for readers in self._readers.values() for reader in readers]:
            reader.close()
        self._store.close()

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
        return bool(self.cards) and not self._closing and len(self._line) < self.settings.limits.queue

    async def submit(self, asked: Asked, client: str, key: str | None = None) -> Job:
        """Put a job into the queue. A key that this client gave before gives the job that it gave.

        client: whose part of the queue it takes; "" for one that may have all of it.
        Raises Full, Closing, Loading, FieldError for a scheduler or a LoRA that is not there, and FileError where the
        job cannot be kept.
        """
        self._check_open()
        if key is None or (known := self._store.by_key(client, key)) is None:
            asked = await self._sound(asked)
            self._check_open()  # others came while the worker was asked
            known = None if key is None else self._store.by_key(client, key)
        if known is not None:
            return self.job(known.id)
        self._check_places(client)
        job = Job("".join(secrets.choice(_LETTERS) for _ in range(20)), asked, created=time.time())
        self._store.add(job, client, key)
        job = replace(job, asked=replace(asked, init=None, mask=None))
        self._live[job.id], self._clients[job.id] = job, client
        self._line.append(job.id)
        self._next()
        return self.job(job.id)

    def job(self, id: str) -> Job:
        """Where a job stands. Raises Unknown."""
        job = self._live.get(id) or self._unsaved.get(id) or self._store.get(id)
        if job is None:
            raise Unknown(f"there is no job '{id[:40]}'; it was forgotten, or never was.")
        return replace(job, place=self._line.index(id)) if id in self._line else job

    def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """The latest jobs, newest first; those made before the job `before`. Raises Unknown."""
        if before is not None:
            self.job(before)
        return [self.job(job.id) for job in self._store.latest(limit, before)]

    async def cancel(self, id: str) -> Job:
        """End a job: at once where it waits, within a step where it runs; one that has ended stays as it is.

        Raises Unknown.
        """
        job = self.job(id)
        if not job.over:
            if id == self._running:
                self._workshop.send(Cancel(id))
            self._end(replace(job, state="cancelled"))
        return self.job(id)

    def forget(self, id: str) -> None:
        """Remove the record and the pictures of a job that has ended. Raises Unknown, InputError where it has not."""
        if not self.job(id).over:
            raise InputError(f"job '{id}' has not ended; cancel it first.")
        self._unsaved.pop(id, None)
        self._store.forget(id)
        self._remove_pictures(id)

    def events(self, id: str) -> AsyncIterator[Event]:
        """Where the job stands now, then what happens to it, until it has ended or the desk has closed.

        A reader too slow for its steps misses some, never the last event. Raises Unknown.
        """
        self.job(id)
        return self._follow(id)

    def picture(self, name: str) -> Path:
        """The file of a picture of a job that is done. Raises Unknown."""
        match = _PICTURE.fullmatch(name)
        job = None if match is None else self._unsaved.get(match[1]) or self._store.get(match[1])
        path = self._images / name
        if job is None or name not in [made.name for made in job.images] or not path.is_file():
            raise Unknown(f"there is no picture '{name[:40]}'.")
        return path

    async def read(self, picture: bytes) -> tuple[Mapping[str, object], tuple[str, ...]]:
        """The settings in a picture of ours or another program's, as fields of a request, and what cannot be honoured.

        Raises FieldError for a file that holds none, Full, and Loading before the worker has begun.
        """
        answer = await self._workshop.ask(lambda number: Read(number, picture))
        if answer.problem is not None:
            raise FieldError("image", answer.problem.message)
        return answer.fields, answer.notes

    async def texts(self, picture: bytes) -> Mapping[str, str]:
        """The texts in a picture by name. Raises FieldError for what is no picture, and as `read`."""
        return {name: str(text) for name, text in (await self._fact(partial(Texts, picture=picture))).items()}

    async def shaped(self, asked: Asked, how: Shaping) -> Asked:
        """The request with its pictures in another shape. Raises FieldError for what is no picture, and as `read`."""
        if asked.init is None:
            return asked
        question = partial(Shape, init=asked.init, mask=asked.mask, how=how)
        return replace(asked, **await self._fact(question))

    async def _fact(self, question: Callable[[int], object]) -> dict[str, Any]:
        answer = await self._workshop.ask(question)
        if answer.problem is not None:
            raise FieldError(answer.problem.field or "image", answer.problem.message)
        return dict(answer.fields)

    async def _follow(self, id: str) -> AsyncIterator[Event]:
        job, reader = self.job(id), Reader()
        readers = self._readers.setdefault(id, set())
        readers.add(reader)
        try:
            yield Event(job.state, job)
            if job.over:
                return
            if id == self._running and self._seen is not None:
                yield Event("step", job, self._seen)
            async for event in reader:
                yield event
        finally:
            readers.discard(reader)
            if not readers and self._readers.get(id) is readers:
                del self._readers[id]

    def _check_open(self) -> None:
        if self._closing:
            raise Closing("the server is about to end; ask again when it is back.")
        if not self.cards:
            raise Loading("the models are being loaded; ask again in a moment.")

    def _check_places(self, client: str) -> None:
        limits = self.settings.limits
        wait = max(1, round(self._usual))
        if len(self._line) >= limits.queue:
            raise Full(f"the queue is full: {limits.queue} jobs wait; ask again in {wait} s.", wait)
        if client and sum(self._clients[id] == client for id in self._line) >= limits.each_client:
            raise Full(f"{limits.each_client} jobs of yours wait; ask again in {wait} s.", wait)

    async def _sound(self, asked: Asked) -> Asked:
        """The same with its model's name and a seed, after what needs a look at files or at the worker's tables."""
        asked = replace(asked, model=asked.card(self.cards).name)
        self._check_loras(asked)
        if asked.scheduler is not None:
            with contextlib.suppress(Loading):  # then the job itself is refused
                answer = await self._workshop.ask(lambda number: Check(number, asked.scheduler, asked.compat))
                if answer.problem is not None:
                    raise FieldError("scheduler", answer.problem.message)
        if asked.seed in (None, -1):
            asked = replace(asked, seed=secrets.randbelow(2**32))
        return asked

    def _check_loras(self, asked: Asked) -> None:
        folder = self.settings.loras
        for tag in Prompt.read(asked.prompt, asked.prompt_style).loras:
            try:
                if folder is None:
                    raise InputError(f"the prompt asks for the LoRA '{tag.name}', and this server has none.")
                of_tag(tag).within(folder)
            except (InputError, FileError) as error:
                raise FieldError("prompt", str(error).replace(f" in '{folder}'", "")) from error

    def _next(self) -> None:
        """Give the worker the next job, where it is free."""
        while self._running is None and self._line and self._workshop.open and not self._closing:
            job = self._live[self._line.pop(0)]
            job = replace(job, state="running", begun=time.time(), attempt=job.attempt + 1, step=0)
            try:
                whole = self._store.whole(job)
            except FileError as error:
                self._end(replace(job, state="failed", problem=Problem("failed", str(error))))
                continue
            self._running, self._seen = job.id, None
            self._quiet.clear()
            self._update(job)
            self._save(job)
            self._workshop.send(Run(whole))
            self._tell(Event("running", job))
            for id in self._line:
                self._tell(Event("queued", self.job(id)))

    def _heard(self, message: object) -> None:
        match message:
            case Known(cards):
                self._refuse_unknown({card.name for card in cards})
                self._next()
            case Begun(id, steps, notes) if id in self._live:
                self._update(replace(self._live[id], steps=steps, notes=notes))
                self._tell(Event("running", self._live[id]))
            case Saw(id, seen) if id in self._live:
                self._update(replace(self._live[id], step=seen.index))
                kept = self._seen.previews if self._seen is not None else {}
                self._seen = replace(seen, previews=seen.previews or kept)
                self._tell(Event("step", self._live[id], seen))
            case Ended(id):
                self._free()
                self._finish(message)
                self._next()

    def _finish(self, ended: Ended) -> None:
        job = self._live.get(ended.id)
        if job is None or not ended.images:
            self._remove_pictures(ended.id)
        if job is None:
            return
        state = "done" if ended.images else "failed"
        problem = ended.problem if ended.images or ended.problem else Problem("failed", "the job was left.")
        self._end(replace(job, state=state, images=ended.images, problem=problem))

    def _lost(self, status: int | None) -> None:
        """The worker died."""
        job = self._live.get(self._running or "")
        if self._running is not None:
            self._remove_pictures(self._running)
        self._free()
        if job is not None:
            self._again(job)

    def _again(self, job: Job) -> None:
        """A job that was begun and never ended: it comes next, unless it has taken two workers with it."""
        if job.attempt < _ATTEMPTS:
            self._line.insert(0, job.id)
            self._update(replace(job, state="queued", begun=None, step=0))
            self._save(self._live[job.id])
            self._tell(Event("queued", self.job(job.id)))
        else:
            text = (
                f"the worker ended in the middle of this job {_ATTEMPTS} times; ask for less, or see the log."
            )
            self._end(replace(job, state="failed", problem=Problem("crashed", text)))

    def _refuse_unknown(self, names: set[str]) -> None:
        """Jobs of an earlier start, of models that are not served at this one."""
        for job in [self._live[id] for id in self._line]:
            if job.asked.model not in names:
                text = f"model '{job.asked.model}' is not served now; this server has {', '.join(sorted(names))}."
                self._end(replace(job, state="failed", problem=Problem("bad_input", text, "model")))

    def _free(self) -> None:
        self._running, self._seen = None, None
        self._quiet.set()

    def _update(self, job: Job) -> None:
        self._live[job.id] = job

    def _end(self, job: Job) -> None:
        if job.id in self._line:
            self._line.remove(job.id)
        job = replace(job, place=None, ended=time.time())
        self._live.pop(job.id, None)
        self._clients.pop(job.id, None)
        self._save(job)
        if job.begun is not None and job.state == "done" and job.ended is not None:
            self._usual += 0.3 * (job.ended - job.begun - self._usual)
        self._report(job)
        self._tell(Event(job.state, job))
        for id in self._line:
            self._tell(Event("queued", self.job(id)))

    def _save(self, job: Job) -> None:
        """Keep how a job stands; where the disk has no place, in memory until it has."""
        self._unsaved[job.id] = job
        for waiting in list(self._unsaved.values()):
            try:
                self._store.save(waiting)
            except FileError as error:
                _log.error("%s", error)
                return
            del self._unsaved[waiting.id]

    def _report(self, job: Job) -> None:
        seconds = (job.ended or 0.0) - (job.begun or job.ended or 0.0)
        sizes = (
            f"{len(job.images)} x {job.images[0].width}x{job.images[0].height}"
            if job.images
            else "no picture"
        )
        code = "" if job.problem is None else f" ({job.problem.code})"
        _log.info("job %s %s%s: %d steps, %s, %.2f s", job.id, job.state, code, job.step, sizes, seconds)
        if self.settings.log_prompts:
            _log.info("job %s prompt: %r", job.id, job.asked.prompt)

    def _tell(self, event: Event) -> None:
        for reader in self._readers.get(event.job.id, ()):
            reader.tell(event)

    def _remove_pictures(self, id: str) -> None:
        for path in self._images.glob(f"{id}-*.png"):
            path.unlink(missing_ok=True)
