import json
import random

import pytest
from datatrove.data import Document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.clean.benchmark import Benchmark
from corpus.clean.leaks import LeakIndex, Leaks, canary, normalised
from presight.errors import PresightError

QUESTION = "Which of the two animals in the left photograph is standing closer to the old wooden fence by the river?"
ANSWER = "The brown dog, because its shadow falls across the second plank of that fence in the photograph."
SHORT = "How many striped umbrellas are on the beach?"  # 8 words
ITEMS = [
    {"id": "long", "question": QUESTION, "answer": ANSWER},
    {"id": "short", "question": SHORT, "answer": "three"},
    {"id": "joined", "question": "What colour is the tram?", "answer": "pale green with white stripes"},
    {
        "id": "numbers",
        "question": "Add 17 and 25 and 33 and 48 and 59 and 61 and 72 and tell the sum.",
        "answer": "315",
    },
    {"id": "tiny", "question": "What is this?", "answer": "a cup"},
]
VOCABULARY = """the a of in
on and to that with near under old small red green river fence dog photograph shadow left two
animals standing wooden umbrella beach striped how many which is are there by its plank second brown tram colour white
pale we saw they went home before rain market bread window light morning street people walked slowly across bridge"""


def index(folder, items=ITEMS, allow=(), **fields):
    (folder / "set.jsonl").write_text("".join(json.dumps(each) + "\n" for each in items))
    stage = Benchmark(paths={"set": str(folder / "set.jsonl")}, **fields).settle(False)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    stage.run(out, {})
    return LeakIndex([out], allow)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", name="known")
def known_items(tmp_path_factory):
    return index(tmp_path_factory.mktemp("known"))


def sentence(draw):
    return " ".join(draw.choices(VOCABULARY.split(), k=draw.randint(6, 25))).capitalize() + "."


def around(text, seed=0):
    draw = random.Random(seed)
    return f"{sentence(draw)} {text} {sentence(draw)}"


@pytest.mark.parametrize(
    ("text", "item", "field"),
    [
        (QUESTION, "long", "question"),
        (ANSWER, "long", "answer"),
        (f"{QUESTION} {ANSWER}", "long", "question"),
        (SHORT, "short", "question"),
        ("What colour is the tram? A: Pale green, with white stripes", None, None),  # a word between
        ("What colour is the tram? Pale green, with white stripes", "joined", "question+answer"),
        (QUESTION.upper().replace(" ", "\n"), "long", "question"),
        (QUESTION.replace(" ", " -- ").replace("river", "rivér"), "long", "question"),
        (" ".join(QUESTION.split()[4:17]), "long", "question"),
        ("closer to the old wooden fence by the river? The brown dog, because its", "long", "question+answer"),
        (ITEMS[3]["question"], "numbers", "question"),
    ],
)
def test_planted_leaks_are_found(known, text, item, field):
    hit = known.find(normalised(around(text)))
    if item is None:
        assert hit is None
        return
    assert (hit.benchmark, hit.item, hit.field) == ("set", item, field)
    assert hit.ngram in " ".join(normalised(text))
    assert hit.matches >= 1


@pytest.mark.parametrize(
    "text",
    [
        " ".join(QUESTION.split()[4:15]),  # eleven words of twenty
        " ".join(SHORT.split()[:-1]),
        QUESTION.replace("two", "three").replace("wooden", "iron").replace("photograph", "picture"),
        "What is this? a cup",
        "Add 17 and 25 and 33 and 48 and 59 and 61 and 73 and tell the sum.".replace("25", "26"),
        "",
        "?!",
    ],
)
def test_what_is_another_text_is_none(known, text):
    assert known.find(normalised(text)) is None


def test_unrelated_sentences_of_the_same_words_are_no_leaks(known):
    draw = random.Random(0)
    assert sum(known.find(normalised(sentence(draw))) is not None for _ in range(2000)) == 0


