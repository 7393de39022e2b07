"""Our schedulers inside diffusers' pipelines, built small and of random weights."""

import copy
import pickle
import threading

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EDMEulerScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from unnoise.compat.diffusers import scheduler
from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.randomness import NoiseSource
from unnoise.schedulers import names

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
NAMES = ("DPM++ 2M Karras", "Euler a", "Heun", "DDIM", "LMS", "UniPC", "DPM++ 2M SDE")


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=1000,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
    return {
        "unet": unet.eval(),
        "vae": vae.eval(),
        "text_encoder": text.eval(),
        "tokenizer": None,
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    }


def pipeline(kind, parts, chosen):
    pipe = kind(scheduler=DDIMScheduler(clip_sample=False, steps_offset=1), **parts)
    pipe.scheduler = chosen
    pipe.set_progress_bar_config(disable=True)
    return pipe


EMBEDDED = {"prompt_embeds": torch.ones(1, 77, 16) / 4, "negative_prompt_embeds": torch.zeros(1, 77, 16)}


def drawn(pipe, steps=4, seed=3, **more):
    generator = torch.Generator().manual_seed(seed)
    shape = {} if "image" in more else {"height": 16, "width": 16}
    return pipe(
        num_inference_steps=steps, generator=generator, output_type="pt", **EMBEDDED, **shape, **more
    ).images


@pytest.mark.parametrize("name", NAMES)
def test_text_to_image(parts, name):
    pipe = pipeline(StableDiffusionPipeline, parts, scheduler(name))
    one = drawn(pipe)
    assert one.shape == (1, 3, 16, 16)
    assert one.isfinite().all()
    assert torch.equal(one, drawn(pipe))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_image_to_image(parts, name, strength):
    pipe = pipeline(StableDiffusionImg2ImgPipeline, parts, scheduler(name))
    made = drawn(pipe, image=torch.full((1, 3, 16, 16), 0.25), strength=strength)
    assert made.shape == (1, 3, 16, 16)
    assert made.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_inpainting(parts, name):
    pipe = pipeline(StableDiffusionInpaintPipeline, parts, scheduler(name))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1.0
    image = torch.full((1, 3, 16, 16), 0.25)
    made = drawn(pipe, image=image, mask_image=mask, strength=0.75, height=16, width=16)
    assert made.isfinite().all()


@pytest.mark.parametrize(("name", "theirs"), [("DDIM", DDIMScheduler(clip_sample=False, steps_offset=1))])
def test_with_compat_the_picture_is_that_of_diffusers_own_scheduler(parts, name, theirs):
    config = {"_class_name": "DDIMScheduler", "steps_offset": 1}
    resolved = names.from_config(config, compat="diffusers")
    ours = scheduler(resolved.scheduler, schedule=resolved.schedule, prediction=resolved.prediction)
    one = drawn(pipeline(StableDiffusionPipeline, parts, ours))
    two = drawn(pipeline(StableDiffusionPipeline, parts, theirs))
    assert (one - two).abs().max() < 1e-4


def test_the_notes_loop_runs_and_equals_the_plan_s_run():
    ours = scheduler("DPM++ 2M Karras")
    ours.set_timesteps(6)
    x = start = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * ours.init_noise_sigma
    for t in ours.timesteps:
        residual = torch.tanh(ours.scale_model_input(x, t))
        x = ours.step(residual, t, x).prev_sample
    plan = names.get("DPM++ 2M Karras").plan(DiscreteVP.scaled_linear(), 6)
    stepper, y = plan.stepper(noise=NoiseSource((0, 1))), start
    for t in stepper.timesteps:
        y = stepper.step(torch.tanh(y), t, y).prev_sample
    assert torch.equal(x, y)


@pytest.mark.parametrize("name", ["DPM++ 2M Karras", "Euler a", "Heun"])
def test_torch_s_default_type_and_device_change_no_run(far_defaults, name):
    def run():
        ours, generator = scheduler(name), torch.Generator("cpu").manual_seed(1)
        ours.set_timesteps(5)
        x = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float32, device="cpu") * ours.init_noise_sigma
        noised = ours.add_noise(x, x, ours.timesteps[:1])
        for t in ours.timesteps:
            x = ours.step(torch.tanh(x), t, x, generator=generator).prev_sample
        return x, noised, ours.sigmas

    near = run()
    with far_defaults(torch.bfloat16):  # in which 999 is 1000
        far = run()
    assert all(torch.equal(one, other) for one, other in zip(near, far, strict=True))


def test_entered_in_the_middle_by_index_or_by_time_is_the_same():
    results = []
    for told in (True, False):
        ours = scheduler("DPM++ 2M Karras")
        ours.set_timesteps(8)
        x = torch.ones(1, 1, 2, 2)
        if told:
            ours.set_begin_index(3)
            assert ours.begin_index == 3
        for t in ours.timesteps[3:]:
            x = ours.step(torch.tanh(x), t, x, return_dict=False)[0]
        results.append(x)
    assert torch.equal(*results)


def test_added_noise_has_the_level_s_own_shares():
    ours = scheduler("Euler Karras")
    ours.set_timesteps(5)
    level = names.get("Euler Karras").plan(DiscreteVP.scaled_linear(), 5).levels[2]
    x0, eps = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 2.0)
    mixed = ours.add_noise(x0, eps, ours.timesteps[2:3])
    assert mixed == pytest.approx(torch.full_like(x0, level.alpha + 2.0 * level.sigma))
    far = scheduler("Euler").add_noise(x0, eps, torch.tensor([10, 500]))
    assert far[0, 0, 0, 0] < far[1, 0, 0, 0]


