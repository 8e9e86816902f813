import numpy as np
import pytest
import torch
from PIL import Image
from toy_seeing import write_llava

from eval.answers.prefixes import plain_tokens
from eval.answers.scoring import Request, Scorer
from eval.vision.foreign import load
from eval.vision.whole import Either, forced_logprobs, spliced
from presight.errors import PresightError

EMPTY = [7, 8, 9]
OPTIONS = (" A", " a cat", "x", "y")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    model, processor = load(write_llava(tmp_path_factory.mktemp("llava")), 0)
    return model, processor


@pytest.fixture(scope="module")
def inputs(llava):
    def of(seed, text):
        pixels = np.random.default_rng(seed).integers(0, 255, (16, 12, 3), dtype=np.uint8)
        return dict(llava[1](text=f"<image>\n{text}\nAnswer:", images=Image.fromarray(pixels), return_tensors="pt"))

    return [of(0, "What is it?"), of(1, "What?"), of(2, "Is it a cat, or is it not?")]


def qwen():
    """A model whose decoder numbers a picture's places in rows and columns: embeddings alone say too little."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    spread = dict(initializer_range=0.5, hidden_size=16)
    text = dict(vocab_size=300, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, **spread)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
    text |= dict(num_key_value_heads=2, max_position_embeddings=512, rope_parameters=rope)
    text |= dict(bos_token_id=0, eos_token_id=1)
    vision = dict(depth=2, embed_dim=16, num_heads=2, patch_size=4, mlp_ratio=2, **spread)
    tokens = dict(image_token_id=299, vision_start_token_id=298, vision_end_token_id=297, video_token_id=296)
    torch.manual_seed(0)
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)).eval()


def in_rows(seed, text):
    ids = torch.tensor([[10, 298, *[299] * 6, 297, *text]])
    pixels = torch.randn(24, 96, generator=torch.Generator().manual_seed(seed))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return {**given, "image_grid_thw": torch.tensor([[1, 4, 6]]), "mm_token_type_ids": (ids == 299).int()}


def slow(model, inputs, tokens):
    """One forward pass of the whole input and the option: (log-probability, greedy)."""
    ids = torch.cat([inputs["input_ids"], torch.tensor([tokens])], 1)
    given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in given:
        given["mm_token_type_ids"] = (ids == 299).int()
    with torch.no_grad():
        logits = model(**given, use_cache=False).logits[0, inputs["input_ids"].shape[1] - 1 : -1]
    after = logits.double().log_softmax(-1)
    return sum(float(after[i, token]) for i, token in enumerate(tokens)), after.argmax(-1).tolist() == list(tokens)


def test_forced_writing_scores_as_one_pass_of_the_whole_input(llava, inputs):
    model, processor = llava
    options = [plain_tokens(processor.tokenizer, each) for each in OPTIONS]
    cases = [(model, inputs[0], options), (qwen(), in_rows(0, [20, 21]), [*options, [5]])]
    for asked, given, offered in cases:
        for tokens, (found, greedy) in zip(offered, forced_logprobs(asked, given, offered), strict=True):
            expected, first = slow(asked, given, tokens)
            assert found == pytest.approx(expected, abs=1e-5 * len(tokens))
            assert greedy == first


def test_what_is_greedy_is_said_to_be(llava, inputs):
    model, processor = llava
    either = Either(model, processor.tokenizer, EMPTY, 512)
    written = model.generate(**inputs[1], do_sample=False, max_new_tokens=3, eos_token_id=None)
    tokens = written[0, inputs[1]["input_ids"].shape[1] :].tolist()
    [(_, greedy), (_, other)] = forced_logprobs(model, inputs[1], [tokens, [*tokens[:2], tokens[2] ^ 1]])
    assert greedy
    assert not other
    assert either.reply([inputs[1]], 3) == [processor.tokenizer.decode(tokens, skip_special_tokens=True)]


def test_a_decoder_that_reads_embeddings_is_given_them(llava, inputs):
    model, processor = llava
    either = Either(model, processor.tokenizer, EMPTY, 512)
    requests = [Request(each, OPTIONS) for each in inputs]
    found = either.score(requests)
    assert either.shared == {frozenset(inputs[0]): True}
    for given, scored in zip(inputs, found, strict=True):
        for place, option in enumerate(OPTIONS):
            tokens = plain_tokens(processor.tokenizer, option)
            expected, greedy = slow(model, given, tokens)
            assert scored.sum[place] == pytest.approx(expected, abs=1e-5 * len(tokens))
            assert (scored.greedy[place], scored.tokens[place]) == (greedy, len(tokens))
    replies = either.reply(inputs, 5, ("\n",))
    either.shared = {frozenset(inputs[0]): False}  # as if it did not
    alone = either.score(requests)
    for first, second in zip(found, alone, strict=True):
        assert np.allclose(first.by("pmi"), second.by("pmi"), atol=1e-4)
        assert (first.tokens, first.bytes, first.greedy) == (second.tokens, second.bytes, second.greedy)
    assert either.reply(inputs, 5, ("\n",)) == replies


def test_the_picture_is_among_the_embeddings(llava, inputs):
    model = llava[0]
    given = inputs[0]
    found = spliced(model, given)
    places = given["input_ids"][0] == model.config.image_token_id
    plain = model.get_input_embeddings()(given["input_ids"][0])
    assert torch.equal(found[~places], plain[~places])
    seen = model.model.get_image_features(pixel_values=given["pixel_values"]).pooler_output[0]
    assert torch.allclose(found[places], seen, atol=1e-6)
    assert model.get_decoder()._forward_pre_hooks == {}


def test_a_decoder_that_wants_more_is_found_out(llava):
    model, tokenizer = qwen(), llava[1].tokenizer
    either = Either(model, tokenizer, EMPTY, 512)
    given = [in_rows(seed, text) for seed, text in ((0, [20, 21]), (1, [20, 21, 22, 23]))]
    text = {"input_ids": torch.tensor([[20, 21, 22]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    asked = [text, *given]
    found = either.score([Request(each, OPTIONS) for each in asked])
    assert either.shared == {frozenset(text): True, frozenset(given[0]): False}  # text alone is read as any LM's
    for each, scored in zip(asked, found, strict=True):
        for place, option in enumerate(OPTIONS):
            tokens = plain_tokens(tokenizer, option)
            assert scored.sum[place] == pytest.approx(slow(model, each, tokens)[0], abs=2e-5 * len(tokens))
            bare = {"input_ids": torch.tensor([either.empty]), "attention_mask": torch.ones(1, len(either.empty))}
            prior = slow(model, bare, tokens)[0]
            assert scored.unconditional[place] == pytest.approx(prior, abs=2e-5 * len(tokens))
    wrong = Scorer(model, tokenizer, empty=None).score([Request(spliced(model, given[0]), OPTIONS)])[0]
    assert abs(wrong.sum[0] - found[1].sum[0]) > 0.01  # what would have come of it


def test_a_models_own_penalties_are_left_aside(llava, inputs):
    model, processor = llava
    either = Either(model, processor.tokenizer, EMPTY, 512)
    either.shared = {frozenset(inputs[0]): False}
    before = either.score([Request(inputs[0], OPTIONS)]), either.reply(inputs, 6)
    own = model.generation_config
    model.generation_config = type(own)(repetition_penalty=5.0, no_repeat_ngram_size=1, suppress_tokens=[5, 6, 7])
    assert (either.score([Request(inputs[0], OPTIONS)]), either.reply(inputs, 6)) == before
    assert model.generation_config.repetition_penalty == 5.0
    model.generation_config = own


def test_what_cannot_be_scored_is_one_sentence(llava, inputs):
    model, processor = llava
    either = Either(model, processor.tokenizer, EMPTY, 512)
    for shares in (True, False):
        either.shared = {frozenset(inputs[0]): shares}
        with pytest.raises(PresightError, match=r"requests\[0\]: option '' has no token"):
            either.score([Request(inputs[0], ("a", ""))])
        with pytest.raises(PresightError, match=r"requests\[0\]: \d+ tokens, the model has positions for 512"):
            either.score([Request(inputs[0], ("a" * 600,))])
