import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from eval.answers.cache import Cache, code_digest, model_digest, scores_from_json, scores_to_json
from eval.answers.choices import ask
from eval.answers.questions import Question
from eval.answers.scoring import Scorer, Scores


def double(cache, asked, seen):
    def work(rows):
        seen.extend(asked[row] for row in rows)
        return [2 * asked[row] for row in rows]

    return cache.through(asked, work, int, int)


@given(st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=6))
def test_nothing_is_worked_out_twice(rounds):
    cache, seen = Cache(None), []
    for asked in rounds:
        assert double(cache, asked, seen) == [2 * each for each in asked]
    assert len(seen) == len(set(seen))
    assert (cache.misses, cache.hits) == (len(seen), sum(map(len, rounds)) - len(seen))


def test_answers_outlive_the_process_and_a_line_cut_short_is_asked_again(tmp_path):
    seen = []
    double(Cache(tmp_path), [1, 2], seen)
    double(Cache(tmp_path), [2, 3], seen)
    assert seen == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 2  # every process has a file of its own
    for path in tmp_path.iterdir():
        if len(path.read_text().splitlines()) == 1:
            path.write_text(path.read_text()[:-1])
    double(Cache(tmp_path), [1, 2, 3], seen)
    assert seen == [1, 2, 3, 3]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=1, max_size=4), st.booleans())
def test_scores_come_back_to_the_last_bit(sums, prior):
    n = len(sums)
    scores = Scores(tuple(sums), (3,) * n, (2,) * n, (True,) * n, tuple(sums) if prior else None)
    assert scores_from_json(json.loads(json.dumps(scores_to_json(scores)))) == scores


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "model"
    tiny_lm("llama").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def test_weights_and_words_are_the_model_and_what_lies_beside_them_is_not(checkpoint, tmp_path):
    digest = model_digest(checkpoint)
    (checkpoint / "counts.json").write_text("{}")
    (checkpoint / "log").mkdir()
    assert model_digest(checkpoint) == digest
    shutil.copytree(checkpoint, tmp_path / "moved")
    assert model_digest(tmp_path / "moved") == digest
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        other = tmp_path / name.replace(".", "-")
        shutil.copytree(checkpoint, other)
        (other / name).write_bytes((other / name).read_bytes() + b" ")
        assert model_digest(other) != digest
    assert code_digest() == code_digest()


def test_a_card_is_taken_at_its_word(checkpoint):
    from presight.card import digest

    expected = model_digest(checkpoint)
    files = [{"name": path.name, "bytes": 1, "sha256": digest(path)} for path in checkpoint.iterdir()]
    (checkpoint / "card.json").write_text(json.dumps({"files": [*files, {"name": "log/x.json", "sha256": "0"}]}))
    assert model_digest(checkpoint) == expected


def test_what_was_asked_before_gives_the_same_answers_without_the_model(tmp_path):
    questions = [Question(str(n), f"{n}?", ("u", "no", "g"), n % 3) for n in range(4)]
    fresh = ask(Scorer(tiny_lm("llama"), byte_tokenizer()), questions, tokens=4, cache=Cache(tmp_path))
    kept = Cache(tmp_path)
    scorer = Scorer(tiny_lm("llama"), byte_tokenizer())
    scorer.model = None  # nothing is left to ask it
    assert ask(scorer, questions, tokens=4, cache=kept) == fresh
    assert (kept.misses, kept.hits) == (0, 8)
    more = Cache(tmp_path)
    scorer = Scorer(tiny_lm("llama"), byte_tokenizer())
    ask(scorer, questions, tokens=5, cache=more)  # longer replies are other questions; the scores are not
    assert (more.misses, more.hits) == (4, 4)
    ask(scorer, [questions[0].rotated(1)], replies=False, cache=more)
    assert more.misses == 5
