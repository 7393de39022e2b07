"""Classifier-free guidance: the network asked twice, with the prompt and without, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.networks.unet import TextMemory, UNet
from unnoise.text import embed


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
    def of(cls, model: Model, prompts: Sequence[str]) -> Condition:
        """The condition of these prompts; each different text is embedded once, and alone.

        Alone, so that an embedding never depends on the other prompts of a batch.
        """
        if model.text_encoder is None or model.tokenizer is None:
            return cls(None, None)
        different = list(dict.fromkeys(prompts))
        each = [embed(model.text_encoder, model.tokenizer, prompt) for prompt in different]
        rows = [different.index(prompt) for prompt in prompts]
        hidden = torch.cat([each[row].hidden for row in rows])
        pooled = torch.cat([each[row].pooled for row in rows])
        masks = [each[row].mask for row in rows]
        mask = torch.cat([mask for mask in masks if mask is not None]) if masks[0] is not None else None
        config = model.network.config
        return cls(
            text=model.network.remember(hidden, mask) if config.text_width else None,
            pooled=pooled if config.pooled_width else None,
            notes=tuple(dict.fromkeys(note for one in each for note in one.notes)),
        )


@dataclass(frozen=True, eq=False)
class Guided:
    """A network that heeds its prompt `guidance` times: a callable (x, time) that a Diffuser takes.

    output = without + guidance (with - without) (Ho & Salimans 2022, eq. 6, guidance = 1 + w). At guidance 1
    the half without a prompt cancels and is not computed. Because noise, velocity and x0 are affine in one
    another with coefficients that sum alike, guiding the output guides them all. A learned variance is taken
    as the prompt gives it.

    condition: at guidance 1 of the batch's prompts; else of its negative prompts, then its prompts.
    """

    network: UNet
    condition: Condition
    guidance: float

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (batch, channels, height, width); time: (batch,). Returns (batch, out channels, height, width)."""
        if self.guidance == 1.0:
            return self._ask(x, time)
        without, heeding = self._ask(torch.cat([x, x]), torch.cat([time, time])).chunk(2)
        channels = x.shape[1]
        guided = torch.lerp(without[:, :channels], heeding[:, :channels], self.guidance)
        return guided if heeding.shape[1] == channels else torch.cat([guided, heeding[:, channels:]], dim=1)

    def _ask(self, x: Tensor, time: Tensor) -> Tensor:
        return self.network(x, time, text=self.condition.text, pooled=self.condition.pooled).sample  # type: ignore[no-any-return]
