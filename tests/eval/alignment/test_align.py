import json
from typing import ClassVar

import numpy as np
import pytest
from toy_models import tiny_encoder, tiny_lm

from eval.alignment import encoders as vision
from eval.alignment import pairs as paired
from eval.alignment.align import Align
from eval.alignment.features import encoder_features, layer_features
from eval.alignment.mutual import align
from eval.alignment.pairs import Pair, Pairs, local
from presight import expansion, packages, recipe
from presight.assembly import build, dump, load, topological
from presight.errors import PresightError, Unavailable
from presight.packages import Fetched
from presight.stage import Stage


class Given(Stage):
    """A checkpoint that lies there already."""

    kind: ClassVar[str] = "checkpoint"


@pytest.fixture
def pairs(tmp_path):
    """Twelve images of one colour each, captions that name it; one image has two."""
    from PIL import Image

    folder = tmp_path / "pairs"
    (folder / "images").mkdir(parents=True)
    rows, rng = [], np.random.default_rng(0)
    for i in range(12):
        colour = tuple(rng.integers(0, 255, 3).tolist())
        Image.new("RGB", (20 + i, 30), colour).save(folder / "images" / f"{i}.png")
        rows.append({"file": f"images/{i}.png", "caption": "cat " * (1 + i % 3) + "dog " * (i % 4)})
    rows.append({"file": "images/0.png", "caption": "another"})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    return folder


