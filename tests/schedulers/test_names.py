"""Names of four programs, joined and apart; configurations; presets by name."""

from dataclasses import replace

import pytest

from closed_forms import GAUSSIAN
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, DiscreteVP, Flow
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, finals, grids, names, noise, solvers
from unnoise.schedulers.names.programs import DIFFUSERS, PROGRAMS
from unnoise.schedulers.presets.preset import Preset

SAMPLERS = {
    "Euler": "euler k_euler EulerDiscreteScheduler EulerDiscrete sample_euler",
    "Euler a": "euler_ancestral euler_a k_euler_a EulerAncestralDiscreteScheduler",
    "LMS": "lms k_lms LMSDiscreteScheduler",
    "Heun": "heun k_heun HeunDiscreteScheduler",
    "DPM2": "dpm_2 dpm2 k_dpm_2 KDPM2DiscreteScheduler",
    "DPM2 a": "dpm_2_ancestral k_dpm_2_a KDPM2AncestralDiscreteScheduler",
    "DPM++ 2M": "dpmpp_2m dpm++2m k_dpmpp_2m DPMSolverMultistepScheduler DPMSolverMultistep",
    "DPM++ 2M SDE": "dpmpp_2m_sde dpm++2m_sde dpmpp_2m_sde_gpu k_dpmpp_2m_sde dpm++2m_sde_bt",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun k_dpmpp_2m_sde_heun",
    "DPM++ 3M SDE": "dpmpp_3m_sde dpmpp_3m_sde_gpu",
    "DPM++ 2S a": "dpmpp_2s_ancestral dpm++2s_a k_dpmpp_2s_a",
    "Euler a RF": "LTXEulerAncestralRFScheduler",
    "DPM++ SDE": "DPMSolverSDEScheduler dpmpp_sde dpmpp_sde_gpu k_dpmpp_sde",
    "DDIM": "ddim ddim_trailing DDIMScheduler DDIMParallelScheduler",
    "DDPM": "ddpm DDPMScheduler",
    "DEIS": "deis DEISMultistepScheduler DEISMultistep",
    "UniPC": "uni_pc unipc",
    "UniPC bh2": "uni_pc_bh2 UniPCMultistepScheduler UniPCMultistep",
    "SA-Solver": "sa_solver SASolverScheduler SASolver",
    "Restart": "restart",
    "Res multistep": "res_multistep",
    "SEEDS 3": "seeds_3",
    "LCM": "lcm LCMScheduler",
    "TCD": "tcd TCDScheduler",
    "PLMS": "plms PNDMScheduler PNDM",
    "IPNDM": "ipndm IPNDMScheduler",
    "Heun++ 2": "heunpp2",
    "ER SDE": "er_sde",
    "Gradient estimation": "gradient_estimation euler_ge",
    "Exp Heun": "exp_heun_2_x0",
    "DPM fast": "dpm_fast k_dpm_fast",
    "DPM adaptive": "dpm_adaptive k_dpm_adaptive k_dpm_ad",
    "DPM++ 2M v2": "dpm++2mv2 dpmpp_2mv2 dpmpp2mv2",
    "Euler CFG++": "euler_cfg_pp",
    "Euler a CFG++": "euler_ancestral_cfg_pp euler_a_cfg_pp",
    "DPM++ 2M CFG++": "dpmpp_2m_cfg_pp",
    "Res multistep CFG++": "res_multistep_cfg_pp",
}
JOINED = {
    "DPM++ 2M Karras": ("DPM++ 2M", grids.Karras()),
    "k_dpmpp_2m_ka": ("DPM++ 2M", grids.Karras()),
    "k_dpmpp_2m_sde_exp": ("DPM++ 2M SDE", grids.Exponential()),
    "k_dpmpp_2m_sde_heun_ka": ("DPM++ 2M SDE Heun", grids.Karras()),
    "k_dpm_2_a_ka": ("DPM2 a", grids.Karras()),
    "k_lms_ka": ("LMS", grids.Karras()),
    "euler simple": ("Euler", grids.Simple()),
    "euler_sgm_uniform": ("Euler", grids.SGMUniform()),
    "Euler a Align Your Steps": ("Euler a", grids.AlignYourSteps()),
    "dpmpp_2m beta": ("DPM++ 2M", grids.BetaTime()),
}
APART = {
    "karras": grids.Karras(),
    "sgm_uniform": grids.SGMUniform(),
    "SGM Uniform": grids.SGMUniform(),
    "ddim_uniform": grids.DDIMUniform(),
    "kl_optimal": grids.KLOptimal(),
    "KL Optimal": grids.KLOptimal(),
    "linear_quadratic": grids.LinearQuadratic(),
    "align_your_steps": grids.AlignYourSteps(),
    "ays": grids.AlignYourSteps(),
    "gits": grids.GITS(),
    "bong_tangent": grids.BongTangent(),
    "smoothstep": grids.Smoothstep(),
    "logit_normal": grids.LogitNormal(),
    "flux": grids.ResolutionShift(grids.Trailing(), 4096),
    "flux2": grids.Flux2Shift(grids.Trailing(), 4096),
    "ltx2": grids.StretchToTerminal(grids.ResolutionShift(grids.Trailing(), 4096, 1024, 4096, 0.95, 2.05)),
    "discrete": grids.Linspace(),
    "Uniform": grids.Linspace(),
    "normal": grids.Linspace(),
    "turbo": grids.Rounded(grids.Trailing()),
    "Polyexponential": grids.Polyexponential(),
    "DDIM": grids.DDIMUniform(),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_program_s_spelling_means_the_same(name):
    for spelling in SAMPLERS[name].removesuffix(" sample_euler").split():
        assert names.get(spelling) == names.get(name), spelling


@pytest.mark.parametrize("spelling", JOINED)
def test_a_sampler_and_a_grid_may_be_joined(spelling):
    name, grid = JOINED[spelling]
    assert names.get(spelling) == replace(names.get(name), grid=grid)


@pytest.mark.parametrize("grid", APART)
def test_a_sampler_and_a_grid_may_be_given_apart(grid):
    assert names.get("dpmpp_2m", grid=grid) == replace(names.get("DPM++ 2M"), grid=APART[grid])


def test_an_automatic_grid_is_the_sampler_s_own():
    assert names.get("Heun", grid="Automatic") == names.get("Heun")
    assert names.get("Heun Karras", grid="automatic") == names.get("Heun Karras")


def test_unknown_words_bring_the_three_nearest():
    with pytest.raises(InputError, match="Karras") as caught:
        names.get("Euler", grid="karas")
    assert str(caught.value).count(",") == 2
    with pytest.raises(InputError, match="Euler"):
        names.get("Eular")


def test_the_table_tells_family_order_cost_and_noise():
    rows = {row.name: row for row in names.table()}
    assert len(rows) == len(names.table())
    assert all(row.family and row.about for row in rows.values())
    assert (rows["Heun"].order, rows["Heun"].calls, rows["Heun"].stochastic) == (2, 2, False)
    assert (rows["LMS"].order, rows["LMS"].calls, rows["DPM++ 2M SDE"].stochastic) == (4, 1, True)


def test_no_spelling_means_two_things():
    seen = {}
    for row in names.table():
        for word in (row.name, *row.spellings):
            plain = names.words.plain(word)
            assert seen.setdefault(plain, row.name) == row.name, word


@pytest.mark.parametrize("name", [row.name for row in names.table()])
def test_every_name_takes_every_grid_name(name):
    for grid in names.grid_names():
        assert names.get(f"{name} {grid}").grid == names.get(name, grid=grid).grid


@pytest.mark.parametrize(
    ("config", "scheduler", "schedule", "prediction"),
    [
        (
            {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True, "solver_order": 3},
            Scheduler(grids.Karras(), solvers.Adams(3, "lambda", "x0")),
            DiscreteVP.linear(),
            "noise",
        ),
        (
            {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085}
            | {"beta_end": 0.012, "steps_offset": 1, "skip_prk_steps": True},
            None,
            DiscreteVP.scaled_linear(),
            "noise",
        ),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
            | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
            Scheduler(grids.Trailing(), solvers.Adams(1, "sigma", "noise")),
            DiscreteVP.linear().zero_terminal_snr(),
            "velocity",
        ),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
            Scheduler(grids.Trailing(), solvers.Adams(1, "sigma", "noise")),
            Flow(shift=3.0),
            "flow",
        ),
        (
            {"_class_name": "EDMEulerScheduler", "sigma_max": 700.0},
            Scheduler(grids.Karras(), solvers.Adams(1, "sigma", "noise")),
            EDM(0.002, 700.0),
            "edm",
        ),
        ({"_class_name": "IPNDMScheduler"}, names.get("IPNDM"), Cosine(), "velocity"),
        ({"_class_name": "SCMScheduler"}, names.get("LCM Trailing"), Cosine(), "velocity"),
        (
            {"_class_name": "CMStochasticIterativeScheduler", "sigma_max": 40.0},
            names.get("LCM", grid=grids.Distilled(40)),
            EDM(0.002, 40.0),
            "consistency",
        ),
        (
            {"_class_name": "SASolverScheduler", "predictor_order": 3, "corrector_order": 4},
            names.get("SA-Solver SGM Uniform"),
            DiscreteVP.linear(),
            "noise",
        ),
        (
            {"_class_name": "DDPMScheduler", "variance_type": "learned_range", "beta_schedule": "sigmoid"},
            Scheduler(grids.Leading(), solvers.Adams(1), noise.Posterior("learned_range")),
            DiscreteVP.sigmoid(),
            "noise",
        ),
        (
            {"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2, 0.3], "prediction_type": "sample"},
            Scheduler(grids.Leading(), solvers.Adams(1)),
            DiscreteVP.from_betas((0.1, 0.2, 0.3)),
            "sample",
        ),
        (
            {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 5.0}
            | {"prediction_type": "flow_prediction"},
            Scheduler(grids.Trailing(), solvers.unipc(2, "x0", "bh2")),
            Flow(shift=5.0),
            "flow",
        ),
    ],
)
def test_a_configuration_gives_scheduler_schedule_and_prediction(config, scheduler, schedule, prediction):
    found = names.from_config(config)
    assert found.schedule == schedule
    assert found.prediction.name == prediction
    if scheduler is not None:
        assert found.scheduler == scheduler


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_preset_runs_from_end_to_end(program):
    schedule = DiscreteVP.scaled_linear()
    held = 0
    for row in names.table():
        try:
            preset = names.get(row.name, compat=program)
        except InputError:
            continue
        assert isinstance(preset, Preset) or (program == "comfyui" and preset.final == finals.FirstOrder())
        assert preset.stochastic == preset.plan(schedule, 5).stochastic
        plan = preset.plan(schedule, 12)
        x = plan.initial(GAUSSIAN.quantiles(plan.levels[0], 8).reshape(2, 1, 2, 2))
        *_, last = plan.run(GAUSSIAN.denoise, x, NoiseSource((1, 2)))
        assert last.x.isfinite().all()
        held += 1
    assert held >= 14


