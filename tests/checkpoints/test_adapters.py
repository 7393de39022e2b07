"""Adapters against the published formulas, written out; removal to the bit; refusals."""

import json
import math
import re

import pytest
import torch
from safetensors.torch import save_file

import adapter_files
from adapter_files import normal
from tiny_model import tiny_model
from unnoise import checkpoints
from unnoise.checkpoints import adapters
from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.live import Adapted, Share
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig, published
from unnoise.pipelines import TextToImage

LAYER = "down_blocks.1.attentions.0.blocks.0.feed_forward.out"  # (16, 64)
KERNEL = "down_blocks.1.residuals.0.conv1"  # (16, 8, 3, 3)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def weight(model, layer):
    return model.network.state_dict()[f"{layer}.weight"]


def one_layer(path, layer, **tensors):
    name = "lora_unet_" + layer.replace(".", "_")
    values = {f"{name}.{role.replace('__', '.')}": torch.as_tensor(t) for role, t in tensors.items()}
    save_file({name: t.contiguous() for name, t in values.items()}, path)
    return path


def with_one(model, path, strength=1.0, live=False):
    return adapters.adapt(model, [(path, strength)], live=live)


def check(model, tmp_path, layer, delta, **tensors):
    """Merged and live: the weight is W + 0.7 delta."""
    path = one_layer(tmp_path / "one.safetensors", layer, **tensors)
    wanted = weight(model, layer) + 0.7 * delta(weight(model, layer))
    for live in (False, True):
        found = weight(with_one(model, path, 0.7, live), layer)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert (wanted - weight(model, layer)).abs().max() > 1e-3


def test_lora_adds_alpha_over_rank_times_b_a(model, tmp_path):
    a, b = normal(4, 64), normal(16, 4, seed=1)
    check(model, tmp_path, LAYER, lambda w: 8 / 4 * b @ a, lora_down__weight=a, lora_up__weight=b, alpha=8)


def test_lora_of_a_convolution_sums_over_the_rank(model, tmp_path):
    a, b = normal(4, 8, 3, 3), normal(16, 4, 1, 1, seed=1)
    delta = sum(b[:, r, 0, 0][:, None, None, None] * a[r][None] for r in range(4)) * (2 / 4)
    check(model, tmp_path, KERNEL, lambda w: delta, lora_down__weight=a, lora_up__weight=b, alpha=2.0)


def test_lora_with_a_middle_is_tucker_s_product(model, tmp_path):
    a, mid, b = normal(4, 8, 1, 1, scale=0.5), normal(4, 4, 3, 3, seed=1), normal(16, 4, 1, 1, seed=2)
    delta = torch.zeros(16, 8, 3, 3)
    for i in range(4):
        for j in range(4):
            delta += b[:, i, 0, 0].view(16, 1, 1, 1) * mid[i, j] * a[j, :, 0, 0].view(1, 8, 1, 1)
    tensors = {"lora_down__weight": a, "lora_mid__weight": mid, "lora_up__weight": b}
    check(model, tmp_path, KERNEL, lambda w: delta, **tensors)


def test_loha_is_the_product_of_two_products_number_by_number(model, tmp_path):
    w1a, w1b, w2a, w2b = normal(16, 3), normal(3, 64, seed=1), normal(16, 3, seed=2), normal(3, 64, seed=3)
    tensors = {"hada_w1_a": w1a, "hada_w1_b": w1b, "hada_w2_a": w2a, "hada_w2_b": w2b}
    tensors = {name: t * 5 for name, t in tensors.items()}
    delta = (w1a @ w1b) * (w2a @ w2b) * 5**4 * (6 / 3)
    check(model, tmp_path, LAYER, lambda w: delta, alpha=6.0, **tensors)


def test_loha_of_a_convolution_with_cores(model, tmp_path):
    t1, t2 = normal(3, 3, 3, 3, scale=1), normal(3, 3, 3, 3, seed=1, scale=1)
    a1, b1, a2, b2 = normal(3, 16), normal(3, 8, seed=1), normal(3, 16, seed=2), normal(3, 8, seed=3)
    a1, b1, a2, b2 = (t * 10 for t in (a1, b1, a2, b2))
    one, two = torch.zeros(16, 8, 3, 3), torch.zeros(16, 8, 3, 3)
    for i in range(3):
        for j in range(3):
            one += a1[i].view(16, 1, 1, 1) * b1[j].view(1, 8, 1, 1) * t1[i, j]
            two += a2[i].view(16, 1, 1, 1) * b2[j].view(1, 8, 1, 1) * t2[i, j]
    tensors = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2}
    check(model, tmp_path, KERNEL, lambda w: one * two, hada_t1=t1, hada_t2=t2, **tensors)


