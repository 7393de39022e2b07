"""Small pictures of the steps of a run, for as little of its time as they may take."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from unnoise import images

if TYPE_CHECKING:
    from unnoise.pipelines import Step

SHARE = 0.05
"""The most of a run's time that they take, but for the first and the last."""

SIDE = 256
"""The most pixels of a side."""


class Previews:
    """Which steps are looked at, and what is seen.

    every: steps from one look to the next, besides the first step and the last; 0: none. show: as
    `Step.preview(of=...)`. steps: of the run.
    """

    def __init__(self, every: int, show: Iterable[str], steps: int) -> None:
        self._every, self._show, self._steps = every, tuple(show), steps
        self._begun = time.monotonic()
        self._taken = 0.0
        self._first = True

    def of(self, step: Step, index: int) -> dict[str, bytes]:
        """PNG by what it shows; empty where this step is not looked at. index: of the step, from 1."""
        now = time.monotonic()
        if not self._due(index, now):
            return {}
        made = {what: _small(step, what) for what in self._show}
        if not self._first:  # which fits the look to the decoder, and warms up what writes files
            self._taken += time.monotonic() - now
        self._first = False
        return made

    def _due(self, index: int, now: float) -> bool:
        last = index == self._steps
        if not self._every or not self._show:
            return False
        if self._first or last:
            return True
        return index % self._every == 0 and self._taken <= SHARE * (now - self._begun)


def _small(step: Step, what: str) -> bytes:
    picture = step.preview(what)
    picture.thumbnail((SIDE, SIDE))
    return images.png_bytes(picture)
