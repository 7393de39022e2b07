"""Whose progress it is: the jobs of each client of A1111's API, by its address or by its own name of the task."""

from __future__ import annotations

import time
from dataclasses import dataclass

from unnoise.server.job import Event, Job, Seen
from unnoise.server.pictures import base64_of, data_address

_MOST = 256
Table = dict[str, object]


@dataclass(eq=False)
class Task:
    """A request that waits for its jobs, one after the other.

    id: the client's, "" where it gave none. job: that of now. parts: how many there are. before: how many are done.
    preview: PNG of the last one seen.
    """

    id: str
    client: str
    job: Job
    parts: int = 1
    before: int = 0
    seen: Seen | None = None
    preview: bytes = b""
    previews: int = 0
    interrupted: bool = False

    def see(self, event: Event) -> None:
        """Take note of what happened."""
        self.job = event.job
        if event.seen is not None:
            self.seen = event.seen
            if "x0" in event.seen.previews:
                self.preview, self.previews = event.seen.previews["x0"], self.previews + 1
        if self.job.over:
            self.preview = b""

    def go_on(self, job: Job) -> None:
        """The job is done, and this is the next."""
        self.job, self.before, self.seen = job, self.before + 1, None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.job.over and (self.job.state != "done" or self.before + 1 == self.parts)

    @property
    def progress(self) -> float:
        """From 0 to 1; as in A1111 more than 0 as soon as it runs."""
        return 1.0 if self.over else (self.before + self._own_progress) / self.parts

    @property
    def _own_progress(self) -> float:
        if self.job.state == "queued":
            return 0.0
        return 1.0 if self.job.over else min(0.01 + self.job.step / max(self.job.steps or 1, 1), 1.0)

    @property
    def eta(self) -> float | None:
        """Seconds that are left, by the speed so far; None before the first step."""
        seen = self.seen
        if seen is None:
            return None
        return seen.seconds / seen.index * (seen.steps * (self.parts - self.before) - seen.index)


class Tasks:
    """The tasks that are under way, and the last ones that ended."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def add(self, task: Task) -> None:
        """Keep it; the oldest are forgotten."""
        self._tasks = [*self._tasks[-_MOST + 1 :], task]

    def drop(self, task: Task) -> None:
        """Forget it."""
        self._tasks = [kept for kept in self._tasks if kept is not task]

    def named(self, id: str) -> Task | None:
        """The latest with this id of its client."""
        return next((task for task in reversed(self._tasks) if id and task.id == id), None)

    def of(self, client: str) -> Task | None:
        """The one that runs of this client's, else the first that waits."""
        own = [task for task in self._tasks if task.client == client and not task.over]
        return next((task for task in own if task.job.state == "running"), own[0] if own else None)


def of_client(task: Task | None, picture: bool) -> Table:
    """/sdapi/v1/progress. picture: whether the preview is sent."""
    shown = base64_of(task.preview) if task is not None and picture and task.preview else None
    return {
        "progress": 0.0 if task is None else task.progress,
        "eta_relative": 0.0 if task is None else task.eta or 0.0,
        "state": _state(task),
        "current_image": shown,
        "textinfo": None if task is None else _text(task),
    }


def of_task(task: Task | None, last: int) -> Table:
    """/internal/progress. last: number of the preview that the client has."""
    state = "" if task is None else task.job.state
    new = task is not None and bool(task.preview) and task.previews != last
    return {
        "active": state == "running",
        "queued": state == "queued",
        "paused": False,
        "completed": task is not None and task.over,
        "progress": None if task is None else task.progress,
        "eta": None if task is None else task.eta,
        "live_preview": data_address(task.preview) if task and new else None,
        "id_live_preview": -1 if task is None else task.previews,
        "textinfo": "Waiting..." if task is None else _text(task),
    }


def _state(task: Task | None) -> Table:
    job = None if task is None else task.job
    begun = None if job is None else job.begun or job.created
    return {
        "skipped": False,
        "interrupted": task is not None and task.interrupted,
        "stopping_generation": False,
        "job": "" if job is None else job.id,
        "job_count": 0 if task is None else task.parts,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(begun)) if begun else "0",
        "job_no": 0 if task is None else task.before,
        "sampling_step": 0 if job is None else job.step,
        "sampling_steps": 0 if job is None else job.steps or 0,
    }


def _text(task: Task) -> str | None:
    if task.job.state == "queued":
        return "Queued..." if task.job.place is None else f"Queued: {task.job.place} before it"
    return None
