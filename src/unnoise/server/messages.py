"""What the front and the worker say to each other over their pipe.

Beside these a `Job` goes to the worker, which makes its pictures, and a `Seen` comes from it for each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unnoise.server.card import Card
from unnoise.server.job import Made, Problem
from unnoise.server.shaping import Shaping


@dataclass(frozen=True)
class Cancel:
    """To the worker: leave this job, if it is the one that runs."""

    id: str


@dataclass(frozen=True)
class Check:
    """To the worker: whether there is such a scheduler. number: of the question, which the answer repeats."""

    number: int
    scheduler: str
    compat: str | None


@dataclass(frozen=True)
class Read:
    """To the worker: what a picture says of itself."""

    number: int
    picture: bytes


@dataclass(frozen=True)
class Texts:
    """To the worker: the texts in a picture."""

    number: int
    picture: bytes


@dataclass(frozen=True)
class Shape:
    """To the worker: a picture and its mask in another shape."""

    number: int
    init: bytes
    mask: bytes | None
    how: Shaping


@dataclass(frozen=True)
class Known:
    """From the worker: the models that it can make pictures with, and schedulers by name, and the names of grids."""

    cards: tuple[Card, ...]
    schedulers: Mapping[str, Mapping[str, object]]
    grids: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """From the worker: the first model is in memory."""


@dataclass(frozen=True)
class Refused:
    """From the worker, its last word: the models that it was started with cannot be served."""

    message: str


@dataclass(frozen=True)
class Begun:
    """From the worker: the job that runs has so many steps, and its notes."""

    steps: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """From the worker: the job is done (`images`), failed (`problem`), or was left (neither)."""

    id: str
    images: tuple[Made, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True)
class Answer:
    """From the worker: fields and notes for a `Read`, names and values for others, or what is wrong."""

    number: int
    fields: Mapping[str, object]
    notes: tuple[str, ...] = ()
    problem: Problem | None = None