def test_lokr_puts_the_second_matrix_into_every_number_of_the_first(model, tmp_path):
    w1, w2a, w2b = normal(4, 8, scale=1), normal(4, 2, seed=1), normal(2, 8, seed=2)
    w2, delta = w2a @ w2b, torch.zeros(16, 64)
    for i in range(4):
        for j in range(8):
            delta[4 * i : 4 * i + 4, 8 * j : 8 * j + 8] = w1[i, j] * w2
    tensors = {"lokr_w1": w1, "lokr_w2_a": w2a * 10, "lokr_w2_b": w2b}
    check(model, tmp_path, LAYER, lambda w: delta * 10 * (1 / 2), alpha=1.0, **tensors)


def test_lokr_of_two_whole_matrices_has_scale_one_and_takes_kernels(model, tmp_path):
    w1, w2 = normal(4, 2), normal(4, 4, 3, 3, seed=1, scale=1)
    delta = torch.zeros(16, 8, 3, 3)
    for i in range(4):
        for j in range(2):
            delta[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = w1[i, j] * w2
    check(model, tmp_path, KERNEL, lambda w: delta, lokr_w1=w1, lokr_w2=w2, alpha=9.0)


def test_lokr_of_a_convolution_with_a_core(model, tmp_path):
    w1, core = normal(4, 4), normal(2, 2, 3, 3, seed=1, scale=1)
    a, b = normal(2, 4, seed=2, scale=1), normal(2, 2, seed=3, scale=1)
    second = sum(
        core[p, q] * a[p][:, None, None, None] * b[q][None, :, None, None] for p in range(2) for q in range(2)
    )
    delta = torch.zeros(16, 8, 3, 3)
    for i in range(4):
        for j in range(4):
            delta[4 * i : 4 * i + 4, 2 * j : 2 * j + 2] = w1[i, j] * second
    tensors = {"lokr_w1": w1, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": 2.0}
    check(model, tmp_path, KERNEL, lambda w: delta, **tensors)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_lora_of_eight_bits_is_that_of_the_same_numbers_in_more(model, tmp_path, dtype, live):
    a, b = normal(4, 64, scale=1).to(dtype), normal(16, 4, seed=1).to(dtype)
    outputs = []
    for name, each in (("small", (a, b)), ("wide", (a.float(), b.float()))):
        tensors = {"lora_down__weight": each[0], "lora_up__weight": each[1], "alpha": 2.0}
        path = one_layer(tmp_path / f"{name}.safetensors", LAYER, **tensors)
        layer = with_one(model, path, 0.7, live).network.get_submodule(LAYER)
        outputs.append(layer(normal(1, 5, 64, seed=2)))
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], model.network.get_submodule(LAYER)(normal(1, 5, 64, seed=2)))


@pytest.mark.parametrize("shape", [(16, 1), (1, 64)], ids=["outputs", "inputs"])
def test_dora_turns_the_weight_and_gives_it_the_magnitude(model, tmp_path, shape):
    a, b, magnitude = normal(4, 64), normal(16, 4, seed=1), normal(*shape, seed=2).abs() + 0.5

    def delta(w):
        turned = w + b @ a
        norm = torch.sqrt((turned**2).sum(dim=1 if shape[0] == 16 else 0, keepdim=True))
        return magnitude * turned / norm - w

    tensors = {"lora_down__weight": a, "lora_up__weight": b, "dora_scale": magnitude}
    check(model, tmp_path, LAYER, delta, **tensors)


