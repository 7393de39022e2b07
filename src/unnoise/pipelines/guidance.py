"""Classifier-free guidance: the network asked twice, with the prompt and without, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.networks.unet import TextMemory, UNet
from unnoise.networks.unet.embedding import sinusoids
from unnoise.text import Embedding, embed


@dataclass(frozen=True, eq=False)
class Condition:
    """What the network is told beside x and its level, for a batch of prompts; computed once, before the loop.

    text: keys and values of every cross-attention, or None. pooled: (batch, width), or None. notes: what a
    person should know of the prompts, such as words that the model never saw.
    """

    text: TextMemory | None
    pooled: Tensor | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        prompts: Sequence[str],
        negatives: Sequence[str] = (),
        size: tuple[int, int] = (0, 0),
    ) -> Condition:
        """The condition of the negative prompts, then of the prompts; each different text is embedded once, and alone.

        Alone, so that an embedding never depends on the other prompts of a batch. size: height and width of the
        picture in pixels, which Stable Diffusion XL is told; it was also trained with zeros for no text, so there an
        empty negative prompt is zeros.
        """
        if not model.towers:
            return cls(None, None)
        texts = (*negatives, *prompts)
        different = {text: _embedded(model, text) for text in dict.fromkeys(texts)}
        rows = [different[text] for text in texts]
        hidden = torch.cat([row.hidden for row in rows])
        pooled = torch.cat([row.pooled for row in rows])
        if model.size_ids:
            empty = [place for place, text in enumerate(negatives) if not text]
            hidden[empty] = 0
            pooled[empty] = 0
            pooled = torch.cat([pooled, _told_sizes(model, size).expand(len(rows), -1).to(pooled)], dim=1)
        masks = [row.mask for row in rows if row.mask is not None]
        config = model.network.config
        return cls(
            text=model.network.remember(hidden, torch.cat(masks) if masks else None)
            if config.text_width
            else None,
            pooled=pooled if config.pooled_width else None,
            notes=tuple(dict.fromkeys(note for row in different.values() for note in row.notes)),
        )


def _embedded(model: Model, text: str) -> Embedding:
    """One prompt through every tower: hidden states side by side, the last tower's pooled vector."""
    each = [embed(tower.encoder, tower.tokenizer, text, skip=tower.skip) for tower in model.towers]
    return replace(each[-1], hidden=torch.cat([one.hidden for one in each], dim=-1))


def _told_sizes(model: Model, size: tuple[int, int]) -> Tensor:
    """(1, 6 * width): sinusoids of the size, of a crop at the corner, and of the size again (Podell et al. 2023)."""
    numbers = torch.tensor([*size, 0, 0, *size], dtype=torch.float32)
    return sinusoids(numbers, model.size_ids).reshape(1, -1)


class Halves(NamedTuple):
    """sample: the guided output. without: the network's output without the prompt."""

    sample: Tensor
    without: Tensor


@dataclass(frozen=True, eq=False)
class Guided:
    """A network that heeds its prompt `guidance` times: a callable (x, time) that a Diffuser takes.

    output = without + guidance (with - without) (Ho & Salimans 2022, eq. 6, guidance = 1 + w). At guidance 1
    the half without a prompt cancels and is not computed. Because noise, velocity and x0 are affine in one
    another with coefficients that sum alike, guiding the output guides them all. A learned variance is taken
    as the prompt gives it.

    condition: at guidance 1 of the batch's prompts; else of its negative prompts, then its prompts. both: keep the
    half without the prompt too, at guidance 1 as well.
    """

    network: UNet
    condition: Condition
    guidance: float
    both: bool = False

    def __call__(self, x: Tensor, time: Tensor) -> Tensor | Halves:
        """x: (batch, channels, height, width); time: (batch,). Returns (batch, out channels, height, width)."""
        if self.guidance == 1.0 and not self.both:
            return self._ask(x, time)
        without, heeding = self._ask(torch.cat([x, x]), torch.cat([time, time])).chunk(2)
        channels = x.shape[1]
        guided = torch.lerp(without[:, :channels], heeding[:, :channels], self.guidance)
        if heeding.shape[1] != channels:
            guided = torch.cat([guided, heeding[:, channels:]], dim=1)
        return Halves(guided, without) if self.both else guided

    def _ask(self, x: Tensor, time: Tensor) -> Tensor:
        return self.network(x, time, text=self.condition.text, pooled=self.condition.pooled).sample  # type: ignore[no-any-return]