def test_a_program_without_a_sampler_or_grid_says_what_it_has():
    with pytest.raises(InputError, match="Euler"):
        names.get("Adams-Moulton", compat="k-diffusion")
    with pytest.raises(InputError, match="Karras"):
        names.get("Euler GITS", compat="diffusers")
    with pytest.raises(InputError, match="comfyui"):
        names.get("Euler", compat="comfy")
    with pytest.raises(InputError, match="diffusers"):
        names.from_config({"_class_name": "DDIMScheduler"}, compat="a1111")


def test_programs_differ_in_what_a_name_s_own_grid_is():
    schedule = DiscreteVP.scaled_linear()

    def first_last(program, name, grid=None):
        levels = names.get(name, compat=program, grid=grid).plan(schedule, 10).levels
        return round(float(levels[0].ratio), 2), round(float(levels[-2].ratio), 3)

    assert first_last("a1111", "DPM++ 2M") == (14.61, 0.029)  # Karras, where the schedule type is Automatic
    assert first_last("comfyui", "DPM++ 2M", "beta") == (14.61, 0.199)
    assert first_last("diffusers", "DPM++ 2M", "beta") == (14.61, 0.029)
    assert first_last("a1111", "DPM2")[1] > 0.029  # the penultimate sigma is dropped
    assert len(names.get("DDIM", compat="a1111").plan(schedule, 30)) == 31
    assert float(names.get("DDIM", compat="a1111").plan(schedule, 10).levels[-1].ratio) > 0.02
    assert set(DIFFUSERS) >= {"LCM", "TCD"}


