"""The change that an adapter makes to one matrix: a product of small ones, or DoRA's turn of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from unnoise.checkpoints.adapters.products import Shape, rank_of, size_of


class Change(nn.Module):
    """What is added to a weight W of shape (out, ...).

        LoRA, LoHa, LoKr: scale product             with scale = alpha / rank (alpha / sqrt(rank), rank-stabilised)
        DoRA:             m (W + scale product) / |W + scale product| - W          (Liu et al. 2024, eq. 5)

    kind: "LoRA", "LoHa" or "LoKr". factors: its matrices by role, see `products`. magnitude: m of DoRA, one number for
    each row ("rows") or each column ("columns") of W, whose norms are taken alike; None for none. All is computed in
    float32 and is differentiable in the factors, of which training makes parameters.
    """

    def __init__(
        self,
        kind: str,
        factors: Mapping[str, Tensor],
        scale: float,
        magnitude: Tensor | None = None,
        along: str = "rows",
    ) -> None:
        super().__init__()
        self.kind = kind
        self.scale = scale
        self.along = along
        self.factors = nn.ParameterDict(
            {role: nn.Parameter(factor, requires_grad=False) for role, factor in factors.items()}
        )
        self.magnitude = None if magnitude is None else nn.Parameter(magnitude.flatten(), requires_grad=False)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of the factors, by role."""
        return {role: tuple(factor.shape) for role, factor in self.factors.items()}

    @property
    def rank(self) -> int:
        """The inner dimension; 0 where there is none."""
        return rank_of(self.kind, self.shapes)

    def fits(self, shape: Shape) -> bool:
        """Whether it can be added to a weight of this shape."""
        rows, each = size_of(self.kind, self.shapes)
        if rows != shape[0] or rows * each != torch.Size(shape).numel():
            return False
        if self.magnitude is None:
            return True
        return self.magnitude.numel() == (shape[0] if self.along == "rows" else shape[1])

    def delta(self, shape: Shape) -> Tensor:
        """The scaled product, float32, of shape `shape`."""
        factors = {role: factor.float() for role, factor in self.factors.items()}
        return self.scale * _PRODUCTS[self.kind](factors).reshape(shape)

    def effect(self, weight: Tensor) -> Tensor:
        """What is added to this weight at full strength: float32, of its shape."""
        moved = self.delta(tuple(weight.shape))
        if self.magnitude is None:
            return moved
        base = weight.float()
        turned = base + moved
        each = 0 if self.along == "rows" else 1
        others = [axis for axis in range(turned.ndim) if axis != each]
        # the smallest float keeps a row of zeros zero
        norm = torch.linalg.vector_norm(turned, dim=others, keepdim=True).clamp_min(1e-30)
        wanted: Tensor = self.magnitude.float().view_as(norm)
        moved_there: Tensor = turned * (wanted / norm) - base
        return moved_there


def _lora(factors: Mapping[str, Tensor]) -> Tensor:
    up, down = factors["up"].flatten(1), factors["down"]
    if "mid" in factors:
        return torch.einsum("oa,ab...,bi->oi...", up, factors["mid"], down.flatten(1))
    return up @ down.flatten(1)


def _loha(factors: Mapping[str, Tensor]) -> Tensor:
    return _pair(factors, "hada_w1", "hada_t1") * _pair(factors, "hada_w2", "hada_t2")


def _lokr(factors: Mapping[str, Tensor]) -> Tensor:
    first, second = _pair(factors, "lokr_w1", ""), _pair(factors, "lokr_w2", "lokr_t2")
    # a Tucker product comes with its axes turned, which torch's kernel refuses
    return torch.kron(first.view(*first.shape, *(1,) * (second.ndim - first.ndim)), second.contiguous())


def _pair(factors: Mapping[str, Tensor], name: str, core: str) -> Tensor:
    if name in factors:
        return factors[name]
    a, b = factors[f"{name}_a"], factors[f"{name}_b"]
    if core in factors:
        return torch.einsum("ab...,ao,bi->oi...", factors[core], a, b)
    return (a @ b.flatten(1)).reshape(a.shape[0], *b.shape[1:])


_PRODUCTS: dict[str, Callable[[Mapping[str, Tensor]], Tensor]] = {"LoRA": _lora, "LoHa": _loha, "LoKr": _lokr}
