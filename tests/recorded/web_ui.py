"""Texts `parameters` as A1111, Forge, SD.Next, stable-diffusion.cpp and others write them, and what each means.

The forms are the programs'; prompts, names and numbers are ours.
"""


def sample(name, text, **expected):
    return name, {"parameters": text}, expected


A1111 = [
    sample(
        "A1111 of September 2022: old hash, no negative prompt",
        "a lighthouse in fog\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1048371, Size: 512x512, Model hash: 7460a6fa",
        program="A1111",
        prompt="a lighthouse in fog",
        negative="",
        steps=20,
        sampler="Euler a",
        grid="",
        guidance=7.0,
        seed=1048371,
        width=512,
        height=512,
        model="",
        model_hash="7460a6fa",
        noise="cuda",
    ),
    sample(
        "A1111 of October 2022: batch, eta, clip skip, ENSD",
        "red fox, oil painting\nNegative prompt: blurry, text\n"
        "Steps: 28, Sampler: DDIM, CFG scale: 11, Seed: 77, Size: 512x768, Model hash: 925997e9, Batch size: 4, "
        "Batch pos: 2, Clip skip: 2, ENSD: 31337, Eta: 0.2",
        sampler="DDIM",
        negative="blurry, text",
        guidance=11.0,
        seed=77,
        height=768,
        model_hash="925997e9",
        more={"Batch size": "4", "Batch pos": "2", "Clip skip": "2", "ENSD": "31337", "Eta": "0.2"},
    ),
    sample(
        "A1111 1.2: version, model name, short sha256",
        "portrait of an astronaut\nNegative prompt: lowres\n"
        "Steps: 30, Sampler: DPM++ SDE Karras, CFG scale: 6.5, Seed: 3141592653, Size: 640x896, "
        "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.2.1",
        version="v1.2.1",
        sampler="DPM++ SDE Karras",
        grid="",
        guidance=6.5,
        seed=3141592653,
        width=640,
        model="v1-5-pruned-emaonly",
        model_hash="6ce0161689",
    ),
    sample(
        "A1111 1.5: hires pass and LoRA hashes",
        "castle on a cliff <lora:ink_wash:0.8>\nNegative prompt: (worst quality:1.4)\n"
        "Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 9, Size: 512x512, Model hash: cc6cb27103, "
        "Model: sd15, VAE hash: c6a580b13a, VAE: vae-ft-mse.safetensors, Denoising strength: 0.55, Hires upscale: 2, "
        'Hires steps: 12, Hires upscaler: Latent, Lora hashes: "ink_wash: 8c2e28fdf17c", Version: v1.5.1',
        prompt="castle on a cliff <lora:ink_wash:0.8>",
        loras=(("ink_wash", 0.8),),
        more={
            "VAE hash": "c6a580b13a",
            "VAE": "vae-ft-mse.safetensors",
            "Denoising strength": "0.55",
            "Hires upscale": "2",
            "Hires steps": "12",
            "Hires upscaler": "Latent",
            "Lora hashes": "ink_wash: 8c2e28fdf17c",
        },
    ),
    sample(
        "A1111 1.6: noise of the processor, refiner",
        "tea house, autumn\nSteps: 40, Sampler: DPM++ 2M SDE Exponential, CFG scale: 5, Seed: 12, Size: 1024x1024, "
        "Model hash: 31e35c80fc, Model: sd_xl_base_1.0, RNG: CPU, Refiner: sd_xl_refiner_1.0 [7440042bbd], "
        "Refiner switch at: 0.8, Version: v1.6.0",
        noise="torch",
        sampler="DPM++ 2M SDE Exponential",
        negative="",
        width=1024,
        more={"Refiner": "sd_xl_refiner_1.0 [7440042bbd]", "Refiner switch at": "0.8"},
    ),
    sample(
        "A1111 1.9: the schedule apart from the sampler",
        "a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
        "Seed: 1, Size: 512x512, Model hash: 6ce0161689, Model: v1-5, Version: v1.9.4",
        sampler="DPM++ 2M",
        grid="Karras",
        version="v1.9.4",
    ),
    sample(
        "A1111 1.10: automatic schedule, quoted values",
        "market, night\nNegative prompt: lowres\nbad hands\n"
        "Steps: 28, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, Size: 512x768, "
        'Model hash: 6ce0161689, Model: "one, two", Lora hashes: "ink: 0123, wash: 4567", TI hashes: "easy: 89ab", '
        "Version: v1.10.1",
        negative="lowres\nbad hands",
        grid="",
        model="one, two",
        more={"Lora hashes": "ink: 0123, wash: 4567", "TI hashes": "easy: 89ab"},
    ),
    sample(
        "A1111 with the card's noise on any machine, and a variation",
        "wave\nSteps: 15, Sampler: LMS, CFG scale: 8, Seed: 5, Size: 448x448, Model hash: 6ce0161689, Model: v1-5, "
        "Variation seed: 1234, Variation seed strength: 0.15, Seed resize from: 512x512, RNG: NV, Version: v1.7.0",
        noise="cuda",
        sampler="LMS",
        more={"Variation seed": "1234", "Variation seed strength": "0.15", "Seed resize from": "512x512"},
    ),
    sample(
        "A1111: image to image with a mask",
        "a new door\nSteps: 20, Sampler: Euler, Schedule type: Uniform, CFG scale: 7, Seed: 42, Size: 512x512, "
        "Model hash: 6ce0161689, Model: v1-5, Denoising strength: 0.75, Mask blur: 4, Inpaint area: Only masked, "
        "Masked area padding: 32, Version: v1.9.0",
        grid="Uniform",
        more={
            "Denoising strength": "0.75",
            "Mask blur": "4",
            "Inpaint area": "Only masked",
            "Masked area padding": "32",
        },
    ),
    sample(
        "A1111 with ControlNet, whose settings are a quoted list",
        "dancer\nSteps: 20, Sampler: UniPC, CFG scale: 7, Seed: 2, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, "
        'ControlNet 0: "Module: openpose_full, Model: control_v11p_sd15_openpose [cab727d4], Weight: 1", '
        "Version: v1.6.1",
        sampler="UniPC",
        more={
            "ControlNet 0": "Module: openpose_full, Model: control_v11p_sd15_openpose [cab727d4], Weight: 1"
        },
    ),
    sample(
        "A1111 whose prompt has a line that looks like settings",
        "instructions on a poster:\nSteps: one, two, three\nNegative prompt: blur\n"
        "Steps: 12, Sampler: Heun, CFG scale: 4, Seed: 8, Size: 256x256",
        prompt="instructions on a poster:\nSteps: one, two, three",
        negative="blur",
        steps=12,
    ),
    sample(
        "A1111 without a prompt",
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 6, Size: 512x512, Model hash: 6ce0161689",
        prompt="",
        negative="",
        seed=6,
    ),
    sample(
        "A1111 with dynamic prompts: templates after the settings",
        "a red ball\nNegative prompt: dull\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 512x512, Version: v1.3.2\n"
        "Template: a {red|blue} ball\nNegative Template: dull",
        prompt="a red ball",
        negative="dull",
        seed=3,
    ),
    sample(
        "A1111: nothing but a prompt", "just words", prompt="just words", steps=20, guidance=7.0, width=512
    ),
    sample(
        "A1111 saved with line ends of Windows",
        "a boat\r\nNegative prompt: sea\r\nSteps: 9, Sampler: DPM fast, CFG scale: 3, Seed: 1, Size: 64x64",
        prompt="a boat",
        negative="sea",
        steps=9,
        sampler="DPM fast",
    ),
]

