import json
import math
import shutil
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

pytest.importorskip("lm_eval")

from eval.language import harness
from eval.language.language import SUITES, Entry, Language, intervals, item_rows, plain, summary
from eval.stats.intervals import mean_interval, paired_bootstrap
from presight.errors import PresightError
from presight.stage import Stage

WEATHER = ("wet", "dry", "warm", "cold", "windy", "grey", "bright", "dull", "foggy", "mild", "clear", "icy")
QUESTIONS = ("Is it {}?", "Was it ever {}?", "Will it be {}?")


class Given(Stage):
    """A checkpoint that lies there already."""

    kind: ClassVar[str] = "checkpoint"


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """Two models of other random weights, with the tiny experiment's tokenizer."""
    from pretrain.model import configuration, initialise

    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("models") / "lm"
        shutil.copytree(tiny.path(tiny.tokenizer), folder)
        initialise(configuration("tiny", 512, 256, 0), seed).save_pretrained(folder)
        folders.append(folder)
    return folders


@pytest.fixture
def own(tmp_path):
    """A task of one's own, of questions in pairs."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "weather.yaml").write_text(
        """
task: weather
dataset_path: json
dataset_kwargs: {data_files: {test: weather.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: ["no", "yes"]
doc_to_target: label
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}, {metric: f1}]
metadata: {version: 3, cluster: day}
"""
    )
    rows = [
        {"question": QUESTIONS[number % 3].format(word), "label": number % 2, "day": number // 2}
        for number, word in enumerate(WEATHER)
    ]
    (folder / "weather.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(stage, out, model):
    out.mkdir(parents=True)
    stage.run(out, {"model": model})
    import pyarrow.parquet

    text = (out / "language.json").read_text()
    return json.loads(text), pyarrow.parquet.read_table(out / "items.parquet").to_pylist()


def test_stage_scores_tasks_of_ones_own_item_by_item(own, models, tmp_path):
    tasks = ("weather", "quantities", "passages")
    stage = Language(model=Given(), tasks=tasks, include=own).settle(True)
    found, rows = run(stage, tmp_path / "a" / "out", models[0])
    assert found["versions"] == {"weather": 3, "quantities": 1.0, "passages": 1.0}
    assert found["lm_eval_version"] == stage.content["lm_eval"]
    assert set(found["task_hashes"]) == set(tasks)
    assert json.loads((tmp_path / "a" / "out" / "counts.json").read_text()) == {
        name: found["n-samples"][name]["effective"] for name in tasks
    }
    for name in tasks:  # every item once, and our figures are lm-eval's
        for metric, interval in found["intervals"][name].items():
            part = [row for row in rows if (row["task"], row["metric"]) == (name, metric)]
            assert len({row["item"] for row in part}) == len(part) == found["n-samples"][name]["effective"]
            assert interval["estimate"] == pytest.approx(found["results"][name][metric])
            assert interval["low"] < interval["estimate"] < interval["high"] or interval["estimate"] in (0, 1)
    assert set(found["intervals"]["weather"]) == {"acc,none"}  # f1 is no mean over items
    assert "f1,none" in found["results"]["weather"]
    weather = [row for row in rows if row["task"] == "weather"]
    assert [row["cluster"] for row in weather[::2]] == [row["cluster"] for row in weather[1::2]]
    assert len({row["cluster"] for row in weather}) == 6
    expected = mean_interval([[row["score"] for row in weather]], [row["cluster"] for row in weather])
    assert found["intervals"]["weather"]["acc,none"]["high"] == pytest.approx(expected.high)
    assert found["intervals"]["weather"]["acc,none"]["method"].startswith("clusters only")
    assert found["intervals"]["passages"]["bits_per_byte,none"]["method"].startswith("items only")
    assert {len(row[key]) for row in rows for key in ("prompt_hash", "target_hash")} == {64}
    # the same bytes again, elsewhere and cut otherwise but for last digits of scores
    shutil.copytree(own, tmp_path / "moved")
    other = stage.changed(include=tmp_path / "moved")
    assert other.fingerprint == stage.fingerprint
    run(other, tmp_path / "b" / "out", models[0])
    for name in ("language.json", "items.parquet"):
        first, second = ((tmp_path / each / "out" / name).read_bytes() for each in "ab")
        assert first == second
    _, cut = run(stage.changed(batch_tokens=64), tmp_path / "c" / "out", models[0])
    assert [row["score"] for row in cut] == pytest.approx([row["score"] for row in rows], rel=1e-5)


def test_two_models_are_compared_item_by_item(models, tmp_path):
    stage = Language(model=Given(), tasks=("quantities", "passages")).settle(True)
    arms = [run(stage, tmp_path / str(number) / "out", model)[1] for number, model in enumerate(models)]
    for key in ("task", "metric", "item", "cluster", "weight", "prompt_hash", "target_hash"):
        assert [row[key] for row in arms[0]] == [row[key] for row in arms[1]]
    first, second = (
        np.array([-row["score"] / row["weight"] for row in rows if row["metric"] == "bits_per_byte,none"])
        for rows in arms
    )
    delta = paired_bootstrap(first, second)
    assert delta.estimate == pytest.approx(first.mean() - second.mean())
    assert delta.low < delta.estimate < delta.high


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def made_up(n):
    """The n-th item of each of the suite's data sets, in the columns of the real ones."""
    options = {"text": ["a stone", "a bird", "a cloud", "a shoe"], "label": ["A", "B", "C", "D"]}
    return {
        "baber/piqa": {"goal": f"Dry {n} socks", "sol1": "Hang them up.", "sol2": "Boil them.", "label": 0},
        "Rowan/hellaswag": {
            "ctx_a": f"Person {n} opens a tin.",
            "ctx_b": "then",
            "activity_label": "Cooking",
            "endings": ["flies off.", "stirs the soup.", "melts.", "is a lamp."],
            "label": "1",
        },
        "allenai/winogrande/winogrande_xl": {
            "sentence": f"Box {n} beats bag {n} since the _ is big.",
            "option1": "box",
            "option2": "bag",
            "answer": "1",
        },
        "allenai/ai2_arc/ARC-Easy": {"question": f"What flies {n} miles?", "choices": options, "answerKey": "B"},
        "allenai/ai2_arc/ARC-Challenge": {"question": f"What lets {n} drops?", "choices": options, "answerKey": "C"},
        "aps/super_glue/copa": {
            "premise": f"It rained {n} hours.",
            "choice1": "I got wet.",
            "choice2": "I sang.",
            "question": "effect",
            "label": 0,
        },
        "aps/super_glue/boolq": {"passage": f"Rain {n // 2} is wet.", "question": f"is rain {n} wet", "label": 1},
        "allenai/sciq": {
            "support": f"Note {n}: ice melts.",
            "question": "What does ice do?",
            "distractor1": "burn",
            "distractor2": "sing",
            "distractor3": "rust",
            "correct_answer": "melt",
        },
        "allenai/openbookqa/main": {"question_stem": f"Who has {n} wings?", "choices": options, "answerKey": "B"},
        "EleutherAI/wikitext_document_level/wikitext-2-raw-v1": {
            "page": f" = Page {n} = \n \n Some words , here . \n"
        },
        "EleutherAI/lambada_openai/default": {"text": f"She had {n} keys and lost every key"},
    }


