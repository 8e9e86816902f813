import json
import shutil

import pytest
import toy_experiment
from toy_experiment import BATCH, ITEM, forked, payload, varied
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from corpus import Mix, Tokenize
from presight.errors import PresightError, Unavailable
from pretrain import Checkpoint, Train
from pretrain.model import flops


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
    folder.mkdir()
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


def test_one_place_is_named():
    for fields in ({}, {"path": "x", "repository": "a/b"}):
        with pytest.raises(
            PresightError, match=r"path or repository: .*; name one: a folder, or owner/name of the hub"
        ):
            Checkpoint(**fields).settle(fetch=False)


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
    with pytest.raises(PresightError, match="repository: 'main' of lab/lm may change"):
        Checkpoint(repository="lab/lm").settle(fetch=False)
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
