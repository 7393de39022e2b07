"""Words for grids, and how names are compared."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from unnoise.errors import InputError
from unnoise.limits import shown
from unnoise.schedulers import grids
from unnoise.schedulers.grids import Grid

_TOKENS = 4096  # of a picture of 1024 x 1024; for other sizes make the grid with its own number

_LTX = grids.ResolutionShift(grids.Trailing(), _TOKENS, 1024, 4096, 0.95, 2.05)

_GRIDS: tuple[tuple[str, str, Grid], ...] = (
    ("Karras", "ka", grids.Karras()),
    ("Exponential", "exp lambda_uniform lu", grids.Exponential()),
    ("Polyexponential", "polyexp", grids.Polyexponential()),
    ("Trailing", "", grids.Trailing()),
    ("Leading", "", grids.Leading()),
    ("Linspace", "normal uniform discrete", grids.Linspace()),
    ("SGM Uniform", "sgm_uniform", grids.SGMUniform()),
    ("Simple", "", grids.Simple()),
    ("DDIM Uniform", "ddim_uniform ddim", grids.DDIMUniform()),
    ("Beta", "beta_time", grids.BetaTime()),
    ("Beta sigmas", "beta_sigma", grids.BetaSigma()),
    ("KL Optimal", "kl_optimal", grids.KLOptimal()),
    ("Align Your Steps", "align_your_steps ays ays_sd15", grids.AlignYourSteps()),
    ("Align Your Steps XL", "ays_sdxl", grids.AlignYourSteps("sdxl")),
    ("Align Your Steps SVD", "ays_svd", grids.AlignYourSteps("svd")),
    ("GITS", "", grids.GITS()),
    ("Turbo", "", grids.Rounded(grids.Trailing())),
    ("Linear Quadratic", "linear_quadratic", grids.LinearQuadratic()),
    ("Quadratic", "quad", grids.Quadratic()),
    ("Laplace", "", grids.Laplace()),
    ("Bong Tangent", "bong_tangent", grids.BongTangent()),
    ("Smoothstep", "", grids.Smoothstep()),
    ("Logit Normal", "logit_normal", grids.LogitNormal()),
    ("Flux", "", grids.ResolutionShift(grids.Trailing(), _TOKENS)),
    ("Flux 2", "flux2", grids.Flux2Shift(grids.Trailing(), _TOKENS)),
    ("LTX 2", "ltx2", grids.StretchToTerminal(_LTX)),
    ("Arcsinh", "", grids.Arcsinh()),
    ("Distilled", "lcm", grids.Distilled()),
)

AUTOMATIC = frozenset({"", "automatic", "usesame", "default"})
"""Words by which a front end leaves the grid to the sampler."""


def plain(name: str) -> str:
    """A name without what people write in different ways."""
    joined = re.sub(r"[\s_\-]+", "", name.strip().lower()).replace("++", "pp")
    return joined.replace("dpmsolver", "dpm").replace("ancestral", "a")


GRIDS: dict[str, Grid] = {label: grid for label, _, grid in _GRIDS}
"""The grids that may follow a name, as shown."""

SPELLED: dict[str, Grid] = {
    plain(word): grid for label, words, grid in _GRIDS for word in (label, *words.split())
}
"""The same under every spelling."""


def grid(name: str | Grid) -> Grid:
    """The grid of this name, such as "karras" or "Align Your Steps". Raises InputError with the three nearest."""
    if isinstance(name, Grid):
        return name
    if not isinstance(name, str):
        raise InputError(
            f"grid is {shown(name)}; give a name such as 'karras', or a Grid such as grids.Karras()."
        )
    if plain(name) not in SPELLED:
        close = ", ".join(nearest(plain(name), {plain(label): label for label in GRIDS}))
        raise InputError(f"grid {name!r} is not known; the nearest are {close}.")
    return SPELLED[plain(name)]


def endings(name: str) -> Iterable[tuple[str, Grid]]:
    """(what stands before, grid) for each grid whose name a plain name ends with, the longest first."""
    for word in sorted(SPELLED, key=len, reverse=True):
        if name.endswith(word) and name != word:
            yield name.removesuffix(word), SPELLED[word]


def nearest(name: str, shown: Mapping[str, str]) -> list[str]:
    """The three of `shown` (plain name to shown name) most like a plain name."""
    return [shown[close] for close in difflib.get_close_matches(name, shown, n=3, cutoff=0.0)]
