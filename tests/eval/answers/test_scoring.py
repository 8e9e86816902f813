import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from eval.answers.generation import generate
from eval.answers.prefixes import leading_tokens, prompt_tokens
from eval.answers.scoring import NORMALISATIONS, Request, Scorer, Scores, option_logprobs, segments
from eval.batching import TokenBudget
from presight.errors import PresightError

MODELS = {name: tiny_lm(name) for name in ("gpt2", "llama")}
TOKENIZER = byte_tokenizer()
REQUESTS = [
    Request("What is it?", (" A", " B", " C")),
    Request("It is", (" a cat", " a window", " ink", " a")),
    Request("Q", ("uite",)),
    Request("The sky is ", ("blue", "green as grass")),
    Request("Two and two: ", ("4", "5", "é")),
]


def slow_logprobs(model, prefix, tokens):
    """One full forward pass of one row, nothing shared and nothing padded."""
    model.eval()
    with torch.no_grad():
        if isinstance(prefix, torch.Tensor):
            rows = torch.cat([prefix, model.get_input_embeddings()(torch.tensor(tokens))])[None]
            logits = model(inputs_embeds=rows, use_cache=False).logits[0]
        else:
            logits = model(input_ids=torch.tensor([[*prefix, *tokens]]), use_cache=False).logits[0]
    after = torch.log_softmax(logits[len(prefix) - 1 : -1].double(), -1)
    return sum(float(after[i, token]) for i, token in enumerate(tokens)), after.argmax(-1).tolist() == list(tokens)