def slow(items, words, n, minimum):
    """Positions in a document where a run of an item begins: sets of tuples."""
    wanted = set()
    for item in items:
        asked, told = normalised(item["question"]), normalised(item["answer"])
        for text in (asked, told, asked + told if asked and told else []):
            length = min(n, len(text))
            if len(text) >= minimum:
                wanted |= {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}
    return {
        start: max(k for k in range(minimum, n + 1) if tuple(words[start : start + k]) in wanted)
        for start in range(len(words))
        if any(tuple(words[start : start + k]) in wanted for k in range(minimum, n + 1))
    }


few = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(few, few), min_size=1, max_size=4), st.lists(st.sampled_from("abc"), max_size=60))
def test_finding_equals_the_slow_twin(tmp_path_factory, pairs, words):
    items = [{"question": a, "answer": b} for a, b in pairs]
    if not any(len(a.split()) >= 4 or len(b.split()) >= 4 for a, b in pairs):
        return
    expected = slow(items, words, 6, 4)
    hit = index(tmp_path_factory.mktemp("twin"), items, n=6, minimum=4).find(words)
    if not expected:
        assert hit is None
        return
    start = min(expected)
    assert hit.ngram == " ".join(words[start : start + expected[start]])
    assert hit.matches == len(expected)


@given(st.text(max_size=40))
def test_normalising_ascii_is_a_special_case(text):
    assert normalised(text.encode("ascii", "ignore").decode() + " ü")[:-1] == normalised(
        text.encode("ascii", "ignore").decode()
    )
    assert normalised(text) == normalised(text.upper().lower() if text.isascii() else text)
    assert all(word and not word.isspace() for word in normalised(text))


def test_normalising():
    assert normalised("The “Café”, 3.14 — x_1!") == ["the", "cafe", "3", "14", "x", "1"]
    assert normalised("cafe\u0301 ﬁn １２ STRASSE straße") == ["cafe", "fin", "12", "strasse", "strasse"]
    assert normalised("它是猫 cat") == ["它", "是", "猫", "cat"]
    assert normalised("ques\u00adtion\u200b of\ufeff") == ["question", "of"]  # what is not seen


def test_common_phrases_can_be_allowed(known, tmp_path):
    text = around(SHORT)
    ngram = known.find(normalised(text)).ngram
    allowing = index(tmp_path, allow=(ngram,))
    assert allowing.find(normalised(text)) is None
    assert allowing.find(normalised(f"{text} three {QUESTION}")).item == "long"
    with pytest.raises(PresightError, match="'no such words' is no n-gram of the evaluation sets"):
        index(tmp_path, allow=("no such words",))


def test_several_indices_are_one(tmp_path):
    folders = []
    for name, text in (("a", QUESTION), ("b", ANSWER)):
        (tmp_path / name).mkdir()
        index(tmp_path / name, [{"id": name, "question": text}], questions=("question",), answers=())
        folders.append(tmp_path / name / "out")
    both = LeakIndex(folders)
    assert [both.find(normalised(text)).item for text in (QUESTION, ANSWER)] == ["a", "b"]


def test_canaries():
    guid = "0a1b2c3d-1234-5678-9abc-0123456789AB"
    text = f"# Data of a benchmark should not be trained on. Canary GUID {guid}"
    assert canary(text) == guid.lower()
    assert canary("A canary sang, and a GUID has 36 characters.") is None
    document = Document(text=text, id="x")
    assert Leaks(LeakIndex()).filter(document) == (False, "canary")
    assert document.metadata["leak"]["item"] == guid.lower()


def test_the_filter_drops_with_a_reason(known):
    step = Leaks(known)
    leaking, clean = (Document(text=text, id="") for text in (around(QUESTION), around("")))
    assert step.filter(clean) is True
    assert clean.metadata == {}
    assert step.filter(leaking) == (False, "set")
    assert leaking.metadata["leak"] == {
        "ngram": " ".join(normalised(QUESTION)[:12]),
        "benchmark": "set",
        "item": "long",
        "field": "question",
        "matches": len(normalised(QUESTION)) - 11,
    }
    assert Leaks(LeakIndex()).filter(leaking) is True
