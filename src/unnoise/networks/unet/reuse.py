"""Deep features of one answer used again in the next (DeepCache, Ma et al. 2024): they change slowly along a run."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from unnoise.networks.unet.attention import TextMemory
from unnoise.networks.unet.blocks import UpBlock, beside
from unnoise.networks.unet.control import Steered
from unnoise.networks.unet.unet import Around, Question, UNet, UNetOutput, prompts

Module = TypeVar("Module", bound=nn.Module)


class Reusing(Around):
    """A UNet, steered or not, that can answer with the deep features of its last whole answer; one for each run.

    A quick answer computes the finest level alone, from the sample and the time as they are now; what comes up to it
    from the coarser levels, and what ControlNets add, is that of the last whole answer. A whole answer is the network's
    own, to the bit.

    network: shared, and left as it is. blocks: how many of the last residual blocks a quick answer computes; 0: all of
    the finest level. whole: whether the next answer is to be whole. change: of the last whole answers, those with the
    prompt less those without, kept here by who guides.
    """

    def __init__(self, network: UNet, blocks: int = 0) -> None:
        inner = network.unet if isinstance(network, Steered) else network
        super().__init__(inner)
        self.spreads = network.spreads
        self.whole = True
        self.change: Tensor | None = None
        self.seen: list[Tensor] = []
        most = len(_last(inner).residuals)
        self.blocks = min(blocks or most, most)
        watched = _watched(inner, self.blocks, self.seen)
        self.network = replaced(network, unet=watched) if isinstance(network, Steered) else watched

    def remember(self, text: Tensor, text_mask: Tensor | None = None) -> TextMemory:
        """As the network's."""
        return self.network.remember(text, text_mask)

    def forget(self) -> None:
        """Keep nothing, so that the next answer is whole."""
        self.seen.clear()
        self.change = None

    def answer(self, asked: Question) -> UNetOutput:
        """As the network's. Answers are whole too where nothing is kept of a batch of this size and shape."""
        kept = None if self.whole or asked.residuals is not None else self._kept(asked)
        if kept is None:
            self.forget()
            x, time, text, *more = asked
            return self.network(x, time, text, None, *more)  # as a module, for who watches or compiles it
        return self._quick(kept, asked)

    def _kept(self, asked: Question) -> Tensor | None:
        """What the last blocks were given, of each row: all, or the later half, which is that with the prompts."""
        fine = torch.Size(side // self.config.patch for side in asked.x.shape[2:])
        if not self.seen or self.seen[0].shape[2:] != fine:
            return None
        kept, rows = self.seen[0], max(len(asked.x), prompts(asked.text) or 0)
        if len(kept) == rows:
            return kept
        return kept[rows:] if len(kept) == 2 * rows else None

    def _quick(self, kept: Tensor, asked: Question) -> UNetOutput:
        unet = self.unet
        emb = unet.embed(asked)
        skips = self._steered(unet.shallow(asked.x, emb, asked.text, self.blocks))
        h = kept[:, : kept.shape[1] - skips[-1].shape[1]]
        last = _last(unet)
        blocks = list(zip(last.residuals, last.attentions, strict=True))[-self.blocks :]
        for residual, attention in blocks:
            h = attention(residual(beside(h, skips.pop()), emb), asked.text)
        return unet.leave(h, asked.x.dtype)

    def _steered(self, skips: list[Tensor]) -> list[Tensor]:
        """The skips with what ControlNets added to them at the last whole answer."""
        heard = self.network.heard if isinstance(self.network, Steered) else None
        if heard is None:
            return skips
        if heard.skips:
            skips = [_plus(skip, more) for skip, more in zip(skips, heard.skips, strict=False)]
        if heard.levels and self.blocks == len(_last(self.unet).residuals):
            # what an adapter adds to the finest level, unless it adds it below, where the size is halved
            finest = heard.levels[0]
            skips[-1] = _plus(skips[-1], finest) if finest.shape[2:] == skips[-1].shape[2:] else skips[-1]
        return skips


def _plus(skip: Tensor, more: Tensor) -> Tensor:
    """The sum for the rows of `skip`; of a batch of both halves, those with the prompts stand last."""
    return skip + (more if len(more) in (1, len(skip)) else more[-len(skip) :])


class Watched(nn.Module):
    """A residual block that leaves in `seen` what it was last given: features beside a skip."""

    def __init__(self, block: nn.Module, seen: list[Tensor]) -> None:
        super().__init__()
        self.block = block
        self.seen = seen

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """As the block's."""
        self.seen[:] = [x]
        return self.block(x, emb)


def _last(unet: UNet) -> UpBlock:
    block = unet.up_blocks[-1]
    assert isinstance(block, UpBlock)
    return block


def _watched(unet: UNet, blocks: int, seen: list[Tensor]) -> UNet:
    """The UNet, of the same layers, with an eye on what the first of its last `blocks` residual blocks is given."""
    last = _last(unet)
    residuals = list(last.residuals)
    residuals[-blocks] = Watched(residuals[-blocks], seen)
    level = replaced(last, residuals=nn.ModuleList(residuals))
    return replaced(unet, up_blocks=nn.ModuleList([*unet.up_blocks[:-1], level]))


def replaced(module: Module, **children: nn.Module) -> Module:
    """A module that shares everything with this one but these children."""
    made = copy.copy(module)
    made.__dict__["_modules"] = {**module._modules, **children}
    return made
