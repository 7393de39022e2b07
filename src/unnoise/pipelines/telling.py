"""The condition of each step of a run, for prompts that change while the picture is made."""

from __future__ import annotations

from collections import OrderedDict

from unnoise.checkpoints.model import Model
from unnoise.pipelines.guidance import Condition
from unnoise.pipelines.prompting import Embedder, Said, Script
from unnoise.pipelines.request import Request

KEPT = 4
"""Conditions kept at once: alternating prompts need each again; keys and values of many would fill the memory."""


class Telling:
    """What the network is told at each step. All texts are embedded at once, so what is to be noted is known early."""

    def __init__(self, model: Model, request: Request, steps: int, guided: bool, past: int = 0) -> None:
        """guided: whether the network is told the negative prompts too, before the prompts. past: as of `Script`."""
        self._model, self._request, self._guided = model, request, guided
        asked = self._guided or any(prompt.composed for prompt in request.said)
        self._script = Script(request.said, request.unsaid if asked else (), steps, past)
        self._embedder = Embedder(model, request.prompt_style)
        self._kept: OrderedDict[int, Condition] = OrderedDict()
        if model.towers:
            for phrase in self._script.phrases:
                self._embedder(phrase)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the prompts, each sentence once."""
        read = (*self._request.unsaid, *self._request.said)
        return tuple(
            dict.fromkeys((*(note for prompt in read for note in prompt.notes), *self._embedder.notes))
        )

    def at(self, step: int) -> Condition:
        """The condition of a step, counted from 0."""
        moment = self._script.moment(step)
        if moment not in self._kept:
            self._kept[moment] = self._condition(*self._script.said(moment))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(moment)
        return self._kept[moment]

    def _condition(self, unsaid: tuple[Said, ...], said: tuple[Said, ...]) -> Condition:
        size = self._request.height, self._request.width
        made = Condition.of(self._model, said, unsaid, size, self._embedder)
        # joined prompts lean on the negative ones; only their own answers are wanted
        if unsaid and not self._guided:
            made = made.rows(range(len(unsaid), len(unsaid) + len(said)))
        return made
