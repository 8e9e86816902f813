import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_tokenizer import byte_tokenizer

from adapt.vlm.template import PICTURE, Segment, Template
from presight.errors import PresightError

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
ENDLESS = (
    "{% for m in messages %}{{ '## ' + m['role'] + '\n' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '## assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def chatting(template, special=()):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def shown(tokenizer, tokens):
    """The text of a conversation, what is learnt in ⟦brackets⟧, ▣ for the picture."""
    found, learning = "", False
    for place, (token, learnt) in enumerate(zip(tokens.ids.tolist(), tokens.learnt.tolist(), strict=True)):
        found += "▣" if place == tokens.place else ""
        found += "" if learnt == learning else "⟦" if learnt else "⟧"
        learning = learnt
        found += tokenizer.decode([token])
    return found + "⟧" * learning + "▣" * (tokens.place == len(tokens.ids))


def test_a_caption_is_learnt_with_the_end_of_text_and_nothing_is_asked(tokenizer):
    template = Template("caption", tokenizer)
    assert shown(tokenizer, template.conversation(("What is it?", "a red cat"), True)) == "<s>▣⟦a red cat</s>⟧"
    assert shown(tokenizer, template.prompt("", True)) == "<s>▣"
    assert shown(tokenizer, template.prompt("What is it?", True)) == "<s>▣What is it?"


def test_plain_turns(tokenizer):
    template = Template("plain", tokenizer)
    turns = ("What is it?", "a cat", " And now? ", " a dog\n")
    expected = "<s>▣User: What is it?\nAssistant:⟦ a cat</s>⟧\nUser: And now?\nAssistant:⟦ a dog</s>⟧"
    assert shown(tokenizer, template.conversation(turns, True)) == expected
    assert shown(tokenizer, template.conversation(turns, False)) == expected.replace("▣", "")
    assert shown(tokenizer, template.prompt("What is it?", True)) == "<s>▣User: What is it?\nAssistant:"
    assert shown(tokenizer, template.conversation(("", "a cat"), True)) == "<s>▣User:\nAssistant:⟦ a cat</s>⟧"
    assert template.lead == " "


def test_a_tokenizer_without_a_beginning_of_text_has_none_in_front():
    tokenizer = byte_tokenizer()
    tokenizer.bos_token = None
    found = Template("plain", tokenizer).conversation(("Hi", "you"), True)
    assert shown(tokenizer, found) == "▣User: Hi\nAssistant:⟦ you</s>⟧"


@pytest.mark.parametrize(
    ("template", "special", "expected", "ends"),
    [
        (
            CHATML,
            ("<|im_start|>", "<|im_end|>"),
            "<|im_start|>user\n▣Q<|im_end|>\n<|im_start|>assistant\n⟦A<|im_end|>⟧\n"
            "<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n⟦B<|im_end|>⟧\n",
            "<|im_end|>",
        ),
        (LLAMA2, (), "<s>[INST] ▣Q [/INST]⟦ A </s>⟧<s>[INST] R [/INST]⟦ B </s>⟧", "</s>"),
        (ENDLESS, (), "## user\n▣Q\n## assistant\n⟦A</s>⟧\n## user\nR\n## assistant\n⟦B</s>⟧\n", "</s>"),
    ],
)
def test_the_tokenizers_own_template_is_parted(template, special, expected, ends):
    tokenizer = chatting(template, special)
    found = Template("chat", tokenizer)
    tokens = found.conversation((" Q ", "A", "R", "B"), True)
    assert shown(tokenizer, tokens) == expected
    assert tokenizer.convert_tokens_to_ids(ends) in found.ends
    asked = found.prompt("Q", True)
    assert shown(tokenizer, asked) == expected.partition("⟦")[0]
    said = [{"role": "user", "content": "Q"}]
    assert tokenizer.decode(asked.ids) == tokenizer.apply_chat_template(
        said, tokenize=False, add_generation_prompt=True
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template; give template: plain"),
        (CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>model\n'"), "begins an answer with"),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "does not write every turn once"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}{{ messages[1]['content'] }}", "every turn once"),
        ("{{ raise_exception('no pictures, please') }}", "cannot be filled in"),
        (
            ENDLESS.replace("+ '\n' }}", "+ ('</s>' if loop.last and loop.index % 2 == 0 else '\n') }}"),
            "ends one answer with '</s>', and another with",
        ),
        (
            LLAMA2.replace("{{ ' ' + m['content']", "{{ (' ' if loop.index == 2 else '\n') + m['content']"),
            "begins one answer after ' ', and another after",
        ),
    ],
)
def test_a_template_that_cannot_be_parted_is_one_sentence(template, words):
    with pytest.raises(PresightError, match="template: the tokenizer") as error:
        Template("chat", chatting(template)).segments(("Q", "A", "R", "B"), True)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_day_is_not_in_the_prompt():
    dated = "{{ strftime_now('%d %b %Y') if date_string is not defined else date_string }}" + CHATML
    tokenizer = chatting(dated)
    found = Template("chat", tokenizer).prompt("Q", False)
    assert tokenizer.decode(found.ids).startswith("26 Jul 2024<|im_start|>")


def test_names_and_turns_that_make_no_sense_are_one_sentence(tokenizer):
    with pytest.raises(PresightError, match="did you mean plain"):
        Template("plane", tokenizer)
    with pytest.raises(PresightError, match="a conversation of 4 turns is no caption"):
        Template("caption", tokenizer).segments(("a", "b", "c", "d"), True)
    endless = byte_tokenizer()
    endless.eos_token = None
    with pytest.raises(PresightError, match="no end-of-text token"):
        Template("plain", endless)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(TEXT, min_size=1, max_size=3), st.lists(TEXT, min_size=3, max_size=3), st.booleans(), st.data())
def test_segments_decode_to_the_text_and_answers_alone_are_learnt(asked, answers, picture, data):
    name = data.draw(st.sampled_from(["plain", "chat"]))
    tokenizer = chatting(CHATML, ("<|im_start|>", "<|im_end|>"))
    template = Template(name, tokenizer)
    turns = [turn for pair in zip(asked, answers, strict=False) for turn in pair]
    segments, tokens = template.segments(turns, picture), template.conversation(turns, picture)
    assert tokenizer.decode(tokens.ids) == "".join(each.text for each in segments)
    learnt = [tokenizer.decode(tokenizer.encode(each.text)) for each in segments if each.learnt]
    assert tokenizer.decode(tokens.ids[tokens.learnt]) == "".join(learnt)
    end = "</s>" if name == "plain" else "<|im_end|>"
    assert "".join(learnt) == "".join(template.lead + turn.strip() + end for turn in turns[1::2])
    assert (tokens.place is not None) == picture == (PICTURE in segments)


def test_what_data_spell_is_no_special_token(tokenizer):
    found = Template("plain", tokenizer).conversation(("Say </s><s>", "</s>"), False)
    assert (found.ids == tokenizer.eos_token_id).sum() == 1
    assert (found.ids == tokenizer.bos_token_id).sum() == 1
    assert tokenizer.decode(found.ids) == "<s>User: Say </s><s>\nAssistant: </s></s>"


def test_segments_say_what_they_are(tokenizer):
    assert Template("plain", tokenizer).segments(("Q", "A"), True) == [
        Segment("<s>", marked=True),
        PICTURE,
        Segment("User: Q\nAssistant:"),
        Segment(" A", learnt=True),
        Segment("</s>", learnt=True, marked=True),
    ]
