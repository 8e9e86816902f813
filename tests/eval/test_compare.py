import json
from typing import ClassVar

import numpy as np
import pytest

from eval import Compare
from eval.stats.deltas import holm, prior_delta
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Labelled, Stage

ITEMS = 60
ACCURACY = {"text": 0.7, "stats": 0.5, "random": 0.3}


class Scores(Stage):
    """Scores from a seed, in the format of ``adapt.Classify``; rows in any order."""

    kind: ClassVar[str] = "scores"
    seed: int
    accuracy: float
    task: str = "image"
    first: int = 0

    def estimate(self):
        return Cost(items=ITEMS)

    @property
    def correct(self):
        """By item, in the order of their names."""
        return np.random.default_rng(self.seed).random(ITEMS) < self.accuracy

    def run(self, out, inputs):
        import pyarrow
        import pyarrow.parquet

        names = [f"item-{self.first + i:03d}" for i in range(ITEMS)]
        order = np.random.default_rng(1000 + self.seed).permutation(ITEMS)
        columns = {
            "item": [names[i] for i in order],
            "cluster": [f"cluster-{i // 4}" for i in order],
            "correct": self.correct[order],
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), out / "items.parquet")
        record = {
            "task": f"{self.task} classification",
            "modality": self.task,
            "metric": "accuracy",
            "trained": "norms",
            "chance": 0.25,
            "learning_rate": 0.01 if self.seed % 2 else 0.02,
            "edge": self.seed == 4,
        }
        (out / "scores.json").write_text(json.dumps(record))


def labelled(seed, accuracy=0.5, task="image", first=0, **labels):
    stage = Scores(seed=seed, accuracy=accuracy, task=task, first=first)
    return Labelled(labels=FrozenMap({name: str(label) for name, label in labels.items()}), stage=stage)


def grid(inits=(0, 1, 2)):
    """A recipe's scores: text and stats for two mixtures, random weights without one, on two tasks."""
    found, seed = [], 0
    for task in ("image", "sound"):
        for weights, accuracy in ACCURACY.items():
            for mixture in ("words", "sums") if weights != "random" else (None,):
                for init in inits:
                    named = {"weights": weights, "init": init, "data": task}
                    found.append(labelled(seed, accuracy, task, **named, **({"mixture": mixture} if mixture else {})))
                    seed += 1
    return found


def compared(tmp_path, scores, **fields):
    stage = Compare(scores=tuple(scores), **({"treatment": "text"} | fields))
    inputs = {}
    for index, each in enumerate(scores):
        inputs[f"scores[{index}]"] = folder = tmp_path / f"scores-{index}"
        if not folder.exists():
            folder.mkdir()
            each.stage.run(folder, {})
    assert set(stage.inputs()) == set(inputs)
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    stage.run(out, inputs)
    return json.loads((out / "deltas.json").read_text())


def rows(scores, **labels):
    """The 0/1 rows of an arm by hand: one per seed, in order of the seeds' labels."""
    wanted = {name: str(label) for name, label in labels.items()}
    mine = [each for each in scores if {k: v for k, v in each.labels.items() if k != "init"} == wanted]
    return np.stack([each.stage.correct for each in sorted(mine, key=lambda each: each.labels["init"])]).astype(float)


def test_a_ragged_control_meets_every_mixture(tmp_path):
    found = compared(tmp_path, grid())
    assert len(found["arms"]) == 10
    pairs = {(d["task"].split()[0], d["labels"]["mixture"], d["control"]) for d in found["deltas"]}
    assert pairs == {(t, m, c) for t in ("image", "sound") for m in ("words", "sums") for c in ("stats", "random")}
    assert len(found["deltas"]) == 8
    assert all(delta["treatment"] == "text" and delta["labels"]["data"] in delta["task"] for delta in found["deltas"])


