"""Other libraries' samplers beside ours: the same fake network, each fed its own samples, the same noise."""

from __future__ import annotations

import importlib
import sys
import types
from contextlib import contextmanager

import diffusers
import torch

from unnoise.process import Estimate
from unnoise.schedulers.step import Request

SHAPE = (2, 4, 4, 4)
W = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 2.0


def network(x, t):
    """Float64, smooth, not linear, different at each time."""
    return torch.tanh(torch.einsum("ij,bjhw->bihw", W, x)) + torch.sin(torch.as_tensor(t).double() / 200.0)


def start():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class Draws:
    """The k-th draw is the same whoever asks; by_step: that of step k, for peers that draw where nothing is added."""

    def __init__(self, by_step=False):
        self.seeds = tuple(range(SHAPE[0]))
        self.by_step = by_step
        self.k = 0

    def __call__(self, *args, **kwargs):
        self.k = args[1] + 1 if self.by_step else self.k + 1
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(100 + self.k), dtype=torch.float64)
        like = kwargs.get("like")
        return noise if like is None else noise.to(like.dtype)


def ours(plan, prediction, model=network, clip=None, by_step=False):
    """(times told, inputs shown, final sample)."""
    first = plan.levels[0]
    x = start() * plan_scale(first)
    times, inputs = [], []
    walk = plan.walk(x, Draws(by_step))
    event = next(walk)
    while True:
        if isinstance(event, Request):
            level = event.level
            scale = prediction.input_scale(level)
            time = plan.schedule.network_time(level)
            shown = event.x * scale
            times.append(float(time))
            inputs.append(shown)
            event = walk.send(Estimate(event.x, level, model(shown, time), prediction, clip=clip))
            continue
        last = event.x
        event = next(walk, None)
        if event is None:
            return times, inputs, last


def plan_scale(level):
    """The starting sample's deviation: the noise's own on flow and EDM, 1 where variance is preserved."""
    return float(level.sigma) if level.alpha == 1.0 else 1.0


def theirs(scheduler, count, x, model=network, entry=0, scale=1.0, setting=None, **options):
    """The same of a diffusers scheduler. scale: of the time told to the network. x: already at their first level.

    setting: of `set_timesteps`, where a last time that is not asked at is left out as SCM's pipeline does.
    """
    module = sys.modules[type(scheduler).__module__]
    before = getattr(module, "randn_tensor", None)
    module.randn_tensor = Draws()
    try:
        scheduler.set_timesteps(count, **(setting or {}))
        if hasattr(scheduler, "noise_sampler"):
            scheduler.noise_sampler = Draws()
        order = getattr(scheduler, "order", 1)
        times = scheduler.timesteps[entry * order :]
        if setting is not None:
            times = times[:count]
        if hasattr(scheduler, "set_begin_index"):  # without it, twice the same time begins at the second
            scheduler.set_begin_index(entry * order)
        told, inputs = [], []
        for t in times:
            shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            told.append(float(t) * scale)
            inputs.append(shown)
            x = scheduler.step(model(shown, t * scale), t, x, **options).prev_sample
        return told, inputs, x
    finally:
        module.randn_tensor = before


def diffusers_class(name):
    """A scheduler's class; the one that draws by torchsde also where that is absent, noise being handed in here."""
    if name != "DPMSolverSDEScheduler":
        return getattr(diffusers, name)
    with _stand_ins([module for module in ("torchsde",) if not _installed(module)]):
        return importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde").DPMSolverSDEScheduler


@contextmanager
def _stand_ins(names):
    added = [name for name in names if name not in sys.modules]
    for name in added:
        module = types.ModuleType(name)
        module.__getattr__ = lambda attribute: object
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def k_sampling():
    """k_diffusion.sampling, without what the rest of that package imports; None where it is not installed."""
    heavy = (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.functional",
        "torchdiffeq",
        "torchsde",
    )
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None:
        return None
    with _stand_ins([name for name in heavy if name in sys.modules or not _installed(name)]):
        package = types.ModuleType("k_diffusion")
        package.__path__ = list(spec.submodule_search_locations)
        kept = {name: sys.modules.get(name) for name in ("k_diffusion", "k_diffusion.utils")}
        sys.modules["k_diffusion"] = package
        try:
            return importlib.import_module("k_diffusion.sampling")
        finally:
            for name, module in kept.items():
                if module is None:
                    sys.modules.pop(name, None)


def _installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
