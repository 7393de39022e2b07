"""Classifier-free guidance: the network asked twice, with the prompt and without, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import shown
from unnoise.networks.unet import Reusing, TextMemory, UNet
from unnoise.pipelines.combining import Asked, Guidance, Scale
from unnoise.pipelines.composing import Mix
from unnoise.pipelines.prompting import Embedder, Said, phrases_of, stacked

SCORES = (2.5, 6.0)
"""Of negative prompts and of prompts: what the refiner of Stable Diffusion XL is told of a picture's beauty."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What the network is told beside x and its level, for a batch of prompts; computed once, before the loop.

    text: keys and values of every cross-attention, or None. pooled: (batch, width), or None. mix: where
    prompts are of several phrases, how the answers become one for each prompt; `text` and `pooled` then are of the
    phrases.
    """

    text: TextMemory | None
    pooled: Tensor | None
    mix: Mix | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        prompts: Sequence[str | Said],
        negatives: Sequence[str | Said] = (),
        size: tuple[int, int] = (0, 0),
        embedder: Embedder | None = None,
    ) -> Condition:
        """The condition of the negative prompts, then of the prompts.

        A text is meant as it stands; for weights and AND give what `text.Prompt.at` says. size: height and width of the
        picture in pixels, which Stable Diffusion XL is told; its base model was also trained with zeros for no text, so
        there an empty negative prompt is zeros. embedder: what has been embedded before.
        """
        if not model.towers:
            return cls(None, None)
        embedder = Embedder(model) if embedder is None else embedder
        said = [phrases_of(prompt) for prompt in prompts]
        unsaid = [phrase for prompt in negatives for phrase in phrases_of(prompt)]
        rows = [embedder(phrase) for phrase in (*unsaid, *(phrase for phrases in said for phrase in phrases))]
        heard, sizes = stacked(rows), None
        if model.size_ids:
            sizes = _sizes(model, size, len(unsaid), len(rows))
            if model.more_text:
                empty = [place for place, phrase in enumerate(unsaid) if not phrase.text]
                heard.hidden[empty] = 0
                heard.pooled[empty] = 0
        told = model.conditioning(heard, sizes)
        return cls(
            text=model.network.remember(told["text"], told.get("text_mask")) if "text" in told else None,
            pooled=told.get("pooled"),
            mix=Mix.of(len(unsaid), said),
        )

    @property
    def answers(self) -> int:
        """How many answers `ask` gives: one for each negative prompt and each prompt."""
        if self.mix is not None:
            return len(self.mix.shares)
        known = self.pooled if self.text is None else self.text.layers[0][0]
        return 0 if known is None else len(known)

    def rows(self, places: Sequence[int]) -> Condition:
        """The condition of these prompts alone, in this order, the negative ones counted first."""
        mix, asked = (None, list(places)) if self.mix is None else self.mix.rows(places)
        memory = self.text
        if memory is not None:
            layers = tuple((keys[asked], values[asked]) for keys, values in memory.layers)
            memory = TextMemory(layers, None if memory.mask is None else memory.mask[asked])
        return replace(self, text=memory, pooled=None if self.pooled is None else self.pooled[asked], mix=mix)

    def ask(self, network: UNet, x: Tensor, time: Tensor) -> Tensor:
        """The network's answers (prompts, out channels, height, width); x: (prompts, ...), time: (prompts,)."""
        if self.mix is None:
            return network(x, time, text=self.text, pooled=self.pooled).sample  # type: ignore[no-any-return]
        spread, times = self.mix.spread(x), self.mix.spread(time)
        return self.mix.join(network(spread, times, text=self.text, pooled=self.pooled).sample)