@pytest.mark.parametrize("live", [False, True])
def test_removal_restores_every_weight_to_the_bit_and_shares_what_is_untouched(tmp_path, live):
    model = tiny_model()
    before = {name: t.clone() for name, t in model.network.state_dict().items()}
    path = adapter_files.kohya(model, tmp_path / "ink.safetensors", only=lambda name: "attn1_to_" in name)
    pipe = TextToImage(model)
    adapted = pipe.with_lora(path, live=live)
    removed = adapted.without_loras()
    assert removed.model is model
    state = removed.model.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    changed = adapted.model.network.state_dict()
    different = {name for name, tensor in before.items() if not torch.equal(changed[name], tensor)}
    assert different
    assert all(".self_attention." in name for name in different)
    untouched = "up_blocks.0.residuals.0.conv1.weight"
    assert changed[untouched].data_ptr() == state[untouched].data_ptr()
    picture, again = (one("a seven", steps=2, seed=1).arrays[0] for one in (pipe, removed))
    assert (picture == again).all()
    assert abs(picture - adapted("a seven", steps=2, seed=1).arrays[0]).max() > 1e-3


def test_live_and_merged_make_one_picture_and_the_order_does_not_matter(model, tmp_path):
    one = adapter_files.kohya(model, tmp_path / "ink.safetensors")
    other = adapter_files.kohya(
        model, tmp_path / "light.safetensors", rank=2, only=lambda name: "conv" in name
    )
    pipe = TextToImage(model)
    merged = pipe.with_loras([(one, 0.5), (other, 1.0)])
    swapped = pipe.with_lora(other).with_lora(one, 0.5)
    live = pipe.with_lora(one, 0.5, live=True).with_lora(other, live=True)
    first, *others = (each("a seven", steps=3, seed=1).arrays[0] for each in (merged, swapped, live))
    for picture in others:
        assert abs(picture - first).max() <= 2e-5
    recipe = merged("a seven", steps=1, seed=1).recipes[0]
    assert recipe.adapters.startswith("ink.safetensors:0.5:")
    assert ", light.safetensors:1:" in recipe.adapters


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 12)],
        [(0, 4), (4, 8), (8, 12)],
        [(0, 4), (8, 12)],
        [(3, 5)],
        [(0, 4), (2, 12), (5, 6)],
        [(8, 12), (0, 4)],
    ],
)
def test_changes_of_any_rows_stand_beside_one_another(rows):
    layer = torch.nn.Linear(6, 12)
    shares = []
    for place, (start, stop) in enumerate(rows):
        factors = {"up": normal(stop - start, 2), "down": normal(2, 6)}
        shares.append(Share(Change("LoRA", factors, scale=0.5 + place), 1.0, start, stop))
    x = normal(3, 6)
    beside = Adapted(layer, shares)
    torch.testing.assert_close(beside(x), torch.nn.functional.linear(x, beside.weight, layer.bias))


def test_factors_of_blocks_multiply_the_weight_where_they_say(model, tmp_path):
    path = adapter_files.kohya(model, tmp_path / "ink.safetensors")
    full = adapters.adapt(model, [Lora(path, 1.0)])
    some = adapters.adapt(
        model, [Lora(path, 1.0, {"down_blocks": 0.0, "down_blocks.1.residuals": 0.5, "text_encoder": 0})]
    )
    base, whole, part = (each.network.state_dict() for each in (model, full, some))
    for name, tensor in base.items():
        factor = (
            0.5
            if name.startswith("down_blocks.1.residuals")
            else 0.0
            if name.startswith("down_blocks")
            else 1.0
        )
        torch.testing.assert_close(part[name], tensor + factor * (whole[name] - tensor), rtol=0, atol=1e-6)
    encoder = some.text_encoder.state_dict()
    assert all(torch.equal(encoder[name], t) for name, t in model.text_encoder.state_dict().items())
    with pytest.raises(InputError, match="'middle' has no layer"):
        adapters.adapt(model, [Lora(path, 1.0, {"middle": 0.5})])
    with pytest.raises(InputError, match="5 factors of blocks are given"):
        adapters.adapt(model, [Lora(path, 1.0, [1, 1, 1, 1, 1])])


def test_a_list_of_factors_has_the_order_of_the_original_blocks(model, tmp_path):
    """Two levels of one block: base, i0 to i3, m, o0 to o3."""
    path = adapter_files.kohya(model, tmp_path / "ink.safetensors")
    factors = [0.0] * 10
    factors[1 + 3] = 1.0  # i3: the block of the coarser level
    found = adapters.adapt(model, [Lora(path, 1.0, factors)]).network.state_dict()
    moved = {name for name, t in model.network.state_dict().items() if not torch.equal(found[name], t)}
    assert moved
    assert all(name.startswith(("down_blocks.1.residuals", "down_blocks.1.attentions")) for name in moved)