KIN = [
    sample(
        "Forge of 2024",
        "glass frog\nNegative prompt: toy\nSteps: 24, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 5.5, "
        "Seed: 711, Size: 896x1152, Model hash: e6bb9ea85b, Model: xl_base, Version: f0.0.17v1.8.0rc-latest-276-g29be",
        program="Forge",
        sampler="DPM++ 2M SDE",
        grid="Karras",
        width=896,
        height=1152,
        noise="cuda",
    ),
    sample(
        "Forge 2 with Flux, text encoders as modules",
        "a paper boat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, "
        "Seed: 42, Size: 896x1152, Model hash: d5d1e2a8b0, Model: flux1-dev-Q8_0, "
        "Version: f2.0.1v1.10.1-previous-313-g8a042934, Module 1: ae, Module 2: clip_l",
        program="Forge",
        guidance=1.0,
        grid="Simple",
        more={"Distilled CFG Scale": "3.5", "Module 1": "ae", "Module 2": "clip_l"},
    ),
    sample(
        "reForge: noise of the processor",
        "owl\nSteps: 18, Sampler: Euler a, Schedule type: SGM Uniform, CFG scale: 6, Seed: 4, Size: 832x1216, "
        "Model hash: 1234567890, Model: owl_xl, RNG: CPU, Version: f1.0.3v1.10.1RC-latest-2180-gae278f79",
        program="Forge",
        grid="SGM Uniform",
        noise="torch",
    ),
    sample(
        "SD.Next of 2023, original backend",
        "hut in snow\nNegative prompt: people\nSteps: 20, Seed: 2776298602, Sampler: DDIM, Size: 768x512, "
        "CFG scale: 6, Parser: Full parser, Model: sd15, Model hash: 1750bf7d5c, Backend: Original, Version: 90afba3, "
        "Operations: txt2img, Token merging ratio: 0.3",
        program="SD.Next",
        sampler="DDIM",
        seed=2776298602,
        width=768,
        height=512,
        model_hash="1750bf7d5c",
    ),
    sample(
        "SD.Next of 2026: sampler and its sigmas apart, guidance that ends",
        "knight in rain\nNegative prompt: comic\nSteps: 40, Size: 512x256, Sampler: DPM SDE, "
        "Scheduler: DPMSolverSDEScheduler, Seed: 666, CFG scale: 8.0, CFG rescale: 0.8, CFG end: 0.9, Clip skip: 2, "
        "App: SD.Next, Version: 0eb4a98, Parser: a1111, Pipeline: StableDiffusionXLPipeline, Operations: txt2img, "
        "Model: xl, Model hash: e6bb9ea85b, Sampler spacing: linspace, Sampler sigma: karras",
        program="SD.Next",
        version="0eb4a98",
        sampler="DPM SDE",
        grid="karras",
        guidance=8.0,
        height=256,
    ),
    sample(
        "SD.Next without a sampler: its default",
        "line art\nNegative prompt: low quality\nSteps: 20, Size: 1312x1408, Seed: 1561296656, CFG scale: 6, "
        "CFG rescale: 0.7, Model: m_v21, Model hash: 847403d47a, App: SD.Next, Version: 8b73cb6, "
        "Pipeline: StableDiffusionXLPipeline, Operations: txt2img, LoRA networks: outline",
        program="SD.Next",
        sampler="",
        grid="",
        seed=1561296656,
        width=1312,
        height=1408,
    ),
    sample(
        "stable-diffusion.cpp: sampler and grid in its own words",
        "bridge\nNegative prompt: cars\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0, Seed: 42, "
        "Size: 512x512, Model: sd-v1-5.safetensors, RNG: cuda, Sampler: euler_a karras, "
        "Version: stable-diffusion.cpp master-abc",
        program="stable-diffusion.cpp",
        sampler="euler_a karras",
        guidance=7.0,
        noise="cuda",
    ),
    sample(
        "a ComfyUI node that saves as A1111 does",
        "two swans\nNegative prompt: one swan\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 8.0, Seed: 99, "
        "Size: 512x512, Model hash: 6ce0161689, Model: v1-5, Version: ComfyUI",
        program="ComfyUI",
        noise="torch",
        sampler="DPM++ 2M Karras",
    ),
    sample(
        "Civitai's generator: lists of JSON that are not quoted",
        "harbour, mist\nSteps: 20, CFG scale: 3.5, Sampler: Undefined, Seed: 1234567890, Size: 832x1216, Clip skip: 1, "
        'Created Date: 2024-09-01T00:00:00.000Z, Civitai resources: [{"type":"checkpoint","modelVersionId":691639, '
        '"modelName":"F"}], Civitai metadata: {}',
        program="Civitai",
        sampler="Undefined",
        noise="",
        guidance=3.5,
    ),
    sample(
        "Fooocus with the scheme a1111",
        "cat, detailed\nNegative prompt: unreal\nSteps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 123, Size: 1152x896, "
        'CFG scale: 4, Sharpness: 2, ADM Guidance: "(1.5, 0.8, 0.3)", Base model: jugger_v8, '
        "Base model hash: aeb7e9e689, Performance: Speed, Scheduler: karras, VAE: Default (model), Raw prompt: cat, "
        "Version: Fooocus v2.4.1",
        program="Fooocus",
        version="v2.4.1",
        prompt="cat",
        model="jugger_v8",
        model_hash="aeb7e9e689",
        grid="karras",
        noise="torch",
    ),
    sample(
        "unnoise, and not by its JSON",
        "a seven\nNegative prompt: two\nSteps: 8, Sampler: DEIS, CFG scale: 1.5, Seed: 7, Size: 8x8, "
        "Model hash: 0123456789, Model: digits, RNG: CPU, Version: unnoise 0.1.0",
        program="unnoise",
        version="0.1.0",
        noise="torch",
        sampler="DEIS",
        guidance=1.5,
        width=8,
    ),
    sample(
        "a text whose settings start with the sampler",
        "a hill\nNegative prompt: a valley\nSampler: Euler a, Seed: 31, CFG scale: 6, Size: 512x512, Steps: 22",
        prompt="a hill",
        negative="a valley",
        seed=31,
        steps=22,
    ),
]