def _sizes(model: Model, size: tuple[int, int], unsaid: int, rows: int) -> Tensor:
    """What each of so many rows is told of its size: the whole of it, cut at the corner, and the size again.

    The refiner is told a score of beauty instead of the last, another where the negative prompts stand.
    """
    ugly, beautiful = SCORES
    last = [size, size] if model.more_text else [(ugly,), (beautiful,)]
    told = [[*size, 0.0, 0.0, *last[row >= unsaid]] for row in range(rows)]
    return torch.tensor(told, dtype=torch.float32, device="cpu")


class Halves(NamedTuple):
    """sample: the guided output. without: the network's output without the prompt."""

    sample: Tensor
    without: Tensor


@dataclass(frozen=True, eq=False)
class Guided:
    """A network with guidance, as a callable (x, time) that a Diffuser takes; one for each run.

    guidance: a number g, for without + g (with - without), or a `Guidance`. At scale 1, and where the guidance skips,
    the half without a prompt is not computed. Because noise, velocity and x0 are affine in one another with
    coefficients that sum alike, guiding the output guides them all. A learned variance is taken as the prompt gives it.

    condition: at scale 1 of the batch's prompts; else of its negative prompts, then its prompts. beside: (batch, more
    channels, height, width), what the network sees beside x. memory: what the guidance remembers. both: give the half
    without the prompt too, whatever the guidance; `condition` then has the negative prompts.
    """

    network: UNet
    condition: Condition
    guidance: float | Guidance
    beside: Tensor | None = None
    memory: list[Tensor] = field(default_factory=list)
    both: bool = False

    def __post_init__(self) -> None:
        if (self._rule.scale != 1.0 or self.both) and self.condition.answers % 2:
            raise InputError(
                f"guidance is {shown(self.guidance)}, and the condition has prompts alone; give Condition.of as many "
                'negative prompts, such as "", or guidance=1.'
            )

    @property
    def _rule(self) -> Guidance:
        return self.guidance if isinstance(self.guidance, Guidance) else Scale(self.guidance)

    def __call__(self, x: Tensor, time: Tensor, asked: Asked | None = None) -> Tensor | Halves:
        """x: (batch, channels, height, width); time: (batch,). Returns (batch, out channels, height, width).

        asked: where the run stands, for guidance that depends on it.
        """
        guidance, seen = self._rule, x
        if self.beside is not None:
            seen = torch.cat([x, self.beside.to(x).expand(len(x), -1, -1, -1)], dim=1)
        guided = guidance.scale != 1.0
        if not (guided or self.both) or not guidance.heeds(asked):
            told = self._prompts if guided or self.both else self.condition
            out = told.ask(self.network, seen, time)
            return Halves(out, out) if self.both else out
        without, out = self._halves(seen, time)
        if guided:
            pair = without[:, : x.shape[1]], out[:, : x.shape[1]]
            made = guidance.combine(*pair, asked, self.memory)
            out = torch.cat([made, out[:, x.shape[1] :]], dim=1) if out.shape[1] != x.shape[1] else made
        return Halves(out, without) if self.both else out

    def _halves(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The answers without and with the prompt; a network that reuses its features reuses their difference too."""
        reusing = self.network if isinstance(self.network, Reusing) else None
        if reusing is not None and reusing.change is not None and not reusing.whole:
            change = reusing.change
            out = self._prompts.ask(self.network, x, time)
            return out - change, out
        if not self._spread:
            x, time = torch.cat([x, x]), torch.cat([time, time])
        without, out = self.condition.ask(self.network, x, time).chunk(2)
        if reusing is not None:
            reusing.change = out - without
        return without, out

    @cached_property
    def _spread(self) -> bool:
        """Whether the network makes two rows of each itself, where it first hears the prompts."""
        told = self.condition
        heard = told.text is not None and told.text.layers and told.pooled is None and told.mix is None
        return bool(heard) and getattr(self.network, "spreads", False)

    @cached_property
    def _prompts(self) -> Condition:
        """The second half of the condition."""
        whole = self.condition.answers
        return self.condition.rows(list(range(whole // 2, whole)))