def test_a_half_precision_weight_is_rounded_once(tmp_path):
    model = tiny_model()
    model.network.bfloat16()
    paths = [
        adapter_files.kohya(model, tmp_path / f"{n}.safetensors", alpha=a)
        for n, a in (("a", 3.0), ("b", 0.1))
    ]
    found = weight(adapters.adapt(model, [(path, 1.0) for path in paths]), LAYER)
    exact = weight(model, LAYER).double()
    for path in paths:
        key = "down_blocks_1_attentions_0_transformer_blocks_0_ff_net_2"
        change = adapters.read(path).changes[adapters.names.Layer("network", key)]
        exact += change.scale * change.factors["up"].double() @ change.factors["down"].double()
    assert torch.equal(found, exact.float().bfloat16())


def test_own_names_kohya_peft_and_old_diffusers_names_mean_the_same_layer(model, tmp_path):
    a, b = normal(4, 16), normal(16, 4, seed=1)
    theirs = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
    spellings = [
        (f"lora_unet_{theirs.replace('.', '_')}_to_v.lora_down.weight", ".lora_down.", ".lora_up."),
        (f"unet.{theirs}.to_v.lora_A.weight", ".lora_A.", ".lora_B."),
        (f"base_model.model.{theirs}.to_v.lora_A.weight", ".lora_A.", ".lora_B."),
        (f"unet.{theirs}.to_v.lora.down.weight", ".lora.down.", ".lora.up."),
        (f"{theirs}.processor.to_v_lora.down.weight", "_lora.down.", "_lora.up."),
        (
            "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_v.lora_down.weight",
            ".lora_down.",
            ".lora_up.",
        ),
        (f"lycoris_{theirs.replace('.', '_')}_to_v.lora_down.weight", ".lora_down.", ".lora_up."),
        (f"unet.{theirs}.to_v.lora_A.my-style.weight", ".lora_A.", ".lora_B."),
    ]
    base = weight(model, "down_blocks.1.attentions.0.blocks.0.self_attention.qkv")
    for place, (name, down, up) in enumerate(spellings):
        path = tmp_path / f"{place}.safetensors"
        save_file({name: a, name.replace(down, up): b}, path)
        found = weight(with_one(model, path), "down_blocks.1.attentions.0.blocks.0.self_attention.qkv")
        assert torch.equal(found[:32], base[:32]), name
        torch.testing.assert_close(found[32:], base[32:] + b @ a)


def test_comfyui_s_names_of_text_encoders_mean_what_kohya_s_do():
    for theirs, kohya in {"l": "lora_te1_", "g": "lora_te2_", "h": "lora_te_"}.items():
        path = "text_model.encoder.layers.0.mlp.fc1"
        spelled = f"text_encoders.clip_{theirs}.transformer.{path}.lora_up.weight"
        known = f"{kohya}{path.replace('.', '_')}.lora_up.weight"
        assert (
            adapters.names.listing([spelled]).layers.keys() == adapters.names.listing([known]).layers.keys()
        )


def test_alpha_of_peft_s_own_settings(model, tmp_path):
    a, b = normal(4, 64), normal(16, 4, seed=1)
    path = LAYER.replace("feed_forward.out", "ff.net.2").replace(".blocks.", ".transformer_blocks.")
    stated = {"unet.r": 4, "unet.lora_alpha": 6, "unet.use_rslora": True}
    tensors = {f"unet.{path}.lora_A.weight": a, f"unet.{path}.lora_B.weight": b}
    file = tmp_path / "peft.safetensors"
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps(stated)})
    wanted = weight(model, LAYER) + 6 / math.sqrt(4) * b @ a
    torch.testing.assert_close(weight(with_one(model, file), LAYER), wanted)


PEFT_LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.2"


def peft_folder(folder, tensors, **settings):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, **settings}))
    named = {f"base_model.model.{PEFT_LAYER}.{role}": tensor for role, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("patterns", "alpha"),
    [
        ({"ff.net.2": 8}, 8),
        ({"net.2": 8, "ff.net.2": 2}, 8),  # the first
        ({"f.net.2": 8}, 6),  # not the end of a name
        ({"^down_blocks.*": 8}, 8),
        ({"^up_blocks.*": 8}, 6),
        ({r"to_q|ff\.net\.[0-9]": 8}, 8),
    ],
)
def test_patterns_of_alpha_are_regular_expressions_as_peft_reads_them(model, tmp_path, patterns, alpha):
    a, b = normal(4, 64), normal(16, 4, seed=1)
    tensors = {"lora_A.weight": a, "lora_B.weight": b}
    folder = peft_folder(tmp_path / "ink", tensors, lora_alpha=6, alpha_pattern=patterns)
    torch.testing.assert_close(
        weight(with_one(model, folder), LAYER), weight(model, LAYER) + alpha / 4 * b @ a
    )


