"""diffusers' scheduler_config.json: what is not known is said, nothing is read as something else."""

import pytest

from unnoise.errors import InputError
from unnoise.schedulers import grids, names, solvers
from unnoise.schedulers.noise import SDE, Renoise, none
from unnoise.schedulers.solvers import Adams


def read(name, compat=None, **settings):
    return names.from_config({"_class_name": f"{name}Scheduler", **settings}, compat)


@pytest.mark.parametrize("compat", [None, "diffusers"])
@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("EulerDiscrete", {"timestep_type": "continuous"}, "timestep_type is 'continuous'"),
        ("EulerDiscrete", {"timestep_spacing": "even"}, "linspace, leading, trailing"),
        ("DPMSolverMultistep", {"final_sigmas_type": "none"}, "final_sigmas_type is 'none'"),
        ("EDMEuler", {"sigma_schedule": "beta"}, "sigma_schedule is 'beta'"),
        (
            "DPMSolverSinglestep",
            {"algorithm_type": "sde-dpmsolver"},
            "dpmsolver++, dpmsolver, sde-dpmsolver++",
        ),
        ("DPMSolverMultistep", {"solver_order": 2.5}, "solver_order is 2.5"),
        ("SASolver", {"algorithm_type": "dpmsolver++"}, "data_prediction, noise_prediction"),
        ("DDPM", {"variance_type": "learned"}, "variance_type is 'learned'"),
        ("DDIM", {"num_train_timesteps": "1000"}, "num_train_timesteps is '1000'"),
        ("DDIM", {"num_train_timesteps": True}, "num_train_timesteps is True"),
        ("DDIM", {"beta_start": "0.1"}, "beta_start is '0.1'"),
        ("DDIM", {"beta_schedule": 3}, "beta_schedule is 3"),
        ("DDIM", {"set_alpha_to_one": "no"}, "set_alpha_to_one is 'no'"),
        ("DDIM", {"steps_offset": -1}, "steps_offset is -1"),
        ("LCM", {"steps_offset": "1"}, "steps_offset is '1'"),
        ("DDIM", {"trained_betas": 0.1}, "trained_betas is 0.1"),
        ("DDIM", {"trained_betas": [0.1, "0.2"]}, "0.2"),
        ("DDIM", {"eta": 2.0}, "eta is 2.0"),
        ("DPMSolverMultistep", {"lambda_min_clipped": [1.0]}, "lambda_min_clipped is [1.0]"),
        ("UniPCMultistep", {"disable_corrector": 1}, "disable_corrector is 1"),
        ("SASolver", {"tau_func": 1.0}, "tau_func is 1.0"),
        ("EDMEuler", {"rho": 0}, "rho is 0"),
        ("LCM", {"original_inference_steps": 0}, "original_inference_steps is 0"),
        ("FlowMatchEulerDiscrete", {"num_train_timesteps": 500}, "num_train_timesteps is 500"),
        (
            "UniPCMultistep",
            {"use_flow_sigmas": True, "num_train_timesteps": 500},
            "num_train_timesteps is 500",
        ),
    ],
)
def test_a_value_that_is_not_known_is_refused_by_name(name, settings, says, compat):
    with pytest.raises(InputError) as caught:
        read(name, compat, **settings)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("EulerDiscrete", {"interpolation_type": "log_linear"}),
        ("DPMSolverSinglestep", {"algorithm_type": "sde-dpmsolver++"}),
        ("DPMSolverMultistep", {"thresholding": True}),
        ("FlowMatchEulerDiscrete", {"use_dynamic_shifting": True}),
        ("FlowMatchEulerDiscrete", {"shift_terminal": 0.1}),
        ("FlowMatchEulerDiscrete", {"invert_sigmas": True}),
        ("EulerDiscrete", {"sigma_min": 0.05, "use_karras_sigmas": True}),
        ("UniPCMultistep", {"sigma_max": 10.0, "use_karras_sigmas": True}),
        ("IPNDM", {"trained_betas": [0.1, 0.2]}),
        ("DDIM", {"trained_betas": [0.1, 0.2]}),
        ("DPMSolverMultistep", {"prediction_type": "flow_prediction"}),
        ("DPMSolverMultistep", {"prediction_type": "v_prediction", "use_flow_sigmas": True}),
    ],
)
def test_what_a_preset_does_not_compute_is_refused_with_compat_only(name, settings):
    read(name, **settings)
    with pytest.raises(InputError, match=f"(?s){next(iter(settings))}.*[Ll]eave compat out"):
        read(name, "diffusers", **settings)


