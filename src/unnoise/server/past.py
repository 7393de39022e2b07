"""The steps that were seen of the job that runs and of the last ones that ended, for who comes late to them."""

from __future__ import annotations

from dataclasses import replace

from unnoise.server.job import Event

_MOST = 64_000_000
"""Bytes of what is kept, most of them previews."""

_JOBS = 100
"""Jobs, which hold their prompts as well."""

_BARE = 2_000
"""Bytes of a step without its previews, about."""


class Past:
    """Steps by job, of _JOBS jobs, in at most `most` bytes.

    Where these do not suffice, the oldest jobs go first; one that is alone loses looks where they are densest, never
    its first and its last.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most, self._bytes = most, 0
        self._steps: dict[str, list[Event]] = {}

    def keep(self, step: Event) -> None:
        """The step that was made last."""
        self._steps.setdefault(step.job.id, []).append(step)
        self._bytes += _size(step)
        while len(self._steps) > (1 if self._bytes > self._most else _JOBS):
            self.forget(next(iter(self._steps)))
        while self._bytes > self._most and self._thin(self._steps[step.job.id]):
            pass

    def of(self, id: str) -> tuple[Event, ...]:
        """What is kept of this job."""
        return tuple(self._steps.get(id, ()))

    def forget(self, id: str) -> None:
        """Nothing more is told of it."""
        self._bytes -= sum(map(_size, self._steps.pop(id, ())))

    def _thin(self, steps: list[Event]) -> bool:
        """Let go of the look whose neighbours are nearest to each other; whether there was one between others."""
        looks = [place for place, step in enumerate(steps) if step.seen and step.seen.previews]
        near = zip(looks[:-2], looks[1:-1], looks[2:], strict=True)
        between = [(after - before, place) for before, place, after in near]
        if not between:
            return False
        place = min(between)[1]
        step = steps[place]
        assert step.seen is not None
        self._bytes -= _size(step) - _BARE
        steps[place] = replace(step, seen=replace(step.seen, previews={}))
        return True


def _size(step: Event) -> int:
    return _BARE + (0 if step.seen is None else sum(map(len, step.seen.previews.values())))
