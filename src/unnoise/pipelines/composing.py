"""Several prompts for one picture: the network is asked with each, and its answers are joined (AND)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.text import Phrase


@dataclass(frozen=True, eq=False)
class Mix:
    """How the answers to all phrases become one for each negative prompt and each prompt.

    Of the phrases i of a prompt, with weights w_i and answers a_i, and the answer n to the negative prompt, it is
    n + sum w_i (a_i - n): guided, each phrase pulls with its own strength (Liu et al. 2022, eq. 11).

    A learned variance is joined alike.

    shares: (answers out, answers in), this as a matrix. pictures: for each answer in, the picture that is asked about.
    """

    shares: Tensor
    pictures: tuple[int, ...]

    @classmethod
    def of(cls, negatives: int, prompts: Sequence[Sequence[Phrase]]) -> Mix | None:
        """For prompts of several phrases; None where each prompt is one plain phrase. Negative prompts come first.

        negatives: their number, that of the prompts; or 0, which only weights that sum to 1 can do without.
        """
        if all(len(phrases) == 1 and phrases[0].weight == 1.0 for phrases in prompts):
            return None
        size = negatives + len(prompts), negatives + sum(map(len, prompts))
        shares = torch.zeros(size, dtype=torch.float32, device="cpu")
        shares[:negatives, :negatives].fill_diagonal_(1.0)
        pictures, column = list(range(negatives)), negatives
        for place, phrases in enumerate(prompts):
            weights = shares.new_tensor([phrase.weight for phrase in phrases])
            shares[negatives + place, column : column + len(phrases)] = weights
            if negatives:
                shares[negatives + place, place] = 1.0 - weights.sum()
            column += len(phrases)
            pictures += [place] * len(phrases)
        return cls(shares, tuple(pictures))

    def spread(self, x: Tensor) -> Tensor:
        """Rows (pictures, or twice as many, ...) for each answer in: (answers in, ...)."""
        return x[list(self.pictures)]

    def join(self, answers: Tensor) -> Tensor:
        """(answers in, ...) -> (answers out, ...), in float32 at least: rounded shares would not sum to 1."""
        wide = torch.promote_types(answers.dtype, self.shares.dtype)
        joined = torch.einsum("on,n...->o...", self.shares.to(answers.device, wide), answers.to(wide))
        return joined.to(answers.dtype)

    def rows(self, places: Sequence[int]) -> tuple[Mix, list[int]]:
        """Of these answers alone: how they are made, and the phrases that are still to be asked."""
        shares = self.shares[list(places)]
        asked = [int(place) for place in shares.any(dim=0).nonzero().flatten()]
        return Mix(shares[:, asked], tuple(self.pictures[place] for place in asked)), asked