def test_threads_share_one_object_and_not_their_runs():
    ours = scheduler("DPM++ 2M SDE")
    found = {}

    def work(key, steps):
        ours.set_timesteps(steps)
        generator, x = torch.Generator().manual_seed(key), torch.full((1, 1, 2, 2), float(key))
        for t in ours.timesteps:
            x = ours.step(torch.tanh(x), t, x, generator=generator).prev_sample
        found[key] = (len(ours.timesteps), x)

    work(1, 30)
    work(2, 17)
    alone = dict(found)
    threads = [threading.Thread(target=work, args=pair) for pair in ((1, 30), (2, 17))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key in (1, 2):
        assert found[key][0] == alone[key][0]
        assert torch.equal(found[key][1], alone[key][1])


def test_one_generator_a_sample_makes_a_batch_of_single_runs():
    ours = scheduler("Euler a")

    def run(seeds):
        ours.set_timesteps(4)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        x = torch.zeros(len(seeds), 1, 2, 2)
        for t in ours.timesteps:
            x = ours.step(torch.tanh(x), t, x, generator=generators).prev_sample
        return x

    assert torch.equal(run((5, 6))[1:], run((6,)))


def test_a_list_of_one_generator_draws_for_the_whole_batch():
    ours, x = scheduler("Euler a"), torch.zeros(2, 1, 2, 2)

    def step(generator):
        ours.set_timesteps(4)
        return ours.step(x, ours.timesteps[0], x, generator=generator).prev_sample

    one = step([torch.Generator().manual_seed(5)])
    assert torch.equal(one, step(torch.Generator().manual_seed(5)))
    assert not torch.equal(one[0], one[1])
    with pytest.raises(InputError, match="3 generators are given for 2 samples"):
        step([torch.Generator()] * 3)


def test_the_model_s_own_configuration_gives_levels_and_prediction():
    config = DDIMScheduler(1000, 0.00085, 0.012, prediction_type="v_prediction").config
    ours = scheduler("Heun", config)
    assert ours.schedule == DiscreteVP.linear(0.00085, 0.012)
    assert ours.prediction.name == "velocity"
    assert ours.config.prediction_type == "v_prediction"
    assert len(ours) == 1000
    assert ours.order == 2
    flow = scheduler("Euler", {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    assert isinstance(flow.schedule, Flow)


@pytest.mark.parametrize(
    "schedule",
    [
        DiscreteVP.scaled_linear(),
        DiscreteVP.linear(steps=500).zero_terminal_snr(),
        DiscreteVP.cosine(),
        DiscreteVP.from_betas((0.1, 0.2, 0.3)),
        Flow(shift=3.0),
        EDM(0.01, 50.0),
    ],
    ids=lambda schedule: schedule.config()["kind"],
)
def test_its_own_configuration_is_read_back(schedule):
    ours = scheduler("Euler", schedule=schedule, prediction="edm" if isinstance(schedule, EDM) else "flow")
    config = {key: value for key, value in ours.config.items() if key != "prediction_type"}
    assert scheduler("Heun", config).schedule == schedule
    if isinstance(schedule, EDM):
        assert scheduler("Heun", ours.config).prediction == ours.prediction
        assert EDMEulerScheduler.from_config(ours.config).config.sigma_max == 50.0


def test_diffusers_own_class_can_be_put_back():
    back = DDIMScheduler.from_config(scheduler("Euler").config)
    assert (back.config.beta_schedule, back.config.beta_end) == ("scaled_linear", 0.012)


def test_lists_of_times_and_sigmas_are_taken():
    ours = scheduler("Euler")
    ours.set_timesteps(timesteps=[900, 500, 100])
    assert ours.timesteps.tolist() == [900, 500, 100]
    assert ours.num_inference_steps == 3
    ours.set_timesteps(sigmas=[14.0, 3.0, 0.5, 0.0])
    assert ours.sigmas.tolist() == pytest.approx([14.0, 3.0, 0.5, 0.0])


def test_it_is_copied_and_pickled_without_its_runs():
    ours = scheduler("Euler")
    ours.set_timesteps(3)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        with pytest.raises(InputError, match="set_timesteps"):
            _ = other.timesteps
        assert other.init_noise_sigma == 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: scheduler("Eulr"),
        lambda: scheduler("Euler").set_timesteps(),
        lambda: scheduler("Euler").set_timesteps(3, timesteps=[1]),
        lambda: scheduler("Euler").timesteps,
        lambda: scheduler("Euler", compat="diffusers").set_timesteps(timesteps=[1]),
        lambda: scheduler("Euler").set_timesteps(sigmas=[14.0, float("nan"), 1.0]),
        lambda: scheduler("Euler").set_timesteps(sigmas=[14.0, 0.0, 1.0]),
        lambda: scheduler("Euler", {"_class_name": "SomeScheduler"}),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_run_begins_at_a_step_only():
    ours = scheduler("Heun")
    ours.set_timesteps(4)
    with pytest.raises(InputError, match="inside a step"):
        ours.set_begin_index(1)
    with pytest.raises(AttributeError):
        _ = ours.config.nothing