@pytest.fixture
def mirror(tmp_path):
    """Three items of each data set."""
    items = [made_up(n) for n in (1, 2, 3)]
    for place in items[0]:
        for split in ("train", "validation", "test"):
            jsonl(tmp_path / "mirror" / place / f"{split}.jsonl", [item[place] for item in items])
    return tmp_path / "mirror"


def test_the_papers_suite_runs_offline_from_a_mirror(mirror, models, tmp_path):
    stage = Language(model=Given(), suite="see_before_seeing", mirror=mirror).settle(True)
    found, rows = run(stage, tmp_path / "run" / "out", models[0])
    entries = SUITES["see_before_seeing"]
    assert set(found["results"]) == {entry.task for entry in entries}
    for entry in entries:
        assert f"{entry.metric},none" in found["intervals"][entry.task]
        assert found["n-samples"][entry.task]["effective"] == 3
        part = [row for row in rows if row["task"] == entry.task and row["metric"] == f"{entry.metric},none"]
        assert len({row["prompt_hash"] for row in part}) == 3
    assert len({row["cluster"] for row in rows if row["task"] == "boolq"}) == 2  # passages
    score = {entry.task: found["results"][entry.task][f"{entry.metric},none"] for entry in entries}
    arc = (score["arc_easy"] + score["arc_challenge"]) / 2
    others = [score[each] for each in ("piqa", "hellaswag", "winogrande", "copa", "sciq", "openbookqa", "boolq")]
    assert found["suite"]["accuracy"]["estimate"] == pytest.approx((arc + sum(others)) / 8)
    both = (score["wikitext"] + score["lambada_openai"]) / 2
    assert found["suite"]["perplexity"]["estimate"] == pytest.approx(both)
    words = [row for row in rows if row["metric"] == "word_perplexity,none"]
    by_hand = math.exp(-sum(row["score"] for row in words) / sum(row["weight"] for row in words))
    assert score["wikitext"] == pytest.approx(by_hand)


def test_the_suite_is_that_of_the_paper():
    entries = SUITES["see_before_seeing"]
    accuracies = [entry for entry in entries if entry.metric in ("acc", "acc_norm")]
    assert len(accuracies) == 9
    assert len({entry.benchmark for entry in accuracies}) == 8
    assert {entry.benchmark for entry in entries} - {entry.benchmark for entry in accuracies} == {
        "WikiText",
        "LAMBADA",
    }


