"""The entrance: what is looked at before a job is taken, beside what `Asked.read` sees in the request itself."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace

from unnoise.checkpoints.adapters.asked import of_tag
from unnoise.errors import FileError, InputError
from unnoise.server.asked import Asked
from unnoise.server.ledger import Ledger
from unnoise.server.messages import Check
from unnoise.server.refusals import FieldError, Full, Loading
from unnoise.server.settings import Settings
from unnoise.server.workshop import Workshop
from unnoise.text.prompts import Prompt

_PATIENCE = 5.0  # seconds for the worker to say whether there is such a scheduler
_REMEMBERED = 10_000


class Entrance:
    """Looks at the queue, at the folder of LoRAs, and at what the worker knows."""

    def __init__(self, settings: Settings, workshop: Workshop) -> None:
        self._settings, self._workshop = settings, workshop
        self._named: set[tuple[str, str | None]] = set()  # schedulers that there are in these programs

    def check_places(self, ledger: Ledger, client: str, wait: int) -> None:
        """Raises Full where the queue, or this client's part of it, is full. wait: seconds to tell."""
        limits = self._settings.limits
        if len(ledger.line) >= limits.queue:
            raise Full(f"the queue is full: {limits.queue} jobs wait; ask again in {wait} s.", wait)
        if client and ledger.waiting_of(client) >= limits.each_client:
            raise Full(f"{limits.each_client} jobs of yours wait; ask again in {wait} s.", wait)

    async def sound(self, asked: Asked) -> Asked:
        """The same with its model's name and a seed.

        Raises FieldError for a model, a scheduler or a LoRA that is not there.
        """
        asked = replace(asked, model=asked.card(self._workshop.cards).name)
        self._check_loras(asked)
        await self._check_scheduler(asked.scheduler, asked.compat)
        if asked.seed in (None, -1):
            asked = replace(asked, seed=secrets.randbelow(2**32))
        return asked

    async def _check_scheduler(self, name: str | None, compat: str | None) -> None:
        if name is None or (name, compat) in self._named:
            return
        with contextlib.suppress(Loading):  # then the job itself is refused
            answer = await self._workshop.ask(lambda number: Check(number, name, compat), _PATIENCE)
            if answer.problem is not None:
                raise FieldError("scheduler", answer.problem.message)
            if len(self._named) < _REMEMBERED:
                self._named.add((name, compat))

    def _check_loras(self, asked: Asked) -> None:
        folder = self._settings.loras
        for tag in Prompt.read(asked.prompt, asked.prompt_style).loras:
            try:
                if folder is None:
                    raise InputError(f"the prompt asks for the LoRA '{tag.name}', and this server has none.")
                of_tag(tag).within(folder)
            except (InputError, FileError) as error:
                raise FieldError("prompt", str(error).replace(f" in '{folder}'", "")) from error
