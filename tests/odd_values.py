"""What may be given in place of an argument: nothing, words, other kinds of numbers, classes, numbers without end."""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from unnoise.schedulers import grids


class Nameless:
    """Something that cannot even be shown."""

    def __repr__(self):
        raise ZeroDivisionError


ODD = (
    *(None, True, "7", "nonsense", b"7", "", [], [1], ((),), {}, {"a": 1}, 7j, math.nan, math.inf, -math.inf),
    *(-1, 0, 10**400, 10**5000, [10**5000], Fraction(10**5000, 3), Decimal("sNaN"), Nameless(), object()),
    *(float, np.float32, np.ndarray, torch.Tensor, grids.Karras, grids.Karras(), lambda: 1, iter(())),
    *(np.arange(3.0), np.int64(3), np.float32(0.5), np.str_("sigma"), np.zeros((1, 2), "i4,i4")),
    *(np.broadcast_to(np.float32(1), 10**12), torch.empty(3, device="meta"), torch.ones(1).expand(10**9)),
    *("\ud800", "\0", Path("there/is/none"), [None], ["a", "b"]),
    *(torch.tensor(3), torch.tensor(0.5, requires_grad=True), torch.eye(2).to_sparse()),
)
