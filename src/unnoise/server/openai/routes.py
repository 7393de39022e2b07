"""/v1/models, /v1/images/generations and /v1/images/edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from unnoise.server import bodies
from unnoise.server.answers import answer, guarded
from unnoise.server.card import Card, named
from unnoise.server.openai import failures, form
from unnoise.server.openai.answers import Answers
from unnoise.server.openai.wanted import Wanted, wanted
from unnoise.server.refusals import FieldError, Loading, NotServed
from unnoise.server.renamed import in_their_words
from unnoise.server.shaping import Shaping
from unnoise.server.waiting import Stream, client_of, outcome

if TYPE_CHECKING:
    from unnoise.server.asked import Asked
    from unnoise.server.desk import Desk


def routes(desk: Desk) -> list[BaseRoute]:
    """The routes, over this desk."""
    images = Images(desk)
    return [
        Route(path, guarded(handler, failures.refused), methods=[method])
        for method, path, handler in (
            ("GET", "/v1/models", images.models),
            ("GET", "/v1/models/{name:path}", images.model),
            ("POST", "/v1/images/generations", images.generate),
            ("POST", "/v1/images/edits", images.edit),
        )
    ]


class Images:
    """What answers each route."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def models(self, request: Request) -> Response:
        """The models that are served."""
        if not self._desk.cards:
            raise Loading()
        return answer({"object": "list", "data": [_model(card) for card in self._desk.cards]})

    async def model(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        card = named(self._desk.cards, name)
        if card is None:
            raise NotServed("model", f"there is no model {name[:80]!r} here.")
        return answer(_model(card))

    async def generate(self, request: Request) -> Response:
        """Pictures of a prompt."""
        return await self._make(request, await bodies.fields(request), "image_generation")

    async def edit(self, request: Request) -> Response:
        """Pictures from a picture, or with a mask anew where that is transparent."""
        given = form.fields(await request.body(), request.headers.get("content-type", ""))
        return await self._make(request, given, "image_edit")

    async def _make(self, request: Request, given: dict[str, object], event: str) -> Response:
        desk = self._desk
        want = wanted(given, desk.settings.limits, desk.cards)
        answers = Answers(desk, want, str(request.base_url), event)
        job = await desk.submit(await self._shaped(want), client_of(request))
        if want.stream:
            return Stream(desk, job, answers.stream(job, request.receive))
        done = await outcome(desk, job, request.receive)
        if done is None:
            return Response(status_code=499)  # the client is gone, and nobody reads this
        if done.state != "done":
            return failures.failed(done, want.theirs)
        return answer(await answers.whole(done))

    async def _shaped(self, want: Wanted) -> Asked:
        """What is asked, with a mask of ours for one of theirs, and both pictures of the size that is asked for."""
        asked = want.asked
        if asked.mask is None:
            return asked
        try:
            return await self._desk.shaped(asked, Shaping("transparent").sized(asked))
        except FieldError as error:
            raise in_their_words(error, want.theirs) from error


def _model(card: Card) -> dict[str, object]:
    return {"id": card.name, "object": "model", "created": 0, "owned_by": "unnoise"}
