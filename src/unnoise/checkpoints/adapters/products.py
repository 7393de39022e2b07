"""What the small matrices of one layer multiply to, as shapes alone. Torch-free.

LoRA   up down                          (Hu et al. 2021, eq. 3); with `mid`, a Tucker product over a kernel
LoHa   (w1a w1b) * (w2a w2b)            element by element (Hyeon-Woo et al. 2022, proposition 1)
LoKr   w1 (x) w2, each w or wa wb       Kronecker's product (Yeh et al. 2024, section 3.2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Shape = tuple[int, ...]

BESIDE = {"alpha", "dora", "magnitude"}
"""What stands beside the matrices of a layer."""

_PAIRS = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
_FIRST = ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
_SECOND = ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2_a", "lokr_w2_b", "lokr_t2"})
_WHOLE = {
    "LoRA": [{"down", "up"}, {"down", "up", "mid"}],
    "LoHa": [_PAIRS, _PAIRS | {"hada_t1", "hada_t2"}],
    "LoKr": [first | second for first in _FIRST for second in _SECOND],
}


def kind_of(roles: Mapping[str, object]) -> str:
    """What multiplies the tensors of a layer: "LoRA", "LoHa" or "LoKr"; "" where they are not just those of one."""
    matrices = set(roles) - BESIDE
    if {"dora", "magnitude"} <= set(roles):  # one thing, told twice
        return ""
    return next((kind for kind, wholes in _WHOLE.items() if matrices in wholes), "")


def rank_of(kind: str, shapes: Mapping[str, Shape]) -> int:
    """The inner dimension; 0 where there is none (LoKr of two whole matrices, whose scale is 1)."""
    if kind == "LoRA":
        return shapes["down"][0]
    if kind == "LoHa":
        return shapes["hada_w1_b"][0]
    for name in ("lokr_w1_b", "lokr_w2_b"):
        if name in shapes:
            return shapes[name][0]
    return 0


def size_of(kind: str, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Rows of the product, and numbers in each."""
    if kind == "LoRA":
        kernel = shapes["mid"][2:] if "mid" in shapes else shapes["down"][2:]
        return shapes["up"][0], shapes["down"][1] * math.prod(kernel)
    if kind == "LoHa":
        return _pair(shapes, "hada_w1", "hada_t1")
    first = _pair(shapes, "lokr_w1", "")
    second = _pair(shapes, "lokr_w2", "lokr_t2")
    return first[0] * second[0], first[1] * second[1]


def consistent(kind: str, shapes: Mapping[str, Shape]) -> bool:
    """Whether the matrices have the dimensions that their product needs."""
    if kind == "LoRA":
        up, down = shapes["up"], shapes["down"]
        plain = len(up) == len(down) and len(down) in (2, 4) and math.prod(up[2:]) == 1
        if "mid" in shapes:
            return plain and math.prod(down[2:]) == 1 and shapes["mid"][:2] == (up[1], down[0])
        return plain and up[1] == down[0]
    if kind == "LoHa":
        pairs = [("hada_w1", "hada_t1"), ("hada_w2", "hada_t2")]
        alike = len({_pair(shapes, *pair) for pair in pairs if _multiplies(shapes, *pair)}) == 1
    else:
        pairs, alike = [("lokr_w1", ""), ("lokr_w2", "lokr_t2")], True
    return alike and all(_multiplies(shapes, *pair) for pair in pairs)


def _multiplies(shapes: Mapping[str, Shape], name: str, core: str) -> bool:
    if name in shapes:
        return len(shapes[name]) in (2, 4)
    a, b = shapes[f"{name}_a"], shapes[f"{name}_b"]
    if len(a) != 2 or len(b) not in (2, 4):
        return False
    return shapes[core][:2] == (a[0], b[0]) if core in shapes else a[1] == b[0]


def _pair(shapes: Mapping[str, Shape], name: str, core: str) -> tuple[int, int]:
    if name in shapes:
        return shapes[name][0], math.prod(shapes[name][1:])
    a, b = shapes[f"{name}_a"], shapes[f"{name}_b"]
    if core in shapes:  # Tucker's: both factors have the rank first
        return a[1], b[1] * math.prod(shapes[core][2:])
    return a[0], math.prod(b[1:])