@pytest.fixture
def models(tmp_path):
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds
    from transformers import CLIPImageProcessorPil, PreTrainedTokenizerFast

    words = Tokenizer(kinds.WordLevel({"?": 0, "cat": 1, "dog": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(tmp_path / "lm")
    tiny_lm("llama").save_pretrained(tmp_path / "lm")
    for name in ("CLIP", "ViT", "ViTMAE"):
        tiny_encoder(name).save_pretrained(tmp_path / name)
        sizes = dict(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
        CLIPImageProcessorPil(**sizes).save_pretrained(tmp_path / name)
    return tmp_path


def stage(pairs, models, **fields):
    encoders = {"clip": str(models / "CLIP"), "mae": str(models / "ViTMAE")}
    return Align(**{"model": Given(), "pairs": pairs, "encoders": encoders, "k": 3, "permutations": 20} | fields)


def run(stage, models, name):
    (models / name).mkdir()
    stage.run(models / name, {"model": models / "lm"})
    return (models / name / "alignment.json").read_bytes()


def test_stage_aligns_a_checkpoint_with_encoders(pairs, models):
    from transformers import (
        AutoImageProcessor,
        CLIPVisionModel,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        ViTMAEModel,
    )

    settled = stage(pairs, models).settle(True)
    assert run(settled, models, "first") == run(settled, models, "second")
    found = json.loads((models / "first" / "alignment.json").read_text())
    known = local(pairs)
    captions = [pair.caption for pair in known.pairs]
    assert found["items"] == len(known) == 12
    tokenizer = PreTrainedTokenizerFast.from_pretrained(models / "lm")
    lm = layer_features(LlamaForCausalLM.from_pretrained(models / "lm"), tokenizer, captions)
    encoders = {}
    for name, folder, kind in (("clip", "CLIP", CLIPVisionModel), ("mae", "ViTMAE", ViTMAEModel)):
        processor = AutoImageProcessor.from_pretrained(models / folder)
        images = processor(known.pictures(), return_tensors="np")["pixel_values"]
        encoders[name] = encoder_features(kind.from_pretrained(models / folder), images)
    expected = align(lm, encoders, 3, permutations=20)
    assert found == json.loads(json.dumps(expected.to_json()))
    assert found["null"] == expected.null.tolist()
    assert np.shape(found["tables"]["clip"]) == (4, 3)
    few = json.loads(run(stage(pairs, models, items=8).settle(True), models, "few"))
    assert few["items"] == 8


def test_stage_is_named_by_content_not_by_place(pairs, models):
    import shutil

    settled = stage(pairs, models).settle(True)
    assert set(settled.content) == {"pairs", "encoders.clip", "encoders.mae"}
    copy = shutil.copytree(pairs, models / "elsewhere")
    assert stage(copy, models).settle(True).fingerprint == settled.fingerprint
    with (copy / "pairs.jsonl").open("a") as opened:
        opened.write(json.dumps({"file": "images/1.png", "caption": "more"}))
    assert stage(copy, models).settle(True).fingerprint != settled.fingerprint
    with pytest.raises(PresightError, match="changed since it was planned"):
        run(settled.changed(pairs=copy), models, "out")
    with pytest.raises(PresightError, match="names no encoder"):
        stage(pairs, models, encoders={}).settle(True)


RECIPE = """
recipe: aligned
stages:
  text: {{stage: corpus.Invented, documents: 150}}
  tokenizer: {{stage: corpus.Tokenizer, documents: $text, vocabulary: 512}}
  random: {{stage: pretrain.Init, tokenizer: $tokenizer, model: tiny}}
  aligned:
    stage: eval.Align
    model: $random
    pairs: {folder}/pairs
    encoders: {{clip: {folder}/CLIP, vit: {folder}/ViT}}
    k: 2
    items: 10
    permutations: 19
"""


def test_stage_of_a_recipe_is_performed_and_published(pairs, models, tiny):
    (models / "aligned.yaml").write_text(RECIPE.format(folder=models))
    (aligned,) = expansion.expand(recipe.read(str(models / "aligned.yaml"))).targets()
    assert isinstance(aligned, Align)
    assert set(aligned.content) == {"pairs", "encoders.clip", "encoders.vit"}
    assert load(dump(aligned)).fingerprint == aligned.fingerprint
    for each in topological([aligned]):
        made = tiny.store.perform(each)
    assert made.path == tiny.store.root / "alignment" / aligned.fingerprint
    assert made.card["stage"] == "eval.Align"
    assert made.card["counts"] == {"pairs": 10, "encoders": 2}
    assert [parent["kind"] for parent in made.card["parents"]] == ["checkpoint"]
    found = json.loads((made.path / "alignment.json").read_text())
    assert (found["items"], found["k"], len(found["null"]), set(found["best"])) == (10, 2, 19, {"clip", "vit"})


def test_what_cannot_be_aligned_is_refused_before_it_is_read(pairs, models):
    with pytest.raises(PresightError, match="12 neighbours among 12 pairs"):
        run(stage(pairs, models, k=12).settle(True), models, "many")
    with pytest.raises(PresightError, match="items"):
        build(Align, {"model": Given(), "pairs": pairs, "encoders": {}, "items": 20_001}, "aligned")
    (models / "CLIP" / "preprocessor_config.json").unlink()
    with pytest.raises(PresightError, match=r"encoders\.clip: transformers cannot load"):
        run(stage(pairs, models).settle(True), models, "bare")
    (pairs / "pairs.jsonl").write_text("\n")
    with pytest.raises(PresightError, match="3 neighbours among 0 pairs"):
        run(stage(pairs, models).settle(True), models, "none")


@pytest.fixture
def samples(monkeypatch, pairs):
    """The sample's roles, without a network: the toy's images as emoji, and an encoder of two layers."""

    def encode(pictures):
        colours = np.array([picture.getpixel((0, 0)) for picture in pictures], np.float32)
        return [colours, np.hstack([np.sin(colours), colours[:, ::-1] ** 2])]

    def emoji(fetched, tags):
        assert fetched.role == "images.emoji"
        known = local(pairs)
        return Pairs(tuple(Pair(p.file, p.caption + " dog" * tags, "any") for p in known.pairs), known.read)

    monkeypatch.setattr(packages, "fetch", lambda role: Fetched(role, {}, f"digest of {role}", {role: "MIT"}))
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({role: f"digest of {role}" for role in roles}, {}))
    monkeypatch.setattr(paired, "emoji", emoji)
    monkeypatch.setattr(vision, "sample", lambda fetched: encode)
    return encode


def test_samples_of_pairs_and_encoder(samples, pairs, models):
    mixed = {"net": "sample", "clip": str(models / "CLIP")}
    settled = stage("sample", models, encoders=mixed).settle(True)
    assert settled.content["pairs"] == "digest of images.emoji"
    assert settled.content["encoders.net"] == "digest of model.vision"
    found = json.loads(run(settled, models, "out"))
    assert json.loads((models / "out" / "licences.json").read_text()) == ["MIT"]
    assert np.shape(found["tables"]["net"]) == (4, 2)
    assert np.shape(found["tables"]["clip"]) == (4, 3)
    own = stage(pairs, models, encoders={"net": "sample"}).settle(True)
    alone = json.loads(run(own, models, "own"))
    assert alone["tables"]["net"] == found["tables"]["net"]
    tagged = stage("sample", models, encoders=mixed, tags=True).settle(True)
    assert tagged.fingerprint != settled.fingerprint
    assert json.loads(run(tagged, models, "tagged"))["tables"] != found["tables"]


def test_a_sample_that_changed_or_cannot_be_had_is_said(samples, pairs, models, monkeypatch):
    settled = stage("sample", models).settle(True)
    monkeypatch.setattr(packages, "fetch", lambda role: Fetched(role, {}, "other", {}))
    with pytest.raises(PresightError, match="pairs: its files changed since it was planned"):
        run(settled, models, "out")
    error = PresightError("images.emoji", "no network", "try again")
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({}, {"images.emoji": error}))
    with pytest.raises(Unavailable, match=r"images\.emoji: no network"):
        stage("sample", models).settle(True)
    with pytest.raises(PresightError, match="tags: only the sample has them"):
        stage(pairs, models, tags=True).settle(True)


def test_images_are_read_a_batch_at_a_time(samples, pairs, models, monkeypatch):
    import eval.alignment.align

    settled = stage(pairs, models, encoders={"net": "sample"}).settle(True)
    whole = run(settled, models, "whole")
    monkeypatch.setattr(eval.alignment.align, "_BATCH", 5)
    assert run(settled, models, "cut") == whole
