"""Does a learned variance pay? The discrete bound of held-out digits under one network with three variances.

    python recipes/digits/learned_variance.py build/digits build/run-variance [--steps 2500]

build/digits is what `make_data.py` writes. A network is trained by the hybrid loss (Nichol & Dhariwal 2021) on
nine tenths of the pictures, without words. Its mean is the same in all three rows of the table; only the variance of
the reverse steps differs: the learned one, beta-tilde ("fixed_small") and beta ("fixed_large").
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unnoise import Diffuser, checkpoints
from unnoise.evaluation import bits_per_dim
from unnoise.process import Estimate, LearnedRange, PosteriorVariance
from unnoise.process.level import Scalar
from unnoise.process.posterior import Transition, variance_rule
from unnoise.training import Progress, Stopped, TrainConfig, settings, train
from unnoise.training.trainer import open_data

CHANGES = (
    "model.size=8",
    "model.colour=grey",
    "model.prediction=noise",
    "model.variance=learned_range",
    "model.schedule.kind=discrete_vp",
    "model.schedule.curve=cosine",
    "model.network.widths=32,64",
    "model.network.blocks=1",
    "model.network.attention=0,0",
    "data.captions=none",
    "data.held_out=0.1",
    "optimizer.lr=0.002",
    "optimizer.ema=0.998",
    "run.batch=128",
    "run.seed=7",
    "run.sample_every=0",
    "run.device=cpu",
)


@dataclass(frozen=True)
class Instead(LearnedRange):
    """Reads the network's output as a learned variance is read, and then takes another rule."""

    rule: PosteriorVariance

    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> float | Tensor:
        """What the other rule says."""
        return self.rule(numbers, estimate, floor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--pictures", type=int, default=180)
    options = parser.parse_args()
    config = settings.override(TrainConfig(), [*CHANGES, f"run.steps={options.steps}"])
    if not (options.run / "model").is_dir():
        for event in train(options.data, options.run, config, resume=(options.run / "config.toml").is_file()):
            if isinstance(event, Progress) and event.step % 100 == 0:
                print(f"step {event.step}: loss {event.loss:.4f}", flush=True)
            if isinstance(event, Stopped):
                raise SystemExit("stopped; the same command goes on")
    model = checkpoints.load(options.run)
    _, unseen = open_data(options.data, config)
    assert unseen is not None
    pictures = unseen.read(range(min(len(unseen), options.pictures))).float() / 127.5 - 1.0
    print(
        f"{len(pictures)} held-out pictures; bits a number, lower is better; in brackets more than learned\n"
    )
    print("| variance | 50 steps | 1,000 steps |\n|---|---|---|")
    learned: dict[int, Tensor] = {}
    for variance in ("learned_range", "fixed_small", "fixed_large"):
        rule = variance_rule(variance)
        rule = rule if isinstance(rule, LearnedRange) else Instead(rule)
        cells = []
        for steps, calls in ((50, None), (1000, 100)):
            diffuser = Diffuser(model.network, model.schedule, model.prediction, rule, clip=1.0)
            found = bits_per_dim(diffuser, pictures, steps=steps, calls=calls, batch=1024)
            more = found.each - learned.setdefault(
                steps, found.each
            )  # picture by picture: the noise is the same
            beside = f"{found.value:.3f} ± {found.error:.3f}"
            if more.any():
                beside += f" ({float(more.mean()):+.3f} ± {float(more.std()) / len(more) ** 0.5:.3f})"
            cells.append(beside)
        print(f"| {variance} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
