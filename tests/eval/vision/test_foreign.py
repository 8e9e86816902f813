import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy_seeing import Shots, Vlm, write_llava, write_lm
from toy_tokenizer import byte_tokenizer

from adapt.vlm.artifact import Attachment
from adapt.vlm.encoders import GREY
from adapt.vlm.model import VisionLanguageModel
from adapt.vlm.pictures import Pictures, Writer
from eval.answers.choices import ask
from eval.vision.conditions import NOTHING, Shown
from eval.vision.foreign import Foreign, Pixels, foreign, load
from eval.vision.items import Item
from eval.vision.seeing import Pictured, with_projector
from presight.errors import PresightError

SPOKEN = """{% for m in messages %}<s>{{ m['role'] }}:{{ m['content'] }}</s>{% endfor %}
{%- if add_generation_prompt %}<s>assistant:{% endif %}"""
CHAT = (
    "{% for m in messages %}<u>{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}"
    "{{ c['text'] }}{% endif %}{% endfor %}</u>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    keys = []
    (folder / "pictures").mkdir()
    with Writer(folder / "pictures") as writer:
        for n in range(3):
            held = io.BytesIO()
            pixels = np.random.default_rng(n).integers(0, 255, (20, 24 + n, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(held, "png")
            keys.append(writer.add(held.getvalue(), "png"))
    return write_llava(folder / "llava"), folder / "pictures", keys


@pytest.fixture(scope="module")
def pixels(world):
    model, processor = load(world[0], 0)
    return Pixels(model, processor, [Pictures(world[1])])


def asked(shown):
    return Pictured.of(Item("a", "t", "g", "Which?", "k", ("u", "v"), 0), shown)


def test_prompts_are_the_processors_own(pixels, world):
    key = world[2][0]
    question = asked(Shown(key))
    found = pixels.prompt(question, question.text())
    text = f"<image>\n{question.text()}\nAnswer:"
    expected = pixels.processor(text=text, images=Pictures(world[1]).image(key), return_tensors="pt")
    assert set(found) == {"input_ids", "attention_mask", "pixel_values"}
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert int((found["input_ids"] == pixels.model.config.image_token_id).sum()) == 9
    blind = pixels.prompt(asked(NOTHING), question.text())
    assert set(blind) == {"input_ids", "attention_mask"}
    assert pixels.processor.tokenizer.decode(blind["input_ids"][0]) == f"{question.text()}\nAnswer:"
    assert (pixels.chat, pixels.space) == (False, " ")


def test_a_chat_template_is_used_where_there_is_one(world):
    model, processor = load(world[0], 0)
    processor.chat_template = CHAT
    pixels = Pixels(model, processor, [Pictures(world[1])])
    found = pixels.prompt(asked(Shown(world[2][0])), "Which?")
    written = processor.tokenizer.decode(found["input_ids"][0])
    assert written == f"<u>{'<image>' * 9}Which?</u><a>"
    assert processor.tokenizer.decode(pixels.prompt(asked(NOTHING), "Which?")["input_ids"][0]) == "<u>Which?</u><a>"
    assert (pixels.chat, pixels.space) == (True, "")


def test_a_picture_is_shown_whole_blank_or_in_disorder(pixels, world):
    key = world[2][1]
    plain, blank, mixed = (pixels.image(Shown(key, view)) for view in ("plain", "blank", "scrambled"))
    assert plain.size == blank.size == mixed.size == (25, 20)
    assert set(blank.getdata()) == {GREY}
    first, second = np.asarray(plain, float), np.asarray(mixed, float)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5
    assert np.allclose(first.mean((0, 1)), second.mean((0, 1)), atol=6)  # but for what is clipped
    assert pixels.image(NOTHING) is None
    assert pixels.seen(asked(NOTHING)) is None
    views = [pixels.seen(asked(Shown(each, view))) for each in world[2] for view in ("plain", "blank", "scrambled")]
    assert len({json.dumps(each) for each in views}) == 9
    with pytest.raises(PresightError, match="has no picture"):
        pixels.image(Shown("ab" * 16))
    with pytest.raises(PresightError, match="pictures: none are given, but the questions are about some"):
        Pixels(pixels.model, pixels.processor, []).image(Shown(key))


def test_a_model_comes_from_a_folder_and_is_known_by_its_content(world, tmp_path):
    stage = Foreign(path=world[0]).settle(fetch=False)
    assert stage.content
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, {})
    assert json.loads((out / "counts.json").read_text())["bytes"] > 0
    first, second = (load(folder, 0)[0].state_dict() for folder in (world[0], out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert foreign(out, [world[1]], 0, 512).digest == foreign(world[0], [], 0, 64).digest
    moved = write_llava(tmp_path / "moved")
    assert Foreign(path=moved).settle(fetch=False).fingerprint == stage.fingerprint
    other = Foreign(path=write_llava(tmp_path / "other", spread=0.1)).settle(fetch=False)
    assert other.fingerprint != stage.fingerprint
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    with pytest.raises(PresightError, match="its files changed since it was planned"):
        Foreign(path=moved, content=stage.content).run(tmp_path, {})


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_an_export_answers_as_what_it_was_made_from(world, tmp_path, template):
    from toy_models import tiny_encoder
    from transformers import CLIPImageProcessorPil

    from adapt.vlm.encode import Encode
    from adapt.vlm.export import Export

    side = {"height": 12, "width": 12}
    tiny_encoder("CLIP").save_pretrained(tmp_path / "encoder")
    CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size=side).save_pretrained(tmp_path / "encoder")
    encode = Encode(encoder=tmp_path / "encoder", pictures=Shots(), views=("plain",), parts=1).settle(True)
    (tmp_path / "features").mkdir()
    encode.run_shard(0, tmp_path / "features", {"pictures": world[1]})
    _, called = encode.opened("image")
    attachment = Attachment(9, 16, (3, 3), called, "image", template)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = SPOKEN
    write_lm(tmp_path / "lm", words=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "lm")
    VisionLanguageModel.attached(tmp_path / "lm", attachment).save(tmp_path / "vlm")
    export = Export(model=Vlm(), encoder=tmp_path / "encoder").settle(True)
    (tmp_path / "export").mkdir()
    export.run(tmp_path / "export", {"model": tmp_path / "vlm"})
    own = with_projector(tmp_path / "vlm", [tmp_path / "features"], 0, 512)
    theirs = foreign(tmp_path / "export", [world[1]], 0, 512)
    assert own.look.space == theirs.look.space == (" " if template == "plain" else "")
    questions = [asked(Shown(key)) for key in world[2]] + [asked(NOTHING)]
    for style in ("letters", "cloze"):
        pairs = zip(
            *(ask(each.scorer, questions, style, look=each.look, tokens=4, stop=()) for each in (own, theirs)),
            strict=True,
        )
        for first, second in pairs:
            # features are kept in float16, and the export knows a word more, <image>, which takes its share
            assert np.allclose(first.scores.sum, second.scores.sum, atol=1e-2)
            assert np.allclose(first.scores.unconditional, second.scores.unconditional, atol=1e-2)
            assert first.scores.tokens == second.scores.tokens
            assert first.reply == second.reply
    assert set(theirs.scorer.shared.values()) == {True}


def test_what_is_no_such_model_is_one_sentence(world, tmp_path):
    with pytest.raises(PresightError, match="path or repository: neither is given"):
        Foreign().settle(fetch=False)
    with pytest.raises(PresightError, match="path or repository: both are given"):
        Foreign(path=tmp_path, repository="a/b").settle(fetch=False)
    lm = write_lm(tmp_path / "lm")
    with pytest.raises(PresightError, match="model: transformers cannot load"):
        load(lm, 0)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    stage = Foreign(path=bare).settle(fetch=False)
    with pytest.raises(PresightError, match=r"holds no \*\.safetensors; give model and processor as save_pretrained"):
        stage.run(tmp_path, {})
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    with Writer(sounds, "sound") as writer:
        writer.add(b"RIFF", "wav")
    with pytest.raises(PresightError, match="pictures: are sounds, which the model does not hear"):
        foreign(world[0], [sounds], 0, 512)
