"""Texts `parameters` with what extensions, later versions, forks and sites add between the common settings.

The forms are the programs'; prompts, names and numbers are ours.
"""

from recorded.web_ui import sample

COMMON = "Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6, Seed: 90210, Size: 512x640"
MODEL = "Model hash: 6ce0161689, Model: v1-5"


def a1111(name, more, prompt="a tin robot", negative="blurry", version="v1.10.1", **expected):
    """One with the common settings, and `more` between the model and the version."""
    text = f"{prompt}\nNegative prompt: {negative}\n{COMMON}, {MODEL}, {more}, Version: {version}"
    told = {
        "steps": 24,
        "sampler": "DPM++ 2M",
        "grid": "Karras",
        "seed": 90210,
        "height": 640,
        "model": "v1-5",
    }
    return sample(f"A1111: {name}", text, **(told | expected))


EXTENDED = [
    a1111(
        "hashes of LoRAs and of textual inversions",
        'Lora hashes: "ink: 0d1fcb3a9e61, wash_v2: 93cd57aa0b14", TI hashes: "inkstyle: 5a7c11de93f0, low: 5a7c11de"',
        prompt="a tin robot <lora:ink:0.8> <lora:wash_v2:0.35>, inkstyle",
        loras=(("ink", 0.8), ("wash_v2", 0.35)),
    ),
    a1111(
        "a textual inversion named twice, as 1.6 wrote it",
        'TI hashes: "low: 5a7c11de93f0, low: 5a7c11de93f0"',
        version="v1.6.0",
        program="A1111",
    ),
    a1111(
        "a LyCORIS in the tag of a LoRA, with two weights",
        'Lora hashes: "knit: aa5512c0ff01"',
        prompt="a tin robot <lora:knit:0.6:0.9>",
        loras=(("knit", 0.6),),
    ),
    a1111(
        "a second pass with its own prompt, sampler and model",
        "Denoising strength: 0.4, Hires Module 1: Use same choices, Hires CFG Scale: 5, Hires sampler: Euler, "
        'Hires prompt: "a tin robot, rivets", Hires negative prompt: "rust", Hires upscale: 1.5, Hires steps: 12, '
        "Hires upscaler: 4x-UltraSharp",
    ),
    a1111(
        "a second pass to a size, by an upscaler of latents",
        "Denoising strength: 0.7, Hires resize: 1024x1280, Hires upscaler: Latent (nearest-exact)",
    ),
    a1111(
        "ControlNet in the form of its version 1.1.4",
        'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Crop and '
        "Resize, Processor Res: 512, Threshold A: 100.0, Threshold B: 200.0, Guidance Start: 0.0, Guidance End: 0.75, "
        'Pixel Perfect: True, Control Mode: Balanced"',
    ),
    a1111(
        "two ControlNets, one of them IP-Adapter",
        'ControlNet 0: "Module: depth_midas, Model: control_v11f1p_sd15_depth [cfd03158], Weight: 1.0", '
        'ControlNet 1: "Module: ip-adapter_clip_sd15, Model: ip-adapter_sd15 [6a3f6166], Weight: 0.6"',
    ),
    a1111(
        "ADetailer",
        'ADetailer model: face_yolov8n.pt, ADetailer prompt: "a tin face, rivets", ADetailer confidence: 0.3, '
        "ADetailer dilate erode: 4, ADetailer mask blur: 4, ADetailer denoising strength: 0.4, ADetailer inpaint only "
        "masked: True, ADetailer inpaint padding: 32, ADetailer version: 24.8.0",
    ),
    a1111(
        "Tiled Diffusion: a value that is a table",
        'Tiled Diffusion: {"Method": "MultiDiffusion", "Tile tile width": 96, "Tile Overlap": 48}, Tiled VAE: '
        '{"Encoder Tile Size": 1536, "Decoder Tile Size": 192}',
    ),
    a1111(
        "dynamic thresholding",
        "Dynamic thresholding enabled: True, Mimic scale: 7, Separate Feature Channels: True, Scaling Startpoint: MEAN"
        ", Variability Measure: AD, Interpolate Phi: 1, Threshold percentile: 100",
    ),
    a1111(
        "FreeU",
        'FreeU Stages: [{"backbone_factor": 1.2}, {"skip_factor": 0.9}], FreeU Schedule: "0.0, 1.0, 0.0"',
    ),
    a1111("restored faces", "Face restoration: CodeFormer, CodeFormer weight: 0.5"),
    a1111(
        "a seed varied and resized",
        "Variation seed: 1234, Variation seed strength: 0.15, Seed resize from: 512x512",
    ),
    a1111(
        "every option of sampling in 1.10",
        "Eta: 0.67, Schedule max sigma: 14.6, Schedule min sigma: 0.03, Schedule rho: 7, SGM noise multiplier: True, "
        "Discard penultimate sigma: True, Sigma churn: 0.1, Sigma tmin: 0.05, Sigma noise: 1.003, UniPC variant: bh2",
    ),
    a1111(
        "how prompts are read",
        "Emphasis: No norm, Pad conds: True, NGMS: 0.5, Token merging ratio: 0.3, Token merging ratio hr: 0.5, "
        "Downcast alphas_cumprod: True, FP8 weight: Enable, Cache FP16 weight for LoRA: True",
    ),
    a1111(
        "a VAE with its hash",
        "VAE hash: 735e4c3a44, VAE: vae-ft-mse-840000-ema-pruned.safetensors",
        model_hash="6ce0161689",
    ),
    a1111(
        "soft inpainting",
        "Denoising strength: 0.75, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Masked content: "
        "latent noise, Soft inpainting enabled: True, Soft inpainting schedule bias: 1, Soft inpainting preservation "
        "strength: 0.5",
    ),
    a1111(
        "an upscaled picture, the settings of its first making kept",
        "Postprocess upscale by: 2, Postprocess upscaler: R-ESRGAN 4x+, Postprocess upscaler 2: None",
    ),
    a1111(
        "styles and wildcards",
        'Style Selector Enabled: True, Style Selector Style: base, Wildcard prompt: "a __metal__ robot, {day|night}"',
    ),
    sample(
        "A1111: instruct-pix2pix",
        f"make it snow\n{COMMON}, Image CFG scale: 1.5, Model hash: fbc31a67aa, Model: instruct-pix2pix-00-22000, "
        "Denoising strength: 1, Version: v1.10.1",
        program="A1111",
        prompt="make it snow",
        model="instruct-pix2pix-00-22000",
    ),
    sample(
        "Forge neo: shift and modules",
        "a paper crane\nSteps: 9, Sampler: Euler, Schedule type: Beta, CFG scale: 1, Shift: 3, Seed: 8, Size: 1024x1024"
        ", Model hash: 12ab34cd56, Model: turbo, Module 1: qwen3, Module 2: ae, RNG: CPU, Version: neo",
        program="Forge",
        grid="Beta",
        noise="torch",
    ),
    sample(
        "stable-diffusion.cpp: the schedule as a word of its own, and a LoRA",
        "ferry <lora:ink:0.5>\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, "
        "Size: 512x768, Model: sd_v1.4.ckpt, RNG: std_default, Sampler: dpm++2m, Scheduler: karras, VAE: ae.safetensors"
        ", Version: stable-diffusion.cpp",
        program="stable-diffusion.cpp",
        loras=(("ink", 0.5),),
        noise="",
    ),
    sample(
        "Civitai: resources with their weights",
        "a moss garden\nNegative prompt: people\nSteps: 30, Sampler: DPM++ 2M SDE Karras, CFG scale: 4.5, Seed: 1029, "
        "Size: 832x1216, Clip skip: 2, Created Date: 2025-03-14T09:26:53.5897932Z, Civitai resources: "
        '[{"type":"checkpoint","modelVersionId":1,"modelName":"Moss"},{"type":"lora","weight":0.8,"modelVersionId":2}],'
        " Civitai metadata: {}",
        program="Civitai",
        sampler="DPM++ 2M SDE Karras",
        negative="people",
    ),
    sample(
        "a site that writes prompt and settings, and no version",
        "a glass whale, studio light\nNegative prompt: text\nSteps: 25, Sampler: DPM++ SDE Karras, CFG scale: 7.5, "
        "Seed: 77001, Size: 768x768, Clip skip: 2, Model: whale_mix",
        program="A1111",
        sampler="DPM++ SDE Karras",
        guidance=7.5,
        model="whale_mix",
    ),
]