def test_deltas_equal_numpy_by_hand(tmp_path):
    scores = grid()
    for delta in compared(tmp_path, scores)["deltas"]:
        fixed = {"data": delta["labels"]["data"]}
        mixture = {"mixture": delta["labels"]["mixture"]}
        text = rows(scores, weights="text", **fixed, **mixture)
        control = rows(scores, weights=delta["control"], **fixed, **(mixture if delta["control"] == "stats" else {}))
        assert delta["estimate"] == pytest.approx((text - control).mean())
        assert delta["per_seed"] == pytest.approx((text - control).mean(axis=1).tolist())
        assert (delta["n_seeds"], delta["n_items"], delta["n_clusters"]) == (3, ITEMS, ITEMS // 4)
        again = prior_delta(
            text, control, task="t", trained="norms", treatment_name="text", control_name="c", along="weights",
            labels={}, clusters=np.arange(ITEMS) // 4,
        )  # fmt: skip
        assert (delta["interval"]["low"], delta["interval"]["high"]) == (again.interval.low, again.interval.high)
        assert delta["p"] == pytest.approx(again.p)
        assert delta["established"] == again.established
        assert delta["sentence"].endswith(".") or "Two seeds" in delta["sentence"]


def test_arms_carry_their_own_numbers(tmp_path):
    scores = grid()
    for arm in compared(tmp_path, scores)["arms"]:
        expected = rows(scores, **arm["labels"])
        assert arm["per_seed"] == pytest.approx(expected.mean(axis=1).tolist())
        assert arm["mean"]["estimate"] == pytest.approx(expected.mean())
        assert arm["mean"]["low"] <= arm["mean"]["estimate"] <= arm["mean"]["high"]
        assert (arm["n_items"], arm["n_clusters"], arm["seeds"]) == (ITEMS, ITEMS // 4, ["0", "1", "2"])
        seeds = [each.stage.seed for each in scores if dict(arm["labels"]).items() <= dict(each.labels).items()]
        mine = [s for s in seeds if len(arm["labels"]) == 3 or "mixture" not in arm["labels"]]
        assert arm["edge"] == (4 in mine)
        assert set(arm["learning_rates"]) <= {0.01, 0.02}


def test_holm_is_over_all_deltas(tmp_path):
    deltas = compared(tmp_path, grid())["deltas"]
    assert [delta["p_holm"] for delta in deltas] == pytest.approx(holm([delta["p"] for delta in deltas]).tolist())
    assert all(delta["p_holm"] >= delta["p"] for delta in deltas)
    assert max(delta["p_holm"] / delta["p"] for delta in deltas) == pytest.approx(len(deltas))


def test_the_order_of_rows_and_scores_does_not_matter(tmp_path):
    scores = grid()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = compared(tmp_path / "a", scores)
    second = compared(tmp_path / "b", scores[::-1])

    def by_name(found):
        return {json.dumps([d["labels"], d["control"]], sort_keys=True): d["estimate"] for d in found["deltas"]}

    assert by_name(first) == by_name(second)


def test_along_another_axis(tmp_path):
    scores = grid()
    found = compared(tmp_path, scores, treatment="sums", along="mixture")
    assert {(d["labels"]["weights"], d["labels"]["data"], d["control"]) for d in found["deltas"]} == {
        (w, t, "words") for w in ("text", "stats") for t in ("image", "sound")
    }
    delta = next(d for d in found["deltas"] if d["labels"] == {"weights": "text", "data": "image"})
    by_hand = [rows(scores, weights="text", data="image", mixture=mixture) for mixture in ("sums", "words")]
    assert delta["estimate"] == pytest.approx((by_hand[0] - by_hand[1]).mean())


def test_seeds_that_one_arm_lacks_are_left_out(tmp_path):
    text = [labelled(i, 0.8, weights="text", init=i) for i in (0, 1, 2, 10)]
    control = [labelled(20 + i, 0.4, weights="random", init=i) for i in (10, 2, 5)]
    (delta,) = compared(tmp_path, text + control)["deltas"]
    assert delta["n_seeds"] == 2
    by_hand = {
        init: (text[index].stage.correct.astype(float) - control[other].stage.correct).mean()
        for init, index, other in ((10, 3, 0), (2, 2, 1))
    }
    assert sorted(delta["per_seed"]) == pytest.approx(sorted(by_hand.values()))


REFUSED = {
    "no shared seed": (
        [labelled(0, weights="text", init=0), labelled(1, weights="random", init=1)],
        ["replicate init", "share no seed", "same seeds"],
    ),
    "other items": (
        [labelled(0, weights="text", init=0), labelled(1, weights="random", init=0, first=5)],
        ["scored different items", "use one dataset"],
    ),
    "other items within an arm": (
        [labelled(0, weights="text", init=0), labelled(1, weights="text", init=1, first=5)],
        ["scored different items"],
    ),
    "no such treatment": (
        [labelled(0, weights="texts", init=0), labelled(1, weights="random", init=0)],
        ["'text'", "did you mean texts?"],
    ),
    "another task": (
        [labelled(0, weights="text", init=0), labelled(1, weights="random", init=0, task="sound")],
        ["'text' meets no control along weights", "another label of weights"],
    ),
    "a control of an axis that the treatment lacks": (
        [labelled(0, weights="text", init=0), labelled(1, weights="random", init=0, noise=3)],
        ["'text' meets no control along weights"],
    ),
    "twice": (
        [labelled(0, weights="text", init=0), labelled(1, weights="text", init=0)],
        ["given twice", "label them apart"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, case):
    scores, words = REFUSED[case]
    with pytest.raises(PresightError) as error:
        compared(tmp_path, scores)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_the_design_says_what_it_can_resolve():
    line = Compare(scores=tuple(grid()), treatment="text").design()
    assert "3 seeds" in line
    assert f"{ITEMS} items" in line
    assert Compare(scores=(labelled(0, weights="text"),), treatment="text").design() is None


def test_the_design_judges_what_is_expected():
    def line(scores, **fields):
        return Compare(scores=tuple(scores), treatment="text", **fields).design()

    assert "expected" not in line(grid())
    assert line(grid(), expected=60.0).endswith("; expected +60: resolvable, as one comparison before Holm")
    assert line(grid(), expected=-1.5).endswith(
        "; expected −1.5: not resolvable with 3 seeds; no number of seeds would, it takes more items"
    )
    assert line(grid(), assumed={"seed_sd": 0.5}) != line(grid())
    one = line([labelled(0, weights="text", init=0), labelled(1, weights="random", init=0)], expected=60.0)
    assert "inf" not in one
    assert one.startswith("one seed can show no difference along weights")
    assert "not resolvable with 1 seed; about 3 would" in one


def test_no_difference_is_none_to_look_for():
    with pytest.raises(ValueError, match="0 is no difference to look for: leave it out"):
        Compare(scores=tuple(grid()), treatment="text", expected=0.0)


def test_several_sizes_are_judged_by_themselves():
    class Few(Scores):
        def estimate(self):
            return Cost(items=20)

    few = Labelled(FrozenMap({"weights": "text", "init": "0"}), Few(seed=0, accuracy=0.5))
    line = Compare(scores=(*grid(), few), treatment="text", expected=35.0).design()
    small, large = line.split("; expected ")[1:]
    assert small == "+35 on 20 items: not resolvable with 3 seeds; no number of seeds would, it takes more items"
    assert large == "+35 on 60 items: resolvable, as one comparison before Holm"


def test_what_is_expected_and_assumed_is_no_part_of_what_is_computed():
    plain = Compare(scores=tuple(grid()), treatment="text")
    told = Compare(scores=tuple(grid()), treatment="text", expected=0.9, assumed={"accuracy": 0.3, "seed_sd": 1})
    assert told.fingerprint == plain.fingerprint
    assert told.assumed.accuracy == 0.3


def test_labels_enter_the_fingerprint():
    one, two = (Compare(scores=(labelled(0, weights=name, init=0),), treatment="text") for name in ("text", "random"))
    assert one.fingerprint != two.fingerprint
