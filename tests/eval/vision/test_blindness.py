import json
from typing import ClassVar

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from eval.stats.intervals import crossed_interval, mean_interval
from eval.stats.multiplicity import holm
from eval.vision.blindness import Blindness
from eval.vision.looking import CONTRASTS
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

ITEMS = 120
RIGHT = {"right": 0.7, "blank": 0.4, "wrong": 0.3, "scrambled": 0.45, "none": 0.42}  # shares that are answered rightly


class Scores(Stage):
    """Scores as ``eval.Ask`` writes them, of one task whose figures follow from the condition, and one of noise."""

    kind: ClassVar[str] = "scores"
    condition: str
    seed: int = 0
    replies: bool = True
    said: bool = True
    words: bool = False

    def table(self, task):
        """Scores [items], and what replies say [items, 3]."""
        rng = np.random.default_rng([self.seed, len(task)])  # the same items are hard under every condition
        hard = rng.random(ITEMS)
        share = RIGHT[self.condition] if task == "colour" else 0.25
        scores = (hard < share) if task == "colour" else rng.permutation(ITEMS) < share * ITEMS
        answers = (np.arange(ITEMS) % 10) < {"none": 6, "blank": 8}.get(self.condition, 9)
        said = np.stack([answers, ~answers & (np.arange(ITEMS) % 2 == 0), ~answers & (np.arange(ITEMS) % 2 == 1)], 1)
        return scores.astype(float), said.astype(float)

    def run(self, out, inputs):
        names = [f"i{n:03d}" for n in range(ITEMS)]
        columns = {
            name: [] for name in ("item", "task", "group", "cluster", "score", "answer", "abstained", "nothing")
        }
        for task, group in (("colour", "Vision-centric"), ("chance", "General")):
            scores, said = self.table(task)
            order = np.random.default_rng(self.seed + 9).permutation(ITEMS)  # in any order
            columns["item"] += [names[n] for n in order]
            columns["task"] += [task] * ITEMS
            columns["group"] += [group] * ITEMS
            columns["cluster"] += [f"p{n // 2}" for n in order]
            columns["score"] += scores[order].tolist()
            for place, name in enumerate(("answer", "abstained", "nothing")):
                columns[name] += said[order, place].tolist() if self.replies else [None] * ITEMS
        pyarrow.parquet.write_table(pyarrow.table(columns), out / "items.parquet")
        results = [
            {"task": task, "group": group, "metric": "accuracy", "column": "score", "chance": 0.25, "version": "v"}
            for task, group in (("colour", "Vision-centric"), ("chance", "General"))
        ]
        if self.words:
            results.insert(0, {**results[0], "metric": "words", "chance": None})
        record = {"modality": "image", "prompt": "1", "parser": "1", "by": "sum", "results": results}
        (out / "scores.json").write_text(json.dumps(record | ({"condition": self.condition} if self.said else {})))


def figures(found):
    """Those of tasks."""
    return [each for each in found["figures"] if each["level"] == "task"]


CLUSTERS = np.array([f"p{n // 2}" for n in range(ITEMS)])


def made(tmp_path, *stages, **fields):
    """What `Blindness` writes of stages, each with its labels."""
    inputs, labelled = {}, []
    for place, (stage, labels) in enumerate(stages):
        folder = tmp_path / f"in{place}"
        folder.mkdir(parents=True)
        stage.run(folder, {})
        inputs[f"scores[{place}]"] = folder
        labelled.append(Labelled(labels=FrozenMap(labels), stage=stage))
    out = tmp_path / "out"
    out.mkdir()
    Blindness(scores=tuple(labelled), **fields).run(out, inputs)
    return json.loads((out / "blindness.json").read_text())


def conditions(seeds=(0, 1), names=tuple(RIGHT), **fields):
    return [
        (Scores(condition=name, seed=seed, **fields), {"condition": name, "init": str(seed), "mixture": "m"})
        for name in names
        for seed in seeds
    ]


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_differences_are_those_of_the_same_items_and_seeds(tmp_path, seeds):
    found = made(tmp_path, *conditions(seeds))
    (colour, chance) = figures(found)
    assert (colour["task"], colour["group"], colour["items"]) == ("colour", "Vision-centric", ITEMS)
    assert colour["labels"] == {"mixture": "m"}
    assert [each["name"] for each in colour["contrasts"]] == list(CONTRASTS)
    for task in (colour, chance):
        tables = {
            name: np.stack([Scores(condition=name, seed=seed).table(task["task"])[0] for seed in seeds])
            for name in RIGHT
        }
        for each in task["contrasts"]:
            first, second = CONTRASTS[each["name"]]
            expected = crossed_interval(tables[first], tables[second], CLUSTERS)
            assert each["estimate"] == pytest.approx((tables[first] - tables[second]).mean())
            assert (each["interval"]["low"], each["interval"]["high"]) == (expected.low, expected.high)
            assert (each["treatment"], each["control"], each["along"]) == (first, second, "condition")
            assert each["established"] == expected.excludes(0)
        for name in RIGHT:
            mean = mean_interval(tables[name], CLUSTERS)
            assert task["means"][name]["low"] == mean.low
        for name in ("none", "blank"):
            prior, mean = task["priors"][name], task["means"][name]
            assert prior["estimate"] == pytest.approx(mean["estimate"] - 0.25)
            assert prior["low"] == pytest.approx(mean["low"] - 0.25)
    every = [each for figure in found["figures"] for each in figure["contrasts"]]
    assert [each["p_holm"] for each in every] == pytest.approx(holm([each["p"] for each in every]))
    assert all(not each["established"] for each in chance["contrasts"])
    use = {each["name"]: each["estimate"] for each in colour["contrasts"]}
    assert use["image use, over a blank"] > 0.2
    assert use["distraction by a wrong picture"] > 0.05


