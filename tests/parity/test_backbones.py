"""ResNet and ViT beside transformers, torchvision 0.29.1 and timm 1.0.31: equal random weights, equal pictures.

The last two would pull another torch, so of what they gave the first numbers stand in GOLDEN. To record anew, in an
environment of its own: `pip install torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pytest pillow tokenizers`, then
`PYTHONPATH=src:tests python tests/parity/test_backbones.py`, which draws these weights into their networks, lets their
own evaluation transforms see the pictures, and prints the table.
"""

import json
import re
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from unnoise import evaluation
from unnoise.cli import main
from unnoise.errors import CheckpointError, FileError
from unnoise.evaluation.resnet import ResNet

pytestmark = pytest.mark.parity

# What timm's own config.json said for some weights; None where there is no such file.
BICUBIC = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic"}
WHOLE = {"input_size": [3, 64, 64], "crop_pct": 1.0, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
CONFIGS = {"timm resnet26": BICUBIC, "timm registers": WHOLE}

GOLDEN = {
    "torchvision resnet18": [
        24.78669, 4.126556, 3.581641, 31.10612, 1.967018, 4.97335,
        26.4688, 3.732844, 3.012648, 31.32127, 2.604093, 5.54599,
    ],
    "torchvision resnet50": [
        415.184, 5673.196, 3304.524, 690.9338, 373.2204, 24.59512,
        481.899, 5581.088, 3139.171, 643.9815, 307.8871, 13.87008,
    ],
    "torchvision wide": [
        0, 45.32655, 6.764104, 0.1292998, 9.929861, 22.62755,
        0, 43.4721, 6.411058, 0.1107674, 9.674031, 23.2719,
    ],
    "torchvision resnext": [
        0, 0.706136, 8.540763, 0, 9.468147, 11.90441,
        0.03224974, 0.1761242, 7.106942, 0, 7.906314, 11.68101,
    ],
    "timm resnet26": [
        3.527779, 68.38535, 127.2014, 3.645484, 48.32352, 20.19356,
        5.14076, 67.78643, 115.7277, 2.292455, 46.22128, 21.82994,
    ],
    "torchvision vit": [
        -0.8492719, 2.783712, 0.2200355, -0.8349354, 1.371738, 0.5537636,
        -1.4884, 2.082763, 0.1915045, -0.8863835, 1.321401, 0.8425537,
    ],
    "torchvision larger vit": [
        -0.6583885, 2.779295, 0.6070272, -0.6878573, 1.189109, 0.1633964,
        -1.660875, 2.022087, 0.2307255, -0.8628249, 1.208072, 0.5002749,
    ],
    "timm vit": [
        1.844369, -1.0556, 1.058499, -0.4331411, 1.629187, -1.285873,
        1.869026, -1.069974, 1.203408, -0.8599213, 1.459327, -1.232615,
    ],
    "timm registers": [
        -1.024643, -0.9676436, -0.392123, -0.8933856, 2.469953, -0.3950342,
        -1.914242, -1.381133, -0.7791002, -0.7832061, 2.719819, -1.039476,
    ],
    "timm mean": [
        1.83184, -1.18082, 1.611076, -0.1176748, 0.8379945, -0.06162858,
        1.145478, -1.435773, 1.242472, -0.8989519, 0.7822664, -0.1096206,
    ],
}  # fmt: skip


def drawn(name, shape):
    """Random numbers of a generator that never changes, by the tensor's name, scaled so that every unit is alive."""
    plain = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1.0, 1.0, shape)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        plain = 1.0 + 0.5 * plain
    elif len(shape) > 1 and name.endswith("weight"):
        plain *= np.sqrt(6.0 / np.prod(shape[1:]))
    else:
        plain *= 0.3
    return torch.from_numpy(plain.astype(np.float32))


def pictures():
    """Coarse blocks of middling grey, so that no edge overshoots; 568x486, so that half pixels occur."""
    coarse = np.random.RandomState(0).randint(64, 192, (2, 3, 10, 9))
    return torch.from_numpy(np.kron(coarse, np.ones((57, 54)))[..., :568, :].astype(np.uint8))


def table(shapes):
    return {name: drawn(name, shape) for name, shape in shapes.items()}


