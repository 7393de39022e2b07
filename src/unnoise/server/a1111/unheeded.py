"""Fields that nothing here answers to: refused where they would change the picture, else noted or without meaning."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from unnoise.server.refusals import FieldError

_NONE = ("", "None", "none")
_SAME = ("", "Use same checkpoint", "Use same sampler", "Use same scheduler")

USUAL: Mapping[str, tuple[object, ...]] = {
    "seed_resize_from_h": (0, -1),
    "seed_resize_from_w": (0, -1),
    "restore_faces": (False,),
    "tiling": (False,),
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_noise": (1,),
    "s_min_uncond": (0,),
    "initial_noise_multiplier": (1,),
    "disable_extra_networks": (False,),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "refiner_checkpoint": _NONE,
    "styles": ([],),
    "token_merging_ratio": (0,),
}
"""Field -> the values with which it changes nothing. With another it is refused."""

_SECOND: Mapping[str, str] = {
    "hr_checkpoint_name": "",
    "hr_sampler_name": "sampler_name",
    "hr_scheduler": "scheduler",
    "hr_prompt": "prompt",
    "hr_negative_prompt": "negative_prompt",
}
"""Of a second pass, which is made as the first: field -> the first's."""

_IDLE = frozenset(
    (
        *("s_tmax", "refiner_switch_at", "script_args", "do_not_save_samples", "do_not_save_grid"),
        *("save_images", "override_settings_restore_afterwards", "include_init_images", "comments"),
        "sampler_index",
    )
)
"""Without meaning here, or beside what says the same."""

_ANSWERED = _IDLE | USUAL.keys() | _SECOND.keys() | {"eta", "script_name", "alwayson_scripts"}
_TOLD = 8


def check(given: Mapping[str, object]) -> None:
    """Raises FieldError for what would change the picture and is not done here."""
    for name, usual in USUAL.items():
        if name in given and given[name] not in usual:
            raise FieldError(
                name, f"{name} is {str(given[name])[:40]!r}, which is not done here; leave it out."
            )
    if given.get("enable_hr"):
        _check_second(given)
    if given.get("script_name") not in (None, *_NONE):
        raise FieldError(
            "script_name", f"Script '{str(given['script_name'])[:80]}' not found; there are none here."
        )
    _check_scripts(given.get("alwayson_scripts", {}))


def _check_second(given: Mapping[str, object]) -> None:
    for name, first in _SECOND.items():
        value = given.get(name, "")
        if value not in _SAME and value != given.get(first):
            raise FieldError(name, f"{name} is given; the second pass is made as the first: leave it out.")


def _check_scripts(scripts: object) -> None:
    if not isinstance(scripts, Mapping):
        raise FieldError("alwayson_scripts", "alwayson_scripts is no table of scripts; leave it out.")
    for name, script in scripts.items():
        if not _off(script):
            raise FieldError(
                "alwayson_scripts", f"always on script '{str(name)[:80]}' not found; there are none here."
            )


def _off(script: object) -> bool:
    """Whether a script is told to do nothing: by no arguments, a first one that is false, or tables all off."""
    given = script.get("args", []) if isinstance(script, Mapping) else script
    if not isinstance(given, list) or not given:
        return given in ([], {}, None)
    return given[0] is False or all(
        isinstance(one, Mapping) and one.get("enabled", one.get("enable")) is False for one in given
    )


def notes(given: Mapping[str, object], known: Collection[str], sampler: str) -> tuple[str, ...]:
    """What is not heeded, a sentence each. known: the fields that are. sampler: its name in A1111."""
    made = []
    usual = 0 if sampler.startswith("DDIM") else 1
    if given.get("eta", usual) != usual:
        made.append(f"eta {str(given['eta'])[:40]} is not heeded: {sampler or 'the sampler'} runs at {usual}")
    unknown = [name for name in given if name not in _ANSWERED and name not in known]
    for name in unknown[:_TOLD]:  # looking for what is near takes its time
        near = difflib.get_close_matches(name[:80], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        made.append(f"there is no field {name[:80]!r} here: it changes nothing{hint}")
    if len(unknown) > _TOLD:
        made.append(f"nor are there {len(unknown) - _TOLD} others that were given")
    return tuple(made)