def test_the_score_parts_into_chance_language_presence_and_sight(tmp_path):
    colour = made(tmp_path, *conditions())["figures"][0]
    parts = {each["name"]: each["estimate"] for each in colour["contrasts"]}
    whole = colour["chance"] + colour["priors"]["none"]["estimate"]
    whole += parts["presence of a blank, over no picture"] + parts["image use, over a blank"]
    assert whole == pytest.approx(colour["means"]["right"]["estimate"])


def test_the_share_that_needs_no_picture_has_the_interval_of_a_ratio(tmp_path):
    colour, chance = made(tmp_path, *conditions((0,)))["figures"][:2]
    right, none = (Scores(condition=name).table("colour")[0] - 0.25 for name in ("right", "none"))
    found = colour["unseen"]["none"]
    assert found["estimate"] == pytest.approx(none.mean() / right.mean())
    rng, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        rows = rng.integers(0, ITEMS // 2, ITEMS // 2)
        rows = np.concatenate([2 * rows, 2 * rows + 1])
        drawn.append(none[rows].mean() / right[rows].mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found["low"] == pytest.approx(low, abs=0.04)
    assert found["high"] == pytest.approx(high, abs=0.04)
    assert chance["unseen"] == {"none": None, "blank": None}  # nothing is above chance


def test_what_is_said_unseen_is_counted(tmp_path):
    said = made(tmp_path, *conditions())["figures"][0]["said"]
    for condition in RIGHT:
        table = Scores(condition=condition).table("colour")[1]
        for place, name in enumerate(("answer", "abstained", "nothing")):
            assert said[condition][name]["estimate"] == pytest.approx(table[:, place].mean())
    assert said["none"]["hallucinated"] == said["none"]["answer"]
    assert said["none"]["hallucinated"]["estimate"] == pytest.approx(0.6)
    assert "hallucinated" in said["blank"]
    assert "hallucinated" not in said["right"]
    silent = made(tmp_path / "b", *conditions(replies=False))["figures"][0]["said"]
    assert silent == dict.fromkeys(RIGHT)


def test_two_conditions_are_enough_and_seeds_are_those_that_both_have(tmp_path):
    some = [*conditions((0, 1, 2), ("right",)), *conditions((1, 2, 3), ("blank",))]
    (colour, _) = made(tmp_path, *some)["figures"][:2]
    (only,) = colour["contrasts"]
    assert (only["name"], only["n_seeds"]) == ("image use, over a blank", 2)
    assert colour["seeds"] == {"right": ["0", "1", "2"], "blank": ["1", "2", "3"]}
    assert set(colour["unseen"]) == {"blank"}


def test_what_cannot_be_decomposed_is_one_sentence(tmp_path):
    with pytest.raises(PresightError, match="scores: no task was asked under two conditions"):
        made(tmp_path / "a", *conditions(names=("right",)))
    with pytest.raises(PresightError, match=r"right of \{'mixture': 'm'\}, init 0, is given twice"):
        made(tmp_path / "b", *conditions((0,)), *conditions((0,), ("right",)))
    with pytest.raises(PresightError, match=r"scores\[0\]: do not say what was shown; give scores of eval.Ask"):
        made(tmp_path / "c", *conditions(said=False))


def test_groups_are_means_of_their_tasks(tmp_path):
    colour, chance, both = made(tmp_path, *conditions((0, 1, 2)))["figures"]
    assert (both["level"], both["tasks"], both["items"]) == ("overall", ["chance", "colour"], 2 * ITEMS)
    assert both["chance"] == 0.25
    for name in RIGHT:
        half = (colour["means"][name]["estimate"] + chance["means"][name]["estimate"]) / 2
        assert both["means"][name]["estimate"] == pytest.approx(half)
        assert both["said"][name]["answer"]["estimate"] == pytest.approx(colour["said"][name]["answer"]["estimate"])
    for each, first, second in zip(both["contrasts"], colour["contrasts"], chance["contrasts"], strict=True):
        assert each["estimate"] == pytest.approx((first["estimate"] + second["estimate"]) / 2)
        assert each["per_seed"] == pytest.approx(np.add(first["per_seed"], second["per_seed"]) / 2)
    assert both["priors"]["none"]["estimate"] == pytest.approx(both["means"]["none"]["estimate"] - 0.25)
    right, none = (both["means"][name]["estimate"] - 0.25 for name in ("right", "none"))
    assert both["unseen"]["none"]["estimate"] == pytest.approx(none / right)


def test_of_several_metrics_of_a_task_the_share_counts_in_groups(tmp_path):
    words, colour, chance, both = made(tmp_path, *conditions((0,), ("right", "none"), words=True))["figures"]
    assert (words["metric"], words["task"], words["chance"]) == ("words", "colour", 0.0)
    assert both["metric"] == "accuracy"
    half = (colour["means"]["right"]["estimate"] + chance["means"]["right"]["estimate"]) / 2
    assert both["means"]["right"]["estimate"] == pytest.approx(half)
