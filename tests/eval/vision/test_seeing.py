import numpy as np
import pytest
import torch
from toy_seeing import COLOURS, ENCODER, KEYS, questions, write_features, write_lm, write_vlm
from toy_tokenizer import byte_tokenizer

from adapt.vlm.features import Features
from adapt.vlm.model import VisionLanguageModel
from eval.answers.choices import ask
from eval.answers.questions import Question
from eval.vision.conditions import NOTHING, Shown, shown
from eval.vision.items import Item
from eval.vision.seeing import EXPLAIN, LETTER, Eyes, Pictured, with_projector, without_eyes
from presight.errors import PresightError

ITEMS = list(questions())
TOKENIZER = byte_tokenizer()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return write_vlm(folder), write_features(folder / "features")


@pytest.fixture(scope="module")
def eyes(world):
    vlm, features = world
    return Eyes(VisionLanguageModel.load(vlm), [Features(features)])


def test_an_item_is_put_in_words():
    item = Item("a", "t", "g", "Which colour?", KEYS[0], COLOURS, 1, cluster="scene")
    asked = Pictured.of(item, Shown(KEYS[0]))
    assert asked.text() == f"Which colour?\nA. red\nB. blue\nC. green\n{LETTER}"
    assert asked.text("cloze") == "Which colour?"
    assert (asked.answer, asked.cluster, asked.shown.key) == (1, "scene", KEYS[0])
    turned = asked.rotated(1)
    assert turned.text().startswith("Which colour?\nA. blue\nB. green\nC. red\n")
    assert (turned.answer, turned.shown) == (0, asked.shown)
    assert asked.request("letters", "-").options == ("-A", "-B", "-C")
    free = Item("b", "t", "g", "What does it say?", KEYS[0], (), ("x",))
    assert Pictured.of(free, NOTHING).text() == "What does it say?"
    assert Pictured.of(free, NOTHING, EXPLAIN).text() == f"What does it say?\n{EXPLAIN}"
    assert Pictured.of(item, NOTHING, EXPLAIN).text().endswith(f"C. green\n{EXPLAIN}")
    assert Pictured.of(free, NOTHING).cluster == KEYS[0]
    assert Pictured.of(Item("c", "t", "g", "?", None, (), ("x",)), NOTHING).cluster == "c"


def test_what_is_shown_is_what_the_model_reads(eyes, world):
    features = Features(world[1])
    item = ITEMS[0]
    for seen, expected in (
        (Shown(KEYS[3]), features.read([KEYS[3]])[0]),
        (Shown(KEYS[3], "scrambled"), features.read([KEYS[3]], "scrambled")[0]),
        (Shown(KEYS[3], "blank"), features.blank),
        (NOTHING, None),
    ):
        question = Pictured.of(item, seen)
        prompt = eyes.prompt(question, question.text())
        assert torch.equal(prompt, eyes.model.prompt(question.text(), expected))
        assert len(prompt) == len(eyes.model.prompt(question.text(), None)) + (0 if expected is None else 4)


def test_answers_are_told_apart_by_what_was_seen(eyes):
    def seen(*shown):
        return eyes.seen(Pictured.of(ITEMS[0], Shown(*shown)))

    different = [seen(KEYS[0]), seen(KEYS[1]), seen(KEYS[0], "scrambled"), seen(KEYS[0], "blank")]
    assert len(set(different)) == 4
    assert seen(KEYS[1], "blank") == different[-1]  # a blank is a blank, whosever place it takes
    assert eyes.seen(Pictured.of(ITEMS[0], NOTHING)) is None
    assert eyes.seen(Question("a", "?", ("u", "v"), 0)) is None


def naive(vlm, prompt, tokens):
    """One forward pass of prompt and option, nothing shared and nothing padded."""
    embed = vlm.language.get_input_embeddings()
    rows = torch.cat([prompt, embed(torch.tensor(tokens))])[None]
    with torch.no_grad():
        logits = vlm.language(inputs_embeds=rows, use_cache=False).logits[0]
    after = torch.log_softmax(logits[len(prompt) - 1 : -1].double(), -1)
    return sum(float(after[i, token]) for i, token in enumerate(tokens))


@pytest.mark.parametrize("style", ["letters", "cloze"])
@pytest.mark.parametrize("condition", ["right", "none"])
def test_options_behind_a_picture_score_as_each_by_itself(world, style, condition):
    sighted = with_projector(world[0], [world[1]], 0, 512)
    vlm = VisionLanguageModel.load(world[0])
    features = Features(world[1])
    closed = [(item, seen) for item, seen in zip(ITEMS, shown(ITEMS, condition), strict=True) if item.options]
    asked = [Pictured.of(*pair) for pair in closed]
    found = ask(sighted.scorer, asked, style, look=sighted.look, tokens=4)
    for (item, seen), answered in zip(closed, found, strict=True):
        picture = None if seen == NOTHING else features.read([seen.key])[0]
        text = answered.question.text(style)
        prompt = vlm.prompt(text, picture)
        for place, option in enumerate("ABC"[: len(item.options)] if style == "letters" else item.options):
            tokens = TOKENIZER(f" {option}")["input_ids"]
            expected, bare = naive(vlm, prompt, tokens), naive(vlm, vlm.prompt("", None), tokens)
            assert answered.scores.sum[place] == pytest.approx(expected, abs=1e-5 * len(tokens))
            assert answered.scores.unconditional[place] == pytest.approx(bare, abs=1e-5 * len(tokens))
        assert answered.reply == written(vlm, prompt, 4)
    if condition == "right":
        sums = {answered.scores.sum for answered in found}
        assert len(sums) > len(KEYS)  # what is shown matters


