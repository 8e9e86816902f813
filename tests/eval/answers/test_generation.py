import pytest
import torch
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from eval.answers.generation import end_tokens, generate
from eval.batching import TokenBudget
from presight.errors import PresightError

TOKENIZER = byte_tokenizer()
PROMPTS = ["a", "What is on the wall?", "Why", "yes or no", "1, 2, 3", "It is a"]


def slow_reply(model, prompt, tokens, stop=(), ends=(1,)):
    """One prompt at a time, everything read anew for each token."""
    ids, written, model = TOKENIZER(prompt)["input_ids"], [], model.eval()
    while len(written) < tokens and len(ids) + len(written) <= 32:
        with torch.no_grad():
            best = int(model(torch.tensor([ids + written]), use_cache=False).logits[0, -1].argmax())
        if best in ends:
            break
        written.append(best)
        reply = TOKENIZER.decode(written, skip_special_tokens=True)
        if any(each in reply for each in stop):
            return min((reply.split(each)[0] for each in stop), key=len)
    return TOKENIZER.decode(written, skip_special_tokens=True)


def sharpened(name):
    """Random models write one byte for ever; larger weights make them wander."""
    model = tiny_lm(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    return model


MODELS = {name: sharpened(name) for name in ("gpt2", "llama")}


@pytest.mark.parametrize("name", MODELS)
def test_replies_are_those_of_one_prompt_at_a_time_whatever_the_batch(name):
    slow = [slow_reply(MODELS[name], prompt, 12) for prompt in PROMPTS]
    assert len(set(slow)) == len(PROMPTS)
    for budget in (1, 60, 10_000):
        assert generate(MODELS[name], TOKENIZER, PROMPTS, tokens=12, budget=budget) == slow
    backwards = generate(MODELS[name], TOKENIZER, PROMPTS[::-1], tokens=12)
    assert backwards == slow[::-1]


@pytest.mark.parametrize("name", MODELS)
def test_replies_end_at_stop_strings_and_end_tokens_row_by_row(name):
    model, free = MODELS[name], [slow_reply(MODELS[name], prompt, 12) for prompt in PROMPTS]
    stop = (free[0][3:5], free[1][6:8])
    expected = [slow_reply(model, prompt, 12, stop) for prompt in PROMPTS]
    assert expected != free
    assert generate(model, TOKENIZER, PROMPTS, tokens=12, stop=stop) == expected
    with torch.no_grad():
        first = int(model(torch.tensor([TOKENIZER(PROMPTS[2])["input_ids"]])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [1, first]
    ends = end_tokens(model, TOKENIZER)
    assert ends == {1, first}
    expected = [slow_reply(model, prompt, 12, ends=ends) for prompt in PROMPTS]
    assert expected[2] == ""
    assert any(expected)
    assert generate(model, TOKENIZER, PROMPTS, tokens=12) == expected
    model.generation_config.eos_token_id = None


def test_a_model_s_own_sampling_and_penalties_are_left_out():
    model = sharpened("llama")
    before = generate(model, TOKENIZER, PROMPTS, tokens=8)
    model.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0)
    assert generate(model, TOKENIZER, PROMPTS, tokens=8) == before


def test_a_prompt_of_embeddings_is_answered_as_the_text_they_are_of():
    model = MODELS["llama"]
    with torch.no_grad():
        vectors = [model.get_input_embeddings()(torch.tensor(TOKENIZER(each)["input_ids"])) for each in PROMPTS]
    mixed = [each if place % 2 else vectors[place] for place, each in enumerate(PROMPTS)]
    assert len(vectors[0]) == 1  # a single embedding is a prompt, too
    assert generate(model, TOKENIZER, mixed, tokens=8) == generate(model, TOKENIZER, PROMPTS, tokens=8)


def test_a_reply_ends_where_the_model_s_positions_do():
    prompts = ["a" * 32, "a" * 30, "b"]
    found = generate(MODELS["gpt2"], TOKENIZER, prompts, tokens=40)
    assert found == [slow_reply(MODELS["gpt2"], prompt, 40) for prompt in prompts]
    with pytest.raises(PresightError, match=r"prompts\[1\]: 33 tokens, the model has positions for 32"):
        generate(MODELS["gpt2"], TOKENIZER, ["a", "a" * 33])


def test_a_chat_template_is_put_around_prompts():
    model = MODELS["gpt2"]
    assert generate(model, TOKENIZER, ["hm", "so so"], tokens=6, chat=True) == [
        slow_reply(model, f"<u>{prompt}</u><a>", 6) for prompt in ("hm", "so so")
    ]


def test_what_cannot_be_generated_is_refused_by_name():
    model = MODELS["gpt2"]
    with pytest.raises(PresightError, match="tokens: 0 leave no room"):
        generate(model, TOKENIZER, ["a"], tokens=0)
    with pytest.raises(PresightError, match="stop: an empty string"):
        generate(model, TOKENIZER, ["a"], stop=["\n", ""])
    with pytest.raises(PresightError, match=r"prompts\[0\]: no token"):
        generate(model, TOKENIZER, [torch.zeros(0, 16)])
    assert generate(model, TOKENIZER, [], budget=TokenBudget(5)) == []
