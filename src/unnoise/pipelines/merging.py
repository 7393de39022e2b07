"""Token merging: how many of the network's tokens attend for others too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.networks.unet import Merging, with_merging
from unnoise.networks.unet.merging import MOST
from unnoise.pipelines.approximation import Approximation


@dataclass(frozen=True)
class TokenMerging(Approximation):
    """Self-attention over fewer tokens (Bolya & Hoffman 2023): those that resemble another attend as one with it.

    Of each 2x2 one token is kept, another at every look of a run. The others are matched to the kept one nearest in
    angle; the best matches are merged into their mean, which counts as often as there are tokens in it, and all of them
    get its answer. ControlNets, cross-attention and all other layers have every token.

    share: of the tokens that are merged, 0 to 0.75; at 0 all is exact to the bit. least: merge wherever there are at
    least so many tokens; 0: at the finest level that attends, as the paper does.
    """

    named = "merging"
    example = "a share such as 0.5, or 'share=0.5 least=1024'"

    share: Annotated[float, (0.0, MOST)] = 0.5
    least: Annotated[int, (0, 2**20)] = 0


def merged(model: Model, merge: TokenMerging | None) -> tuple[Model, Merging | None]:
    """The model whose network merges tokens, and what is told each look; both for one run.

    Raises InputError for an engine that cannot.
    """
    if merge is None:
        return model, None
    if model.engine != "torch":
        raise InputError(
            f"engine '{model.engine}' merges no tokens; leave merge (--merge-tokens) out, or use engine 'torch'."
        )
    work = Merging(merge.share, merge.least)
    return replace(model, network=with_merging(model.network, work)), work