def resnet(depths, deep, **widths):
    with torch.device("meta"):
        state = ResNet(depths, deep, **widths).state_dict()
    classes = {"fc.weight": (10, 2048 if deep else 512), "fc.bias": (10,)}
    shapes = {name: tuple(each.shape) for name, each in state.items() if "num_batches" not in name}
    return table(shapes | classes)


TORCHVISION = {
    "ln_1.weight": (192,), "ln_1.bias": (192,), "ln_2.weight": (192,), "ln_2.bias": (192,),
    "self_attention.in_proj_weight": (576, 192), "self_attention.in_proj_bias": (576,),
    "self_attention.out_proj.weight": (192, 192), "self_attention.out_proj.bias": (192,),
    "mlp.0.weight": (300, 192), "mlp.0.bias": (300,), "mlp.3.weight": (192, 300), "mlp.3.bias": (192,),
}  # fmt: skip
TIMM = {
    "norm1.weight": (192,), "norm1.bias": (192,), "norm2.weight": (192,), "norm2.bias": (192,),
    "attn.qkv.weight": (576, 192), "attn.qkv.bias": (576,),
    "attn.proj.weight": (192, 192), "attn.proj.bias": (192,),
    "mlp.fc1.weight": (300, 192), "mlp.fc1.bias": (300,), "mlp.fc2.weight": (192, 300), "mlp.fc2.bias": (192,),
}  # fmt: skip
SCALES = {"ls1.gamma": (192,), "ls2.gamma": (192,)}


def torchvision_vit(side):
    around = {
        "class_token": (1, 1, 192), "conv_proj.weight": (192, 3, 16, 16), "conv_proj.bias": (192,),
        "encoder.pos_embedding": (1, side**2 + 1, 192), "encoder.ln.weight": (192,), "encoder.ln.bias": (192,),
        "heads.head.weight": (10, 192), "heads.head.bias": (10,),
    }  # fmt: skip
    inner = {
        f"encoder.layers.encoder_layer_{place}.{name}": shape
        for place in (0, 1)
        for name, shape in TORCHVISION.items()
    }
    return table(around | inner)


def timm_vit(places, norm="norm", tokens=(("cls_token", 1),), block=TIMM):
    around = {
        "patch_embed.proj.weight": (192, 3, 16, 16), "patch_embed.proj.bias": (192,), "pos_embed": (1, places, 192),
        f"{norm}.weight": (192,), f"{norm}.bias": (192,), "head.weight": (10, 192), "head.bias": (10,),
    }  # fmt: skip
    inner = {f"blocks.{place}.{name}": shape for place in (0, 1) for name, shape in block.items()}
    return table(around | inner | {name: (1, count, 192) for name, count in tokens})


CASES = {
    "torchvision resnet18": lambda: resnet((2, 2, 2, 2), deep=False),
    "torchvision resnet50": lambda: resnet((3, 4, 6, 3), deep=True),
    "torchvision wide": lambda: resnet((1, 2, 1, 1), deep=True, inner=128),
    "torchvision resnext": lambda: resnet((1, 1, 2, 1), deep=True, inner=128, groups=32),
    "timm resnet26": lambda: resnet((2, 2, 2, 2), deep=True),
    "torchvision vit": lambda: torchvision_vit(14),
    "torchvision larger vit": lambda: torchvision_vit(16),
    "timm vit": lambda: timm_vit(14**2 + 1),
    "timm registers": lambda: timm_vit(
        4**2, tokens=(("cls_token", 1), ("reg_token", 4)), block=TIMM | SCALES
    ),
    "timm mean": lambda: timm_vit(4**2 + 2, "fc_norm", tokens=(("reg_token", 2),)),
}


def saved(tensors, folder, config=None):
    save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(
            json.dumps({"architecture": "of a test", "pretrained_cfg": config})
        )
    return folder


@pytest.mark.parametrize("name", CASES)
def test_features_are_torchvisions_and_timms(name, tmp_path):
    encoder = evaluation.load_encoder(saved(CASES[name](), tmp_path, CONFIGS.get(name)))
    found, wanted = encoder(pictures()), np.array(GOLDEN[name]).reshape(2, -1)
    assert np.abs(wanted[0] - wanted[1]).max() > 0.01 * np.abs(wanted).max()  # the pictures are told apart
    np.testing.assert_allclose(found[:, : wanted.shape[1]], wanted, atol=1e-5 * np.abs(found).max())


