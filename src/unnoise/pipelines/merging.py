"""Token merging: how many of the network's tokens attend for others too."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import number, whole
from unnoise.networks.unet import Merging, with_merging
from unnoise.networks.unet.merging import MOST

TOKENS = 2**20


@dataclass(frozen=True)
class TokenMerging:
    """Self-attention over fewer tokens (Bolya & Hoffman 2023): those that resemble another attend as one with it.

    Of each 2x2 one token is kept, another at every look of a run. The others are matched to the kept one nearest in
    angle; the best matches are merged into their mean, which counts as often as there are tokens in it, and all of them
    get its answer. ControlNets, cross-attention and all other layers have every token.

    share: of the tokens that are merged, 0 to 0.75; at 0 all is exact to the bit. least: merge wherever there are at
    least so many tokens; 0: at the finest level that attends, as the paper does.
    """

    share: float = 0.5
    least: int = 0

    def __post_init__(self) -> None:
        share = number("the share of merged tokens", self.share, 0.0, MOST, 0.5)
        object.__setattr__(self, "share", share)  # a fraction's text would not be read again
        whole("the least number of tokens", self.least, 0, TOKENS, 1024)

    def to_text(self) -> str:
        """For a recipe: "share 0.5", "share 0.5 least 1024"."""
        return f"share {self.share}" + (f" least {self.least}" if self.least else "")

    @classmethod
    def from_text(cls, text: str) -> TokenMerging:
        """The inverse of `to_text`; a number alone is the share. Raises InputError for other words."""
        words = text.replace("=", " ").replace(",", " ").split()
        words = ["share", *words] if len(words) == 1 else words
        try:
            if words[::2] not in (["share"], ["share", "least"]):
                raise ValueError
            share, least = float(words[1]), int(words[3]) if len(words) > 2 else 0
        except (ValueError, IndexError) as error:
            raise InputError(
                f"'{text[:40]}' makes no sense as merging; give a share such as 0.5, or 'share=0.5 least=1024'."
            ) from error
        return cls(share, least)


def as_merging(merge: float | str | TokenMerging | None) -> TokenMerging | None:
    """A number as that share, a text as `TokenMerging.from_text` reads it."""
    if merge is None or isinstance(merge, TokenMerging):
        return merge
    return TokenMerging.from_text(merge) if isinstance(merge, str) else TokenMerging(merge)


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
