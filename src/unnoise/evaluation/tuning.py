"""Steps fitted to a pipeline's model, with what that gains on noise that the fit has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.runs import Pipe
from unnoise.evaluation.similarity import each_error, relative_error
from unnoise.schedulers import names
from unnoise.schedulers.tuned import Tuned
from unnoise.schedulers.tuning import Round, Told, Trajectories, fit

_HELD_OUT = 64


@dataclass(frozen=True)
class Errors:
    """Of pictures to their converged ones, relative to the size of those: of all together, and the middle picture's.

    A picture that few steps lead to another figure altogether weighs much in the first and nothing in the second.
    """

    together: float
    median: float

    @classmethod
    def of(cls, found: Tensor, goal: Tensor) -> Errors:
        """found, goal: (pictures, ...)."""
        each = sorted(each_error(found, goal))
        return cls(relative_error(found, goal), each[len(each) // 2])


@dataclass(frozen=True)
class HeldOut:
    """Errors at the same number of steps on noise that no fit has seen: of the base, and of the fitted steps.

    seeds: first and last.
    """

    before: Errors
    after: Errors
    seeds: tuple[int, int]


@dataclass(frozen=True)
class Tuning:
    """A round, the file to keep, and after the last round the errors on held-out seeds."""

    round: Round
    tuned: Tuned
    held_out: HeldOut | None = None


def tune(
    pipe: Pipe,
    prompts: str | Sequence[str] = "",
    *,
    steps: int = 8,
    guidance: float | None = None,
    scheduler: str = "Adams-Moulton 2",
    count: int = 48,
    seed: int = 0,
    looks: int = 3,
    rounds: int = 12,
    reference: int = 100,
    start: Tuned | None = None,
    told: Told | None = None,
) -> Iterator[Tuning]:
    """Fit the levels and factors of a scheduler's `steps` steps to a pipeline's model, round by round.

    Each round yields the best so far, so that leaving early loses nothing but the gain; the last also says how near
    the pictures of 64 further seeds come to their converged ones, before and after.

    prompts, guidance: of the pictures, prompts taken in turn; a fit holds for its guidance. scheduler: the name whose
    solver is improved. count: trajectories, seeds from `seed`; three in four are fitted, the others decide when to
    stop. looks, rounds, reference, start, told: as `schedulers.tuning.fit` takes them.

    Raises InputError for a stochastic scheduler, fewer than 8 trajectories, or what `fit` refuses.
    """
    if count < 8:
        raise InputError(f"count is {count}; give at least 8 trajectories, usually a few dozen.")
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not texts:
        raise InputError('prompts is empty; give at least one, "" for pictures of no prompt.')
    base, schedule = names.get(scheduler), pipe.model.schedule
    shown = next((row.name for row in names.table() if row.scheduler == base), scheduler)

    def trajectories(first: int, number: int) -> Trajectories:
        seeds = list(range(first, first + number))
        told_of = [texts[place % len(texts)] for place in range(number)]
        run: Any = pipe.denoise(told_of, seeds=seeds, steps=steps, scheduler=base, guidance=guidance)
        return Trajectories(run.estimate, run.noise)

    watched = count // 4
    fitted, checked = trajectories(seed, count - watched), trajectories(seed + count - watched, watched)
    way = fit(
        schedule, fitted, checked, steps, base,
        name=shown, looks=looks, rounds=rounds, reference=reference, start=start, told=told,
    )  # fmt: skip
    facts = {
        "model": pipe.model.name,
        "sha256": pipe.model.fingerprint(),
        "prompts": list(texts),
        "guidance": guidance if guidance is not None else pipe.model.defaults.guidance,
        "trajectories": count,
        "seeds": [seed, seed + count - 1],
        "reference_steps": reference,
    }
    last = None
    for made in way:
        if last is not None:
            yield last
        last = Tuning(made, replace(made.tuned, facts={**facts, "network_calls": made.calls}))
    assert last is not None
    held = seed + 1_000_000
    fresh = trajectories(held, _HELD_OUT)
    goal = fresh.end(base, schedule, reference)
    before, after = (Errors.of(fresh.end(one, schedule, steps), goal) for one in (base, last.tuned.on(base)))
    found = HeldOut(before, after, (held, held + _HELD_OUT - 1))
    tuned = replace(last.tuned, facts={**last.tuned.facts, "held_out": asdict(found)})
    yield Tuning(last.round, tuned, found)
