"""Chunks of JSON as InvokeAI, NovelAI, Fooocus and SwarmUI write them, and what each means."""

import json

INVOKE = {
    "app_version": "4.2.4", "generation_mode": "txt2img", "positive_prompt": "a stone arch", "negative_prompt": "fog",
    "width": 768, "height": 512, "seed": 356120443, "rand_device": "cpu", "cfg_scale": 7.5,
    "cfg_rescale_multiplier": 0, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 0,
    "model": {"key": "k", "hash": "blake3:0f", "name": "stable-diffusion-v1-5", "base": "sd-1", "type": "main"},
    "loras": [], "vae": None,
}  # fmt: skip
SECOND = {
    "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "model_hash": "cc6cb27103417325ff94f52b7a",
    "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.0",
    "image": {
        "prompt": [{"prompt": "a stone arch [fog] at dawn", "weight": 1}], "steps": 50, "cfg_scale": 7.5,
        "threshold": 0, "perlin": 0, "height": 512, "width": 640, "seed": 2, "seamless": False, "sampler": "k_lms",
        "type": "txt2img", "postprocessing": None, "variations": [],
    },
}  # fmt: skip
NOVEL = {
    "steps": 28, "sampler": "k_euler_ancestral", "seed": 1984, "strength": 0.7, "noise": 0.2, "scale": 11,
    "uc": "lowres, text",
}  # fmt: skip
NOVEL_4 = {
    "prompt": "1girl, garden", "steps": 23, "height": 1216, "width": 832, "scale": 5, "uncond_scale": 0.0,
    "cfg_rescale": 0.4, "seed": 2718281828, "n_samples": 1, "noise_schedule": "karras", "sampler": "k_dpmpp_2m_sde",
    "request_type": "PromptGenerateRequest", "uc": "blurry", "signed_hash": "x",
    "v4_prompt": {"caption": {"base_caption": "garden", "char_captions": [{"char_caption": "girl, red hat"}]}},
    "v4_negative_prompt": {"caption": {"base_caption": "blurry", "char_captions": []}},
}  # fmt: skip
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "jugger_v8.safetensors", "base_model_hash": "aeb7e9e689",
    "clip_skip": 2, "full_negative_prompt": ["unreal"], "full_prompt": ["cat, detailed"], "guidance_scale": 4,
    "loras": [["offset_1.0.safetensors", 0.1, "4852686128"]], "metadata_scheme": "fooocus",
    "negative_prompt": "unreal", "performance": "Speed", "prompt": "cat", "refiner_model": "None",
    "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "123", "sharpness": 2,
    "steps": 30, "styles": "['Fooocus V2']", "vae": "Default (model)", "version": "Fooocus v2.4.1",
}  # fmt: skip
SWARM = {
    "prompt": "a walker in the hills", "negativeprompt": "", "model": "XL/xl_base", "seed": 305223794, "steps": 25,
    "cfgscale": 7.0, "aspectratio": "1:1", "width": 1024, "height": 1024, "sampler": "euler", "scheduler": "simple",
    "vae": "ae.sft", "swarm_version": "0.9.1.1",
}  # fmt: skip


def novel(comment, source="Stable Diffusion 81274D13", description="ignored"):
    return {
        "Title": "NovelAI generated image", "Description": description, "Software": "NovelAI", "Source": source,
        "Comment": json.dumps(comment),
    }  # fmt: skip