def test_a_stochastic_single_step_solver_follows_the_sde():
    found = read("DPMSolverSinglestep", algorithm_type="sde-dpmsolver++").scheduler
    assert (found.solver, found.noise) == (solvers.TwoStage(), SDE())


@pytest.mark.parametrize("compat", [None, "diffusers"])
@pytest.mark.parametrize(
    ("name", "key", "words", "meant"),
    [
        ("DPMSolverMultistep", "solver_type", ("logrho", "bh1", "bh2"), "midpoint"),
        ("DPMSolverMultistep", "algorithm_type", ("deis",), "dpmsolver++"),
        ("UniPCMultistep", "solver_type", ("midpoint", "heun", "logrho"), "bh2"),
    ],
)
def test_a_sibling_class_s_word_is_taken_as_diffusers_takes_it(name, key, words, meant, compat):
    for word in words:
        assert read(name, compat, **{key: word}) == read(name, compat, **{key: meant})


@pytest.mark.parametrize("compat", [None, "diffusers"])
@pytest.mark.parametrize("key", ["algorithm_type", "solver_order", "timestep_spacing", "final_sigmas_type"])
def test_a_value_that_is_null_is_the_default(key, compat):
    assert read("DPMSolverMultistep", compat, **{key: None}) == read("DPMSolverMultistep", compat)


@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        ({"solver_order": 1}, Adams(1)),
        ({"solver_order": 2}, solvers.TwoStage()),
        ({"solver_order": 3}, solvers.ThreeStageX0()),
        ({"solver_order": 2, "algorithm_type": "dpmsolver"}, solvers.Midpoint()),
        ({"solver_order": 3, "algorithm_type": "dpmsolver"}, solvers.ThreeStage()),
    ],
)
def test_single_step_solvers_have_the_order_and_the_unknown_of_the_configuration(settings, solver):
    assert read("DPMSolverSinglestep", **settings).scheduler.solver == solver


def test_stochastic_sampling_of_a_flow_model_is_renoising():
    assert read("FlowMatchEulerDiscrete", stochastic_sampling=True).scheduler.noise == Renoise()
    assert read("FlowMatchEulerDiscrete").scheduler.noise == none()


def test_a_single_step_solver_of_another_order_is_refused():
    with pytest.raises(InputError, match="order is 4"):
        read("DPMSolverSinglestep", solver_order=4)


def test_the_power_of_karras_is_that_of_the_configuration():
    found = read("EDMEuler", rho=5.0)
    assert found.scheduler.grid == grids.Karras(5.0)


@pytest.mark.parametrize(
    ("name", "settings", "steps", "says"),
    [
        ("KDPM2Discrete", {"num_train_timesteps": 1}, 1, "num_train_timesteps is 1"),
        (
            "DPMSolverMultistep",
            {"lambda_min_clipped": -2.0, "timestep_spacing": "trailing"},
            1,
            "lambda_min_clipped is -2",
        ),
        ("DDIM", {"steps_offset": 1}, 1000, "steps_offset is 1"),
        ("DDPM", {"steps_offset": 2}, 999, "steps_offset is 2"),
        (
            "LCM",
            {"original_inference_steps": 50, "num_train_timesteps": 40},
            2,
            "distilled at 50 of 40 times",
        ),
        ("EDMEuler", {"rho": 1e-300}, 2, "no finite numbers"),
    ],
)
def test_a_run_that_diffusers_cannot_go_as_asked_is_refused_where_it_is_planned(name, settings, steps, says):
    found = read(name, "diffusers", **settings)
    with pytest.raises(InputError, match=says):
        found.scheduler.plan(found.schedule, steps)


@pytest.mark.parametrize("given", [None, 5, "DDIMScheduler", ["DDIMScheduler"]])
def test_a_configuration_that_is_no_table_is_refused(given):
    with pytest.raises(InputError, match=r"config is .*; give a table"):
        names.from_config(given)
