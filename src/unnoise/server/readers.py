"""Who waits for news of a job: each reads at a pace of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from unnoise.server.job import Event

_KEPT = 8
"""Steps that wait for a slow reader; with more the oldest without previews is dropped, else the oldest."""


class Reader:
    """One who waits. What is told while it is busy is kept, of steps those with previews and the latest."""

    def __init__(self) -> None:
        self._told: deque[Event] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def tell(self, event: Event) -> None:
        """Something happened."""
        steps = [kept for kept in self._told if kept.name == "step"]
        if event.name == "step" and len(steps) >= _KEPT:
            bare = (step for step in steps if step.seen and not step.seen.previews)
            self._told.remove(next(bare, steps[0]))
        self._told.append(event)
        self._news.set()

    def close(self) -> None:
        """Nothing more will be told."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """What was told, in its order, until the job has ended or the desk has closed."""
        while True:
            while self._told:
                event = self._told.popleft()
                yield event
                if event.job.over:
                    return
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()