def of_transformers(model, pairs):
    """Random weights for a network of transformers, and the same under another name."""
    own = {
        name: drawn(name, tuple(each.shape))
        for name, each in model.state_dict().items()
        if "num_batches" not in name
    }
    model.load_state_dict(own, strict=False)
    renamed = {}
    for name, tensor in own.items():
        for before, after in pairs:
            name = re.sub(before, after, name)
        renamed[name] = tensor
    return model.eval(), renamed


def agreed(tensors, folder, network):
    encoder = evaluation.load_encoder(saved(tensors, folder))
    with torch.inference_mode():
        wanted = network(encoder.seen(pictures())).double().numpy()
    assert np.abs(wanted[0] - wanted[1]).max() > 0.01 * np.abs(wanted).max()
    np.testing.assert_allclose(encoder(pictures()), wanted, atol=1e-5 * np.abs(wanted).max())
    return encoder.name


@pytest.mark.parametrize(
    ("kind", "depths", "widths", "title"),
    [
        ("basic", [3, 4, 6, 3], [64, 128, 256, 512], "ResNet-34 (mean"),
        ("bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048], "ResNet-50 (mean"),
    ],
)
def test_resnet_is_transformers(kind, depths, widths, title, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, renamed = of_transformers(
        transformers.ResNetModel(
            transformers.ResNetConfig(depths=depths, hidden_sizes=widths, layer_type=kind)
        ),
        (
            (r"^embedder.embedder.convolution", "conv1"),
            (r"^embedder.embedder.normalization", "bn1"),
            (r"^encoder.stages.(\d).layers", lambda at: f"layer{int(at[1]) + 1}"),
            (r"layer.(\d).convolution", lambda at: f"conv{int(at[1]) + 1}"),
            (r"layer.(\d).normalization", lambda at: f"bn{int(at[1]) + 1}"),
            (r"shortcut.convolution", "downsample.0"),
            (r"shortcut.normalization", "downsample.1"),
        ),
    )
    assert agreed(renamed, tmp_path, lambda x: model(x).pooler_output.flatten(1)).startswith(title)


INTO_TIMM = (
    (r"^layers\.", "blocks."),
    (r"^layernorm", "norm"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("attention.o_proj", "attn.proj"),
    (r"^embeddings.patch_embeddings.projection", "patch_embed.proj"),
    (r"^embeddings.cls_token", "cls_token"),
    (r"^embeddings.position_embeddings", "pos_embed"),
)
INTO_TORCHVISION = (
    (r"^layers\.", "encoder.layers.encoder_layer_"),
    (r"^layernorm", "encoder.ln"),
    ("layernorm_before", "ln_1"),
    ("layernorm_after", "ln_2"),
    ("attention.o_proj", "self_attention.out_proj"),
    ("mlp.fc", "mlp.linear_"),  # as older files have them
    (r"^embeddings.patch_embeddings.projection", "conv_proj"),
    (r"^embeddings.cls_token", "class_token"),
    (r"^embeddings.position_embeddings", "encoder.pos_embedding"),
)


@pytest.mark.parametrize(
    ("pairs", "joined", "title"),
    [
        (INTO_TIMM, "attn.qkv.", "ViT as timm has it, 2 blocks of width 192, patches of 16 (class token"),
        (INTO_TORCHVISION, "self_attention.in_proj_", "ViT as torchvision has it, 2 blocks of width 192"),
    ],
)
def test_vit_is_transformers(pairs, joined, title, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=300,
        layer_norm_eps=1e-6,
    )
    model, renamed = of_transformers(transformers.ViTModel(config, add_pooling_layer=False), pairs)
    for name in [each for each in renamed if "q_proj" in each]:
        parts = [renamed.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        renamed[name.replace("attention.q_proj.", joined)] = torch.cat(parts)
    assert agreed(renamed, tmp_path, lambda x: model(x).last_hidden_state[:, 0]).startswith(title)


def test_the_command_names_network_and_rule_alike_for_every_form_of_the_file(tmp_path, capsys):
    """A published .pth, one that a training script wrote, and a folder; each beside its own pictures."""
    weights = torchvision_vit(14)
    torch.save(weights, tmp_path / "vit.pth")
    torch.save({"model": weights, "epoch": 90}, tmp_path / "trained.pth")
    (tmp_path / "a").mkdir()
    for place, pixels in enumerate(np.random.RandomState(1).randint(0, 256, (10, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{place}.png")
    told = []
    for path in (tmp_path / "vit.pth", tmp_path / "trained.pth", saved(weights, tmp_path)):
        words = ["evaluate", "distance", str(tmp_path / "a"), str(tmp_path / "a"), "--features", str(path)]
        assert main([*words, "--resamples", "0", "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["values"]["precision"]["value"] == 1.0
    assert told[0]["values"] == told[1]["values"] == told[2]["values"]
    kind, hashed = told[0]["features"].split(", weights ")
    assert (
        kind
        == "ViT as torchvision has it, 2 blocks of width 192, patches of 16 (class token after the last norm)"
    )
    assert hashed[10:] == (
        ", shorter side resized to 256 (bilinear, antialiased), middle 224x224, mean 0.485 0.456 0.406, deviation "
        "0.229 0.224 0.225, as torchvision evaluates, of 3x8x8"
    )


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        (lambda: resnet((1, 1, 1, 1), deep=False), "ResNet-10 (mean before the classes)"),
        (lambda: resnet((1, 1, 1, 1), deep=True, inner=128), "ResNet-14 of 128 inner channels (mean"),
        (lambda: resnet((1, 1, 1, 1), deep=True, inner=64, groups=8), "ResNeXt-14 8x8d (mean"),
        (
            lambda: timm_vit(3, "fc_norm", (("reg_token", 2),)),
            "patches of 16 (mean of the patches before the last norm)",
        ),
        (
            lambda: timm_vit(4, tokens=(("reg_token", 2),)),
            "patches of 16 (mean of the patches after the last norm)",
        ),
    ],
)
def test_the_name_tells_the_shape(tensors, name, tmp_path):
    assert name in evaluation.load_encoder(saved(tensors(), tmp_path)).name


def without(tensors, *names):
    return {name: tensor for name, tensor in tensors.items() if name not in names}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            lambda: without(resnet((1, 1, 1, 1), deep=True), "bn1.running_var"),
            "misses 1 tensor, such as bn1.run",
        ),
        (lambda: without(resnet((1, 1, 1, 1), deep=False), "layer3.0.bn2.bias"), "such as layer3.0.bn2.bias"),
        (
            lambda: resnet((1, 1, 1, 1), deep=True) | {"layer1.0.se.fc": torch.zeros(1)},
            "beside them 1 tensor,",
        ),
        (
            lambda: resnet((1, 1, 1, 1), deep=True) | {"conv1.weight": torch.zeros(64, 1, 7, 7)},
            "such as conv1.w",
        ),
        (
            lambda: timm_vit(5) | {"norm_pre.bias": torch.zeros(192)},
            "beside them 1 tensor, such as norm_pre.bias",
        ),
        (lambda: without(timm_vit(5), "blocks.1.attn.qkv.bias"), "such as blocks.1.attn.qkv.bias"),
        (lambda: without(timm_vit(5), "pos_embed"), "such as pos_embed"),
        (lambda: without(torchvision_vit(2), "class_token"), "such as class_token"),
        (lambda: timm_vit(8), "positions for 8 tokens, which with or without the 1 before"),
        (lambda: timm_vit(4, tokens=()), "differ in what weights do not tell"),
        (lambda: timm_vit(5) | {"patch_embed.proj.weight": torch.zeros(100, 3, 16, 16)}, "ViT of width 100"),
    ],
)
def test_what_is_missing_extra_or_otherwise_built_is_refused_by_name(tensors, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        evaluation.load_encoder(saved(tensors(), tmp_path))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"crop_mode": "squash"}, "crop_mode is 'squash'; only \"center\""),
        ({"crop_pct": 1.2}, "crop_pct is 1.2; only a number from 0.05 to 1"),
        ({"interpolation": "random"}, "interpolation is 'random'"),
        ({"std": [1.0, 0.0, 1.0]}, "three numbers above 0"),
        ({"mean": [0.5]}, "three numbers"),
        ({"input_size": [1, 32, 32]}, r"only \[3, side, side\]"),
        ({"input_size": [3, 64, 64]}, "sees pictures of 32x32, but the config.json beside it says"),
    ],
)
def test_a_preparation_that_is_not_understood_is_refused(config, words, tmp_path):
    with pytest.raises(FileError, match=words):
        evaluation.load_encoder(saved(timm_vit(5), tmp_path, {"input_size": [3, 32, 32]} | config))


def test_a_network_that_blurs_is_refused_where_its_configuration_says_so(tmp_path):
    saved(resnet((1, 1, 1, 1), deep=True), tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "resnetblur50"}')
    with pytest.raises(CheckpointError, match="a 'resnetblur50', which blurs"):
        evaluation.load_encoder(tmp_path)


def recorded():
    """What torchvision's and timm's own networks and evaluation transforms give."""
    import timm
    import torchvision
    from timm.data import create_transform, resolve_data_config
    from timm.models.vision_transformer import VisionTransformer
    from torchvision.models import resnet as theirs
    from torchvision.transforms._presets import ImageClassification, InterpolationMode

    assert (torchvision.__version__.split("+")[0], timm.__version__) == ("0.29.1", "1.0.31")
    small = {"embed_dim": 192, "depth": 2, "num_heads": 3, "mlp_ratio": 300 / 192, "num_classes": 10}
    usual = ImageClassification(crop_size=224)
    larger = ImageClassification(
        crop_size=256, resize_size=256, interpolation=InterpolationMode.BICUBIC
    )  # as SWAG's at their size
    wide, grouped = (
        {"block": theirs.Bottleneck, "num_classes": 10, **more}
        for more in ({"width_per_group": 128}, {"groups": 32, "width_per_group": 4})
    )

    def by_timm(network, config=None):
        return network, create_transform(**resolve_data_config(pretrained_cfg=config or network.default_cfg))

    def vit(side):
        network = torchvision.models.VisionTransformer(16 * side, 16, 2, 3, 192, 300, num_classes=10)
        return network, usual if side == 14 else larger

    plain = timm.create_model("vit_tiny_patch16_224", depth=2, mlp_ratio=300 / 192, num_classes=10)
    mean = VisionTransformer(64, class_token=False, reg_tokens=2, global_pool="avg", **small)
    stretched = plain.default_cfg | {"input_size": (3, 64, 64)}
    networks = {
        "torchvision resnet18": (torchvision.models.resnet18(num_classes=10), usual),
        "torchvision resnet50": (torchvision.models.resnet50(num_classes=10), usual),
        "torchvision wide": (theirs.ResNet(layers=[1, 2, 1, 1], **wide), usual),
        "torchvision resnext": (theirs.ResNet(layers=[1, 1, 2, 1], **grouped), usual),
        "timm resnet26": by_timm(timm.create_model("resnet26", num_classes=10), BICUBIC),
        "torchvision vit": vit(14),
        "torchvision larger vit": vit(16),
        "timm vit": by_timm(plain),
        "timm registers": by_timm(
            VisionTransformer(64, reg_tokens=4, no_embed_class=True, init_values=1.0, **small), WHOLE
        ),
        "timm mean": by_timm(mean, stretched),
    }
    return {name: _features(name, *pair) for name, pair in networks.items()}


def _features(name, network, transform):
    missing, extra = network.eval().load_state_dict(CASES[name](), strict=False)
    assert not extra
    assert all("num_batches" in each for each in missing)
    for part in ("fc", "head", "heads"):
        if hasattr(network, part):
            setattr(network, part, torch.nn.Identity())
    with torch.inference_mode():
        seen = transform(pictures().float() / 255)
        return network(seen)[:, :6].double()


if __name__ == "__main__":
    for name, rows in recorded().items():
        print(f'    "{name}": [')  # noqa: T201
        for row in rows.tolist():
            print("        " + " ".join(f"{each:.7g}," for each in row))  # noqa: T201
        print("    ],")  # noqa: T201
