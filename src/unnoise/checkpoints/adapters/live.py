"""A layer with its adapters beside it: the base weight is untouched, the change is computed at every call."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from unnoise.checkpoints.adapters.change import Change


class Share(NamedTuple):
    """One change, its strength, and the first and last row (exclusive) of the weight that it changes."""

    change: Change
    strength: float
    start: int
    stop: int


class Adapted(nn.Module):
    """A linear layer or convolution with changes beside it.

        y = W x + sum of strength scale up(down(x))        where every change is a plain LoRA
        y = (W + sum of strength effect(W)) x              otherwise

    In a state dict it is the plain layer with the changed weight, so that what is saved needs no adapter.
    """

    def __init__(self, base: nn.Module, shares: list[Share]) -> None:
        super().__init__()
        self.base, self.shares = base, shares
        self.changes = nn.ModuleList(share.change for share in shares)  # the same ones, so that they move too
        self.plain = all(
            share.change.kind == "LoRA"
            and share.change.magnitude is None
            and "mid" not in share.change.factors
            and share.change.rank  # torch has no convolution to no channels
            for share in shares
        )

    @property
    def weight(self) -> Tensor:
        """The changed weight, in the base's dtype."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return changed(weight, self.shares)

    @property
    def bias(self) -> Tensor | None:
        """Of the base layer."""
        bias: Tensor | None = self.base.bias  # type: ignore[assignment]
        return bias

    def forward(self, x: Tensor) -> Tensor:
        """As the base layer's."""
        if not self.plain:
            changed_out: Tensor = functional_call(self.base, {"weight": self.weight}, (x,))
            return changed_out
        out: Tensor = self.base(x)
        if isinstance(self.base, nn.Conv2d):
            base = self.base
            down, up = self._joined(out.shape[1], x.dtype)
            kernels = down.view(-1, base.in_channels, *base.kernel_size)
            inner = F.conv2d(x, kernels, None, base.stride, base.padding, base.dilation)
            return out + F.conv2d(inner, up[:, :, None, None])
        down, up = self._joined(out.shape[-1], x.dtype)
        inner = F.linear(x.flatten(0, -2), down)
        # the sum inside the product: a twentieth of the layer less, on 4096 tokens of width 320
        return torch.addmm(out.flatten(0, -2), inner, up.t()).view(out.shape)

    def _joined(self, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """All `down`s one above the other, (ranks, inputs), and all `up`s, scaled, side by side, (rows, ranks).

        One product then adds every change. Zeros in `up` cost less than a feature map of zeros for each share; queries,
        keys and values are three.
        """
        shares = self.shares
        downs = [share.change.factors["down"].flatten(1) for share in shares]
        ups = [_scaled_up(share) for share in shares]
        down = torch.cat(downs) if len(shares) > 1 else downs[0]
        whole = len(shares) == 1 and len(ups[0]) == rows
        up = ups[0] if whole else _side_by_side(ups, shares, rows)
        return down.to(dtype), up.to(dtype)

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ANN401
        """The base layer's, with the changed weight."""
        found: dict[str, Any] = self.base.state_dict(*args, **options)
        name = f"{options.get('prefix', '')}weight"
        found[name] = self.weight if options.get("keep_vars") else self.weight.detach()
        return found


def _scaled_up(share: Share) -> Tensor:
    up: Tensor = share.change.factors["up"].flatten(1)
    factor = share.strength * share.change.scale
    return up if factor == 1.0 else factor * up


def _side_by_side(ups: list[Tensor], shares: list[Share], rows: int) -> Tensor:
    """One matrix, (rows, ranks), of all `ups`, each in the rows that its share changes."""
    stops = [0, *(share.stop for share in shares)]
    gaps = [share.start - stop for share, stop in zip(shares, stops, strict=False)]
    if min(gaps) < 0:  # rows that are changed twice, or not in their order
        padded = (
            F.pad(up, (0, 0, share.start, rows - share.stop)) for up, share in zip(ups, shares, strict=True)
        )
        return torch.cat(list(padded), dim=1)
    blocks = [block for up, gap in zip(ups, gaps, strict=True) for block in (up.new_empty(gap, 0), up)]
    last = ups[0].new_empty(rows - stops[-1], 0)
    joined: Tensor = torch.block_diag(*blocks, last)  # type: ignore[no-untyped-call]
    return joined


def changed(weight: Tensor, shares: list[Share]) -> Tensor:
    """W + the sum of strength effect(W), computed in float32 and rounded once to the weight's dtype.

    Each effect is that on the base weight, so the order of the changes does not matter.
    """
    total = weight.to(torch.float32, copy=True)
    for change, strength, start, stop in shares:
        total[start:stop] += strength * change.effect(weight[start:stop])
    return total.to(weight.dtype)
