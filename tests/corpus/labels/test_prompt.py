import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.labels.prompt import Answer, Invalid, Prompt
from corpus.labels.taxonomy import Taxonomy

TAXONOMY = Taxonomy.read()
PROMPT = Prompt(TAXONOMY)
LABELS = st.lists(st.sampled_from(TAXONOMY.labels), max_size=8)
PROSE = st.text(st.characters(exclude_characters="{}<>", exclude_categories=["Cs"]), max_size=60)


def form(labels, reason="because"):
    return json.dumps({"reason": reason, "labels": labels})


@given(PROSE, LABELS, PROSE, PROSE)
def test_an_object_with_known_labels_counts_whatever_stands_around_it(before, labels, reason, after):
    answer = PROMPT.parse(before + form(labels, reason) + after)
    assert answer == Answer(tuple(label for label in TAXONOMY.labels if label in labels), reason)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["{", "}", '"labels"', ":", "[", "]", '"math_reasoning"', ",", " ", "x"])).map("".join)
)
@example('{"labels": ' * 5000)
@example("{" * 5000)
@example('{"labels": 1' + "0" * 5000 + "}")
def test_any_text_is_an_answer_or_invalid(raw):
    try:
        found = PROMPT.parse(raw).labels
    except Invalid:
        found = ()
    assert set(found) <= set(TAXONOMY.labels)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5))
def test_labels_are_a_list_of_known_names_or_the_answer_is_invalid(value):
    raw = json.dumps({"labels": value})
    if isinstance(value, list) and all(isinstance(each, str) and each in TAXONOMY.labels for each in value):
        assert set(PROMPT.parse(raw).labels) == set(value)
    else:
        with pytest.raises(Invalid):
            PROMPT.parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        '```json\n{"labels": ["math_reasoning"]}\n```',
        'Sure! {"reason": "sets {a, b}", "labels": ["math_reasoning"]} Anything else?',
        'The sets {a} and {b}: {"labels": ["math_reasoning", "math_reasoning"]}',
        '<think>{"labels": ["code_reasoning"]}? No.</think>{"labels": ["math_reasoning"]}',
        'it is not code</think>\n{"labels": ["math_reasoning"]}',
        '{"labels": ["math_reasoning"]}\n{"labels": ["math_reasoning"]}',
        '{"reason": null, "labels": ["math_reasoning"], "confidence": 0.9}',
    ],
)
def test_what_models_write_around_the_object_is_passed_over(raw):
    assert PROMPT.parse(raw).labels == ("math_reasoning",)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("", "no object"),
        ("math_reasoning", "no object"),
        ('["math_reasoning"]', "no object"),
        ('{"label": ["math_reasoning"]}', "no object"),
        ('{"answer": {"labels": []}}', "no object"),
        ('{"reason": "cut off", "labels": ["math_rea', "broken object"),
        ('{"about": {"labels": []}, "labels": ["cut', "broken object"),
        ('{"labels": [math_reasoning]} {"labels": []}', "broken object"),
        ('<think>perhaps {"labels": []}', "no object"),
        ('{"labels": "math_reasoning"}', "no list"),
        ('{"labels": null}', "no list"),
        ('{"labels": {"math_reasoning": true}}', "no list"),
        ('{"labels": [["math_reasoning"]]}', "no list"),
        ('{"labels": ["reasoning"]}', "unknown label"),
        ('{"labels": ["none"]}', "unknown label"),
        ('{"labels": ["math_reasoning", "Code_reasoning"]}', "unknown label"),
        ('{"labels": []} or {"labels": ["math_reasoning"]}', "several answers"),
    ],
)
def test_faults_have_kinds(raw, kind):
    with pytest.raises(Invalid) as caught:
        PROMPT.parse(raw)
    assert caught.value.kind == kind


def test_no_label_is_an_answer():
    assert PROMPT.parse('{"labels": []}') == Answer(())


def test_the_question_defines_every_label_and_ends_with_the_text():
    (message,) = PROMPT.messages("one {two} three")
    assert message["role"] == "user"
    for entry in TAXONOMY.entries:
        assert f"{entry.name}: {entry.definition}" in message["content"]
    assert message["content"].startswith(PROMPT.text)
    assert "<piece>\none {two} three\n</piece>" in message["content"]


def test_who_copies_the_form_has_not_answered():
    for message in PROMPT.messages("text", "bad"):
        with pytest.raises(Invalid):
            PROMPT.parse(message["content"])


def test_a_nudge_shows_the_answer_and_says_what_was_wrong():
    question, answer, nudge = PROMPT.messages("text", '{"labels": ["visual"]}' + "x" * 1000)
    assert question == PROMPT.messages("text")[0]
    assert answer["role"] == "assistant"
    assert len(answer["content"]) == 400
    assert '"visual" is no label' in nudge["content"]
    assert PROMPT.messages("text", " ")[1]["content"] == "(nothing)"


def test_the_digest_names_the_wording():
    assert Prompt(Taxonomy.read()).digest == PROMPT.digest
    tree = TAXONOMY.tree
    tree["families"]["visual"]["visual_concept"]["definition"] += " Or touched."
    assert Prompt(Taxonomy.of(tree)).digest != PROMPT.digest
