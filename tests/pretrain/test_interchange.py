"""A checkpoint of ours in other hands: plain transformers, and lm-eval's own wrapper of them."""

import json
import math

import numpy as np
import pytest
import torch
from toy_experiment import ITEM

from pretrain.heldout import Heldout


@pytest.fixture(scope="module")
def opened(lm):
    """Model and tokenizer as anybody opens them: nothing of this package is needed."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(lm).eval(), AutoTokenizer.from_pretrained(lm)


@pytest.fixture(scope="module")
def wrapped(opened):
    pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = opened
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3)


@pytest.fixture(scope="module")
def rows(tiny):
    """The held-out items that the trainer took its loss on, by source."""
    return Heldout.read(tiny.path(tiny.tokens), ITEM, 12).tokens


def asked(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, place) for place, each in enumerate(arguments)]


def log_probabilities(model, ids):
    """Of every token but the first, from one forward pass."""
    sequence = torch.tensor([ids])
    with torch.no_grad():
        scores = model(sequence).logits[0, :-1].double().log_softmax(-1)
    return scores.gather(1, sequence[0, 1:, None])[:, 0].numpy()


def test_lm_evals_tokens_give_the_trainers_own_heldout_loss(lm, wrapped, rows):
    last = {}
    for line in (lm / "heldout.jsonl").read_text().splitlines():
        found = json.loads(line)
        last[found["source"]] = found  # later ones replace earlier ones
    assert set(last) == set(rows)
    for source, items in rows.items():
        requests = [((None, None), row[:1].tolist(), row[1:].tolist()) for row in items]
        scored = [nats for nats, _ in wrapped._loglikelihood_tokens(requests, disable_tqdm=True)]
        assert -sum(scored) / last[source]["predicted"] == pytest.approx(last[source]["loss"], abs=1e-5)


def test_lm_evals_loglikelihood_is_a_plain_forward_pass(opened, wrapped, rows):
    model, tokenizer = opened
    pairs, expected = [], []
    for items in rows.values():
        for row in items[:3]:
            text = tokenizer.decode(row[:31])
            context = tokenizer.decode(row[:20]).rstrip()  # lm-eval, too, gives a space to what follows
            goal = text[len(context) :]
            before, after = tokenizer(context)["input_ids"], tokenizer(text)["input_ids"]
            if after[: len(before)] != before:
                continue  # the cut runs through a word that joins
            pairs.append((context, goal))
            expected.append(log_probabilities(model, after)[len(before) - 1 :])
    assert len(pairs) >= 4
    found = wrapped.loglikelihood(asked("loglikelihood", *pairs), disable_tqdm=True)
    assert [nats for nats, _ in found] == pytest.approx([each.sum() for each in expected], abs=1e-4)


def test_lm_evals_rolling_loglikelihood_is_a_plain_forward_pass_a_window(opened, wrapped, rows):
    model, tokenizer = opened
    texts = [tokenizer.decode(row, skip_special_tokens=True)[:length] for row in rows["web"] for length in (40, 1000)]
    whole = " ".join(texts)  # many windows of the model's context
    expected = []
    for text in (*texts, whole):
        ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]
        total = 0.0
        for first in range(0, len(ids) - 1, ITEM):
            last = min(first + ITEM, len(ids) - 1)
            start = max(0, last - ITEM)
            total += log_probabilities(model, ids[start : last + 1])[first - start :].sum()
        expected.append(total)
    requests = asked("loglikelihood_rolling", *((text,) for text in (*texts, whole)))
    found = wrapped.loglikelihood_rolling(requests, disable_tqdm=True)
    assert len(tokenizer(whole)["input_ids"]) > 3 * ITEM
    assert model.config.max_position_embeddings == ITEM
    assert found == pytest.approx(expected, rel=1e-5)


def test_our_bits_are_lm_evals_rolling_loglikelihood(opened, wrapped, rows):
    from eval.language.bits import token_bits
    from eval.language.harness import encode, start_token

    model, tokenizer = opened
    texts = [tokenizer.decode(np.concatenate(items), skip_special_tokens=True) for items in rows.values()]
    bits = token_bits(model, [encode(tokenizer, text) for text in texts], start_token(tokenizer), ITEM, ITEM)
    found = wrapped.loglikelihood_rolling(asked("loglikelihood_rolling", *((text,) for text in texts)))
    assert [-nats / math.log(2) for nats in found] == pytest.approx([each.sum() for each in bits], rel=1e-5)