@pytest.mark.parametrize("pattern", ["(a+)+b", ".*.*.*.*x", r"(a)\1", "[", "x" * 300 + "|"])
def test_a_pattern_that_is_slow_or_none_is_refused(model, tmp_path, pattern):
    tensors = {"lora_A.weight": normal(4, 64), "lora_B.weight": normal(16, 4, seed=1)}
    folder = peft_folder(tmp_path / "ink", tensors, lora_alpha=6, alpha_pattern={pattern: 8})
    with pytest.raises(CheckpointError, match=r"alpha_pattern has .*; write the layers' names there"):
        with_one(model, folder)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_a_lora_that_began_as_a_part_of_the_weights_is_refused(tmp_path, start):
    lora = {"lora_A.weight": normal(4, 64), "lora_B.weight": normal(16, 4)}
    folder = peft_folder(tmp_path / start, lora, init_lora_weights=start)
    file = tmp_path / "saved.safetensors"
    stated = {"lora_adapter_metadata": json.dumps({"unet.init_lora_weights": start})}
    save_file({f"unet.{PEFT_LAYER}.{role}": t for role, t in lora.items()}, file, metadata=stated)
    for path in (folder, file):
        with pytest.raises(CheckpointError, match=rf"began as '{start}', so .*Ask for it as a plain LoRA"):
            adapters.read(path)
    assert adapters.read(peft_folder(tmp_path / "plain", lora, init_lora_weights="gaussian")).changes


def test_lokr_of_two_whole_matrices_from_peft_has_the_scale_of_its_settings(model, tmp_path):
    first, second = normal(4, 8), normal(4, 8, seed=1)
    tensors = {"lokr_w1": first, "lokr_w2": second}
    folder = peft_folder(tmp_path / "one", tensors, peft_type="LOKR", alpha=6, rank_pattern={"ff.net.2": 3})
    wanted = weight(model, LAYER) + 6 / 3 * torch.kron(first, second)
    torch.testing.assert_close(weight(with_one(model, folder), LAYER), wanted)


@pytest.mark.parametrize("alpha", ["6", True, 10**400, [6]], ids=["text", "yes", "huge", "list"])
def test_an_alpha_that_is_no_number_is_refused(model, tmp_path, alpha):
    tensors = {"unet.x.lora_A.weight": normal(4, 64), "unet.x.lora_B.weight": normal(16, 4, seed=1)}
    file = tmp_path / "peft.safetensors"
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps({"unet.lora_alpha": alpha})})
    with pytest.raises(CheckpointError, match=r"the alpha of 'unet\.x' is .*; a number was expected"):
        with_one(model, file)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(("layer", "shape"), [(LAYER, (16, 64)), (KERNEL, (16, 8, 3, 3))])
def test_a_lora_of_rank_0_changes_nothing(model, tmp_path, layer, shape, live):
    rows, *each = shape
    tensors = {
        "lora_down__weight": torch.zeros(0, *each),
        "lora_up__weight": torch.zeros(rows, 0, *[1] * (len(each) - 1)),
    }
    adapted = with_one(model, one_layer(tmp_path / "empty.safetensors", layer, **tensors), live=live)
    assert torch.equal(weight(adapted, layer), weight(model, layer))
    x = normal(2, shape[1], *([6, 6] if each[1:] else []), seed=3)
    found = adapted.network.get_submodule(layer)(x if each[1:] else x[None])
    assert torch.equal(found, model.network.get_submodule(layer)(x if each[1:] else x[None]))


TRANSFORMERS = re.compile(r".*(attn[12]_to_(q|k|v|out_0)|ff_net_(0_proj|2)|proj_in|proj_out)")
TEXT = re.compile(r".*(self_attn_(q|k|v|out)_proj|mlp_fc[12])")


