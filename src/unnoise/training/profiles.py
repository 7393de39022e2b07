"""Any averaging profile after the run, from snapshots of two (Karras et al. 2024, sec. 3.2).

RUN/profiles/step-000100.safetensors holds both power-function averages at that step. Each snapshot is the
weights over time seen through a known profile; the combination of those profiles that comes nearest to the
wanted one, in least squares, is the combination of the snapshots that comes nearest to the wanted average.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unnoise import checkpoints as models
from unnoise import files
from unnoise.errors import CheckpointError
from unnoise.training.ema import PowerAverage, power_of

FOLDER = "profiles"


@dataclass(frozen=True)
class Snapshot:
    """One average in a file: after `updates` updates, of the profile t^power; its tensors are `prefix` + name."""

    path: Path
    prefix: str
    updates: int
    power: float


def write(
    run: Path, step: int, averages: Sequence[PowerAverage], whole: Sequence[Mapping[str, Tensor]]
) -> Path:
    """Put a snapshot of the averages into the run; returns its file. whole: the tensors of each, none in shares."""
    path = run / FOLDER / f"step-{step:06d}.safetensors"
    facts = {"updates": averages[0].updates, "deviations": [average.deviation for average in averages]}
    tensors = {f"{i}.{name}": t.contiguous() for i, a in enumerate(whole) for name, t in a.items()}
    path.parent.mkdir(exist_ok=True)
    files.write_bytes(path, save(tensors, {"unnoise": json.dumps(facts)}))
    return path


def snapshots(folder: Path) -> list[Snapshot]:
    """All snapshots in RUN/profiles, oldest first. Raises CheckpointError when one cannot be read, or none is there."""
    found = []
    for path in sorted(folder.glob("step-*.safetensors")):
        try:
            with safe_open(path, "pt") as opened:
                facts = json.loads((opened.metadata() or {})["unnoise"])
            powers = [power_of(float(deviation)) for deviation in facts["deviations"]]
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"'{path}' is not a snapshot of averages: {error}. Remove it.") from error
        found += [Snapshot(path, f"{i}.", facts["updates"], power) for i, power in enumerate(powers)]
    if not found:
        raise CheckpointError(
            f"'{folder}' has no snapshots; train with optimizer.profile_every, for example 1000."
        )
    # not by name: of a million steps it has a digit more
    return sorted(found, key=lambda snapshot: snapshot.updates)


def reconstruct(folder: str | Path, deviation: float, updates: int | None = None) -> dict[str, Tensor]:
    """The average of the profile with this standard deviation, after `updates` updates (None: the newest).

    folder: RUN/profiles. Returns float32 tensors by name, `network.` and `text_encoder.`. Close for deviations
    between the tracked ones; outside of them the error grows. Raises CheckpointError, InputError.
    """
    known = snapshots(Path(folder))
    end = known[-1].updates if updates is None else updates
    used = [found for found in known if found.updates <= end]
    if not used:
        raise CheckpointError(f"'{folder}' has no snapshot up to update {end}; give a later one.")
    shares = combination([(s.updates, s.power) for s in used], (end, power_of(deviation)))
    return _sum(used, shares)


def export(run: str | Path, deviation: float, destination: str | Path) -> Path:
    """The run's model with the average of this profile, as a model folder of its own; returns it.

    Raises CheckpointError for a run without snapshots, InputError for a deviation that no profile has, FileError.
    """
    tensors = reconstruct(Path(run) / FOLDER, deviation)
    model = models.load(run)
    for name, part in model.parts.items():
        part.load_state_dict(average_of(tensors, f"{name}."))
    return models.save(model, destination)


def combination(have: Sequence[tuple[int, float]], want: tuple[int, float]) -> Tensor:
    """Shares of the profiles `have` that come nearest to `want`, summing to 1: float64, shape (len(have),).

    Profiles are (updates T, gamma), densities (gamma + 1) t^gamma / T^(gamma + 1) on (0, T).
    """
    gram = torch.tensor([[_overlap(a, b) for b in have] for a in have], dtype=torch.float64, device="cpu")
    aim = torch.tensor([_overlap(a, want) for a in have], dtype=torch.float64, device="cpu")
    scale = gram.diagonal().rsqrt()
    inverse = torch.linalg.pinv(gram * scale[:, None] * scale, rtol=1e-13, hermitian=True)
    inverse = inverse * scale[:, None] * scale
    free, ones = inverse @ aim, inverse.sum(1)
    # A sum of exactly 1 keeps weights that did not move where they are.
    shares: Tensor = free + ones * (1.0 - free.sum()) / ones.sum()
    return shares


def _overlap(one: tuple[int, float], other: tuple[int, float]) -> float:
    """Integral of the product of two profiles; powers of the ratio of the ends, which is at most 1."""
    (short, p), (long, q) = sorted((one, other))
    return float((p + 1.0) * (q + 1.0) / ((p + q + 1.0) * long) * (short / long) ** q)


def _sum(used: Sequence[Snapshot], shares: Tensor) -> dict[str, Tensor]:
    """In float64: shares of both signs cancel. Whole numbers are those of the newest snapshot."""
    total: dict[str, Tensor] = {}
    for snapshot, share in zip(used, shares.tolist(), strict=True):
        with safe_open(snapshot.path, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - not a mapping
                if key.startswith(snapshot.prefix):
                    name, tensor = key.removeprefix(snapshot.prefix), opened.get_tensor(key)
                    if tensor.is_floating_point():
                        tensor = share * tensor.double() + total.get(name, 0.0)
                    total[name] = tensor
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in total.items()}


def sweep(run: Path, step: int) -> None:
    """Remove snapshots later than `step`: a resumed run writes them again."""
    for path in (run / FOLDER).glob("step-*.safetensors"):
        number = path.stem.removeprefix("step-")
        if number.isdigit() and int(number) > step:
            path.unlink()


def average_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one part, `network.` or `text_encoder.`, without that prefix."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