def written(vlm, prompt, tokens):
    ids = []
    embed = vlm.language.get_input_embeddings()
    for _ in range(tokens):
        rows = torch.cat([prompt, embed(torch.tensor(ids, dtype=torch.long))])[None]
        with torch.no_grad():
            token = int(vlm.language(inputs_embeds=rows, use_cache=False).logits[0, -1].argmax())
        if token in vlm.template.ends:
            break
        ids.append(token)
    text = TOKENIZER.decode(ids, skip_special_tokens=True)
    return min((text.partition(stop)[0] for stop in ("\n\n", "\nQuestion:", "\nUser:")), key=len)


def test_a_picture_is_read_once_for_all_options(world, monkeypatch):
    sighted = with_projector(world[0], [world[1]], 0, 10_000)
    model, shapes = sighted.scorer.model, []
    forward = type(model).forward

    def counted(self, *args, **given):
        shapes.append(tuple((given["inputs_embeds"] if "inputs_embeds" in given else given["input_ids"]).shape[:2]))
        return forward(self, *args, **given)

    monkeypatch.setattr(type(model), "forward", counted)
    sighted.scorer.empty = None  # unconditional log-probabilities are passes of their own
    question = Pictured.of(ITEMS[0], Shown(KEYS[0]))
    length = len(sighted.look.prompt(question, question.text()))
    ask(sighted.scorer, [question], look=sighted.look, replies=False)
    assert shapes == [(1, length), (3, 1)]  # " A" is two tokens here: the first three are read off the prompt's pass
    shapes.clear()
    ask(sighted.scorer, [question, question.rotated(1)], "cloze", look=sighted.look, replies=False)
    assert shapes == [(2, len(sighted.look.prompt(question, question.prompt))), (6, 5)]


CHAT = (
    "{% for m in messages %}<s>{{ m['role'] + ':' + m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


def test_a_chat_template_opens_and_ends_the_answer(tmp_path, world):
    vlm = write_vlm(tmp_path)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(vlm / "language")
    described = (vlm / "vlm.json").read_text()
    (vlm / "vlm.json").write_text(described.replace('"plain"', '"chat"', 1))
    sighted = with_projector(vlm, [world[1]], 0, 512)
    assert (sighted.facts["template"], sighted.look.space) == ("chat", "")
    assert tokenizer.decode(sighted.scorer.empty) == "<s>user:</s><s>assistant:"
    assert sighted.scorer.ends == (tokenizer.convert_tokens_to_ids("</s>"),)
    question = Pictured.of(ITEMS[0], NOTHING)
    (found,) = ask(sighted.scorer, [question], look=sighted.look, tokens=3)
    prompt = sighted.look.prompt(question, question.text())
    model = VisionLanguageModel.load(vlm)
    assert found.scores.sum[1] == pytest.approx(naive(model, prompt, tokenizer("B")["input_ids"]), abs=1e-5)
    sighted.scorer.ends = tuple(range(300))  # whatever comes first ends it
    (ended,) = ask(sighted.scorer, [question], look=sighted.look, tokens=3)
    assert (ended.reply, len(found.reply) > 0) == ("", True)


def test_a_model_without_eyes_is_asked_without_pictures(tmp_path):
    sighted = without_eyes(write_lm(tmp_path), 0, 512)
    question = Pictured.of(ITEMS[0], NOTHING)
    assert sighted.look.prompt(question, question.text()) == f"{question.text()}\nAnswer:"
    (found,) = ask(sighted.scorer, [question], look=sighted.look, tokens=2)
    (plain,) = ask(sighted.scorer, [Question("a", question.text("cloze"), ("x", "y"), 0)], replies=False)
    assert np.isfinite(found.scores.sum).all()
    assert found.scores.sum != plain.scores.sum
    with pytest.raises(PresightError, match="a checkpoint sees no pictures"):
        ask(sighted.scorer, [Pictured.of(ITEMS[0], Shown(KEYS[0]))], look=sighted.look)


def test_features_of_another_encoder_are_refused(world, tmp_path):
    vlm = VisionLanguageModel.load(world[0])
    other = Features(write_features(tmp_path / "other", encoder="toy@2"))
    wide = Features(write_features(tmp_path / "wide", width=12))
    for features in (other, wide):
        with pytest.raises(PresightError, match=f"features: are of .*encode with {ENCODER}, 8 wide"):
            Eyes(vlm, [features])
    more = Features(write_features(tmp_path / "more", keys=("ab" * 16,)))
    both = Eyes(vlm, [Features(world[1]), more])
    assert np.array_equal(both.read(Shown("ab" * 16)), more.read(["ab" * 16])[0])
    with pytest.raises(PresightError, match="has no features of picture"):
        both.read(Shown("cd" * 16))
    with pytest.raises(PresightError, match="features: none are given, but the questions are about pictures"):
        Eyes(vlm, []).read(Shown(KEYS[0]))


def test_what_a_model_is_known_by_is_its_weights_and_its_code(world, tmp_path):
    first = with_projector(world[0], [world[1]], 0, 512)
    again = with_projector(world[0], [], 0, 64)
    other = with_projector(write_vlm(tmp_path, seed=1), [world[1]], 0, 512)
    retold = with_projector(write_vlm(tmp_path / "b", tokens=16), [world[1]], 0, 512)
    assert first.digest == again.digest
    assert len({first.digest, other.digest, retold.digest}) == 3
    assert first.facts == {"modality": "image", "encoder": ENCODER, "template": "plain"}
