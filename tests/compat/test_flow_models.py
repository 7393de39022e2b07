"""Our schedulers in diffusers' pipelines of flow models, built small and of random weights."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3Pipeline,
)

from unnoise.compat.diffusers import scheduler
from unnoise.errors import InputError
from unnoise.process import Flow
from unnoise.schedulers import Scheduler, finals, grids, names, restart, solvers

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
DYNAMIC = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(4,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        latent_channels=4,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    ).eval()


@pytest.fixture(scope="module")
def flux(vae):
    torch.manual_seed(0)
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    return {"transformer": network.eval(), "vae": vae}


@pytest.fixture(scope="module")
def sd3(vae):
    torch.manual_seed(0)
    network = SD3Transformer2DModel(
        sample_size=32,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    return {"transformer": network.eval(), "vae": vae}


def drawn(kind, parts, chosen, **more):
    absent = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    absent += () if kind is FluxPipeline else ("text_encoder_3", "tokenizer_3")
    pipe = kind(scheduler=chosen, **parts, **dict.fromkeys(absent))
    pipe.set_progress_bar_config(disable=True)
    width = 32 if kind is FluxPipeline else 64
    told = {"prompt_embeds": torch.ones(1, 5, 32) / 4, "pooled_prompt_embeds": torch.ones(1, width) / 4}
    generator = torch.Generator().manual_seed(3)
    shape = {} if "image" in more else {"height": 8, "width": 8}
    return pipe(**told, guidance_scale=1.0, generator=generator, output_type="latent", **shape, **more).images


@pytest.mark.parametrize(
    "config", [{"shift": 1.0}, {"shift": 3.0}, DYNAMIC], ids=["plain", "shift", "dynamic"]
)
def test_flux_is_told_the_times_of_its_own_scheduler(flux, config):
    theirs = FlowMatchEulerDiscreteScheduler(**config)
    ours = scheduler("Euler Trailing", theirs.config)
    one, two = (drawn(FluxPipeline, flux, chosen, num_inference_steps=4) for chosen in (ours, theirs))
    assert ours.timesteps.tolist() == pytest.approx(theirs.timesteps.tolist(), rel=1e-5)
    assert ours.sigmas.tolist() == pytest.approx(theirs.sigmas.tolist(), rel=1e-5)
    assert (one - two).abs().max() < 1e-4 * two.abs().max()


def test_a_last_flow_time_is_stretched_as_there():
    theirs = FlowMatchEulerDiscreteScheduler(**DYNAMIC, shift_terminal=0.1)
    sigmas = [1.0, 0.75, 0.5, 0.25]
    ours = scheduler("Euler", theirs.config)
    for each in (ours, theirs):
        each.set_timesteps(sigmas=sigmas, mu=0.8)
    assert ours.sigmas.tolist() == pytest.approx(theirs.sigmas.tolist(), rel=1e-5)


@pytest.mark.parametrize("name", ["Euler Trailing", "DPM++ 2M Karras", "Heun", "Adams-Moulton", "LMS"])
def test_stable_diffusion_3_comes_near_to_what_many_steps_give(sd3, name):
    config = FlowMatchEulerDiscreteScheduler(shift=3.0).config
    ours = drawn(StableDiffusion3Pipeline, sd3, scheduler(name, config), num_inference_steps=12)
    many = drawn(StableDiffusion3Pipeline, sd3, scheduler("Euler Trailing", config), num_inference_steps=100)
    assert (ours - many).abs().max() < 0.05 * many.abs().max()


@pytest.mark.parametrize("name", ["Euler Trailing", "DPM++ 2M", "Adams-Moulton"])
def test_image_to_image_enters_at_its_share_of_noise(sd3, name):
    made = scheduler(name, FlowMatchEulerDiscreteScheduler(shift=3.0).config)
    picture = torch.full((1, 3, 8, 8), 0.25)
    entered = {"image": picture, "strength": 0.5, "height": 8, "width": 8}
    out = drawn(StableDiffusion3Img2ImgPipeline, sd3, made, num_inference_steps=6, **entered)
    assert out.isfinite().all()
    x0, eps = torch.ones(1, 1), torch.zeros(1, 1)
    time = made.timesteps[3]
    assert made.scale_noise(x0, time, eps).item() == pytest.approx(1.0 - float(time) / 1000.0, abs=1e-6)


def test_times_and_sigmas_of_a_flow_model_count_as_there():
    ours = scheduler("Euler", schedule=Flow(shift=2.0), prediction="flow")
    ours.set_timesteps(timesteps=[1000.0, 500.0])
    assert ours.sigmas.tolist() == pytest.approx([1.0, 2.0 / 3.0, 0.0])
    assert ours.timesteps.tolist() == pytest.approx([1000.0, 2000.0 / 3.0])
    assert ours.add_noise(torch.ones(1), torch.zeros(1), torch.tensor([250.0])).item() == pytest.approx(0.75)


def test_a_shift_that_follows_the_picture_must_be_told():
    config = FlowMatchEulerDiscreteScheduler(**DYNAMIC).config
    with pytest.raises(InputError, match="give mu"):
        scheduler("Euler", config).set_timesteps(4)
    preset = names.from_config({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "diffusers").scheduler
    with pytest.raises(InputError, match="leave compat out"):
        scheduler(preset, config).set_timesteps(4, mu=1.0)
    linear = scheduler("Euler Trailing", {**config, "time_shift_type": "linear"})
    linear.set_timesteps(4, mu=3.0)
    exponential = scheduler("Euler Trailing", config)
    exponential.set_timesteps(4, mu=math.log(3.0))
    assert linear.timesteps.tolist() == pytest.approx(exponential.timesteps.tolist())


@pytest.mark.parametrize("grid", [grids.Karras(), grids.Rounded(grids.Karras()), grids.DDIMUniform(True)])
@pytest.mark.parametrize("final", [finals.FirstOrder(), finals.Stop()])
def test_a_run_entered_midway_visits_the_whole_run_s_levels(grid, final):
    ours = scheduler(Scheduler(grid, solvers.Adams(1), final=final))
    ours.set_timesteps(30)
    ours.set_begin_index(9)
    x = torch.ones(1, 1)
    for time in ours.timesteps[9:]:
        x = ours.step(0.1 * x, time, x).prev_sample
    assert x.isfinite().all()


@pytest.mark.parametrize(
    ("call", "says"), [(-1, "call -1"), (6, "call 6"), (100, "call 100 is none of the 6")]
)
def test_a_call_that_is_none_is_refused(call, says):
    ours = scheduler("Euler")
    ours.set_timesteps(6)
    with pytest.raises(InputError, match=says):
        ours.set_begin_index(call)


def test_a_way_that_goes_up_again_is_not_entered_midway():
    ours = scheduler(replace(names.get("Restart"), grid=restart.Restart(grids.Karras(), steps=3)))
    ours.set_timesteps(12)
    with pytest.raises(InputError, match="goes up again"):
        ours.set_begin_index(2)
