"""Does a learned variance pay? The discrete bound of held-out digits under one network with three variances.

    python recipes/digits/learned_variance.py [FOLDER] [--steps N] [--calls N] [--pictures N]

A sister of the shipped model, by the same recipe on four fifths of the digits, but on a chain of 1,000 steps and by
the hybrid loss (Nichol & Dhariwal 2021), so that it learns the variance of its steps too; in FOLDER/run-variance,
kept and taken up again. Its mean is the same in all three rows of the table; only the variance of the reverse steps
differs: the learned one, beta-tilde ("fixed_small") and beta ("fixed_large"). Digits have 17 grey levels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from likelihood import CONFIG, split
from torch import Tensor

from unnoise import Diffuser, checkpoints
from unnoise.evaluation import bits_per_dim
from unnoise.process import Estimate, LearnedRange, PosteriorVariance
from unnoise.process.level import Scalar
from unnoise.process.posterior import Transition, variance_rule
from unnoise.text import embed
from unnoise.training import DataConfig, Progress, Stopped, settings, train
from unnoise.training.data import open_pictures

CHANGES = (
    "model.variance=learned_range",
    'model.schedule={kind = "discrete_vp", curve = "cosine"}',
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


def trained(data: Path, run: Path, steps: int | None) -> checkpoints.Model:
    """The averaged model of the run, trained to its end."""
    more = [] if steps is None else [f"run.steps={steps}"]
    config = settings.override(settings.read(CONFIG), [*CHANGES, *more])
    if not (run / "model").is_dir():
        for event in train(data, run, config, resume=(run / "config.toml").is_file()):
            if isinstance(event, Progress) and event.step % 100 == 0:
                print(f"step {event.step}: loss {event.loss:.4f}", flush=True)
            if isinstance(event, Stopped):
                raise SystemExit("stopped; the same command goes on")
    return checkpoints.load(run)


def words_of(model: checkpoints.Model, captions: tuple[tuple[str, ...], ...]) -> dict[str, Tensor | None]:
    """What the network is told of each picture: its first caption."""
    assert model.text_encoder is not None
    assert model.tokenizer is not None
    with torch.inference_mode():
        seen = embed(model.text_encoder, model.tokenizer, [words[0] for words in captions])
    return {"text": seen.hidden.clone(), "text_mask": seen.mask, "pooled": seen.pooled.clone()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/digits-likelihood"))
    parser.add_argument("--steps", type=int, help="of training; the recipe's own when left out")
    parser.add_argument("--pictures", type=int, default=359)
    parser.add_argument("--calls", type=int, default=100, help="of the 1,000 steps, drawn; 1000: all of them")
    options = parser.parse_args()
    data, held = split(options.folder)
    model = trained(data, options.folder / "run-variance", options.steps)
    unseen = open_pictures(held, model.shape, DataConfig()).select(range(options.pictures))
    pictures = unseen.read(range(len(unseen)))
    told = {name: rows for name, rows in words_of(model, unseen.captions).items() if rows is not None}
    print(
        f"{len(pictures)} held-out pictures; bits a number, lower is better; in brackets more than learned\n"
    )
    print("| variance | 50 steps | 1,000 steps |\n|---|---|---|")
    learned: dict[int, Tensor] = {}
    for variance in ("learned_range", "fixed_small", "fixed_large"):
        rule = variance_rule(variance)
        rule = rule if isinstance(rule, LearnedRange) else Instead(rule)
        cells = []
        for steps, calls in ((50, None), (1000, options.calls if options.calls < 1000 else None)):
            diffuser = Diffuser(model.network, model.schedule, model.prediction, rule, clip=1.0)
            found = bits_per_dim(
                diffuser, pictures, steps=steps, calls=calls, bins=17, conditioning=told, batch=1024
            )
            # Picture by picture: the noise is the same.
            more = found.each - learned.setdefault(steps, found.each)
            beside = f"{found.value:.3f} ± {found.error:.3f}"
            if more.any():
                beside += f" ({float(more.mean()):+.3f} ± {float(more.std()) / len(more) ** 0.5:.3f})"
            cells.append(beside)
        print(f"| {variance} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
