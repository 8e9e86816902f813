import json

import pyarrow.dataset
import pytest
import torch
from toy_tokenizer import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from presight.cli import app
from presight.errors import PresightError


def call(*words):
    """What ``presight eval`` prints; its error, if it has one."""
    done = CliRunner().invoke(app, ["eval", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models, questions, and texts of two sources."""
    folder = tmp_path_factory.mktemp("place")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=300, max_position_embeddings=128, **sizes))
        model.save_pretrained(folder / name)
        byte_tokenizer().save_pretrained(folder / name)
    options = ["red", "blue", "green"]
    lines = [json.dumps({"prompt": f"Thing {n}?", "options": options, "answer": n % 3}) for n in range(12)]
    (folder / "colours.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "texts").mkdir()
    for source in ("web", "code"):
        texts = [json.dumps({"text": f"{source} text number {n}"}) for n in range(4)]
        (folder / "texts" / f"{source}.jsonl").write_text("\n".join(texts) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cached(place, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(place / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def answers(place):
    """Both models' answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRESIGHT_CACHE", str(place / "cache"))
        patch.setenv("COLUMNS", "200")
        return [
            call("choices", place / name, place / "colours.jsonl", "--out", place / f"answers-{name}")
            for name in ("one", "two")
        ]


def test_choices_shows_both_scorers_and_where_the_choices_fall(answers, place):
    for said in answers:
        assert "colours: 12 questions, chance 33.3 %; right answers A 33% B 33% C 33%" in said
        assert "replies read: " in said
        assert all(name in said for name in ("sum", "token", "byte", "pmi", "reply"))
    card = json.loads((place / "answers-one" / "card.json").read_text())
    assert card["stage"] == "eval.Choices"
    assert [parent["kind"] for parent in card["parents"]] == ["checkpoint"]
    with pytest.raises(PresightError, match="is there already; name another folder, or delete it"):
        call("choices", place / "one", place / "colours.jsonl", "--out", place / "answers-one")


def test_two_results_are_compared_item_by_item(answers, place):
    said = call("compare", place / "answers-one", place / "answers-two")
    assert said.startswith("On colours, ")
    assert "model=answers-one" in said
    assert "1 seed × 12 items" in said
    assert "One seed a side speaks of these two models only" in said
    (found,) = json.loads(call("compare", place / "answers-one", place / "answers-two", "--json"))
    assert found["n_items"] == 12
    assert found["p_holm"] == found["p"]


def test_bits_of_own_texts_are_told_apart_by_source_and_compared(place):
    for name in ("one", "two"):
        said = call("bits", place / name, place / "texts", "--out", place / f"bits-{name}")
        assert "web" in said
        assert "code" in said
    said = call("compare", place / "bits-one", place / "bits-two")
    assert said.count("bits a byte") == 2
    found = json.loads(call("bits", place / "one", place / "texts", "--out", place / "bits-json", "--json"))
    assert found["sources"]["web"]["documents"] == 4


def test_own_language_tasks(place):
    pytest.importorskip("lm_eval")
    said = call("language", place / "one", "--task", "quantities", "--out", place / "language")
    assert "quantities" in said
    assert (place / "language" / "items.parquet").exists()


def test_results_are_gathered_into_one_table(answers, place):
    results = [place / "answers-one", place / "answers-two"]
    said = call("records", *results, "--to", place / "records")
    assert said.strip().endswith("2 of 2 results are new")
    assert json.loads(call("records", *results, "--to", place / "records", "--json")) == {"results": 2, "new": []}
    table = pyarrow.dataset.dataset(place / "records", format="parquet", exclude_invalid_files=True).to_table()
    assert table.num_rows == 24
    assert len(set(table["model"].to_pylist())) == 2
    with pytest.raises(PresightError, match="holds no results"):
        call("records", place / "texts", "--to", place / "nowhere")


def test_power_before_anything_is_run():
    found = json.loads(call("power", "--items", 2000, "--seeds", 4, "--seed-sd", 0.02, "--json"))
    points = [found["seeds"][str(n)] for n in (2, 3, 4, 5, 8, 12)]
    assert points == sorted(points, reverse=True)
    assert found["seeds"]["1"] is None
    assert "4 ←" in call("power", "--items", 2000, "--seeds", 4)


def test_how_a_reply_is_read():
    said = call("parse", "The answer is curtain", "--option", "curtain", "--option", "cabinet")
    assert said == "curtain (text)\n"
    assert call("parse", "A or B", "--option", "curtain", "--option", "cabinet") == "none (ambiguous)\n"


def test_what_cannot_be_measured_leaves_nothing_behind(place):
    with pytest.raises(PresightError, match=r"holds no checkpoint; name a folder with config\.json and weights"):
        call("choices", place / "texts", place / "colours.jsonl", "--out", place / "never")
    with pytest.raises(PresightError, match="suite: 'x' is unknown"):
        call("language", place / "one", "--suite", "x", "--out", place / "never")
    broken = place / "broken.jsonl"
    broken.write_text("{\n")
    with pytest.raises(PresightError):
        call("choices", place / "one", broken, "--out", place / "never")
    assert not list(place.glob("*never*"))
