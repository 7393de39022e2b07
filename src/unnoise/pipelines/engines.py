"""What computes the network: torch, or another engine where one is asked for."""

from __future__ import annotations

from dataclasses import replace

from unnoise.checkpoints.model import ENGINES, Model
from unnoise.errors import InputError
from unnoise.limits import choice
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.calibration import spans_of


def with_engine(model: Model, engine: str) -> Model:
    """The same model run by another of ENGINES. Raises InputError for others, and where it is not installed."""
    choice("engine", engine, ENGINES)
    if engine != "torch":
        from unnoise.networks.unet.openvino import library

        library()
    return model.changed(engine=engine)


def engaged(model: Model, cache: FeatureCache | None) -> Model:
    """The model whose network is run by its engine, ready for a cache. Raises InputError for what that cannot do."""
    if model.engine == "torch":
        return model
    if model.controls:
        raise InputError(f"engine '{model.engine}' runs without ControlNets; use engine 'torch'.")
    if next(model.network.parameters()).device.type != "cpu":
        raise InputError(f"engine '{model.engine}' runs on the processor; load with device='cpu'.")
    from unnoise.networks.unet.openvino import Compiled, CompiledReusing, sums_exactly

    if model.arithmetic and not sums_exactly():
        raise InputError(
            f"engine '{model.engine}' needs a processor that adds products of eight bits without loss (VNNI), and this "
            "one does not; use engine 'openvino'."
        )
    network = Compiled(model.network, spans=spans_of(model) if model.arithmetic else None)
    return replace(model, network=network if cache is None else CompiledReusing(network, cache.blocks))
