import gzip
import json

import numpy as np
import pytest
from pydantic import ValidationError

from corpus.clean.benchmark import Benchmark, _texts
from corpus.clean.leaks import GRAM, LeakIndex, normalised
from corpus.clean.runs import Hasher
from presight.errors import PresightError

WORDS = [f"{a}{b}" for a in ("ba", "ri", "lo", "ten", "mar") for b in ("ka", "vel", "dor", "in", "su", "pho")]


def item(number, length=20):
    """Words that no other item has in this order."""
    return " ".join(f"{WORDS[(number * 7 + i * i) % 30]}{number}" for i in range(length))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(out, paths, **fields):
    stage = Benchmark(paths={name: str(path) for name, path in paths.items()}, **fields).settle(False)
    out.mkdir(parents=True)
    stage.run(out, {})
    return json.loads((out / "benchmark.json").read_text())


def grams(out):
    """``{(length, hash): (benchmark, item, field)}``."""
    places = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    fields = json.loads((out / "benchmark.json").read_text())["fields"]
    found = {}
    for path in out.glob("ngrams-*.npy"):
        rows = np.load(path)
        assert rows.dtype == GRAM
        assert (np.diff(rows["hash"].astype(object)) > 0).all()
        for row in rows:
            place = places[row["item"]]
            found[int(path.stem[7:]), int(row["hash"])] = (place["benchmark"], place["item"], fields[row["field"]])
    return found


def twin(rows, n=12, minimum=8, questions=("question",), answers=("answer", "choices")):
    """Every n-gram of every text, one after the other; the first item and field that has it counts."""
    found = {}

    def add(words, place):
        length = min(n, len(words))
        for start in range(len(words) - length + 1) if len(words) >= minimum else ():
            found.setdefault((length, Hasher().run(words[start : start + length])), place)

    def texts(row, keys):
        for key in keys:
            value = row.get(key, [])
            for text in value if isinstance(value, list) else [value]:
                yield key, normalised(text)

    for number, row in enumerate(rows):
        name = str(row.get("id", number))
        asked, told = list(texts(row, questions)), list(texts(row, answers))
        for key, words in asked + told:
            add(words, ("set", name, key))
        for key, words in asked:
            for other, more in told:
                add(words + more, ("set", name, f"{key}+{other}"))
    return found


def test_index_equals_the_slow_twin(tmp_path):
    rows = [
        {"id": "long", "question": item(1, 30), "answer": item(2, 15), "choices": [item(2, 15), item(3, 3)]},
        {"question": item(4, 9), "answer": item(5, 2)},
        {"question": item(6, 5), "answer": item(7, 4)},
        {"question": item(8, 3), "answer": "no"},
        {"question": item(9, 11), "choices": [item(10, 1), item(11, 12)]},
    ]
    described = made(tmp_path / "out", {"set": jsonl(tmp_path / "set.jsonl", rows)})
    assert grams(tmp_path / "out") == twin(rows)
    found = described["benchmarks"]["set"]
    assert found["items"] == 5
    assert found["uncovered"] == 1
    assert found["ngrams"] == len(twin(rows))
    assert found["short"]["question"] == 2
    assert json.loads((tmp_path / "out" / "counts.json").read_text())["set"]["uncovered"] == 1


def test_other_lengths(tmp_path):
    rows = [{"question": item(i, 3 * i), "answer": item(50 + i, i)} for i in range(1, 8)]
    made(tmp_path / "out", {"set": jsonl(tmp_path / "set.jsonl", rows)}, n=6, minimum=4)
    assert grams(tmp_path / "out") == twin(rows, 6, 4)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".parquet", ".txt"])
def test_formats(tmp_path, suffix):
    place = tmp_path / f"set{suffix}"
    rows = [{"question": item(i), "choices": [item(100 + i), "no"], "image": "not read"} for i in range(5)]
    if suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), place)
    elif suffix == ".txt":
        rows = [{"question": row["question"]} for row in rows]
        place.write_text("\n\n".join(row["question"] for row in rows))
    elif suffix == ".json":
        place.write_text(json.dumps(rows))
    elif suffix == ".jsonl.gz":
        place.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        jsonl(place, rows)
    made(tmp_path / "out", {"set": place})
    assert grams(tmp_path / "out") == twin(rows)


def test_answers_may_be_nested_and_need_not_be_text(tmp_path):
    rows = [{"query": item(1), "options": {"text": [item(2), item(3)], "label": ["A", "B"]}, "answer": 1}]
    made(
        tmp_path / "out",
        {"set": jsonl(tmp_path / "x.jsonl", rows)},
        questions=("query",),
        answers=("options", "answer"),
    )
    flat = [{"query": item(1), "options": [item(2), item(3), "A", "B"]}]
    assert grams(tmp_path / "out") == twin(flat, questions=("query",), answers=("options",))


