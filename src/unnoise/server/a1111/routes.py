"""/sdapi/v1/... and /internal/progress."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from unnoise.server import bodies, card, fields
from unnoise.server.a1111 import answers, lists, png_info, tasks
from unnoise.server.a1111.settings import CHECKPOINT, DIGEST, named
from unnoise.server.a1111.tasks import Task, Tasks
from unnoise.server.a1111.wanted import THEIRS, Wanted, wanted
from unnoise.server.answers import Handler, answer, guarded
from unnoise.server.refusals import FieldError
from unnoise.server.renamed import in_their_words
from unnoise.server.waiting import client_of, outcome

if TYPE_CHECKING:
    from unnoise.server.asked import Asked
    from unnoise.server.card import Card
    from unnoise.server.desk import Desk
    from unnoise.server.job import Job

_ROOT = "/sdapi/v1"
_CLIENTS = 256


def routes(desk: Desk) -> list[BaseRoute]:
    """The routes, over this desk."""
    api = Api(desk)
    posts: dict[str, Handler] = {
        f"{_ROOT}/txt2img": partial(api.make, picture=False),
        f"{_ROOT}/img2img": partial(api.make, picture=True),
        f"{_ROOT}/interrupt": api.interrupt,
        f"{_ROOT}/skip": api.interrupt,
        f"{_ROOT}/png-info": api.png_info,
        f"{_ROOT}/options": api.choose,
        f"{_ROOT}/refresh-checkpoints": api.nothing,
        "/internal/progress": api.task,
    }
    gets: dict[str, Handler] = {f"{_ROOT}/progress": api.progress, f"{_ROOT}/options": api.options}
    gets |= {f"{_ROOT}/{name}": api.listing(made) for name, made in lists.LISTS.items()}
    return [
        Route(path, guarded(handler, answers.refused), methods=[method])
        for method, handlers in (("POST", posts), ("GET", gets))
        for path, handler in handlers.items()
    ]


class Api:
    """What answers each route. Tasks, and the model that a client has chosen, are known by its address."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._tasks = desk, Tasks()
        self._models: OrderedDict[str, str] = OrderedDict()

    async def make(self, request: Request, picture: bool) -> Response:
        """Pictures of a prompt, or from a picture."""
        desk, client, given = self._desk, client_of(request), await bodies.fields(request)
        limits, model = desk.settings.limits, self._models.get(client)
        # beside the loop: an infotext may be long, and is read with care
        want = await asyncio.to_thread(wanted, given, limits, desk.cards, picture, model)
        first, *rest = want.parts
        task = Task(want.task, client, await self._submitted(first, want, client), len(want.parts))
        self._tasks.add(task)
        try:
            ended = [await self._ended(task, request)]
            for asked in rest:
                if task.interrupted or task.job.state != "done":
                    break
                task.go_on(await self._submitted(asked, want, client))
                ended.append(await self._ended(task, request))
        finally:
            if not task.over:  # nobody tells it any more how its job goes on
                self._tasks.drop(task)
        jobs = [job for job, _ in ended if job is not None]
        if len(jobs) < len(ended):
            return Response(status_code=499)  # the client is gone, and nobody reads this
        if jobs[-1].state == "failed":
            return answers.failed(jobs[-1])
        contents = [content for _, pictures in ended for content in pictures]
        return answer(await answers.of_jobs(jobs, contents, want, given))

    async def _ended(self, task: Task, request: Request) -> tuple[Job | None, list[bytes]]:
        """The task's job when it is over, None where its client went away first, and its pictures.

        These are read at once: a job that ends later may be the one that they give place to.
        """
        if task.interrupted:  # while this job was being submitted
            self._desk.cancel(task.job.id)
        job = await outcome(self._desk, task.job, request.receive, task.see)
        return job, [] if job is None else await answers.pictures(self._desk, job)

    async def _submitted(self, asked: Asked, want: Wanted, client: str) -> Job:
        try:
            shaped = asked if want.shaping is None else await self._desk.shaped(asked, want.shaping)
            return await self._desk.submit(shaped, client)
        except FieldError as error:
            raise in_their_words(error, THEIRS) from error

    async def progress(self, request: Request) -> Response:
        """How far this client's job is, or the one that id_task names; no other's."""
        skip = request.query_params.get("skip_current_image", "").lower() in ("1", "true", "yes", "on")
        return answer(tasks.of_client(self._own(request), not skip))

    async def task(self, request: Request) -> Response:
        """How far the job is that the client calls id_task (its force_task_id)."""
        given = await bodies.fields(request)
        id, last = given.get("id_task"), given.get("id_live_preview", -1)
        task = self._tasks.named(id) if isinstance(id, str) else None
        return answer(tasks.of_task(task, last if isinstance(last, int) else -1))

    async def interrupt(self, request: Request) -> Response:
        """End this client's job, or the one that id_task names; no other's."""
        task = self._own(request)
        if task is not None and not task.over:
            task.interrupted = True
            self._desk.cancel(task.job.id)
        return answer({})

    async def png_info(self, request: Request) -> Response:
        """What a picture says of how it was made."""
        given = await bodies.fields(request)
        content = fields.picture("image", given.get("image"), self._desk.settings.limits.body_with_pictures)
        return answer(await asyncio.to_thread(png_info.told, await self._desk.texts(content)))

    async def options(self, request: Request) -> Response:
        """The settings that requests may override, as they stand for this client."""
        return answer(lists.options(self._card(request)))

    async def choose(self, request: Request) -> Response:
        """Choose the model of this client's requests that name none. Settings that stay as they are may be sent too."""
        given, stands = await bodies.fields(request), lists.options(self._card(request))
        for name, value in given.items():
            if name not in (CHECKPOINT, DIGEST) and (name not in stands or value != stands[name]):
                raise FieldError(
                    name[:80],
                    f"{name[:80]!r} cannot be set over HTTP; {CHECKPOINT} alone can, and overrides.",
                )
        if given.get(CHECKPOINT) is not None:
            client = client_of(request)
            self._models[client] = named(given[CHECKPOINT], self._desk.cards)
            self._models.move_to_end(client)
            while len(self._models) > _CLIENTS:
                self._models.popitem(last=False)
        return answer(None)

    def _card(self, request: Request) -> Card | None:
        """Of the model that this client has chosen, else of the first; None while none is known."""
        return card.named(self._desk.cards, self._models.get(client_of(request)))

    async def nothing(self, request: Request) -> Response:
        """What need not be done: the models are those of the start."""
        return answer(None)

    def listing(self, made: Callable[[Desk], object]) -> Handler:
        """A route that answers with what `made` lists."""

        async def listed(_: Request) -> Response:
            return answer(await asyncio.to_thread(made, self._desk))

        return listed

    def _own(self, request: Request) -> Task | None:
        id = request.query_params.get("id_task")
        return self._tasks.of(client_of(request)) if id is None else self._tasks.named(id)