def test_stage_is_named_by_content_and_refuses_what_it_cannot_do(own, tmp_path, models, monkeypatch):
    settled = Language(model=Given(), tasks=("weather",), include=own).settle(True)
    assert set(settled.content) == {"lm_eval", "include"}
    (own / "weather.jsonl").write_text((own / "weather.jsonl").read_text().replace("wet", "damp"))
    assert Language(model=Given(), tasks=("weather",), include=own).settle(True).fingerprint != settled.fingerprint
    with pytest.raises(PresightError, match="include: changed since it was planned"):
        settled.run(tmp_path, {"model": models[0]})
    with pytest.raises(PresightError, match=r"suite: 'see_before'.*did you mean see_before_seeing"):
        Language(model=Given(), suite="see_before").settle(True)
    with pytest.raises(PresightError, match="names no task"):
        Language(model=Given()).settle(True)
    monkeypatch.setattr(harness, "lm_eval_version", lambda: "0.0")
    assert Language(model=Given(), tasks=("weather",)).settle(True).content["lm_eval"] == "0.0"
    with pytest.raises(PresightError, match="lm_eval: changed since it was planned"):
        settled.run(tmp_path, {"model": models[0]})


def sample(number, **fields):
    found = {"doc_id": number, "doc_hash": f"{number:064d}", "prompt_hash": "p", "target_hash": "t", "doc": {}}
    return found | {"filter": "none", "metrics": list(fields), **fields}


def test_rows_leave_out_metrics_that_are_no_mean_and_refuse_unknown_clusters():
    kinds = {"acc": "mean", "f1": "f1_score", "bits_per_byte": "bits_per_byte"}
    rows = item_rows("task", [sample(3, acc=1, f1=(1, 0), bits_per_byte=(-9.5, 4))], kinds)
    assert [(row["metric"], row["score"], row["weight"]) for row in rows] == [
        ("acc,none", 1.0, 1.0),
        ("bits_per_byte,none", -9.5, 4.0),
    ]
    assert {row["item"] for row in rows} == {row["cluster"] for row in rows} == {"3:" + "0" * 16}
    with pytest.raises(PresightError, match=r"tasks\.task: its items have no 'passage'"):
        item_rows("task", [sample(3, acc=1)], kinds, "passage")


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-300, 0), st.integers(1, 50)), min_size=3, max_size=20))
def test_intervals_are_about_lm_evals_own_figures(pairs):
    from lm_eval.api import metrics

    kinds = {"a": "perplexity", "b": "weighted_perplexity", "c": "bits_per_byte"}
    rows = item_rows("x", [sample(k, a=nats, b=(nats, w), c=(nats, w)) for k, (nats, w) in enumerate(pairs)], kinds)
    found = intervals(rows, kinds)
    for name, values in (("a", [nats for nats, _ in pairs]), ("b", pairs), ("c", pairs)):
        interval = found[f"{name},none"]
        assert interval.estimate == pytest.approx(getattr(metrics, kinds[name])(values))
        assert interval.low <= interval.estimate <= interval.high
    nats = -np.array([each for each, _ in pairs])
    reach = t.ppf(0.975, len(nats) - 1) * nats.std(ddof=1) / math.sqrt(len(nats))
    high = nats.mean() + reach
    assert found["a,none"].high == (pytest.approx(math.exp(high)) if high < 700 else math.inf)


def test_a_perplexitys_interval_covers():
    rng = np.random.default_rng(0)
    covered, rounds, kinds = 0, 300, {"ppl": "perplexity"}
    for _ in range(rounds):
        rows = item_rows("x", [sample(k, ppl=nats) for k, nats in enumerate(-rng.gamma(4.0, 0.5, 40))], kinds)
        covered += not intervals(rows, kinds)["ppl,none"].excludes(math.exp(2.0))
    assert 0.91 < covered / rounds < 0.98


def test_one_item_has_no_interval_and_json_no_infinity():
    kinds = {"acc": "mean", "ppl": "perplexity"}
    found = intervals(item_rows("x", [sample(0, acc=1, ppl=-800.0)], kinds), kinds)
    assert (found["acc,none"].estimate, found["acc,none"].low) == (1.0, -math.inf)
    assert found["ppl,none"].estimate == math.inf
    assert harness.record(found["ppl,none"])["estimate"] is None
    given = {"a": math.inf, "b": [np.float32(0.5), (np.int64(2), True)], "c": sample, 1: None}
    assert plain(given) == {"a": None, "b": [0.5, [2, True]], "c": "sample", "1": None}


def test_a_suites_mean_weighs_benchmarks_alike():
    entries = [
        Entry("a", "acc", "A"),
        Entry("b1", "acc", "B"),
        Entry("b2", "acc_norm", "B"),
        Entry("p", "perplexity", "P"),
    ]
    found = {
        "a": {"acc,none": {"estimate": 0.4, "low": 0.3, "high": 0.5}},
        "b1": {"acc,none": {"estimate": 0.6, "low": 0.5, "high": 0.7}},
        "b2": {"acc_norm,none": {"estimate": 0.8, "low": 0.8, "high": 0.8}},
        "p": {"perplexity,none": {"estimate": 9.0, "low": None, "high": None}},
    }
    said = summary(entries, found)
    assert said["accuracy"]["estimate"] == pytest.approx((0.4 + 0.7) / 2)
    reach = math.sqrt((0.5 * 0.1) ** 2 + (0.25 * 0.1) ** 2)
    assert said["accuracy"]["high"] == pytest.approx(0.55 + reach)
    assert said["perplexity"] is None