def embeddings(length, seed):
    return torch.randn(length, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_shared_prefixes_score_as_one_forward_pass_an_option(name, data):
    tokens = st.lists(st.integers(0, 299), min_size=1, max_size=14)
    drawn = st.one_of(tokens, st.builds(embeddings, st.integers(1, 14), st.integers(0, 9)))
    prefixes = data.draw(st.lists(drawn, min_size=1, max_size=5))
    options = [data.draw(st.lists(tokens, min_size=1, max_size=5)) for _ in prefixes]
    found = option_logprobs(MODELS[name], prefixes, options)
    assert [len(group) for group in found] == [len(group) for group in options]
    for prefix, group, scored in zip(prefixes, options, found, strict=True):
        for option, (total, greedy) in zip(group, scored, strict=True):
            expected, best = slow_logprobs(MODELS[name], prefix, option)
            assert total == pytest.approx(expected, abs=1e-5 * len(option))
            assert greedy == best


@pytest.mark.parametrize("name", MODELS)
def test_batches_of_one_and_of_thirty_two_give_the_same_scores(name):
    many = REQUESTS * 7
    alone, together = (Scorer(MODELS[name], TOKENIZER, budget=tokens).score(many) for tokens in (1, 10_000))
    for first, second in zip(alone, together, strict=True):
        for normalisation in NORMALISATIONS:
            assert np.abs(np.subtract(first.by(normalisation), second.by(normalisation))).max() < 1e-5
        assert (first.tokens, first.bytes, first.greedy) == (second.tokens, second.bytes, second.greedy)
    for place, found in enumerate(together):
        assert np.allclose(found.sum, together[place % len(REQUESTS)].sum, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_scores_of_text_are_those_of_its_bytes_in_every_normalisation(name):
    model, scorer = MODELS[name], Scorer(MODELS[name], TOKENIZER, empty="So:")
    for request, found in zip(REQUESTS, scorer.score(REQUESTS), strict=True):
        prompt, spaces = request.prompt.rstrip(" "), " " * request.prompt.endswith(" ")
        for place, option in enumerate(request.options):
            tokens, empty = TOKENIZER(spaces + option)["input_ids"], TOKENIZER("So:")["input_ids"]
            total, greedy = slow_logprobs(model, TOKENIZER(prompt)["input_ids"], tokens)
            prior, _ = slow_logprobs(model, empty, tokens)
            size = len(option.strip().encode())
            assert found.by("sum")[place] == pytest.approx(total, abs=1e-4)
            assert found.by("token")[place] == pytest.approx(total / len((spaces + option).encode()), abs=1e-5)
            assert found.by("byte")[place] == pytest.approx(total / size, abs=1e-4)
            assert found.by("pmi")[place] == pytest.approx(total - prior, abs=1e-4)
            assert found.greedy[place] == greedy


def forwards(monkeypatch, model):
    shapes, forward = [], type(model).forward

    def counted(self, *args, **given):
        shapes.append(tuple((given["inputs_embeds"] if "inputs_embeds" in given else given["input_ids"]).shape[:2]))
        return forward(self, *args, **given)

    monkeypatch.setattr(type(model), "forward", counted)
    return shapes


def test_options_of_one_token_share_the_pass_of_their_prompt(monkeypatch):
    shapes = forwards(monkeypatch, MODELS["llama"])
    option_logprobs(MODELS["llama"], [[1, 2, 3], [4] * 7], [[[5], [6], [7]], [[8]]])
    assert shapes == [(2, 7)]
    shapes.clear()
    option_logprobs(MODELS["llama"], [[1, 2, 3], [4] * 7], [[[5], [6, 7, 8], [7]], [[8]]])
    assert shapes == [(2, 7), (1, 2)]  # a prompt is read once, and only what is longer than a token is read behind it


def test_what_is_scored_as_greedy_is_what_generation_writes():
    model, prompt = MODELS["llama"], "It is"
    reply = generate(model, TOKENIZER, [prompt], tokens=4)[0]
    tokens = TOKENIZER(prompt)["input_ids"]
    written = []
    with torch.no_grad():
        for _ in range(4):
            written.append(int(model(torch.tensor([tokens + written])).logits[0, -1].argmax()))
    assert reply == TOKENIZER.decode(written, skip_special_tokens=True)
    [[(_, greedy), (_, other)]] = option_logprobs(model, [tokens], [[written, [*written[:-1], written[-1] ^ 1]]])
    assert greedy
    assert not other


def test_a_prompt_of_embeddings_scores_as_the_text_they_are_of():
    model = MODELS["gpt2"]
    with torch.no_grad():
        vectors = model.get_input_embeddings()(torch.tensor(TOKENIZER("It is")["input_ids"]))
    text, embedded = Scorer(model, TOKENIZER).score(
        [Request("It is", (" a cat", " ink")), Request(vectors, (" a cat", " ink"))]
    )
    assert np.allclose(text.by("pmi"), embedded.by("pmi"), atol=1e-5)


def test_the_model_keeps_its_mode_and_its_gradients():
    model = tiny_lm("gpt2")
    model.train()
    Scorer(model, TOKENIZER).score(REQUESTS[:1])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_scores_of_bfloat16_logits_are_normalised_in_float32():
    model = tiny_lm("llama").to(torch.bfloat16).eval()
    [scored] = option_logprobs(model, [[1, 2, 3]], [[[token] for token in range(300)]])
    assert math.fsum(math.exp(total) for total, _ in scored) == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        low = model(torch.tensor([[1, 2, 3]])).logits[0, -1].log_softmax(-1)
    assert abs(float(low.exp().sum()) - 1) > 1e-5


MERGED = byte_tokenizer([(":", "Ġ"), ("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t"), ("s", "i")])


@pytest.mark.parametrize(
    ("prompt", "option", "context", "tokens"),
    [
        ("it", " cat", ["i", "t"], ["Ġcat"]),
        ("it ", "cat", ["i", "t"], ["Ġcat"]),
        ("it  ", "cat", ["i", "t"], ["Ġ", "Ġcat"]),
        ("it:", " cat", ["i", "t", ":"], ["Ġcat"]),  # ": " would straddle: the option is tokenised by itself
        ("is", "ix", ["i", "s"], ["i", "x"]),  # and so would "si"
    ],
)
def test_a_prompt_is_tokenised_alike_for_all_its_options(prompt, option, context, tokens):
    prefix, [found, letter] = segments(MERGED, prompt, [option, "B"])
    assert MERGED.convert_ids_to_tokens(prefix) == context
    assert MERGED.convert_ids_to_tokens(list(found)) == tokens
    assert MERGED.decode([*prefix, *found]) == prompt + option
    assert MERGED.decode([*prefix, *letter]) == prompt + "B"


@given(st.text(min_size=1, max_size=12), st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_prompt_and_option_tokens_spell_prompt_and_option(prompt, options):
    prefix, found = segments(MERGED, prompt, options)
    for option, tokens in zip(options, found, strict=True):
        assert MERGED.decode([*prefix, *tokens]) == prompt + option
        assert tokens


def test_a_start_token_goes_in_front_once_and_an_end_token_nowhere():
    tokenizer = byte_tokenizer(leading=True)
    assert leading_tokens(tokenizer) == [0]
    prefix, [option] = segments(tokenizer, "it", [" is"])
    assert tokenizer.convert_ids_to_tokens([*prefix, *option]) == ["<s>", "i", "t", "Ġ", "i", "s"]
    assert tokenizer.decode(prompt_tokens(tokenizer, "it", chat=True)) == "<u>it</u><a>"
    prefix, [option] = segments(tokenizer, "it ", ["B"], chat=True)
    assert tokenizer.decode([*prefix, *option]) == "<u>it </u><a>B"


def test_choices_are_those_of_the_largest_score_the_first_of_equals():
    scores = Scores((-4.0, -3.0, -6.0), (4, 1, 12), (8, 1, 12), (False,) * 3, (-2.0, -5.0, -4.0))
    assert [scores.choice(each) for each in NORMALISATIONS] == [1, 2, 0, 1]
    assert Scores((-1.0, -1.0), (1, 1), (1, 1), (True, False)).choice("sum") == 0


def test_what_cannot_be_scored_is_refused_by_name():
    scorer = Scorer(MODELS["llama"], TOKENIZER, empty=None)
    assert scorer.score([]) == []
    with pytest.raises(PresightError, match="normalisation: 'pmi' cannot be had; give the scorer an empty prompt"):
        scorer.score(REQUESTS[:1])[0].by("pmi")
    with pytest.raises(PresightError, match="known: sum, token, byte, pmi"):
        scorer.score(REQUESTS[:1])[0].by("chars")
    for request, said in [
        (Request("a", ()), r"requests\[1\]: no options"),
        (Request("a", ("b", "")), r"requests\[1\]: option '' has no token"),
        (Request("", ("b",)), r"requests\[1\]: the prompt has no token"),
        (Request(torch.zeros(0, 16), ("b",)), r"requests\[1\]: the prompt has no token"),
        (Request("a" * 30, ("b", "b" * 4)), r"requests\[1\]: 33 tokens, the model has positions for 32"),
    ]:
        with pytest.raises(PresightError, match=said):
            scorer.score([REQUESTS[0], request])
    assert len(scorer.score([Request("a" * 30, ("b", "b" * 3))])) == 1
    with pytest.raises(PresightError, match="prompt: '' has no token"):
        Scorer(MODELS["llama"], TOKENIZER, empty="")
    bare = byte_tokenizer()
    bare.chat_template = None
    with pytest.raises(PresightError, match="chat: the tokenizer has no chat template"):
        Scorer(MODELS["llama"], bare, chat=True)


def test_a_scorer_goes_on_with_less_when_memory_runs_out(monkeypatch):
    model, forward = tiny_lm("llama"), MODELS["llama"].forward

    def small(**given):
        if given["attention_mask"].numel() > 150:
            raise RuntimeError("CUDA out of memory")
        return forward(**given)

    monkeypatch.setattr(model, "forward", small)
    budget = TokenBudget(10_000)
    found = Scorer(model, TOKENIZER, budget=budget).score(REQUESTS * 3)
    assert budget.tokens < 700
    for first, second in zip(found, Scorer(MODELS["llama"], TOKENIZER).score(REQUESTS * 3), strict=True):
        assert np.allclose(first.sum, second.sum, atol=1e-5)


def test_log_probabilities_that_are_no_numbers_choose_nothing():
    model = tiny_lm("llama")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(PresightError, match="model: gives log-probabilities that are no numbers; look at its weights"):
        Scorer(model, byte_tokenizer()).score([Request("?", (" A", " B"))])