@pytest.mark.parametrize(
    ("network", "texts", "counts"),
    [
        (published.stable_diffusion_1, [TextEncoderConfig.clip_l], [192, 72]),
        (
            published.stable_diffusion_xl,
            [TextEncoderConfig.clip_l, TextEncoderConfig.open_clip_big_g],
            [722, 72, 192],
        ),
    ],
    ids=["sd1", "sdxl"],
)
def test_full_sizes_have_the_layers_that_kohya_trains(network, texts, counts):
    """264 modules for Stable Diffusion 1, 722 of XL's UNet: what its tools count as they begin."""
    config = network()
    names = ("text_encoder", "text_encoder_2")
    parts = {"network": config, **{name: text() for name, text in zip(names, texts, strict=False)}}
    found = set(adapters.places.names_for(parts).values())
    prefixes = ["lora_unet_", "lora_te_"] if len(texts) == 1 else ["lora_unet_", "lora_te1_", "lora_te2_"]
    patterns = [TRANSFORMERS, TEXT, TEXT]
    each = [
        sum(name.startswith(prefix) and pattern.fullmatch(name) is not None for name in found)
        for prefix, pattern in zip(prefixes, patterns, strict=False)
    ]
    assert each == counts
    if config.pooled_width:
        assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q" in found
        assert "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_out_0" in found
    else:
        assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" in found
        assert "lora_te_text_model_encoder_layers_11_mlp_fc2" in found


def sdxl_keys(path, width):
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{name}.lora_down.weight": normal(4, width), f"{name}.lora_up.weight": normal(640, 4)}
    save_file({**tensors, f"{name}.alpha": torch.tensor(4.0)}, path)
    return path


def test_another_family_is_refused_with_counts_and_both_names(tmp_path):
    config = UNetConfig(
        in_channels=4,
        out_channels=4,
        widths=(32, 64),
        blocks=1,
        attention=(1, 0),
        text_width=768,
        norm_groups=8,
    )
    places = adapters.places.places({"network": config})
    adapter = adapters.read(sdxl_keys(tmp_path / "ink.safetensors", 2048))
    with pytest.raises(CheckpointError) as caught:
        adapters.fitting.fit(adapter, places, "Stable Diffusion 1", 768)
    assert str(caught.value) == (
        "LoRA 'ink.safetensors' fits SDXL (unet keys of width 2048); the loaded model is SD 1.5 (768), and 0 of the "
        "1 layers fit. Use an SD 1.5 LoRA or load an SDXL checkpoint."
    )


def test_a_family_told_in_words_is_told_in_a_sentence(model, tmp_path):
    layer = {"lora_down.weight": torch.zeros(2, 8), "lora_up.weight": torch.zeros(24, 2)}
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    save_file({f"{name}.{role}": tensor for role, tensor in layer.items()}, tmp_path / "flux.safetensors")
    with pytest.raises(
        CheckpointError, match=r"or load a checkpoint of a transformer model such as Flux or SD 3\.$"
    ):
        adapters.adapt(model, [tmp_path / "flux.safetensors"])


def test_a_file_of_the_same_names_and_another_width_is_refused(model, tmp_path):
    path = one_layer(
        tmp_path / "ink.safetensors", LAYER, lora_down__weight=normal(4, 32), lora_up__weight=normal(16, 4)
    )
    with pytest.raises(CheckpointError, match=r"0 of the 1 layers fit, 1 are of another shape .*\[16, 64\]"):
        with_one(model, path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_down__weight": normal(4, 64)}, "not one of its layers is whole"),
        ({"lora_down__weight": normal(), "lora_up__weight": normal(16, 4)}, "not one of its layers is whole"),
        (
            {"hada_w1_a": normal(), "hada_w1_b": normal(), "hada_w2_a": normal(), "hada_w2_b": normal()},
            "not one of its layers is whole",
        ),
        (
            {
                "lora_down__weight": normal(4, 1, 8, 8),
                "lora_up__weight": normal(16, 4, 1, 1),
                "lora_mid__weight": normal(4, 4, 8, 8),
            },
            "cannot be multiplied",
        ),
        ({"lora_down__weight": normal(4, 64), "lora_up__weight": normal(16, 3)}, "cannot be multiplied"),
        ({"lora_down__weight": normal(4, 64) * math.nan, "lora_up__weight": normal(16, 4)}, "not finite"),
        (
            {"lora_down__weight": normal(4, 64), "lora_up__weight": normal(16, 4), "oft_blocks": normal(2)},
            "oft_blocks",
        ),
        ({"weight": normal(4, 64)}, "no LoRA, LoHa or LoKr"),
        (
            {"lora_down__weight": normal(4, 64), "lora_up__weight": normal(16, 4), "alpha": normal(2)},
            "one number",
        ),
    ],
    ids=["half", "scalar", "scalars", "kernels", "misfit", "nan", "unknown", "none", "alpha"],
)
def test_what_cannot_be_accounted_for_is_refused(model, tmp_path, tensors, words):
    path = one_layer(tmp_path / "bad.safetensors", LAYER, **tensors)
    with pytest.raises(CheckpointError, match=words):
        with_one(model, path)


