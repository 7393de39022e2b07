"""What a run is told at each of its steps, by prompts that change while the picture is made."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence

from unnoise.checkpoints.model import Model
from unnoise.pipelines.guidance import Condition
from unnoise.pipelines.prompting import Embedder, Said
from unnoise.pipelines.request import Request
from unnoise.schedulers import Plan
from unnoise.text import Prompt

KEPT = 4
"""Conditions kept at once: alternating prompts need each again; keys and values of many would fill the memory."""


Told = tuple[tuple[Said, ...], tuple[Said, ...]]
"""What the negative prompts say at a step, and what the prompts do."""


def script(
    prompts: Sequence[Prompt], negatives: Sequence[Prompt], steps: int, past: int = 0, late: bool = False
) -> list[Told]:
    """What is told at each step.

    negatives: none, or one for each prompt. steps: of the run. past: of the first pass, for a second. late: as A1111's
    samplers, which count from 0 and so hear each step's words one too late, the first's twice.
    """

    def said(texts: Sequence[Prompt], step: int) -> tuple[Said, ...]:
        return tuple(prompt.at(max(step - late, 0), steps, past) for prompt in texts)

    if not any(prompt.changes for prompt in (*negatives, *prompts)):
        return [(said(negatives, 0), said(prompts, 0))] * steps
    return [(said(negatives, step), said(prompts, step)) for step in range(steps)]


class Telling:
    """What the network is told at each step. All texts are embedded at once, so what is to be noted is known early."""

    def __init__(self, model: Model, request: Request, plan: Plan, guided: bool, past: int = 0) -> None:
        """guided: whether the network is told the negative prompts too, before the prompts. past: as of `script`.

        With A1111's values its counting of prompts is kept as well: of network calls, and where a picture is entered
        midway of all steps, not of those that are made.
        """
        self._model, self._request, self._guided = model, request, guided
        self.by_calls = request.compat == "a1111"
        calls = round(len(plan.looks) / len(plan)) if self.by_calls else 1
        steps = calls * (request.steps if self.by_calls else len(plan))
        asked = self._guided or any(prompt.composed for prompt in request.said)
        unsaid = request.unsaid if asked else ()
        self._script = script(request.said, unsaid, steps, calls * past, self.by_calls)
        self._embedder = Embedder(model, request.prompt_style)
        self._kept: OrderedDict[Told, Condition] = OrderedDict()
        if model.towers:
            for without, said in dict.fromkeys(self._script):
                for phrase in itertools.chain(*without, *said):
                    self._embedder(phrase)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the prompts, each sentence once."""
        read = (*self._request.unsaid, *self._request.said)
        return tuple(
            dict.fromkeys((*(note for prompt in read for note in prompt.notes), *self._embedder.notes))
        )

    def at(self, step: int) -> Condition:
        """The condition of a step, or `by_calls` of a network call, counted from 0."""
        told = self._script[min(step, len(self._script) - 1)]
        condition = self._kept.pop(told, None)
        if condition is None:
            condition = self._condition(*told)
        self._kept[told] = condition  # the last is that of now
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return condition

    def _condition(self, unsaid: tuple[Said, ...], said: tuple[Said, ...]) -> Condition:
        size = self._request.height, self._request.width
        made = Condition.of(self._model, said, unsaid, size, self._embedder)
        # joined prompts lean on the negative ones; only their own answers are wanted
        if unsaid and not self._guided:
            made = made.rows(range(len(unsaid), len(unsaid) + len(said)))
        return made
