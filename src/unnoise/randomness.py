"""Keyed random numbers: a pure function of (seed, purpose, position), never of what was drawn before.

Because nothing is remembered, the size of a batch, the order of a queue, a resumed run, the number of
workers or the device cannot change a draw. Numbers are drawn on the CPU in float32 and then moved, so one
seed means one noise on every machine of the same torch version.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, counted, floats, number, typed


def key(seed: int, purpose: str, *position: int) -> int:
    """63-bit key of one draw: blake2b over the seed, the purpose and the position.

    seed: any integer. purpose: what the number is for, such as "start" or "dropout". position: indices that
    tell apart draws of one purpose (training step, sample, solver step). Raises InputError for another seed.
    """
    seed = typed("seed", seed, int, 7)
    text = "/".join((str(seed), purpose, *map(str, position)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator that starts at this key."""
    return torch.Generator().manual_seed(key(seed, purpose, *position))


def normal(seed: int, purpose: str, *position: int, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of `shape`, float32, on the CPU."""
    return torch.randn(
        tuple(shape), generator=generator(seed, purpose, *position), dtype=torch.float32, device="cpu"
    )


def uniform(seed: int, purpose: str, *position: int) -> float:
    """One number in [0, 1) with 53 random bits; arguments as for `key`."""
    seed = typed("seed", seed, int, 7)
    place = tuple(map(int, position))  # NumPy's integers write themselves in another way than Python's
    wide = hashlib.blake2b(f"{seed}/{purpose}/{place}".encode(), digest_size=8).digest()
    return (int.from_bytes(wide, "big") >> 11) / 2.0**53


_ONE_AT_A_TIME = threading.RLock()  # for torch's own generators are the whole process's


@contextlib.contextmanager
def torchs_own(seed: int, purpose: str, *position: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A block in which torch's own generators begin at this key, for layers that draw by themselves.

    Afterwards they go on where they were. Of several threads one is in such a block.
    """
    cards = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=cards):
        start = key(seed, purpose, *position)
        # torch.manual_seed seeds every kind of device, which takes half a millisecond
        torch.default_generator.manual_seed(start)
        for card in cards:
            with torch.cuda.device(card):
                torch.cuda.manual_seed(start)
        yield


@dataclass(frozen=True)
class NoiseSource(Declared):
    """Fresh noise for a batch in which every sample has a seed of its own.

    seeds: one integer a sample. Sample 3 of a batch draws what it would draw alone. Raises InputError for other seeds
    than whole numbers, and for a batch of another size, whose samples would share a row.
    """

    example = "NoiseSource((7, 8))"

    seeds: tuple[int, ...]

    def __call__(self, purpose: str, *position: int, like: Tensor) -> Tensor:
        """Standard normal noise shaped, typed and placed as `like` (batch, ...), a row for each seed."""
        floats("like", like)
        rows = [normal(seed, purpose, *position, shape=like.shape[1:]) for seed in self.seeds]
        return _stacked(rows, like)


_DEPTH = 24  # halvings of an octave: beyond them the path is straight, 6e-8 of the octave at a time
_OCTAVES = 40  # below this many octaves the path from 0 holds 1e-12 of the variance and is left out


@dataclass(frozen=True)
class BrownianSource(NoiseSource):
    """Noise cut from one Brownian path a seed, so that the grid of steps does not change what is drawn.

    A stretch of the path is the sum of its parts, however it is cut. The path over the clock (0, inf) is
    laid down octave by octave, [2^k, 2^(k+1)], and inside each by halving (Levy's construction), every number
    keyed by its place: nothing is remembered. An increment costs up to 48 draws and one for each octave crossed
    (6 ms for a sample of 16,000 numbers), where NoiseSource draws once.
    """

    def increment(self, start: float, end: float, like: Tensor) -> Tensor:
        """(B(end) - B(start)) / sqrt(end - start), standard normal, shaped, typed and placed as `like` (batch, ...).

        start, end: 0 <= start < end, on the clock of the noise rule. Raises InputError for others.
        """
        floats("like", like)
        start = number("start", start, 0.0)
        end = number("end", end, start, without="low")
        rows = [_increment(seed, start, end, like.shape[1:]) for seed in self.seeds]
        return _stacked(rows, like)


def _stacked(rows: list[Tensor], like: Tensor) -> Tensor:
    if len(rows) != len(like):
        raise InputError(
            f"noise has {counted(len(rows), 'seed')} for {counted(len(like), 'sample')}; give one for each."
        )
    if not rows:
        return torch.empty_like(like)
    return torch.stack(rows).to(device=like.device, dtype=like.dtype)


def _increment(seed: int, start: float, end: float, shape: Sequence[int]) -> Tensor:
    known: dict[tuple[int, ...], Tensor] = {}

    def draw(*place: int) -> Tensor:
        if place not in known:
            known[place] = normal(seed, "path", *place, shape=shape).double()
        return known[place]

    last = math.frexp(end)[1] - 1
    first = math.frexp(start)[1] - 1 if start > 0.0 else last - _OCTAVES
    total = torch.zeros(tuple(shape), dtype=torch.float64, device="cpu")
    for octave in range(first, last):
        total += draw(octave, 0, 0) * 2.0 ** (octave / 2)
    total += _inside(draw, last, end * 2.0**-last - 1.0) * 2.0 ** (last / 2)
    total -= _inside(draw, first, max(0.0, start * 2.0**-first - 1.0)) * 2.0 ** (first / 2)
    return total / math.sqrt(end - start)


def _inside(draw: Callable[..., Tensor], octave: int, part: float) -> Tensor:
    """The octave's own path, scaled to unit length, at a part of it from 0 to 1."""
    low, high = torch.zeros((), dtype=torch.float64, device="cpu"), draw(octave, 0, 0)
    place = 0
    for depth in range(1, _DEPTH + 1):
        if part in (0.0, 1.0):
            break
        middle = 0.5 * (low + high) + draw(octave, depth, place) * 2.0 ** (-(depth + 1) / 2)
        right = part >= 0.5
        low, high = (middle, high) if right else (low, middle)
        part, place = 2.0 * part - right, 2 * place + right
    return low + (high - low) * part
