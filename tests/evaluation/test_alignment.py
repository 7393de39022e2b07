"""Pictures judged against words: retrieval by hand, agreement, and encoders kept on disk."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unnoise
from unnoise.checkpoints.picture_text import PictureText, load_picture_text, save_picture_text
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.evaluation import Alignment, retrieval
from unnoise.networks.picture_encoder import PictureEncoderConfig, PictureTextEncoder
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.text import WordTokenizer


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    words = WordTokenizer(("red", "blue", "apple"))
    text = TextEncoderConfig(
        vocabulary=words.size, width=16, layers=1, heads=2, positions=6, end_token=3, pooling="mean", projection=8,
        causal=False, attend_padding=False, vectors=4, learned=6,
    )  # fmt: skip
    network = PictureTextEncoder(PictureEncoderConfig(size=16, widths=(8,), features=8), text).eval()
    network.text.token_embedding.vectors.random_(-127, 128)
    return PictureText(network, words, {"recipe": "none"})


def test_retrieval_counts_the_true_entry_among_the_first():
    gallery = torch.eye(4)
    pictures = torch.tensor([[1.0, 0.2, 0.1, 0.0], [0.9, 0.8, 0.1, 0.0], [0.5, 0.4, 0.3, 0.2]])
    found = retrieval(pictures, gallery, [0, 1, 3], (1, 2, 4))
    assert found == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 4: 1.0}
    with pytest.raises(InputError, match="3 pictures and 1 true"):
        retrieval(pictures, gallery, [0], (1,))


def test_agreement_is_the_cosine_of_each_pair(encoder):
    judge = Alignment(encoder)
    pictures, prompts = torch.rand(70, 3, 16, 16) * 2 - 1, ["a red apple", "blue"] * 35
    together = judge.agreement(pictures, prompts)
    alone = torch.stack(
        [
            judge.agreement(picture[None], [prompt])[0]
            for picture, prompt in zip(pictures, prompts, strict=True)
        ]
    )
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert together.abs().max() <= 1.0 + 1e-6
    torch.testing.assert_close(
        judge.agreement(pictures * 1e6, prompts), judge.agreement(pictures.sign(), prompts)
    )
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    torch.testing.assert_close(judge.pictures(grey), judge.pictures(grey.expand(-1, 3, -1, -1) / 127.5 - 1))
    with pytest.raises(InputError, match="70 pictures and 1 prompts"):
        judge.agreement(pictures, ["red"])


def test_an_encoder_comes_back_from_disk_with_its_hash_and_exact_vectors(encoder, tmp_path):
    saved = save_picture_text(encoder, tmp_path / "judge", torch.float16)
    loaded = load_picture_text(saved)
    half = {
        name: t.half().float() if t.is_floating_point() else t
        for name, t in encoder.network.state_dict().items()
    }
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, half[name]), name
    assert loaded.tokenizer == encoder.tokenizer
    assert loaded.sha256[:10] in Alignment(loaded).name
    with pytest.raises(FileError, match="exists"):
        save_picture_text(encoder, saved)


def test_damage_is_refused_by_name(encoder, tmp_path):
    folder = save_picture_text(encoder, tmp_path / "judge")
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-4] + b"abcd")
    with pytest.raises(CheckpointError, match="was altered or damaged"):
        load_picture_text(folder)
    description = json.loads((folder / "encoder.json").read_text())
    description["picture"]["features"] = 9
    (folder / "encoder.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="does not describe an encoder"):
        load_picture_text(folder)
    with pytest.raises(CheckpointError, match="is no picture-text encoder"):
        load_picture_text(tmp_path)


def test_the_shipped_encoder_finds_the_name_of_a_picture():
    judge, kinds = Alignment.load("emoji"), ("red apple", "banana", "rocket")
    folder = Path(__file__).parents[1] / "data" / "emoji200"
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if row["name"] in kinds]
    with zipfile.ZipFile(folder / "images.webpz") as store:
        pixels = torch.stack([on_white(store.read(f"{row['index']:06d}.webp")) for row in chosen])
    truth = [kinds.index(row["name"]) for row in chosen]
    assert set(truth) == {0, 1, 2}
    assert retrieval(judge.pictures(pixels), judge.words(kinds), truth, (1,))[1] > 0.9


def test_who_asks_the_shipped_model_for_an_apple_sees_an_apple():
    """The picture of `make demo`, told from the fifty things of the sample by the shipped encoder."""
    judge = Alignment.load("emoji")
    folder = Path(__file__).parents[1] / "data" / "emoji200"
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    names = sorted({row["name"] for row in rows})
    assert len(names) == 50
    made = torch.from_numpy(unnoise.load("emoji")("a red apple, 3d", seed=7).arrays[0])
    seen = judge.pictures(made.permute(2, 0, 1)[None] * 2.0 - 1.0)
    scores = torch.nn.functional.cosine_similarity(seen, judge.words(names))
    assert names[int(scores.argmax())] == "red apple"


def on_white(content):
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return torch.from_numpy(np.array(flat)).permute(2, 0, 1) / 127.5 - 1.0
