"""Every setting of the forward and of the reverse process, given everything that it is not."""

import dataclasses
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch

from odd_values import ODD
from unnoise.errors import InputError
from unnoise.limits import Declared
from unnoise.schedulers import grids
from unnoise.schedulers.solvers import Adams, Stage

RECORDS = {
    *("Transition", "Split", "Leg", "Look", "Move", "PlannedStep", "Plan", "AdaptivePlan", "Request"),
    *("Timeline", "Named", "Round", "Trajectories", "Estimate", "Step"),
}
"""What the package itself makes while it plans, walks or tunes: nobody's settings."""

NEEDED = {
    "alpha": 1.0,
    "at": 1.0,
    "base": "DDIM",
    "changes": ((0.1,),),
    "curve": "linear",
    "factor": 2.0,
    "grid": grids.Karras(),
    "known": torch.zeros(1),
    "mask": torch.ones(1),
    "mean": torch.zeros(1),
    "order": 1,
    "predictor": Adams(2),
    "ratios": (3.0, 1.0),
    "sigma": 0.5,
    "solver": Adams(2),
    "stages": (Stage(1.0, (0,)),),
    "steps": 10,
    "table": ((1.0,),),
    "time": 0.5,
    "times": (3.0, 1.0),
    "tokens": 4096,
    "total": 10,
    "uses": (0,),
    "variance": 1.0,
    "x0_variance": lambda x, level: 1.0,
}
BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "table": ()}
"""What one class asks for beside the defaults."""


def _kinds():
    for room in ("unnoise.process", "unnoise.schedulers"):
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
            if ".presets" in module.name:  # made of other programs' tables, by name
                continue
            for name, kind in vars(importlib.import_module(module.name)).items():
                made_there = inspect.isclass(kind) and kind.__module__ == module.name
                if made_there and dataclasses.is_dataclass(kind) and not name.startswith("_"):
                    yield kind


KINDS = sorted(_kinds(), key=lambda kind: kind.__name__)
SETTINGS = [kind for kind in KINDS if issubclass(kind, Declared)]


def test_whatever_is_no_record_of_the_package_s_own_is_checked_when_it_is_made():
    assert {kind.__name__ for kind in KINDS} - {kind.__name__ for kind in SETTINGS} <= RECORDS
    assert len(SETTINGS) > 60


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_a_setting_takes_what_it_declares_and_refuses_the_rest_by_name_and_with_a_way_on(kind):
    missing = dataclasses.MISSING
    given = {
        field.name: NEEDED[field.name]
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    } | (BETAS if kind.__name__ == "DiscreteVP" else {})
    assert kind(**given)
    for field in dataclasses.fields(kind):
        for odd in ODD:
            made = _made(kind, {**given, field.name: odd})
            if isinstance(made, InputError):
                assert field.name in str(made)
                assert "give" in str(made) or "for example" in str(made)
                assert "\n" not in str(made)
            else:
                assert hash(made) == hash(made)
                assert repr(made)
                assert not isinstance(getattr(made, field.name), list | np.generic | np.ndarray)


def _made(kind, given):
    try:
        return kind(**given)
    except InputError as error:
        return error
