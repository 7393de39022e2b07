"""ComfyUI's chunks: `prompt`, the run, and `workflow`, the editor's page; and what each means."""

import json

CHECKPOINT = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD1.5/v1-5.safetensors"}}
LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}}
SAVE = {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}}
DECODE = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}}


def words(text, clip=("4", 1)):
    return {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": list(clip)}}


def sampler(**changes):
    inputs = {
        "seed": 156680208700286,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    return {"class_type": "KSampler", "inputs": inputs | changes}


def graph(**changes):
    nodes = {
        "3": sampler(),
        "4": CHECKPOINT,
        "5": LATENT,
        "6": words("a glass bottle"),
        "7": words("text, watermark"),
        "8": DECODE,
        "9": SAVE,
    }
    return nodes | {name.lstrip("n"): node for name, node in changes.items()}


def run(name, nodes, **expected):
    return name, {"prompt": json.dumps(nodes)}, {"program": "ComfyUI", "noise": "torch"} | expected


ADVANCED = {
    "class_type": "SamplerCustomAdvanced",
    "inputs": {
        "noise": ["20", 0],
        "guider": ["21", 0],
        "sampler": ["22", 0],
        "sigmas": ["23", 0],
        "latent_image": ["5", 0],
    },
}
PARTS = {
    "n20": {"class_type": "RandomNoise", "inputs": {"noise_seed": 4242}},
    "n22": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
    "n23": {
        "class_type": "BasicScheduler",
        "inputs": {"scheduler": "karras", "steps": 30, "denoise": 1.0, "model": ["4", 0]},
    },
}
LORA = {
    "class_type": "LoraLoader",
    "inputs": {
        "lora_name": "styles\\ink.safetensors",
        "strength_model": 0.75,
        "strength_clip": 1.0,
        "model": ["4", 0],
        "clip": ["4", 1],
    },
}
CONTROL = {
    "class_type": "ControlNetApplyAdvanced",
    "inputs": {
        "strength": 1.0,
        "start_percent": 0.0,
        "end_percent": 1.0,
        "positive": ["6", 0],
        "negative": ["7", 0],
        "control_net": ["30", 0],
        "image": ["31", 0],
    },
}
SECOND = sampler(seed=5, steps=14, denoise=0.5, latent_image=["40", 0])
PAGE_NODES = [
    {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["v1-5.ckpt"], "inputs": []},
    {"id": 5, "type": "EmptyLatentImage", "widgets_values": [640, 448, 1]},
    {
        "id": 6,
        "type": "CLIPTextEncode",
        "widgets_values": ["a quiet street"],
        "inputs": [{"name": "clip", "link": 3}],
    },
    {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["cars"], "inputs": [{"name": "clip", "link": 5}]},
    {
        "id": 3,
        "type": "KSampler",
        "widgets_values": [8675309, "randomize", 26, 6.5, "dpmpp_sde", "karras", 1],
        "inputs": [
            {"name": "model", "link": 1},
            {"name": "positive", "link": 4},
            {"name": "negative", "link": 6},
            {"name": "latent_image", "link": 2},
        ],
    },
]
PAGE_LINKS = [
    [1, 4, 0, 3, 0, "MODEL"],
    [2, 5, 0, 3, 3, "LATENT"],
    [3, 4, 1, 6, 0, "CLIP"],
    [4, 6, 0, 3, 1, "CONDITIONING"],
    [5, 4, 1, 7, 0, "CLIP"],
    [6, 7, 0, 3, 2, "CONDITIONING"],
]
PAGE = {"last_node_id": 9, "nodes": PAGE_NODES, "links": PAGE_LINKS, "version": 0.4}

COMFYUI = [
    run(
        "ComfyUI's first graph",
        graph(),
        prompt="a glass bottle",
        negative="text, watermark",
        seed=156680208700286,
        steps=20,
        guidance=8.0,
        sampler="euler",
        grid="normal",
        width=512,
        height=768,
        model="v1-5",
        loras=(),
        more={},
    ),
    run(
        "ComfyUI: LoRA and clip skip",
        graph(
            n3=sampler(model=["10", 0]),
            n10=LORA,
            n6=words("a heron", ("11", 0)),
            n11={"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}},
        ),
        prompt="a heron",
        loras=(("ink", 0.75),),
        more={"Clip skip": "2", "LoRA text weight ink": "1"},
        model="v1-5",
    ),
    run(
        "ComfyUI: the sampler taken apart",
        graph(
            n3=ADVANCED,
            **PARTS,
            n21={
                "class_type": "CFGGuider",
                "inputs": {"cfg": 4.5, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]},
            },
        ),
        seed=4242,
        steps=30,
        guidance=4.5,
        sampler="dpmpp_2m",
        grid="karras",
        prompt="a glass bottle",
        negative="text, watermark",
        model="v1-5",
    ),
    run(
        "ComfyUI: a distilled model's guider has no guidance",
        graph(
            n3=ADVANCED,
            **PARTS,
            n21={"class_type": "BasicGuider", "inputs": {"model": ["4", 0], "conditioning": ["24", 0]}},
            n24={"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
        ),
        guidance=1.0,
        prompt="a glass bottle",
        negative="",
    ),
    run(
        "ComfyUI: two passes; the first is the recipe",
        graph(
            n8={"class_type": "VAEDecode", "inputs": {"samples": ["41", 0], "vae": ["4", 2]}},
            n40={
                "class_type": "LatentUpscale",
                "inputs": {"samples": ["3", 0], "width": 1024, "height": 1536},
            },
            n41=SECOND,
        ),
        seed=156680208700286,
        width=512,
        height=768,
        steps=20,
        more={"Further passes": "1"},
    ),
    run(
        "ComfyUI: image to image",
        graph(
            n3=sampler(denoise=0.6),
            n5={"class_type": "VAEEncode", "inputs": {"pixels": ["50", 0], "vae": ["4", 2]}},
            n50={"class_type": "LoadImage", "inputs": {"image": "photo.png", "upload": "image"}},
        ),
        width=None,
        more={"Denoising strength": "0.6", "Init image": "photo.png"},
    ),
    run(
        "ComfyUI: seed and text from nodes of their own",
        graph(
            n3=sampler(seed=["60", 0], steps=["61", 0]),
            n6=words(["62", 0]),
            n60={"class_type": "Seed (rgthree)", "inputs": {"seed": 11}},
            n61={"class_type": "PrimitiveInt", "inputs": {"value": 33}},
            n62={"class_type": "Text Multiline", "inputs": {"text": "line one\nline two"}},
        ),
        seed=11,
        steps=33,
        prompt="line one\nline two",
    ),
    run(
        "ComfyUI: ControlNet between text and sampler",
        graph(
            n3=sampler(positive=["32", 0], negative=["32", 1]),
            n32=CONTROL,
            n30={"class_type": "ControlNetLoader", "inputs": {"control_net_name": "openpose.pth"}},
            n31={"class_type": "LoadImage", "inputs": {"image": "pose.png"}},
        ),
        prompt="a glass bottle",
        negative="text, watermark",
    ),
    run(
        "ComfyUI: conditions combined, a node on the model's way that is not known",
        graph(
            n3=sampler(positive=["70", 0], model=["72", 0]),
            n71=words("in the rain"),
            n70={
                "class_type": "ConditioningCombine",
                "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["71", 0]},
            },
            n72={"class_type": "FreeU_V2", "inputs": {"b1": 1.3, "model": ["4", 0]}},
        ),
        prompt="a glass bottle\nin the rain",
        more={"Nodes": "FreeU_V2"},
    ),
    run(
        "ComfyUI: KSamplerAdvanced makes a part of the steps; a VAE of its own",
        graph(
            n3={
                "class_type": "KSamplerAdvanced",
                "inputs": {
                    "add_noise": "enable",
                    "noise_seed": 17,
                    "steps": 25,
                    "cfg": 7.5,
                    "sampler_name": "dpmpp_2m_sde",
                    "scheduler": "exponential",
                    "start_at_step": 0,
                    "end_at_step": 20,
                    "model": ["4", 0],
                    "positive": ["6", 0],
                    "negative": ["7", 0],
                    "latent_image": ["5", 0],
                },
            },
            n80={"class_type": "VAELoader", "inputs": {"vae_name": "vae-ft-mse.safetensors"}},
        ),
        seed=17,
        steps=25,
        sampler="dpmpp_2m_sde",
        grid="exponential",
        more={"Steps made": "0 to 20 of 25", "VAE": "vae-ft-mse"},
    ),
    run(
        "ComfyUI with SDXL's two texts",
        graph(
            n6={
                "class_type": "CLIPTextEncodeSDXL",
                "inputs": {
                    "text_g": "a mill",
                    "text_l": "a mill",
                    "width": 1024,
                    "height": 1024,
                    "clip": ["4", 1],
                },
            },
            n5={"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 2}},
        ),
        prompt="a mill",
        width=1024,
    ),
    run(
        "ComfyUI: everything by reroutes, which lead on",
        graph(
            n3=sampler(
                seed=["30", 0],
                model=["31", 0],
                positive=["32", 0],
                negative=["33", 0],
                latent_image=["34", 0],
            ),
            n10={
                "class_type": "ControlNetApplyAdvanced",
                "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0},
            },
            n30={"class_type": "Reroute", "inputs": {"": ["35", 0]}},
            n31={"class_type": "Reroute", "inputs": {"": ["4", 0]}},
            n32={"class_type": "Reroute (rgthree)", "inputs": {"": ["36", 0]}},
            n33={"class_type": "Reroute", "inputs": {"": ["10", 1]}},
            n34={"class_type": "Reroute", "inputs": {"": ["5", 0]}},
            n35={"class_type": "PrimitiveInt", "inputs": {"value": 77}},
            n36={"class_type": "Reroute", "inputs": {"": ["6", 0]}},
        ),
        prompt="a glass bottle",
        negative="text, watermark",
        seed=77,
        model="v1-5",
        width=512,
        height=768,
    ),
    (
        "ComfyUI: the editor's page alone",
        {"workflow": json.dumps(PAGE)},
        {
            "program": "ComfyUI",
            "prompt": "a quiet street",
            "negative": "cars",
            "seed": 8675309,
            "steps": 26,
            "guidance": 6.5,
            "sampler": "dpmpp_sde",
            "grid": "karras",
            "width": 640,
            "height": 448,
            "model": "v1-5",
        },
    ),
    (
        "ComfyUI in a WebP: chunks in EXIF fields of a camera",
        {"Model": "prompt:" + json.dumps(graph()), "Make": "workflow:" + json.dumps(PAGE)},
        {"program": "ComfyUI", "prompt": "a glass bottle", "seed": 156680208700286},
    ),
]
