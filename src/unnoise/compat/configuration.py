"""What a scheduler says of itself in diffusers' words, and which class a configuration without a name is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unnoise.process import EDM, DiscreteVP, Flow, NoiseSchedule, Prediction

_WORDS = {"noise": "epsilon", "sample": "sample", "velocity": "v_prediction", "flow": "flow_prediction"}
_WORDS |= {"edm": "epsilon"}  # what the EDM classes call it
_SHIFTING = (
    *("use_dynamic_shifting", "time_shift_type", "shift_terminal"),
    *("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"),
)
"""How a flow model's shift follows the picture: read by pipelines, which answer with `mu`."""


class Config(dict[str, Any]):
    """What pipelines read of a scheduler's configuration, by key or by attribute."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the values are of many kinds
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


def told(schedule: NoiseSchedule, prediction: Prediction, given: Mapping[str, Any]) -> Config:
    """The configuration of a scheduler of ours; given: that of the model's own."""
    return Config(
        **_schedule(schedule),
        **{key: given[key] for key in _SHIFTING if key in given},
        prediction_type=_WORDS.get(prediction.name, prediction.name),
        steps_offset=1,  # pipelines warn about any other
        clip_sample=False,
        skip_prk_steps=True,
    )


def class_of(config: Mapping[str, Any]) -> str:
    """The class that a configuration without its name is of, as far as noise levels go."""
    if "sigma_data" in config:
        return "EDMEulerScheduler"
    return "FlowMatchEulerDiscreteScheduler" if "shift" in config else "DDIMScheduler"


def _schedule(schedule: NoiseSchedule) -> dict[str, Any]:
    """A noise schedule in diffusers' words, which its own classes and `scheduler` read too."""
    if isinstance(schedule, Flow):
        # Pipelines that find use_flow_sigmas leave the levels to the scheduler.
        flow = {"use_flow_sigmas": True, "flow_shift": schedule.shift}
        return {"num_train_timesteps": 1000, "shift": schedule.shift, **flow}
    if isinstance(schedule, EDM):
        ends = {"sigma_min": schedule.sigma_min, "sigma_max": schedule.sigma_max}
        return {"num_train_timesteps": 1000, "sigma_data": 0.5, **ends}
    if not isinstance(schedule, DiscreteVP):
        return {"num_train_timesteps": 1000}
    words: dict[str, Any] = {"num_train_timesteps": schedule.steps}
    if schedule.zero_terminal:
        words["rescale_betas_zero_snr"] = True
    if schedule.curve == "table":
        return words | {"trained_betas": list(schedule.table)}
    if schedule.curve == "cosine":
        return words | {"beta_schedule": "squaredcos_cap_v2"}
    ends = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end}
    return words | {"beta_schedule": schedule.curve, **ends}
