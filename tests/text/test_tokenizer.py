import copy
import json
import pickle
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.errors import FileError, InputError
from unnoise.text import BytePairs, Tokenizer
from unnoise.text.byte_pairs import byte_symbols
from unnoise.text.tokenizer import PromptTokenizer

clip = Tokenizer()
# Text that names the special tokens spells them: not the subject of the properties below.
texts = st.text(st.characters(codec="utf-8"), max_size=60).filter(lambda text: "<|" not in text)


def without_spaces(text: str) -> str:
    return text.replace(" ", "")


def test_the_vocabulary_has_clips_size_and_ends():
    assert (clip.size, clip.start, clip.end, clip.padding) == (49408, 49406, 49407, 49407)
    assert len(clip.vocabulary.merges) == 48894
    assert len(set(clip.vocabulary.symbols)) == 49408


def test_every_byte_has_one_visible_symbol():
    symbols = byte_symbols()
    assert sorted(symbols.values()) == list(range(256))
    assert all(len(symbol) == 1 and symbol.isprintable() and not symbol.isspace() for symbol in symbols)


def test_known_ids():
    # As printed in CLIP's own documentation and in Stable Diffusion's examples.
    assert clip.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert clip.encode("hello world!") == [3306, 1002, 256]


@settings(max_examples=200, deadline=None)
@given(texts)
def test_decoding_gives_the_cleaned_text_back_up_to_spaces(text):
    assert without_spaces(clip.decode(clip.encode(text))) == without_spaces(clip.clean(text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyzéßжü漢字", min_size=1, max_size=12), max_size=8))
def test_words_with_single_spaces_come_back_exactly(words):
    text = unicodedata.normalize("NFC", " ".join(words)).lower()
    assert clip.decode(clip.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(texts)
def test_case_and_white_space_and_normal_form_do_not_matter(text):
    ascii_text = text.encode("ascii", "ignore").decode()
    assert clip.encode(ascii_text.upper().lower()) == clip.encode(ascii_text.lower())
    assert clip.encode(f"  {text}\n\t") == clip.encode(text)
    assert clip.encode(unicodedata.normalize("NFD", text)) == clip.encode(unicodedata.normalize("NFC", text))


def test_a_batch_is_start_text_end_padding():
    tokens = clip(["a seven", ""], length=6)
    assert tokens.ids.dtype == torch.int64
    assert tokens.ids.tolist() == [
        [49406, 320, 5757, 49407, 49407, 49407],
        [49406, 49407, 49407, 49407, 49407, 49407],
    ]
    assert tokens.mask.tolist() == [[True] * 4 + [False] * 2, [True] * 2 + [False] * 4]
    assert tokens.cut == ("", "")
    assert tokens.unknown == ((), ())


def test_stable_diffusion_2_pads_with_zero():
    assert Tokenizer(padding=0)("a seven", length=6).ids.tolist() == [[49406, 320, 5757, 49407, 0, 0]]


def test_the_default_length_is_77_and_none_is_the_longest_prompt():
    assert clip("a seven").ids.shape == (1, 77)
    assert clip(["a", "a red apple"], length=None).ids.shape == (2, 5)


def test_what_does_not_fit_is_told_in_the_words_of_the_prompt():
    tokens = clip(["A  Red Apple on a Table", "a red"], length=5)
    assert tokens.ids.shape == (2, 5)
    assert tokens.ids[0].tolist() == clip("a red apple", length=5).ids[0].tolist()
    assert tokens.cut == ("on a Table", "")


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(2, 12))
def test_kept_and_cut_text_are_the_whole_text(text, length):
    tokens = clip(text, length=length)
    kept = tokens.ids[0, 1 : int(tokens.mask.sum()) - 1].tolist()
    whole = clip.encode(text)
    assert kept == whole[: length - 2]
    assert bool(tokens.cut[0]) == (len(whole) > length - 2)
    # A cut inside a character may repeat some of its tokens; it never loses one.
    if tokens.cut[0]:
        assert len(clip.encode(tokens.cut[0])) >= len(whole) - (length - 2)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t",
        "qzxv blorptang",
        "🎨🧑🏽‍🚀 🇫🇷",
        "\0",
        "a\0b",
        "\ud800",
        "a \udfff b",
        "\ud83c\udfa8",
        "漢字" * 9,
        "<|endoftext|>",
    ],
)
def test_any_text_is_welcome(prompt):
    tokens = clip(prompt)
    assert tokens.ids.shape == (1, 77)
    assert bool(tokens.mask[0, :2].all())


def test_lone_surrogates_are_replaced_and_pairs_are_joined():
    assert clip.encode("a \ud800 b") == clip.encode("a \ufffd b")
    assert clip.encode("\ud83c\udfa8") == clip.encode("🎨")


