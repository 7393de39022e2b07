"""A job and what is seen of it: values that the front, the store and the worker share. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unnoise.server.asked import Asked

ENDED = frozenset(("done", "failed", "cancelled"))


@dataclass(frozen=True)
class Made:
    """A picture that a job made. name: of its file, such as "ID-0.png". recipe: as in the file."""

    name: str
    recipe: Mapping[str, Any]
    seed: int
    width: int
    height: int

    @property
    def size(self) -> str:
        """Width and height as people write them: "512x512"."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Problem:
    """Why a job failed.

    code: "bad_input" (then `field` may name what of the request), "non_finite", "out_of_memory", "crashed" (the worker
    ended twice in the middle of it) or "failed". message: a sentence for people.
    """

    code: str
    message: str
    field: str | None = None


@dataclass(frozen=True)
class Job:
    """Where a job stands.

    state: "queued", "running", "done", "failed" or "cancelled". place: in the queue, 0 the next; None once it runs.
    created, begun, ended: seconds since 1970; begun is that of the last run, which tells its steps from those of runs
    before it. attempt: how often a worker was given it; where memory does not suffice, one attempt has a second run.
    step: how many are made, of `steps` (None: not known yet). images: of a job that is done. notes: what a person
    should know of the prompts.
    """

    id: str
    asked: Asked
    state: str = "queued"
    place: int | None = None
    created: float = 0.0
    begun: float | None = None
    ended: float | None = None
    attempt: int = 0
    step: int = 0
    steps: int | None = None
    images: tuple[Made, ...] = ()
    notes: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED


@dataclass(frozen=True)
class Seen:
    """A step as it was seen.

    index: from 1. sigma, alpha, log_snr: of the level at which the network was asked, so that the sample of the
    previews is alpha x0 + sigma noise. seconds: since the run began. previews: PNG by what it shows, "x0", "sample" or
    "noise".
    """

    index: int
    steps: int
    sigma: float
    alpha: float
    log_snr: float
    seconds: float
    previews: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job. name: "queued", "running", "step", "done", "failed" or "cancelled"."""

    name: str
    job: Job
    seen: Seen | None = None
