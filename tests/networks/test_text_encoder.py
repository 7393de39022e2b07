import json

import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig


def tiny(**changes):
    settings = {"vocabulary": 50, "width": 32, "layers": 3, "heads": 4, "positions": 12, "end_token": 49}
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig(**(settings | changes))).eval()


def some_tokens(batch=2, length=10):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 49, (batch, length), generator=generator)
    tokens[:, -3] = 49
    return tokens


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        # Public sizes: SD 1's text encoder; SDXL's second one; OpenCLIP H's text tower with its projection.
        (TextEncoderConfig.clip_l(), 123_060_480),
        (TextEncoderConfig.open_clip_big_g(), 694_659_840),
        (TextEncoderConfig.open_clip_h(), 354_032_640),
    ],
)
def test_full_sizes_equal_the_public_ones(config, parameters):
    with torch.device("meta"):
        encoder = TextEncoder(config)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters


@torch.no_grad()
def test_later_tokens_do_not_change_earlier_states_of_a_causal_encoder():
    encoder, tokens = tiny(), some_tokens()
    changed = tokens.clone()
    changed[:, 6:] = 7
    before, after = encoder(tokens).hidden, encoder(changed).hidden
    torch.testing.assert_close(before[:, :6], after[:, :6], atol=1e-6, rtol=0)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-2)


@torch.no_grad()
def test_later_tokens_do_change_earlier_states_of_a_free_encoder():
    encoder, tokens = tiny(causal=False), some_tokens()
    changed = tokens.clone()
    changed[:, 6:] = 7
    assert not torch.allclose(encoder(tokens).hidden[:, :6], encoder(changed).hidden[:, :6], atol=1e-3)


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_masked_tokens_have_no_influence(causal):
    encoder, tokens = tiny(causal=causal, pooling="mean"), some_tokens()
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[0, 4:], mask[1, 2:5] = False, False
    changed = torch.where(mask, tokens, (tokens + 5) % 50)
    before, after = encoder(tokens, mask), encoder(changed, mask)
    torch.testing.assert_close(before.hidden[mask], after.hidden[mask], atol=1e-6, rtol=0)
    torch.testing.assert_close(before.pooled, after.pooled, atol=1e-6, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_a_mask_that_keeps_all_equals_no_mask(causal):
    encoder, tokens = tiny(causal=causal, pooling="mean"), some_tokens()
    with_mask, without = encoder(tokens, torch.ones_like(tokens, dtype=torch.bool)), encoder(tokens)
    torch.testing.assert_close(with_mask.hidden, without.hidden, atol=1e-6, rtol=0)
    torch.testing.assert_close(with_mask.pooled, without.pooled, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_mask_that_keeps_nothing_stays_finite():
    encoder, tokens = tiny(causal=False, pooling="mean"), some_tokens()
    found = encoder(tokens, torch.zeros_like(tokens, dtype=torch.bool))
    assert found.hidden.isfinite().all()
    assert found.pooled.isfinite().all()


@torch.no_grad()
def test_the_pooled_state_is_the_one_at_the_first_end_token():
    encoder, tokens = tiny(), some_tokens()
    tokens[0, 4] = 49
    found = encoder(tokens)
    torch.testing.assert_close(found.pooled[0], found.hidden[0, 4])
    torch.testing.assert_close(found.pooled[1], found.hidden[1, 7])


@torch.no_grad()
def test_skipping_layers_equals_an_encoder_without_them():
    whole, tokens = tiny(), some_tokens()
    short = tiny(layers=2)
    short.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("blocks.2.")})
    skipped = whole(tokens, skip=1)
    torch.testing.assert_close(skipped.hidden, short(tokens).hidden)
    torch.testing.assert_close(skipped.pooled, whole(tokens).pooled)


@torch.no_grad()
def test_a_skipped_state_can_be_handed_over_without_the_final_norm():
    raw, tokens = tiny(normalize_skipped=False), some_tokens()
    normed = tiny()
    torch.testing.assert_close(raw.final_norm(raw(tokens, skip=2).hidden), normed(tokens, skip=2).hidden)


@torch.no_grad()
def test_a_projection_maps_the_pooled_vector_only():
    encoder, tokens = tiny(projection=5), some_tokens()
    found = encoder(tokens)
    assert found.hidden.shape == (2, 10, 32)
    torch.testing.assert_close(found.pooled, found.hidden[:, 7] @ encoder.projection.weight.T)


def test_the_stream_keeps_its_scale_whatever_the_depth():
    seen = []
    for layers in (1, 12):
        encoder = tiny(layers=layers)
        encoder.final_norm.register_forward_pre_hook(
            lambda _module, inputs: seen.append(inputs[0].std().item())
        )
        encoder(some_tokens())
    assert 0.5 < seen[1] / seen[0] < 2


def test_configurations_round_trip_through_json():
    config = TextEncoderConfig.open_clip_big_g()
    assert TextEncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"layers": -1},
        {"heads": 1.5},
        {"heads": 5},
        {"positions": True},
        {"projection": 0},
        {"activation": "relu"},
        {"pooling": "max"},
        {"end_token": 50},
    ],
)
def test_bad_settings_are_refused_by_name(changes):
    with pytest.raises(InputError, match=f"{next(iter(changes))} is|heads 5"):
        tiny(**changes)


def test_an_unknown_setting_is_named():
    with pytest.raises(InputError, match="'depth' is not a setting"):
        TextEncoderConfig.from_dict({"depth": 3})


def test_bad_tensors_are_refused():
    encoder, tokens = tiny(), some_tokens()
    for wrong in (tokens[0], tokens[:, :0], some_tokens(length=13)):
        with pytest.raises(InputError, match="tokens has the shape"):
            encoder(wrong)
    for mask in (torch.ones(2, 9, dtype=torch.bool), torch.ones(2, 10)):
        with pytest.raises(InputError, match="mask is"):
            encoder(tokens, mask)
    for skip in (-1, 3):
        with pytest.raises(InputError, match=f"skip is {skip}"):
            encoder(tokens, skip=skip)
