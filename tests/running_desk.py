"""A desk with its real worker, for tests that are no coroutines."""

from __future__ import annotations

import asyncio

from unnoise.server import Desk, Settings

PATIENCE = 180  # seconds: a worker imports torch first, on a machine that may be busy


class RunningDesk:
    """Calls of a desk's coroutines, each run to its end: `running(desk.submit(...))`."""

    def __init__(self, folder, models=("digits", "emoji"), **settings):
        self.loop = asyncio.new_event_loop()
        self.desk = Desk(Settings(models=models, folder=folder, **settings))

    def __enter__(self):
        self(self.desk.start())
        self(self.desk.loaded())
        return self

    def __exit__(self, *_):
        self(self.desk.stop(0))
        self.loop.close()

    def __call__(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def submit(self, asked, client="", key=None):
        return self(self.desk.submit(asked, client, key))

    def cancel(self, id):
        """The job as it is then."""

        async def cancelled():
            return self.desk.cancel(id)

        return self(cancelled())

    def ended(self, id):
        """The job, when it has ended."""
        return self(self.told(id))[-1].job

    async def told(self, id, until=lambda event: False):
        """The job's events until it has ended, or until one that is waited for."""
        told = []
        async for event in self.desk.events(id):
            told.append(event)
            if until(event):
                break
        return told

    def first_step(self, id):
        """Wait until the job has made a step."""
        return self(self.told(id, lambda event: event.name == "step"))
