"""Grids: which noise levels a sampler visits. Steps in, strictly decreasing levels out."""

from unnoise.schedulers.grids.arcsinh import Arcsinh
from unnoise.schedulers.grids.base import Grid, Timeline, clean_level
from unnoise.schedulers.grids.combine import (
    DropPenultimate,
    ResolutionShift,
    Reverse,
    Rounded,
    Shift,
    Slice,
    StretchToTerminal,
)
from unnoise.schedulers.grids.flow_models import Flux2Shift, LogitNormal
from unnoise.schedulers.grids.lists import GITS, AlignYourSteps, Ratios, Stretched, Times
from unnoise.schedulers.grids.ratios import (
    BetaSigma,
    BlockLevels,
    BongTangent,
    Exponential,
    Karras,
    KLOptimal,
    Laplace,
    LinearQuadratic,
    Polyexponential,
)
from unnoise.schedulers.grids.times import (
    BetaTime,
    DDIMUniform,
    Distilled,
    Leading,
    Linspace,
    Quadratic,
    SGMUniform,
    Simple,
    Smoothstep,
    Trailing,
)

__all__ = [
    "GITS",
    "AlignYourSteps",
    "Arcsinh",
    "BetaSigma",
    "BetaTime",
    "BlockLevels",
    "BongTangent",
    "DDIMUniform",
    "Distilled",
    "DropPenultimate",
    "Exponential",
    "Flux2Shift",
    "Grid",
    "KLOptimal",
    "Karras",
    "Laplace",
    "Leading",
    "LinearQuadratic",
    "Linspace",
    "LogitNormal",
    "Polyexponential",
    "Quadratic",
    "Ratios",
    "ResolutionShift",
    "Reverse",
    "Rounded",
    "SGMUniform",
    "Shift",
    "Simple",
    "Slice",
    "Smoothstep",
    "StretchToTerminal",
    "Stretched",
    "Timeline",
    "Times",
    "Trailing",
    "clean_level",
]
