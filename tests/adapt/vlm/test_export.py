import json
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from toy_experiment import payload
from toy_models import SIZES, tiny_encoder
from toy_tokenizer import byte_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from adapt.vlm.artifact import Attachment
from adapt.vlm.encode import Encode
from adapt.vlm.encoders import Lite
from adapt.vlm.export import Export
from adapt.vlm.model import VisionLanguageModel
from presight.errors import PresightError
from presight.stage import Stage

QUESTION = "How many cats are there?"
CHAT = """{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}
{%- if add_generation_prompt %}[assistant] {% endif %}"""
MERGES = [("C", "a"), ("c", "a"), ("ca", "t"), ("Ċ", "A"), ("?", "Ċ")]


class Tuned(Stage):
    """A model that lies there already."""

    kind: ClassVar[str] = "vlm"


class Given(Stage):
    """Pictures that lie there already."""

    kind: ClassVar[str] = "pictures"


def images(count=2):
    return [Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8)) for i in range(count)]


def saved_encoder(name, folder):
    from transformers import CLIPImageProcessorPil

    tiny_encoder(name).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}).save_pretrained(folder)
    return folder


def attached(folder, encoding, tokens, lm="llama", leading=False, **fields):
    """A model behind an encoder, its projector and LM at random; the artifact's folder."""
    tokenizer = byte_tokenizer(MERGES, leading)
    tokenizer.chat_template = CHAT
    torch.manual_seed(1)
    if lm == "gpt2":  # ties its words, and has rows to spare
        language = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=3, n_head=2, n_positions=128))
    else:
        language = LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=32, tie_word_embeddings=lm == "tied"))
        language.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        for parameter in language.parameters():  # far enough from nought that a wrong picture shows
            parameter.add_(0.2 * torch.randn_like(parameter))
    language.save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    encoder, called = encoding.opened("image")
    described = {
        "tokens": tokens,
        "width": encoder.width,
        "grid": encoder.grid,
        "encoder": called,
        "modality": "image",
    }
    model = VisionLanguageModel.attached(folder / "lm", Attachment(**{**described, "template": "plain", **fields}))
    model.save(folder / "vlm")
    return folder / "vlm", encoder


def exported(folder, vlm, **fields):
    stage = Export(model=Tuned(), **fields).settle(True)
    (folder / "out").mkdir()
    stage.run(folder / "out", {"model": vlm})
    return folder / "out"