def test_a_sets_own_wording_is_no_leak(tmp_path):
    phrase = "Answer the question about the picture with one word or a short phrase please"
    rows = [{"question": f"{phrase} {item(i)}"} for i in range(30)]
    described = made(tmp_path / "out", {"set": jsonl(tmp_path / "set.jsonl", rows)})["benchmarks"]["set"]
    assert described["templates"] == len(phrase.split()) - 12 + 1
    assert described["commonest"][0]["items"] == 30
    assert {each["ngram"] for each in described["commonest"]} == {
        " ".join(normalised(phrase)[i : i + 12]) for i in range(described["templates"])
    }
    kept = grams(tmp_path / "out")
    assert kept == {key: place for key, place in twin(rows).items() if key in kept}
    assert len(twin(rows)) - len(kept) == described["templates"]
    assert made(tmp_path / "all", {"set": tmp_path / "set.jsonl"}, template=30)["benchmarks"]["set"]["templates"] == 0


def test_several_sets_share_an_index(tmp_path):
    one = jsonl(tmp_path / "one.jsonl", [{"question": item(1)}, {"question": item(2)}])
    two = jsonl(tmp_path / "two.jsonl", [{"question": item(2)}, {"question": item(3)}])
    made(tmp_path / "out", {"b": one, "a": two})
    places = sorted(set(grams(tmp_path / "out").values()))
    assert places == [("a", "0", "question"), ("a", "1", "question"), ("b", "0", "question")]  # item 2 counts once


def test_identity_is_content_and_settings(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        jsonl(tmp_path / folder / "set.jsonl", [{"question": item(1)}])
    stages = [
        Benchmark(paths={"set": str(tmp_path / f)}, **k).settle(False)
        for f, k in (("a", {}), ("b", {}), ("a", {"n": 13}))
    ]
    assert stages[0].fingerprint == stages[1].fingerprint != stages[2].fingerprint
    (tmp_path / "a" / "set.jsonl").write_text(json.dumps({"question": item(5)}))
    with pytest.raises(PresightError, match=r"paths\.set: its files changed"):
        stages[0].run(tmp_path, {})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("set.jsonl", '{"prompt": "what is this"}', "no item has text under question, answer, choices"),
        ("set.jsonl", '{"question": "what is this"}', "no text in it has 8 words"),
        ("set.jsonl", '["a", "list"]', "an item is no JSON object"),
        ("set.jsonl", "{", "cannot be read"),
        ("set.jsonl", '{"question": ' + "[" * 9999, "cannot be read"),
        ("set.json", "[" * 9999, "cannot be read"),
        ("set.jsonl.gz", "{}", "cannot be read"),
        ("set.txt", f"{item(1)}\n" * 11, "every n-gram in it stands in more than 10 items"),
        ("set.parquet", "PAR1", "cannot be read"),
        ("set.csv", "question", "holds no items"),
    ],
)
def test_what_is_no_evaluation_set_is_refused(tmp_path, name, content, problem):
    (tmp_path / name).write_text(content)
    with pytest.raises(PresightError, match=problem):
        made(tmp_path / "out", {"set": tmp_path / name})


def test_a_table_without_the_columns_names_those_it_has(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"prompt": [item(1)]}), tmp_path / "set.parquet")
    with pytest.raises(PresightError, match="its columns are prompt, not answer, choices, id, question"):
        made(tmp_path / "out", {"set": tmp_path / "set.parquet"})


def test_bytes_depend_on_the_items_alone(tmp_path):
    place = jsonl(tmp_path / "set.jsonl", [{"question": item(i), "answer": item(i + 50, 6)} for i in range(20)])
    made(tmp_path / "a", {"set": place})
    made(tmp_path / "b", {"set": place})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_length_of_which_all_is_the_sets_own_wording(tmp_path):
    rows = [{"question": item(1, 9)}] * 11 + [{"question": item(2)}]
    made(tmp_path / "out", {"set": jsonl(tmp_path / "set.jsonl", rows)})
    assert {length for length, _ in grams(tmp_path / "out")} == {12}
    index = LeakIndex([tmp_path / "out"])
    assert index.find(normalised(item(1, 9))) is None
    assert index.find(normalised(item(2))) is not None


def test_text_is_found_at_any_depth_and_in_order():
    value: object = "last"
    for _ in range(5000):
        value = [value]
    assert list(_texts({"a": "first", "b": ["second", {"c": "third"}, 4, None], "d": value})) == [
        *("first", "second", "third", "last")
    ]


def test_a_byte_order_mark_and_half_a_surrogate_pair_are_no_fault(tmp_path):
    (tmp_path / "set.jsonl").write_text(f'\ufeff{{"question": "{item(1)}", "id": "\\ud800"}}\n', "utf-8")
    made(tmp_path / "out", {"set": tmp_path / "set.jsonl"})
    assert {place[:2] for place in grams(tmp_path / "out").values()} == {("set", "?")}


def test_a_set_needs_a_place_and_a_key(tmp_path):
    with pytest.raises(PresightError, match="paths: names no evaluation set"):
        Benchmark(paths={}).settle(False)
    with pytest.raises(ValidationError, match="questions"):
        Benchmark(paths={"set": str(tmp_path)}, questions=())
