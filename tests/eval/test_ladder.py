import json
from typing import ClassVar

import numpy as np
import pytest

from eval.compare import Compare
from eval.ladder import Ladder, LadderOf, judge
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

ITEMS, SEEDS = 400, 4


class Scores(Stage):
    """Right answers to the easiest of the items, in the format of ``adapt.Classify``."""

    kind: ClassVar[str] = "scores"
    accuracy: float
    seed: int
    flips: int = 0
    metric: str = "accuracy"

    def run(self, out, inputs):
        import pyarrow
        import pyarrow.parquet

        order = np.random.default_rng(0).permutation(ITEMS)  # of ease, the same in every arm
        correct = np.zeros(ITEMS, bool)
        correct[order[: round(self.accuracy * ITEMS)]] = True
        flipped = np.random.default_rng([self.seed, 1]).choice(ITEMS, self.flips, replace=False)
        correct[flipped] ^= True
        names = [f"item-{i}" for i in range(ITEMS)]
        table = {"item": names, "cluster": names, "correct": correct}
        pyarrow.parquet.write_table(pyarrow.table(table), out / "items.parquet")
        record = {"task": "image classification", "modality": "image", "metric": self.metric, "trained": "norms"}
        (out / "scores.json").write_text(json.dumps(record))


def ladder(tmp_path, arms, rungs, seeds=SEEDS, margin=0.03, flips=6, metric="accuracy", **fields):
    """The ladder of arms with these accuracies; every seed flips a few answers of its own."""
    scores = [
        Labelled(
            labels=FrozenMap({"rung": name, "init": str(seed)}),
            stage=Scores(accuracy=accuracy, seed=100 * row + seed, flips=flips, metric=metric),
        )
        for row, (name, accuracy) in enumerate(arms.items())
        for seed in range(seeds)
    ]
    stage = Ladder(scores=tuple(scores), along="rung", treatment="text", rungs=rungs, margin=margin, **fields)
    inputs = {}
    for index, each in enumerate(scores):
        inputs[f"scores[{index}]"] = folder = tmp_path / f"scores-{index}"
        folder.mkdir()
        each.stage.run(folder, {})
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, inputs)
    return stage, inputs, out


def found(out):
    (one,) = json.loads((out / "ladder.json").read_text())["ladders"]
    return one


def test_a_loss_is_gained_by_going_down(tmp_path):
    arms = {"text": 0.5, "random": 0.7, "stats": 0.5, "order": 0.65}
    _, _, out = ladder(tmp_path, arms, ("random", "stats", "order"), metric="bits_per_byte")
    one = found(out)
    assert [rung["standing"] for rung in one["rungs"]] == ["falls short", "explains", "falls short"]
    assert one["rungs"][0]["estimate"] == pytest.approx(0.2, abs=0.05)
    assert "(stats − text: " in one["sentence"]


def test_the_highest_rung_that_explains_the_gain_is_named(tmp_path):
    arms = {"text": 0.7, "random": 0.5, "stats": 0.7, "permuted": 0.7, "order": 0.55}
    _, _, out = ladder(tmp_path, arms, ("random", "stats", "permuted", "order"))
    one = found(out)
    assert [rung["standing"] for rung in one["rungs"]] == ["falls short", "explains", "explains", "falls short"]
    assert (one["verdict"], one["unresolved"], one["more_seeds"]) == ("permuted", [], None)
    assert one["sentence"].startswith("On image classification, rung=permuted explains what text gains: ")
    assert "it lacks less than 3.0 points of accuracy (text − permuted: " in one["sentence"]


def test_a_control_that_is_better_explains_too(tmp_path):
    _, _, out = ladder(tmp_path, {"text": 0.6, "random": 0.5, "mlp": 0.8}, ("random", "mlp"))
    one = found(out)
    assert [rung["standing"] for rung in one["rungs"]] == ["falls short", "explains"]
    assert one["rungs"][1]["equivalence"]["verdict"] == "different"
    assert one["verdict"] == "mlp"


def test_no_rung_explains_a_gain_over_all_of_them(tmp_path):
    _, _, out = ladder(tmp_path, {"text": 0.8, "random": 0.5, "stats": 0.6}, ("random", "stats"))
    one = found(out)
    assert one["verdict"] == "none"
    assert "no rung explains what text gains: each falls short" in one["sentence"]


def test_no_gain_is_said_to_be_none(tmp_path):
    _, _, out = ladder(tmp_path, {"text": 0.6, "random": 0.6, "stats": 0.3}, ("random", "stats"))
    one = found(out)
    assert one["verdict"] == "random"
    assert "text gains less than 3.0 points of accuracy over random, so that little is to explain" in one["sentence"]


