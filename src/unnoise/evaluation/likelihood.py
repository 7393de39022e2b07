"""How well a model fits pictures, in bits per number: three estimates behind one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unnoise.errors import InputError, NonFiniteError
from unnoise.evaluation.bound import Chain, discrete_bound
from unnoise.evaluation.continuous import Strata, continuous_bound
from unnoise.evaluation.decoder import Cdf
from unnoise.evaluation.flow import Flow, flow_likelihood
from unnoise.evaluation.result import Likelihood
from unnoise.evaluation.subject import BATCH, Draw, Subject, Told, keyed, on_grid
from unnoise.limits import choice, counted, typed
from unnoise.process import Diffuser

Method = Literal["vlb", "vdm", "ode"]
Space = Literal["pixels", "numbers", "latent"]

METHODS: tuple[Method, ...] = get_args(Method)
_UNITS = {"pixels": "bits/dim", "numbers": "bits/dim of density", "latent": "nats/dim of the latent"}


def bits_per_dim(
    diffuser: Diffuser,
    images: Tensor,
    method: Method = "vlb",
    *,
    steps: int | Sequence[int] | None = None,
    calls: int | None = None,
    flow: Flow | None = None,
    cdf: Cdf = "exact",
    strata: Strata = "log_snr",
    space: Space = "pixels",
    bins: int = 256,
    conditioning: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    batch: int = BATCH,
    draw: Draw | None = None,
    told: Told | None = None,
) -> Likelihood:
    """The cost of `images` under the model, with its standard error, its terms and its network calls.

    method: "vlb", the discrete variational bound (Ho et al. 2020; Nichol & Dhariwal 2021); "vdm", the bound in
    continuous time (Kingma et al. 2021); "ode", the probability-flow ODE (Song et al. 2021b).

    images: (pictures, channels, height, width): uint8, or floats in [-1, 1] on the grey levels. Floats set the
    type in which the network is asked. space: "pixels"; "numbers" for the density of any floats; "latent" for
    that in nats per latent number, which is no likelihood of the picture.

    steps: of a respaced chain, or its times (vlb). calls: network calls a picture; every step when None (vlb),
    128 (vdm). cdf, strata: see `decoder` and `continuous`. flow: solver, trace and dequantisation (ode).
    conditioning: tensors with a row for each picture, such as text embeddings. Random numbers are a function of
    `seed` and the picture's place, not of `batch`; draw replaces their source. told(done, whole) hears of progress.

    Raises InputError for values that make no sense and for a model without a discrete chain asked for the discrete
    bound, NonFiniteError where the cost of a picture is not finite.
    """
    typed("diffuser", diffuser, Diffuser, "unnoise.Diffuser(network, schedule)")
    choice("method", method, METHODS)
    choice("space", space, _UNITS)
    choice("cdf", cdf, get_args(Cdf), ", the second to reproduce published figures")
    levels = bins if space == "pixels" else None
    x0 = _checked(images, levels)
    given = _rows(conditioning or {}, len(x0))
    source = draw or keyed(typed("seed", seed, int), x0.shape[1:])
    subject = Subject(diffuser, x0, given, source, batch, told, levels, seed, _UNITS[space])
    if method == "vlb":
        chain = Chain.of(diffuser.schedule, steps, levels)
        return discrete_bound(subject, chain, cdf, calls)
    if method == "vdm":
        return continuous_bound(subject, 128 if calls is None else calls, strata)
    return flow_likelihood(
        subject, Flow() if flow is None else typed("flow", flow, Flow, "evaluation.Flow()")
    )


def vlb(diffuser: Diffuser, images: Tensor, **options: Any) -> Likelihood:  # noqa: ANN401 - as there
    """The discrete variational bound: prior + one KL divergence a step + decoder (Ho et al. 2020, eq. 5).

    That is `bits_per_dim` by its method "vlb", which has the same options, shapes, units and errors.
    """
    return bits_per_dim(diffuser, images, "vlb", **options)


def _checked(images: Tensor, bins: int | None) -> Tensor:
    typed("images", images, Tensor)
    if images.dim() < 2 or len(images) == 0:
        raise InputError(
            f"images have shape {list(images.shape)}; give at least one picture: (pictures, channels, height, width)."
        )
    if images.is_floating_point() and not bool(torch.isfinite(images).all()):
        raise NonFiniteError("images hold numbers that are not finite; remove those pictures.")
    if bins is not None:
        return on_grid(images, bins)
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; a density needs floats.")
    return images


def _rows(conditioning: Mapping[str, Tensor], count: int) -> Mapping[str, Tensor]:
    for name, rows in conditioning.items():
        if len(rows) != count:
            raise InputError(
                f"conditioning '{name}' has {counted(len(rows), 'row')} for {counted(count, 'picture')}; give one for "
                "each."
            )
    return conditioning
