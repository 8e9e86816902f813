import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy_experiment import payload, spawn

from corpus import Documents, Tokenizer
from corpus.documents import read_source
from corpus.tokenizer import END
from presight.store import Store


@pytest.fixture(scope="module")
def words(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny.path(tiny.tokenizer))


def test_bytes_are_the_same_on_repeat_and_with_any_threads(tiny, tmp_path):
    first = payload(tiny.path(tiny.tokenizer))
    tiny.tokenizer.run(tmp_path, {"documents": tiny.path(tiny.text)})
    assert payload(tmp_path) == first
    other = Store(tmp_path / "store")
    jobs = [(other, stage) for stage in (tiny.text, tiny.tokenizer)]
    done = spawn(*jobs, RAYON_NUM_THREADS="2", TOKENIZERS_PARALLELISM="true")
    assert done.returncode == 0, done.stderr
    assert payload(other.path(tiny.tokenizer)) == first


def test_the_place_of_the_work_is_not_in_the_bytes(tiny):
    for content in payload(tiny.path(tiny.tokenizer)).values():
        assert str(tiny.store.root).encode() not in content


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
@example(" two  spaces , don 't ! ")
@example("e\u0301 \u00e9 \r\n \x00 \ufeff 𝄞 \u2028")
def test_round_trip(words, text):
    ids = words.encode(text)
    assert words.decode(ids) == text
    assert words.backend_tokenizer.encode(text).ids == ids  # datatrove reads tokenizer.json, users the rest


@given(st.integers(0, 10**30))
def test_digits_stand_alone(words, number):
    assert words.tokenize(f"{number}") == list(f"{number}")
    assert not any(any(c.isdigit() for c in token) and len(token) > 1 for token in words.get_vocab() if token != END)


def test_it_loads_as_a_transformers_tokenizer(words, tiny):
    assert words.eos_token == words.pad_token == END
    assert words.convert_tokens_to_ids(END) == words.eos_token_id < len(words)
    assert 256 < len(words) <= tiny.tokenizer.vocabulary
    assert sorted(words.get_vocab().values()) == list(range(len(words)))
    assert words.encode("a") == [words.convert_tokens_to_ids("a")]  # nothing is added on its own


def test_the_vocabulary_is_filled(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    syllables = [a + b for a in "bcdfghklm" for b in "aeiou"]
    (tmp_path / "in.txt").write_text(" ".join(a + b + c for a in syllables for b in syllables[::3] for c in "nrst"))
    text = Documents(paths={"mine": str(tmp_path / "in.txt")}).settle(False)
    stage = Tokenizer(documents=text, vocabulary=600)
    store = Store(tmp_path / "store")
    store.perform(text)
    model = json.loads((store.perform(stage).path / "tokenizer.json").read_text())["model"]
    assert len(model["vocab"]) == 600


def test_every_source_gives_the_same_number_of_characters(tiny):
    stage = Tokenizer(documents=tiny.text, characters=1000)

    class Silent:
        def advance(self, amount):
            pass

    for source in ("code", "math", "web"):
        folder = tiny.path(tiny.text) / source
        taken = "".join(stage._texts(folder, Silent()))
        assert taken == "".join(each.text for each in read_source(folder))[:1000]
