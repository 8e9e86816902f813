import numpy as np
import pytest
import torch
import toy_tuning as toy

from adapt.vlm.artifact import Attachment
from adapt.vlm.model import Projector, VisionLanguageModel
from adapt.vlm.objective import Objective, try_packing
from adapt.vlm.packing import Rows, Sample
from presight.errors import PresightError

TURNS = [
    (("", "a red cat"), True),
    (("Say it.", "dog", "And?", "blue"), False),
    (("What is it?", "a gold fox"), True),
    (("Why?", "so"), False),
]


def language(name, vocabulary):
    import transformers as hf

    torch.manual_seed(0)
    sizes = dict(vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    sizes |= dict(num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=96)
    if name == "mamba":
        config = hf.MambaConfig(vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, state_size=4)
    elif name == "bloom":
        config = hf.BloomConfig(vocab_size=vocabulary, hidden_size=32, n_layer=2, n_head=2)
    elif name == "gpt2":
        config = hf.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=96)
    elif name == "gemma2":  # caps its logits: they are not a product with a matrix
        config = hf.Gemma2Config(**sizes, final_logit_softcapping=5.0)
    else:
        config = hf.LlamaConfig(**sizes)
    return hf.AutoModelForCausalLM.from_config(config).float().eval()


@pytest.fixture(scope="module")
def tokenizer():
    return toy.word_tokenizer()


def objective(name, tokenizer):
    model = language(name, len(tokenizer))
    attachment = Attachment(4, toy.WIDTH, toy.GRID, "toy@1", "image", "plain")
    return Objective(VisionLanguageModel(model, Projector(toy.WIDTH, 32), tokenizer, attachment), chunk=5)


def samples(model):
    template = model.template
    found = []
    for number, (turns, pictured) in enumerate(TURNS):
        key = str(number) if pictured else None
        found.append(Sample.of(template.conversation(turns, pictured), key, model.tokens))
    return found


def features(rows):
    each = [toy.features_of(toy.CAPTIONS[int(key)]) for key in rows.pictures] or [np.zeros((16, toy.WIDTH))]
    return torch.from_numpy(np.array(each, np.float16))


def given(rows):
    arrays = rows.ids, rows.shown, rows.targets, rows.positions
    ids, shown, targets, positions = (torch.from_numpy(each) for each in arrays)
    return ids, shown, features(rows), targets, positions


def learn(module, parts, weight):
    """The loss and all gradients of some rows, part by part."""
    module.zero_grad()
    totals, losses = [], []
    for rows in parts:
        total, each = module(*given(rows), weight, bool(rows.pictures))
        total.backward()
        totals.append(float(total.detach()))
        losses.append(each)
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return sum(totals), torch.cat(losses), found


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_packed_the_loss_and_its_gradients_are_those_of_each_alone(name, tokenizer):
    module = objective(name, tokenizer)
    each = samples(module.model)
    weight = 1 / sum(sample.learnt for sample in each)
    alone = learn(module, [Rows.of([[sample]]) for sample in each], weight)
    packed = learn(module, [Rows.of([[each[0], each[1], each[2]], [each[3]]])], weight)
    assert packed[0] == pytest.approx(alone[0], abs=1e-5)
    assert torch.allclose(packed[1], alone[1], atol=1e-5)
    assert packed[2].keys() == alone[2].keys()
    for key, value in packed[2].items():
        assert torch.allclose(value, alone[2][key], atol=1e-5), key


def test_were_positions_not_to_begin_anew_conversations_would_mix(tokenizer):
    """So that the test before this one can fail."""
    module = objective("llama", tokenizer)
    each = samples(module.model)
    rows = Rows.of([each])
    right = learn(module, [rows], 1.0)[0]
    rows.positions[0] = np.arange(rows.positions.shape[1])
    assert abs(learn(module, [rows], 1.0)[0] - right) > 1e-3


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_loss_is_transformers_own(name, tokenizer):
    """The slow twin: embeddings put together by hand, all logits, labels of transformers."""
    module = objective(name, tokenizer)
    model = module.model
    embed = model.language.get_input_embeddings()
    for number, (turns, pictured) in enumerate(TURNS):
        text = model.template.conversation(turns, pictured)
        ids = torch.from_numpy(text.ids)
        labels = torch.where(torch.from_numpy(text.learnt), ids, -100)
        read = embed(ids)
        if pictured:
            shown = model.look(torch.from_numpy(toy.features_of(toy.CAPTIONS[number]).astype(np.float16))[None])[0]
            read = torch.cat([read[: text.place], shown, read[text.place :]])
            labels = torch.cat([labels[: text.place], torch.full((4,), -100), labels[text.place :]])
        expected = model.language(inputs_embeds=read[None], labels=labels[None]).loss
        sample = samples(model)[number]
        total, losses = module(*given(Rows.of([[sample]])), 1 / sample.learnt, pictured)
        assert total.item() == pytest.approx(expected.item(), abs=1e-5)
        assert len(losses) == sample.learnt == int(text.learnt.sum())


def test_what_is_frozen_has_no_gradient(tokenizer):
    module = objective("llama", tokenizer)
    module.model.language.requires_grad_(False)
    found = learn(module, [Rows.of([samples(module.model)])], 1.0)[2]
    assert {name.split(".")[1] for name in found} == {"projector"}
    assert all(float(value.abs().sum()) > 0 for value in found.values())

    blind = objective("llama", tokenizer)
    blind.model.projector.requires_grad_(False)
    blind = Objective(blind.model)
    found = learn(blind, [Rows.of([[samples(blind.model)[1]]])], 1.0)[2]
    assert {name.split(".")[1] for name in found} == {"language"}


@pytest.mark.parametrize("rows", [[], [1]])
def test_rows_without_a_picture_leave_the_projector_a_gradient_of_zeros(rows, tokenizer):
    """Ranks reduce gradients together: each must have one for every parameter, even of padding alone."""
    module = objective("llama", tokenizer)
    packed = Rows.of([[samples(module.model)[place]] for place in rows])
    found = learn(module, [packed], 1.0)[2]
    assert found.keys() == {name for name, _ in module.named_parameters()}
    assert all(float(value.abs().sum()) == 0 for name, value in found.items() if "projector" in name)
    if not rows:
        assert all(float(value.abs().sum()) == 0 for value in found.values())


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_an_lm_that_reads_each_as_if_alone_is_taken(name, tokenizer):
    module = objective(name, tokenizer)
    try_packing(module, [each.ids.tolist() for each in samples(module.model)[:2]])


@pytest.mark.parametrize("name", ["mamba", "bloom"])
def test_an_lm_that_would_mix_conversations_is_refused(name, tokenizer):
    module = objective(name, tokenizer)
    with pytest.raises(PresightError, match=r"model: (reads conversations that share|takes no positions)"):
        try_packing(module, [each.ids.tolist() for each in samples(module.model)[:2]])