@pytest.mark.parametrize("unit", ["a", "a b ", "🎨", "'", "İ", "e\u0301\u0323", "<|startoftext", "\0", "12 "])
def test_work_grows_in_proportion_to_a_long_prompt(unit):
    short, long = clip.encode(unit * 100), clip.encode(unit * (10_000 // len(unit)))
    assert len(long) <= len(short) * (10_000 // len(unit) / 100) * 1.5 + 8
    tokens = clip(unit * (10_000 // len(unit)))
    assert tokens.ids.shape == (1, 77)
    assert tokens.cut[0]


def test_a_prompt_of_100_000_characters_is_read_and_a_longer_one_refused():
    assert len(clip.encode("ab " * 33_333)) == 33_333
    with pytest.raises(InputError, match=r"100,001 characters; at most 100,000"):
        clip.encode("a" * 100_001)


@pytest.mark.parametrize("length", [0, 1, -1, 1.5, "77", True, float("nan")])
def test_a_bad_length_is_refused(length):
    with pytest.raises(InputError, match="length is"):
        clip("a", length=length)


def test_bad_prompts_are_refused_by_place():
    with pytest.raises(InputError, match="prompt 1 of 2: a prompt must be text; got int"):
        clip(["a", 3])
    for nothing in ([], None, 3, b"a"):
        with pytest.raises(InputError):
            clip(nothing)


@pytest.mark.parametrize("number", [-2, 49408, True, 1.0, "a"])
def test_ids_outside_the_vocabulary_are_refused(number):
    with pytest.raises(InputError, match="0 to 49407"):
        clip.decode([number])
    with pytest.raises(InputError, match="padding is"):
        Tokenizer(padding=number)


def test_a_folder_gives_the_same_tokenizer_back(tmp_path):
    Tokenizer(padding=0).save_pretrained(tmp_path / "tokenizer")
    assert {file.name for file in (tmp_path / "tokenizer").iterdir()} == {
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
    }
    back = Tokenizer.from_folder(tmp_path / "tokenizer")
    assert back == Tokenizer(padding=0)
    assert back.vocabulary is clip.vocabulary


def test_a_foreign_folder_may_hold_more_symbols_or_only_one_file(tmp_path):
    clip.save_pretrained(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8")) | {"<my-style→>": 49408}
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    for file in tmp_path.iterdir():
        file.unlink()
    model = {"vocab": vocabulary, "merges": [merge.split() for merge in merges]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    back = Tokenizer.from_folder(tmp_path)
    assert (back.size, back.padding) == (49409, 49407)
    assert back.encode("a photo of a cat") == clip.encode("a photo of a cat")
    assert back.decode([49408]) == "<my-style→>"
    with pytest.raises(InputError, match="save_pretrained"):
        back.config()


def write_folder(folder, vocabulary: str, merges: str) -> None:
    (folder / "vocab.json").write_text(vocabulary)
    (folder / "merges.txt").write_text(merges)


ENDS = {"<|startoftext|>": 0, "<|endoftext|>": 1}


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        ("{", "", "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "", "not JSON"),
        ("[]", "", "JSON object"),
        ('{"a": 1}', "", "without a gap"),
        ('{"a": "x"}', "", "without a gap"),
        ('{"a": "x", "b": 0}', "", "without a gap"),
        ('{"a": [1], "b": {}}', "", "without a gap"),
        ('{"a": 0}', "", "no <|startoftext|>"),
        (json.dumps(ENDS), "a b c\n", "two symbols"),
        (json.dumps(ENDS), "a b\n", "do not fit its vocabulary"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, vocabulary, merges, message):
    write_folder(tmp_path, vocabulary, merges)
    with pytest.raises(FileError, match=message.replace("|", r"\|")):
        Tokenizer.from_folder(tmp_path)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"vocab\.json"):
        Tokenizer.from_folder(tmp_path)
    write_folder(tmp_path, json.dumps(ENDS), "")
    (tmp_path / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"merges\.txt.*not UTF-8"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        None,
        [],
        {"vocab": ENDS, "merges": 3},
        {"vocab": ENDS, "merges": [[1, 2]]},
        {"vocab": ENDS, "merges": [1]},
    ],
)
def test_a_damaged_tokenizer_json_is_refused(tmp_path, model):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(FileError):
        Tokenizer.from_folder(tmp_path)


def test_the_shipped_vocabulary_is_one_object_a_process():
    assert BytePairs.clip() is BytePairs.clip()
    assert Tokenizer() == clip


def test_the_shipped_vocabulary_is_copied_and_sent_by_name():
    sent = pickle.dumps(clip)
    assert len(sent) < 1000
    assert pickle.loads(sent).vocabulary is clip.vocabulary
    assert copy.deepcopy(clip).vocabulary is clip.vocabulary
    other = BytePairs(clip.vocabulary.symbols, clip.vocabulary.merges)
    assert pickle.loads(pickle.dumps(other)) == other


def test_threads_share_one_tokenizer():
    prompts = [f"prompt {number} x" for number in range(200)]
    expected = [clip.encode(prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(clip.encode, prompts)) == expected


def test_counting_tokens_needs_no_torch():
    code = "import sys, unnoise.text as t; t.Tokenizer().encode('a'); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_tokenizer_that_finds_no_pieces_cannot_be_made():
    with pytest.raises(TypeError, match=r"abstract method '?pieces"):
        type("Unfinished", (PromptTokenizer,), {})()