def test_what_few_seeds_cannot_tell_is_unresolved(tmp_path):
    arms = {"text": 0.6, "random": 0.4, "stats": 0.585}
    _, _, out = ladder(tmp_path, arms, ("random", "stats"), seeds=2, flips=60)
    one = found(out)
    assert one["rungs"][1]["standing"] == "unresolved"
    assert one["verdict"] == "unresolved"
    assert "stats" in one["unresolved"]
    assert one["more_seeds"] is None or one["more_seeds"] > 0
    assert "more seed" in one["sentence"] or "no affordable number" in one["sentence"]


def test_one_seed_does_not_say_how_many_are_needed(tmp_path):
    _, _, out = ladder(tmp_path, {"text": 0.6, "random": 0.59}, ("random",), seeds=1, flips=60)
    one = found(out)
    assert one["verdict"] == "unresolved"
    assert "one seed cannot say how many would tell" in one["sentence"]


def test_an_unresolved_rung_above_is_named(tmp_path):
    arms = {"text": 0.6, "random": 0.6, "stats": 0.58}
    _, _, out = ladder(tmp_path, arms, ("random", "stats"), seeds=4, flips=10, margin=0.05)
    one = found(out)
    if one["unresolved"]:
        assert (one["verdict"], one["unresolved"]) == ("random", ["stats"])
        assert "whether stats above it does, too, is unresolved" in one["sentence"]
    else:
        assert one["verdict"] == "stats"


def test_deltas_are_those_of_compare(tmp_path):
    arms = {"text": 0.7, "random": 0.5, "stats": 0.65}
    stage, inputs, out = ladder(tmp_path, arms, ("random", "stats"))
    plain = Compare(**{name: getattr(stage, name) for name in Compare.model_fields})
    (tmp_path / "plain").mkdir()
    plain.run(tmp_path / "plain", inputs)
    assert stage.kind == plain.kind
    assert (out / "deltas.json").read_bytes() == (tmp_path / "plain" / "deltas.json").read_bytes()
    estimates = {
        delta["control"]: delta["estimate"] for delta in json.loads((out / "deltas.json").read_text())["deltas"]
    }
    assert {rung["rung"]: rung["estimate"] for rung in found(out)["rungs"]} == estimates


def test_a_report_reads_it(tmp_path):
    from eval.report.evidence import Family

    _, _, out = ladder(tmp_path, {"text": 0.7, "random": 0.5}, ("random",))
    family = Family.read(out)
    assert (family.along, family.treatment, len(family.comparisons)) == ("rung", "text", 1)


@pytest.mark.parametrize(
    ("rungs", "what"), [(("random", "text"), "none of them"), (("random", "random"), "distinct"), ((), "at least 1")]
)
def test_rungs_are_distinct_controls(rungs, what):
    with pytest.raises(ValueError, match=what):
        Ladder(scores=(), along="rung", treatment="text", rungs=rungs, margin=0.01)


def test_a_rung_without_scores_is_one_sentence(tmp_path):
    with pytest.raises(
        PresightError, match=r"^rungs: no scores are labelled 'randm' along rung; did you mean random\?$"
    ):
        ladder(tmp_path, {"text": 0.6, "random": 0.5}, ("randm",))


def verdicts(gap, rungs, seeds, draws, margin):
    """Verdicts on rungs that truly lie these gaps below the treatment: normal scores, seeds and items of their own."""
    order = np.random.default_rng(0)
    for _ in range(draws):
        ease = order.normal(size=100)
        treatment = ease + order.normal(size=(seeds, 100)) + 0.05 * order.normal(size=(seeds, 1))
        pairs = {}
        for rung in range(rungs):
            noise = order.normal(size=(seeds, 100)) + 0.05 * order.normal(size=(seeds, 1))
            pairs[str(rung)] = treatment, ease - gap + noise
        yield LadderOf("task", "score", {}, "text", judge(pairs, margin, None, most_seeds=1))


def test_rungs_are_seldom_called_wrongly():
    """At a true gap of the margin none explains, at no gap none falls short: each wrong at most one time in twenty.

    Of 200 ladders of three rungs 0.05 are wrong at most; 19 would be above three deviations of that.
    """
    wrong = [any(rung.standing == "explains" for rung in each.rungs) for each in verdicts(0.4, 3, 3, 200, margin=0.4)]
    assert sum(wrong) < 19
    wrong = [
        any(rung.standing == "falls short" for rung in each.rungs) for each in verdicts(0.0, 3, 3, 200, margin=0.4)
    ]
    assert sum(wrong) < 19


def test_clear_cases_are_mostly_resolved():
    named = [each.verdict for each in verdicts(0.0, 3, 5, 60, margin=0.6)]
    assert sum(name == "2" for name in named) > 45