LORA = {"lora_down.weight": normal(4, 64), "lora_up.weight": normal(16, 4)}
LOHA = {
    f"hada_w{n}_{side}": normal(*shape) for n in (1, 2) for side, shape in (("a", (16, 2)), ("b", (2, 64)))
}
LOKR = {"lokr_w1": normal(4, 8), "lokr_w2": normal(4, 8)}


@pytest.mark.parametrize(
    "two",
    [
        LORA | LOHA,
        LORA | LOKR,
        LOKR | {"lokr_w1_a": normal(4, 2), "lokr_w1_b": normal(2, 8)},
        LORA | {"dora_scale": normal(16, 1), "lora_magnitude_vector": normal(16)},
        LORA | {"lora_A.style.weight": normal(4, 64), "lora_B.style.weight": normal(16, 4)},
    ],
    ids=["lora and loha", "lora and lokr", "lokr whole and in two", "two magnitudes", "two adapters"],
)
def test_a_layer_that_is_told_twice_is_refused_for_one_would_be_left_out(model, tmp_path, two):
    name = "lora_unet_" + LAYER.replace(".", "_")
    whole = {f"{name.replace('1_att', '0_att')}.{role}": tensor.clone() for role, tensor in LORA.items()}
    save_file(
        whole | {f"{name}.{role}": tensor.clone() for role, tensor in two.items()}, tmp_path / "x.safetensors"
    )
    with pytest.raises(CheckpointError, match="tensors not understood here: 'lora_unet_down_blocks_1"):
        adapters.read(tmp_path / "x.safetensors")


def test_a_file_of_another_kind_is_refused_with_counts_and_its_family(tmp_path):
    text = {f"lora_te2_text_model_encoder_layers_0_mlp_fc1.{role}": t.clone() for role, t in LORA.items()}
    other = {"lora_unet_input_blocks_4_1_proj_in.oft_blocks": normal(4, 4, 4)}
    with pytest.raises(CheckpointError, match="is a LoRA of 1 layer for SDXL, with 1 tensor not understood"):
        adapters.read(saved(other | text, tmp_path / "part.safetensors"))
    with pytest.raises(
        CheckpointError, match=r"no LoRA, LoHa or LoKr: not one .* \('lora_unet_input\S+oft_blocks' is"
    ):
        adapters.read(saved(other, tmp_path / "whole.safetensors"))


def saved(tensors, path):
    save_file(tensors, path)
    return path


def pickled(path, up, **options):
    name = "lora_unet_" + LAYER.replace(".", "_")
    torch.save({f"{name}.lora_down.weight": normal(4, 64), f"{name}.lora_up.weight": up}, path, **options)
    return path


@pytest.mark.parametrize(
    "up",
    [
        torch.zeros(1).as_strided((2**19, 2**19), (0, 0)),
        torch.eye(4).to_sparse(),
        torch.zeros(16, 4, device="meta"),
    ],
    ids=["a terabyte", "sparse", "meta"],
)
def test_pickled_tensors_without_their_numbers_are_refused(tmp_path, up):
    with pytest.raises(CheckpointError, match="does not hold its numbers one by one"):
        adapters.read(pickled(tmp_path / "odd.pt", up))


def test_what_old_torch_wrote_is_read_and_a_missing_file_is_no_damage(model, tmp_path):
    up = normal(16, 4, seed=1)
    old = pickled(tmp_path / "old.pt", up, _use_new_zipfile_serialization=False)
    new = pickled(tmp_path / "new.pt", up)
    assert torch.equal(weight(with_one(model, old), LAYER), weight(with_one(model, new), LAYER))
    with pytest.raises(CheckpointError, match="No such file"):
        adapters.read(tmp_path / "none.pt")


