import pytest
import torch

from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")


def pair(activation, projection):
    """Their text model and ours at miniature size, with the same random weights."""
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=20,
        hidden_act=activation,
        projection_dim=projection or 32,
        bos_token_id=98,
        eos_token_id=99,
        pad_token_id=99,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    theirs = kind(config).eval()
    for parameter in theirs.parameters():  # fresh biases are zero and norms one: make every weight count
        torch.nn.init.normal_(parameter, std=0.3)
    ours = TextEncoder(
        TextEncoderConfig(
            vocabulary=100,
            width=32,
            layers=3,
            heads=4,
            positions=20,
            activation=activation,
            end_token=99,
            projection=projection,
        )
    ).eval()
    ours.load_state_dict(translated(theirs.state_dict()))
    return ours, theirs


def translated(theirs):
    """Their state by our names."""
    found = {}
    for name, value in theirs.items():
        short = name.removeprefix("text_model.")
        for old, new in {
            "embeddings.token_embedding": "token_embedding",
            "embeddings.position_embedding.weight": "position_embedding",
            "final_layer_norm": "final_norm",
            "text_projection": "projection",
            "encoder.layers": "blocks",
            "self_attn.out_proj": "attention.out",
            "layer_norm": "norm",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
        }.items():
            short = short.replace(old, new)
        if "self_attn" not in short and "position_ids" not in short:
            found[short] = value
    for name in theirs:
        if name.endswith(("q_proj.weight", "q_proj.bias")):
            block = name.split("layers.")[1].split(".")[0]
            parts = [theirs[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[f"blocks.{block}.attention.qkv.{name.rsplit('.', 1)[1]}"] = torch.cat(parts)
    return found


def some_tokens():
    tokens = torch.randint(0, 98, (3, 20), generator=torch.Generator().manual_seed(1))
    tokens[:, 0] = 98
    tokens[0, 19], tokens[1, 5:], tokens[2, 1:] = 99, 99, 99
    return tokens


@pytest.mark.parametrize(("activation", "projection"), [("quick_gelu", None), ("gelu", 24)])
@torch.no_grad()
def test_states_equal_those_of_transformers(activation, projection):
    ours, theirs = pair(activation, projection)
    tokens = some_tokens()
    found, expected = ours(tokens), theirs(tokens, output_hidden_states=True)
    pooled = expected.text_embeds if projection else expected.pooler_output
    torch.testing.assert_close(found.hidden, expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled, pooled, atol=1e-5, rtol=1e-5)
    # hidden_states holds the embeddings, then the state after each layer, before the final norm.
    skipped = ours.final_norm(expected.hidden_states[-2])
    torch.testing.assert_close(ours(tokens, skip=1).hidden, skipped, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masked_states_equal_those_of_transformers():
    ours, theirs = pair("gelu", None)
    tokens = some_tokens()
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, 6:], mask[2, 2:] = False, False
    expected = theirs(tokens, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours(tokens, mask).hidden[mask], expected[mask], atol=1e-5, rtol=1e-5)
