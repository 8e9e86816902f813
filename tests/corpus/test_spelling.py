import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus.spelling import Spelling


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(["the cat sat on the mat", "über 漢字 and cafés"] * 20, trainer)
    model.add_tokens(["naïve word"])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    model.save(str(path))
    return path


@given(st.lists(st.integers(0, 10_000), max_size=60), st.lists(st.integers(0, 60), max_size=4))
@settings(deadline=None)
def test_the_table_spells_what_the_decoder_does(tokenizer, ids, cuts):
    decoder = Tokenizer.from_file(str(tokenizer))
    tokens = np.array(ids, dtype=np.uint16) % decoder.get_vocab_size()
    bounds = np.array(sorted({0, len(ids), *(min(each, len(ids)) for each in cuts)}))
    expected = [
        decoder.decode(tokens[start:stop].tolist(), skip_special_tokens=True)
        for start, stop in itertools.pairwise(bounds)
    ]
    assert Spelling(tokenizer).texts(tokens, bounds) == expected


@given(st.text(max_size=40))
@settings(deadline=None)
def test_text_comes_back(tokenizer, text):
    ids = np.array(Tokenizer.from_file(str(tokenizer)).encode(text, add_special_tokens=False).ids, dtype=np.uint16)
    if "<|endoftext|>" not in text:
        assert Spelling(tokenizer).texts(ids, np.array([0, len(ids)])) == [text.encode("utf-8", "replace").decode()]


def test_another_decoder_decodes(tokenizer, tmp_path):
    document = json.loads(tokenizer.read_text())
    document["decoder"] = {"type": "Sequence", "decoders": [document["decoder"]]}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    tokens = np.arange(size := Tokenizer.from_file(str(tokenizer)).get_vocab_size(), dtype=np.uint16)
    bounds = np.array([0, 7, size])
    assert Spelling(path).texts(tokens, bounds) == Spelling(tokenizer).texts(tokens, bounds)
