"""One run, opened: what every step saw, predicted and did."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any

import torch
from torch import Tensor

from unnoise.evaluation.bound import step_cost
from unnoise.evaluation.runs import Pipe
from unnoise.evaluation.subject import Told
from unnoise.process import Diffuser, Gaussian, Level
from unnoise.schedulers import Step


@dataclass(frozen=True, eq=False)
class InspectedStep:
    """One step. Tensors are (channels, height, width).

    start, level: before and after. x: what the network was shown; x0, noise: its estimate. posterior: the Gaussian of
    the process' own step between these levels at that estimate, whatever the scheduler then did. kl: bits per number
    of that step, were the final picture the clean one; None for the last step, which leads to no Gaussian. change,
    x0_change: root mean square of what the step changed in the sample, and in the estimate since the step before.
    """

    index: int
    start: Level
    level: Level
    x: Tensor
    x0: Tensor
    noise: Tensor
    posterior: Gaussian
    kl: float | None
    change: float
    x0_change: float | None


@dataclass(frozen=True, eq=False)
class Inspection:
    """All steps of one run. In a notebook it shows itself."""

    prompt: str
    seed: int
    scheduler: str
    steps: tuple[InspectedStep, ...] = field(repr=False)
    picture: Tensor = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, without the pictures, as plain values for JSON."""
        return {
            "prompt": self.prompt,
            "seed": self.seed,
            "scheduler": self.scheduler,
            "steps": [_plain(step) for step in self.steps],
        }

    def _repr_html_(self) -> str:
        from unnoise.evaluation.report.inspection import inspection_page

        document = html.escape(inspection_page(self), quote=True)
        return f'<iframe srcdoc="{document}" width="100%" height="720" style="border:0"></iframe>'


def inspect_run(
    pipe: Pipe,
    prompt: str = "",
    *,
    seed: int = 0,
    told: Told | None = None,
    **options: Any,  # noqa: ANN401
) -> Inspection:
    """Make one picture and keep every step of it.

    told: hears how many steps are done, of how many. options: those of the pipeline's `denoise`, such as steps,
    guidance and scheduler. Raises as it does.
    """
    run = pipe.denoise([prompt], seeds=[seed], **options)
    made: list[Step] = []
    with torch.inference_mode():
        for step in run:
            made.append(step)
            if told is not None:
                told(len(made), length_hint(run))
        picture = made[-1].x
        diffuser: Diffuser = pipe.model.diffuser
        pairs = zip(made, [None, *made[:-1]], strict=True)
        steps = tuple(_inspected(step, before, picture, diffuser) for step, before in pairs)
    name = getattr(getattr(run, "request", None), "scheduler_name", str(options.get("scheduler", "")))
    return Inspection(prompt, seed, name, steps, picture[0].float().cpu())


def _inspected(step: Step, before: Step | None, picture: Tensor, diffuser: Diffuser) -> InspectedStep:
    estimate, to = step.estimate, step.level
    posterior = diffuser.posterior(estimate.x, estimate, estimate.level, to)
    clean = float(to.sigma) == 0.0
    cost = None if clean else step_cost(diffuser, picture, estimate, to, 0.0).mean() / math.log(2.0)
    variance = torch.as_tensor(posterior.variance).float().cpu()
    return InspectedStep(
        index=step.index,
        start=step.start,
        level=to,
        x=estimate.x[0].float().cpu(),
        x0=estimate.x0[0].float().cpu(),
        noise=estimate.noise[0].float().cpu(),
        posterior=Gaussian(
            posterior.mean[0].float().cpu(), variance[0] if variance.dim() else float(variance)
        ),
        kl=None if cost is None else float(cost),
        change=_size(step.x - estimate.x),
        x0_change=None if before is None else _size(step.x0 - before.x0),
    )


def _size(x: Tensor) -> float:
    return float(x.float().square().mean().sqrt())


def _plain(step: InspectedStep) -> dict[str, Any]:
    variance, log_snr = torch.as_tensor(step.posterior.variance), float(step.start.log_snr)
    return {
        "index": step.index,
        "alpha": float(step.start.alpha),
        "sigma": float(step.start.sigma),
        "log_snr": log_snr if math.isfinite(log_snr) else None,
        "to_sigma": float(step.level.sigma),
        "posterior_variance": float(variance.mean()),
        "kl_bits": step.kl,
        "change": step.change,
        "x0_change": step.x0_change,
    }