def ours(vlm, encoder, picture, question=QUESTION):
    """Logits [T, V] of a question, and the greedy answer."""
    model = VisionLanguageModel.load(vlm)
    prompt = model.prompt(question, torch.from_numpy(encoder([picture])[0]))[None]
    with torch.inference_mode():
        logits = model.language(inputs_embeds=prompt).logits[0]
        written = model.language.generate(inputs_embeds=prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
    return logits, written[0].tolist()


def theirs(folder, picture, words, question=QUESTION):
    """The same by transformers alone, from picture and text."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, processor = (each.from_pretrained(folder) for each in (AutoModelForImageTextToText, AutoProcessor))
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(asked, add_generation_prompt=True)
    given = processor(images=picture, text=text, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**given).logits[0, :, :words]
        written = model.generate(**given, max_new_tokens=8, do_sample=False)
    return logits, written[0, given["input_ids"].shape[1] :].tolist(), model


CASES = {  # encoder, tokens, plain LLaVA, more
    "clip": ("CLIP", 9, True, {}),
    "siglip": ("Siglip", 9, True, {}),
    "dinov2": ("Dinov2", 9, True, {}),
    "clip, tied": ("CLIP", 9, True, {"lm": "tied", "leading": True}),
    "clip, tied by another name": ("CLIP", 9, True, {"lm": "gpt2"}),
    "clip, resized": ("CLIP", 16, False, {}),
    "clip, normed": ("CLIP", 9, False, {"interface": "matched"}),
    "clip, chat": ("CLIP", 9, True, {"template": "chat"}),
    "clip, caption": ("CLIP", 4, False, {"template": "caption"}),
    "registers": ("Dinov2WithRegisters", 9, False, {}),
    "autoencoder": ("ViTMAE", 9, False, {}),
    "autoencoder, resized": ("ViTMAE", 4, False, {"leading": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_exports_answer_as_what_they_were_made_from(case, tmp_path):
    name, tokens, plain, more = CASES[case]
    place = saved_encoder(name, tmp_path / "encoder")
    vlm, encoder = attached(tmp_path, Encode(pictures=Given(), encoder=place).settle(True), tokens, **more)
    out = exported(tmp_path, vlm, encoder=place)
    counts = json.loads((out / "counts.json").read_text())
    assert counts == {"tokens": tokens, "plain": plain, "same_prompts": True}
    for picture in images():
        expected, answer = ours(vlm, encoder, picture)
        found, written, model = theirs(out, picture, expected.shape[1])
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < 1e-4
        assert written == answer
    assert (type(model).__name__ == "LlavaForConditionalGeneration") == plain
    other, _ = ours(vlm, encoder, images()[0])
    assert float((other - expected).abs().max()) > 1e-2  # pictures count


@pytest.mark.parametrize("template", ["plain", "caption", "chat"])
def test_a_picture_written_into_the_text_stands_where_ours_does(template, tmp_path):
    from transformers import AutoTokenizer

    from adapt.vlm.prompting import chat_template

    encoding = Encode(pictures=Given(), encoder=saved_encoder("CLIP", tmp_path / "e")).settle(True)
    folder, _ = attached(tmp_path, encoding, 9)
    tokenizer = AutoTokenizer.from_pretrained(folder / "language")
    tokenizer.chat_template = chat_template(template, tokenizer)
    parts = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    whole = [{"role": "user", "content": f"<image>\n{QUESTION}"}]
    meant, found = (tokenizer.apply_chat_template(said, tokenize=False) for said in (parts, whole))
    assert found == meant
    assert found.count("<image>") == 1


def test_another_side_is_interpolated_in_the_export(tmp_path):
    place = saved_encoder("CLIP", tmp_path / "encoder")
    vlm, encoder = attached(tmp_path, Encode(pictures=Given(), encoder=place, side=20).settle(True), 25)
    out = exported(tmp_path, vlm, encoder=place, side=20)
    assert not json.loads((out / "counts.json").read_text())["plain"]
    expected, answer = ours(vlm, encoder, images()[0])
    found, written, _ = theirs(out, images()[0], expected.shape[1])
    assert float((found - expected).abs().max()) < 1e-4
    assert written == answer


@pytest.mark.parametrize(("tokens", "kind"), [(4, "Llava"), (9, "PresightLlava")])
def test_the_samples_encoder_is_exported(tokens, kind, tmp_path, monkeypatch):
    from adapt.vlm import encoders
    from adapt.vlm.efficientnet import EfficientNetLite
    from presight import packages
    from presight.packages import Fetched

    torch.manual_seed(0)
    network = EfficientNetLite().eval()
    with torch.no_grad():  # at random its features are almost nothing
        network.layers[-1].norm.weight.fill_(30)
    monkeypatch.setattr(packages, "fetch", lambda role: Fetched(role, {}, "digest", {}))
    monkeypatch.setattr(encoders, "sample", lambda fetched, *given: Lite(network, *given))
    encoding = Encode(pictures=Given(), encoder="sample", side=64, content="digest")
    vlm, encoder = attached(tmp_path, encoding, tokens)
    out = exported(tmp_path, vlm, encoder="sample", side=64, content="digest")
    assert not json.loads((out / "counts.json").read_text())["plain"]  # its tower is none of transformers
    assert "import adapt.vlm.llava" in (out / "README.md").read_text()
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 101, 3), np.uint8))
    expected, answer = ours(vlm, encoder, wide)
    found, written, model = theirs(out, wide, expected.shape[1])
    assert float((found - expected).abs().max()) < 1e-4
    assert written == answer
    assert type(model).__name__ == f"{kind}ForConditionalGeneration"


def test_a_plain_export_needs_transformers_alone(tmp_path):
    place = saved_encoder("CLIP", tmp_path / "encoder")
    vlm, _ = attached(tmp_path, Encode(pictures=Given(), encoder=place).settle(True), 9)
    out = exported(tmp_path, vlm, encoder=place)
    code = f"""
import sys
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained({str(out)!r})
AutoProcessor.from_pretrained({str(out)!r})
assert not [name for name in sys.modules if name.split(".")[0] in ("adapt", "presight")]
print(type(model).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.stdout.strip() == "LlavaForConditionalGeneration", done.stderr


def test_exports_are_the_same_bytes_wherever_they_are_made(tmp_path):
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        place = saved_encoder("CLIP", tmp_path / name / "encoder")
        vlm, _ = attached(tmp_path / name, Encode(pictures=Given(), encoder=place).settle(True), 16)
        made.append(payload(exported(tmp_path / name, vlm, encoder=place)))
    assert made[0] == made[1]
    assert not any(str(tmp_path).encode() in content for content in made[0].values())


def test_a_new_word_takes_little_of_the_probability_and_is_never_written(tmp_path):
    from transformers import AutoModelForImageTextToText

    place = saved_encoder("CLIP", tmp_path / "encoder")
    vlm, _ = attached(tmp_path, Encode(pictures=Given(), encoder=place).settle(True), 9)
    out = exported(tmp_path, vlm, encoder=place)
    model = AutoModelForImageTextToText.from_pretrained(out)
    words = VisionLanguageModel.load(vlm).language.config.vocab_size
    assert model.config.image_token_index == words == model.lm_head.weight.shape[0] - 1
    states = torch.randn(100, model.config.text_config.hidden_size) * 30
    with torch.inference_mode():
        assert float(model.lm_head(states).softmax(-1)[:, words].max()) <= 1 / words
    assert model.generation_config.suppress_tokens == [words]


def test_spare_rows_are_used_and_no_logit_changes(tmp_path):
    from transformers import AutoModelForImageTextToText

    place = saved_encoder("CLIP", tmp_path / "encoder")
    vlm, _ = attached(tmp_path, Encode(pictures=Given(), encoder=place).settle(True), 9, lm="gpt2")
    out = exported(tmp_path, vlm, encoder=place)
    model = AutoModelForImageTextToText.from_pretrained(out)
    assert model.lm_head.weight.shape[0] == 300
    assert len(byte_tokenizer(MERGES)) == model.config.image_token_index < 300


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    place = saved_encoder("CLIP", tmp_path / "encoder")
    vlm, _ = attached(tmp_path, Encode(pictures=Given(), encoder=place).settle(True), 9)
    with pytest.raises(PresightError, match=r"encoder: is CLIPVisionModel \w+, layer -1, 12 pixels; the model was"):
        exported(tmp_path, vlm, encoder=place, layer=-1)
    described = json.loads((vlm / "vlm.json").read_text())
    (vlm / "vlm.json").write_text(json.dumps(described | {"modality": "sound"}))
    with pytest.raises(PresightError, match="model: listens to sounds"):
        Export(model=Tuned(), encoder=place).settle(True).run(tmp_path / "out", {"model": vlm})
    (vlm / "vlm.json").write_text(json.dumps(described))
    plainly = LlamaForCausalLM.forward

    def capped(self, *given, **more):  # as LMs do whose logits are more than their head's
        found = plainly(self, *given, **more)
        found.logits = 2 * torch.tanh(found.logits / 2)
        return found

    monkeypatch.setattr(LlamaForCausalLM, "forward", capped)
    with pytest.raises(PresightError, match="gives other logits than the LM does"):
        Export(model=Tuned(), encoder=place).settle(True).run(tmp_path / "out", {"model": vlm})