def test_a_name_that_is_another_sampler_in_a_program_is_not_taken_for_ours():
    theirs, ours = (names.get("seeds_2 karras", compat=program) for program in ("comfyui", None))
    assert theirs == replace(ours, final=finals.FirstOrder())  # and DPM++ SDE is another there
    for name in ("ipndm_v", "deis_tab karras"):
        with pytest.raises(InputError, match="is not known here; without compat it is LMS"):
            names.get(name, compat="comfyui")
    with pytest.raises(InputError, match="k-diffusion's seeds2 is not known here"):
        names.get("seeds_2", compat="k-diffusion")


def test_comfyui_extrapolates_in_log_sigma_on_flow_models():
    ours = names.get("DPM++ 2M Simple").plan(Flow(), 6)
    comfy = names.get("DPM++ 2M Simple", compat="comfyui").plan(Flow(), 6)
    k = names.get("DPM++ 2M Simple", compat="k-diffusion").plan(Flow(start=1e-3, end=0.9), 6)
    assert comfy.steps[2].moves[1].of_x == pytest.approx(ours.steps[2].moves[1].of_x)
    assert comfy.steps[2].moves[1].of_estimates != pytest.approx(
        ours.steps[2].moves[1].of_estimates, rel=1e-3
    )
    assert len(k) == 6


@pytest.mark.parametrize("program", ["k-diffusion", "a1111", "comfyui"])
@pytest.mark.parametrize("name", ["DPM++ 2M Simple", "DPM2 Simple"])
def test_with_a_program_s_values_too_a_shifted_flow_model_is_told_sigma(program, name):
    plan = names.get(name, program).plan(Flow(shift=3.0, end=0.99), 4)
    for level in plan.looks:
        assert plan.schedule.network_time(level) == pytest.approx(level.sigma, rel=1e-9)
