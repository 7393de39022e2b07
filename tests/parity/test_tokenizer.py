import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.text import Tokenizer

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

ours = Tokenizer()
PROMPTS = [
    "",
    "a seven",
    "A photograph of an astronaut riding a horse, 8k, trending on ArtStation",
    "  many   spaces\tand\nlines \u3000 wide ",
    "don't they've I'm we'll she'd it's 'tis ''s !'s",
    "1234567890 3.14 ½ ² Ⅷ ٣",
    "café cafe\u0301 naïve Ångström ÀÉÎÕÜ ß ẞ",
    "漢字とかな交じり文 한국어 ภาษาไทย العربية עברית हिन्दी",
    "ΑΣ ΟΔΟΣ İstanbul ı ǅ ﬁ",
    "🎨🧑🏽‍🚀🇫🇷 ❤️ ☃ :-) ¯\\_(ツ)_/¯",
    "hello!!! wow... (red:1.2) [blue] {x|y} <lora:ink:0.8> a_b a-b",
    "\0 \x01 \x1c \x85 \u200b \ufeff \ufffd",
    "</w> <w> / w>",
    "<|startoftext|> a <|endoftext|> b <|ENDOFTEXT|>",
    "supercalifragilisticexpialidocious qzxvblorp",
    "&amp; &lt;html&gt; #tag @user https://example.org/?a=1&b=2",
    "word " * 100,
    "a" * 1000,
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    ours.save_pretrained(folder)
    return transformers.CLIPTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_ids_equal_those_of_transformers(theirs, prompt):
    assert ours.encode(prompt) == theirs(prompt, add_special_tokens=False).input_ids


def test_batches_equal_those_of_transformers(theirs):
    batch = theirs(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    tokens = ours(PROMPTS)
    assert tokens.ids.equal(batch.input_ids)
    assert tokens.mask.equal(batch.attention_mask.bool())


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_any_text_has_the_ids_of_transformers(theirs, text):
    assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids


def test_the_folder_tells_transformers_the_special_tokens(theirs):
    assert len(theirs) == 49408
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (49406, 49407, 49407)
    assert theirs.model_max_length == 77


def test_what_transformers_saves_is_read(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    assert Tokenizer.from_folder(tmp_path) == ours


def test_words_decode_as_in_transformers(theirs):
    for prompt in PROMPTS[1:9]:
        ids = ours.encode(prompt)
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