TABLES = [
    (
        "InvokeAI 4",
        {"invokeai_metadata": json.dumps(INVOKE), "invokeai_graph": "{}"},
        {
            "program": "InvokeAI",
            "version": "4.2.4",
            "prompt": "a stone arch",
            "negative": "fog",
            "seed": 356120443,
            "steps": 30,
            "guidance": 7.5,
            "sampler": "dpmpp_2m",
            "grid": "Karras",
            "width": 768,
            "height": 512,
            "model": "stable-diffusion-v1-5",
            "model_hash": "",
            "noise": "torch",
        },
    ),
    (
        "InvokeAI 3: names of 2023, a LoRA, clip skip",
        {
            "invokeai_metadata": json.dumps(
                INVOKE
                | {
                    "app_version": "3.3.0post3",
                    "scheduler": "euler_a",
                    "clip_skip": 1,
                    "rand_device": "cuda",
                    "model": {"model_name": "mix_3", "base_model": "sd-1", "model_type": "main"},
                    "loras": [{"lora": {"model_name": "ink", "base_model": "sd-1"}, "weight": 0.75}],
                    "vae": {"model_name": "sd-vae-ft-mse", "base_model": "sd-1"},
                }
            )
        },
        {
            "sampler": "euler_a",
            "grid": "",
            "model": "mix_3",
            "loras": (("ink", 0.75),),
            "noise": "cuda",
            "more": {"Clip skip": "2", "VAE": "sd-vae-ft-mse"},
        },
    ),
    (
        "InvokeAI 5: image to image, sha256 of the model",
        {
            "invokeai_metadata": json.dumps(
                INVOKE
                | {
                    "app_version": "5.6.0",
                    "generation_mode": "img2img",
                    "strength": 0.65,
                    "scheduler": "unipc",
                    "model": {"hash": "sha256:" + "ab" * 32, "name": "own", "base": "sd-1"},
                }
            )
        },
        {"model_hash": "ab" * 32, "sampler": "unipc"},
    ),
    (
        "InvokeAI 2",
        {"sd-metadata": json.dumps(SECOND), "Dream": '"a stone arch [fog] at dawn" -s 50'},
        {
            "program": "InvokeAI",
            "version": "2.3.0",
            "prompt": "a stone arch at dawn",
            "negative": "fog",
            "seed": 2,
            "steps": 50,
            "sampler": "lms",
            "width": 640,
            "model": "stable-diffusion-1.5",
            "noise": "",
        },
    ),
    (
        "InvokeAI 1: a command line",
        {"Dream": '"a stone arch" -s25 -S 4077567 -W512 -H 704 -C7.5 -Ak_euler_a'},
        {
            "prompt": "a stone arch",
            "steps": 25,
            "seed": 4077567,
            "height": 704,
            "guidance": 7.5,
            "sampler": "euler_a",
        },
    ),
    (
        "NovelAI 1",
        novel(NOVEL, description="{garden}, tea"),
        {
            "program": "NovelAI",
            "prompt": "{garden}, tea",
            "negative": "lowres, text",
            "steps": 28,
            "seed": 1984,
            "guidance": 11.0,
            "sampler": "euler_ancestral",
            "noise": "",
            "model": "Stable Diffusion 81274D13",
        },
    ),
    (
        "NovelAI 4: captions of the whole and of each character",
        novel(NOVEL_4, "NovelAI Diffusion V4 37442FCA"),
        {
            "prompt": "garden, girl, red hat",
            "negative": "blurry",
            "sampler": "dpmpp_2m_sde",
            "grid": "karras",
            "width": 832,
            "height": 1216,
            "seed": 2718281828,
        },
    ),
    (
        "NovelAI in a WebP",
        {"UserComment": json.dumps(novel(NOVEL | {"prompt": "tea"}))},
        {"program": "NovelAI", "prompt": "tea", "seed": 1984},
    ),
    (
        "Fooocus with its own scheme",
        {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"},
        {
            "program": "Fooocus",
            "version": "2.4.1",
            "prompt": "cat",
            "negative": "unreal",
            "seed": 123,
            "steps": 30,
            "guidance": 4.0,
            "sampler": "dpmpp_2m_sde_gpu",
            "grid": "karras",
            "width": 1152,
            "height": 896,
            "model": "jugger_v8",
            "model_hash": "aeb7e9e689",
            "loras": (("offset_1.0", 0.1),),
            "noise": "torch",
        },
    ),
    (
        "SwarmUI",
        {"parameters": json.dumps({"sui_image_params": SWARM, "sui_extra_data": {}})},
        {
            "program": "SwarmUI",
            "prompt": "a walker in the hills",
            "model": "xl_base",
            "guidance": 7.0,
            "sampler": "euler",
            "grid": "simple",
            "width": 1024,
        },
    ),
]
