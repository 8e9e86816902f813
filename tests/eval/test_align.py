import csv
import json
from typing import ClassVar

import numpy as np
import pytest
from toy_models import tiny_encoder, tiny_lm

from eval.align import Align, read_images, read_pairs
from eval.alignment import align
from eval.features import encoder_features, layer_features
from presight import expansion, recipe
from presight.assembly import build, dump, load, topological
from presight.errors import PresightError
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
    files, captions = zip(*read_pairs(pairs), strict=True)
    assert found["items"] == len(files) == 12
    tokenizer = PreTrainedTokenizerFast.from_pretrained(models / "lm")
    lm = layer_features(LlamaForCausalLM.from_pretrained(models / "lm"), tokenizer, captions)
    encoders = {}
    for name, folder, kind in (("clip", "CLIP", CLIPVisionModel), ("mae", "ViTMAE", ViTMAEModel)):
        images = read_images(pairs, files, AutoImageProcessor.from_pretrained(models / folder))
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


def test_pairs_are_read_from_lines_or_a_table(pairs):
    lines = read_pairs(pairs)
    assert len(lines) == 12
    assert lines[0] == ("images/0.png", "cat ")
    (pairs / "pairs.jsonl").unlink()
    with (pairs / "pairs.csv").open("w", encoding="utf-8-sig", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["caption", "file"])
        table.writerows([(caption, file) for file, caption in [*lines, ("images/3.png", 'a, "second"\nline')]])
    assert read_pairs(pairs) == lines


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ('{"file": "images/0.png"}', "lacks file or caption"),
        ('{"file": "images/0.png", "caption": " "}', "lacks file or caption"),
        ("[1]", "lacks file or caption"),
        ("{", "cannot be read"),
        ('{"file": "../lm/config.json", "caption": "a"}', "not in the folder"),
    ],
)
def test_pairs_that_cannot_be_read_are_refused(pairs, record, problem):
    (pairs / "pairs.jsonl").write_text(record)
    with pytest.raises(PresightError, match=problem):
        read_pairs(pairs)


def test_no_list_and_no_image_are_refused(pairs, models):
    with pytest.raises(PresightError, match="cannot be read as an image"):
        read_images(pairs, ["pairs.jsonl"], None)
    (pairs / "pairs.jsonl").unlink()
    with pytest.raises(PresightError, match=r"has no pairs\.jsonl"):
        read_pairs(pairs)