def test_what_was_asked_for_is_parsed_and_found(tmp_path):
    (tmp_path / "ink.safetensors").touch()
    assert Lora.parse("ink:0.8") == Lora("ink", 0.8)
    assert Lora.parse("a/ink.safetensors") == Lora("a/ink.safetensors", 1.0)
    assert Lora.parse("c:/ink.safetensors:-1:mid_block=0.5,down_blocks=0") == Lora(
        "c:/ink.safetensors", -1.0, {"mid_block": 0.5, "down_blocks": 0.0}
    )
    assert Lora.parse("ink:1,0,0.5").blocks == (1.0, 0.0, 0.5)
    assert Lora("ink").find(tmp_path) == tmp_path / "ink.safetensors"
    with pytest.raises(FileError, match="did you mean ink"):
        Lora("inc").find(tmp_path)
    with pytest.raises(FileError, match="there is no LoRA 'xxx"):  # as a stranger's picture may name one
        Lora.parse("x" * 300 + ":0.5").find(tmp_path)
    for words in ("ink:much", "ink:inf", "ink:1:mid_block=x", "ink:1:mid_block=1,mid_block=0"):
        with pytest.raises(InputError):
            Lora.parse(words)


def test_a_folder_is_the_lora_that_a_run_or_diffusers_left_in_it(model, tmp_path):
    steps = [tmp_path / "run/checkpoints" / f"step-{step:06}" for step in (5, 10)]
    for number, place in enumerate([*steps, tmp_path / "run"]):  # as a run grows: the newest counts
        place.mkdir(parents=True, exist_ok=True)
        made = adapter_files.kohya(model, place / "lora.safetensors", rank=number + 1)
        assert Lora(tmp_path / "run").find() == made
    saved = adapter_files.kohya(model, tmp_path / "pytorch_lora_weights.safetensors")
    assert adapters.adapt(model, [tmp_path]).adapters[0].adapter.sha256 == adapters.read(saved).sha256
    assert checkpoints.inspect(tmp_path / "run").details["ranks"].startswith("3 ")
    (tmp_path / "other").mkdir()
    with pytest.raises(FileError, match="there is no LoRA"):
        Lora(tmp_path / "other").find()


def test_a_file_alone_is_a_lora_of_weight_1(model, tmp_path):
    path = adapter_files.kohya(model, tmp_path / "ink.safetensors")
    for asked in (path, str(path), (path, 1.0)):
        assert adapters.adapt(model, [asked]).adapters[0].asked.weight == 1.0


def test_a_written_lora_is_read_as_it_was(model, tmp_path):
    known = adapters.places.places(adapters.places.parts_of(model))
    place = known[adapters.names.Layer("network", LAYER.replace(".", "_"))]
    change = adapters.change.Change("LoRA", {"down": normal(4, 64), "up": normal(16, 4, seed=1)}, 0.5)
    path = adapters.writing.write(tmp_path / "new.safetensors", model, {place: change}, {"ss_steps": "7"})
    found = adapters.read(path)
    (again,) = found.changes.values()
    assert torch.equal(again.delta((16, 64)), change.delta((16, 64)))
    assert (found.metadata["ss_network_dim"], found.metadata["ss_network_alpha"]) == ("4", "2")
    assert found.metadata["ss_steps"] == "7"
    assert with_one(model, path).adapters[0].told == f"new.safetensors:1:{found.numbers_sha256[:12]}"
    with pytest.raises(FileError, match="never replaces"):
        adapters.writing.write(path, model, {place: change})


def test_inspect_tells_kind_rank_family_and_what_is_touched(tmp_path):
    path = sdxl_keys(tmp_path / "ink.safetensors", 2048)
    summary = checkpoints.inspect(path)
    assert summary.kind == "adapter"
    facts = summary.details
    assert (facts["what"], facts["ranks"], facts["family"]) == ("LoRA", "4 (1)", "SDXL")
    assert (facts["names"], facts["touches"]) == ("kohya", "unet attention (1)")


@pytest.mark.parametrize("weight", [math.nan, math.inf, -101, 10**400, True, "1"])
def test_a_weight_that_is_no_number_for_a_lora_is_refused(weight):
    with pytest.raises(InputError, match="weight is"):
        Lora("ink", weight)
