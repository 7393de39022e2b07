"""The worker: a process that holds one model and makes one job's pictures at a time. It ends when the front is gone."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from unnoise.errors import UnnoiseError, out_of_memory
from unnoise.server.job import Job
from unnoise.server.messages import Answer, Cancel, Check, Known, Loaded, Read, Refused, Shape, Texts
from unnoise.server.settings import Settings

if TYPE_CHECKING:
    from unnoise.server.held import Held


def main(connection: Connection, settings: Settings, eager: bool) -> None:
    """The life of the process. eager: whether the first model is loaded before a job asks for it."""
    # Ctrl-C in a terminal and a service manager's SIGTERM reach both processes: when this one ends, the front says.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    Worker(connection, settings).work(eager)


class Worker:
    """The worker's end of the pipe. A thread listens all the time, so that a job can be left between two steps."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection, self._settings = connection, settings
        self._speaking = threading.Lock()
        self._jobs: queue.SimpleQueue[Job | Read] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._answers = ThreadPoolExecutor(max_workers=1)
        self._held: Held | None = None  # before it is there, nothing is asked
        threading.Thread(target=self._listen, daemon=True).start()

    def work(self, eager: bool) -> None:
        """Say what there is, then make what is asked for."""
        from unnoise.schedulers import names
        from unnoise.server.held import Held
        from unnoise.server.runs import Bench

        try:
            self._held = held = Held(self._settings)
            self._tell(
                Known(held.cards, {row.name: row.facts() for row in names.table()}, names.grid_names())
            )
            if eager:
                held.pipeline(held.cards[0].name)
                self._tell(Loaded())
        except Exception as error:
            if not isinstance(error, UnnoiseError | OSError) and not out_of_memory(error):
                raise
            self._tell(Refused(str(error) or "memory did not suffice for the model."))
            return
        bench = Bench(self._settings, held, self._tell, self._cancelled.__contains__)
        while True:
            asked = self._jobs.get()
            if isinstance(asked, Read):
                self._answer(asked, load=True)
            else:
                self._tell(bench.run(asked))
                self._cancelled.discard(asked.id)

    def _listen(self) -> None:
        try:
            while True:
                self._hear(self._connection.recv())
        except (EOFError, OSError):
            os._exit(0)  # without the front nobody wants what is being made

    def _hear(self, message: object) -> None:
        match message:
            case Job():
                self._jobs.put(message)
            case Cancel(id):
                self._cancelled.add(id)
            case Read() if self._held is None or self._held.pipe is None:
                self._jobs.put(message)
            case Read() | Check() | Texts() | Shape():
                self._answers.submit(self._answer, message)

    def _answer(self, question: Read | Check | Texts | Shape, load: bool = False) -> None:
        """load: whether a model may be loaded for that: not beside a job, which may be about to load its own."""
        from unnoise.server import reading
        from unnoise.server.problems import problem_of

        try:
            if not isinstance(question, Read):
                self._tell(Answer(question.number, _facts(question)))
                return
            assert self._held is not None
            pipe = self._held.pipe or (self._held.pipeline(self._held.cards[0].name) if load else None)
            if pipe is None:
                self._jobs.put(question)
                return
            made = reading.read(question.picture, pipe.model, self._held.cards, self._settings.loras)
            self._tell(Answer(question.number, *made))
        except Exception as error:
            self._tell(Answer(question.number, {}, problem=problem_of(error, self._settings.loras)))

    def _tell(self, message: object) -> None:
        with self._speaking:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(0)


def _facts(question: Check | Texts | Shape) -> Mapping[str, object]:
    """What can be said without a model. Raises InputError."""
    from unnoise.schedulers import names
    from unnoise.server import reshaping

    match question:
        case Texts(_, picture):
            return reshaping.texts(picture)
        case Shape(_, init, mask, how):
            return reshaping.reshaped(how, init, mask)
        case Check(_, scheduler, compat):
            names.get(scheduler, compat)
    return {}
