import json
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.fractions import CurveOf, Fractions, data_curve, log_weights
from eval.stats.intervals import crossed_interval
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

ITEMS, SEEDS, SHARES = 120, 3, ("0.01", "0.1", "1.0")


class Scores(Stage):
    """Right answers with this chance, in the format of ``adapt.Classify``; of one item alike in every arm."""

    kind: ClassVar[str] = "scores"
    accuracy: float
    seed: int
    metric: str = "accuracy"
    first: int = 0

    @property
    def correct(self):
        ease = np.random.default_rng(0).random(ITEMS)
        own = np.random.default_rng([self.seed, 1]).random(ITEMS)
        return 0.7 * ease + 0.3 * own < self.accuracy

    def run(self, out, inputs):
        import pyarrow
        import pyarrow.parquet

        names = [f"item-{self.first + i:03d}" for i in range(ITEMS)]
        table = {"item": names, "cluster": [f"c-{i // 3}" for i in range(ITEMS)], "correct": self.correct}
        pyarrow.parquet.write_table(pyarrow.table(table), out / "items.parquet")
        record = {"task": "image classification", "modality": "image", "metric": self.metric, "trained": "norms"}
        (out / "scores.json").write_text(json.dumps(record))


def grid(arms, shares=SHARES, seeds=SEEDS, **more):
    """Scores of arms with these accuracies, by share."""
    return [
        Labelled(
            labels=FrozenMap({"weights": name, "fraction": share, "init": str(seed)}),
            stage=Scores(accuracy=accuracy, seed=1000 * row + 10 * place + seed, **more),
        )
        for row, (name, accuracies) in enumerate(arms.items())
        for place, (share, accuracy) in enumerate(zip(shares, accuracies, strict=True))
        for seed in range(seeds)
    ]


def run(tmp_path, scores, **fields):
    stage = Fractions(scores=tuple(scores), **({"treatment": "text"} | fields))
    inputs = {}
    for index, each in enumerate(scores):
        inputs[f"scores[{index}]"] = folder = tmp_path / f"scores-{index}"
        folder.mkdir()
        each.stage.run(folder, {})
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, inputs)
    return out, json.loads((out / "fractions.json").read_text())


def table(scores, name, share):
    """An arm's rows by hand, in order of the seeds."""
    chosen = [each for each in scores if (each.labels["weights"], each.labels["fraction"]) == (name, share)]
    return np.stack([each.stage.correct for each in chosen]).astype(float)


def test_the_curve_and_its_area_equal_numpy_by_hand(tmp_path):
    scores = grid({"text": (0.5, 0.6, 0.65), "random": (0.3, 0.5, 0.65), "stats": (0.4, 0.5, 0.6)})
    out, found = run(tmp_path, scores)
    clusters = np.arange(ITEMS) // 3
    assert [curve["control"] for curve in found["curves"]] == ["random", "stats"]
    for curve in found["curves"]:
        text, control = ([table(scores, name, share) for share in SHARES] for name in ("text", curve["control"]))
        assert curve["shares"] == [0.01, 0.1, 1.0]
        for gain, one, other in zip(curve["gains"], text, control, strict=True):
            expected = crossed_interval(one, other, clusters)
            limits = expected.low, expected.estimate, expected.high
            assert (gain["low"], gain["estimate"], gain["high"]) == pytest.approx(limits)
        mean = np.trapezoid([(t - c).mean() for t, c in zip(text, control, strict=True)], [-2, -1, 0]) / 2
        assert curve["area"]["estimate"] == pytest.approx(mean)
        weighted = [0.25 * rows[0] + 0.5 * rows[1] + 0.25 * rows[2] for rows in (text, control)]
        expected = crossed_interval(*weighted, clusters)
        assert curve["area"]["low"] == pytest.approx(expected.low)
        assert curve["area"]["high"] == pytest.approx(expected.high)
        assert curve["fading"]["estimate"] == pytest.approx((text[0] - control[0] - text[2] + control[2]).mean())
        assert [each["estimate"] for each in curve["scores"]["text"]] == pytest.approx([t.mean() for t in text])
        assert curve["n_seeds"] == SEEDS
    deltas = json.loads((out / "deltas.json").read_text())
    assert len(deltas["deltas"]) == 6
    counts = json.loads((out / "counts.json").read_text())
    assert (counts["curves"], counts["deltas"]) == (2, 6)
    drawn = json.loads((out / "fractions.plotly.json").read_text())
    assert [len(trace["x"]) for trace in drawn["data"]] == [3, 3]
    assert drawn["data"][0]["y"][0] == pytest.approx(100 * found["curves"][0]["gains"][0]["estimate"])


def test_what_shows_where_data_are_few_is_said(tmp_path):
    _, found = run(tmp_path, grid({"text": (0.6, 0.6, 0.7), "random": (0.3, 0.45, 0.7)}, seeds=4))
    (curve,) = found["curves"]
    assert curve["p_area"] < 0.01
    assert curve["p_fading"] < 0.01
    assert "points [" in curve["sentence"]
    assert "; it gains at 0.01, 0.1, and the gain is smaller with all the data" in curve["sentence"]
    assert "not told from nought" not in curve["sentence"]


def test_no_gain_is_said_to_be_none(tmp_path):
    _, found = run(tmp_path, grid({"text": (0.4, 0.5, 0.6), "random": (0.4, 0.5, 0.6)}))
    (curve,) = found["curves"]
    assert "which is not told from nought; at no one share a gain is established." in curve["sentence"]


def test_a_loss_gains_by_going_down(tmp_path):
    arms = {"text": (0.3, 0.4, 0.5), "random": (0.7, 0.7, 0.7)}
    _, found = run(tmp_path, grid(arms, seeds=4, metric="bits_per_byte"))
    assert "; it gains at 0.01, 0.1, 1, and the gain is smaller" in found["curves"][0]["sentence"]


def test_a_control_without_shares_is_met_at_every_one(tmp_path):
    scores = grid({"text": (0.5, 0.6, 0.7)})
    scores += [
        Labelled(labels=FrozenMap({"weights": "fixed", "init": str(s)}), stage=Scores(accuracy=0.5, seed=90 + s))
        for s in range(SEEDS)
    ]
    _, found = run(tmp_path, scores)
    (curve,) = found["curves"]
    assert len({each["estimate"] for each in curve["scores"]["fixed"]}) == 1


def test_arms_that_make_no_curve_are_refused(tmp_path):
    arms = {"text": (0.5, 0.6, 0.7), "random": (0.3, 0.4, 0.5)}
    whole = grid(arms)

    def without(**labels):
        return [each for each in whole if not labels.items() <= dict(each.labels).items()]

    places = iter("abcdefgh")

    def refused(scores, what, **fields):
        folder = tmp_path / next(places)
        folder.mkdir()
        with pytest.raises(PresightError, match=what):
            run(folder, scores, **fields)

    refused(without(weights="random", fraction="0.1"), "weights=random is not compared at 0.1; score both arms")
    refused(without(weights="text", fraction="0.1"), "weights=random is not compared at 0.1; score both arms")
    refused(whole, "no scores lie along portion", fraction="portion")
    refused(grid({"text": (0.5,), "random": (0.4,)}, shares=("1.0",)), "1 is no curve; score at two shares")
    refused(grid(arms, shares=("few", "some", "all")), "'few' is no share of the data")
    refused(grid(arms, shares=("0", "0.5", "1")), "'0' is no share of the data")
    alone = [each for each in whole if each.labels["init"] == "0" or each.labels["fraction"] != "1.0"]
    last = [each for each in alone if (each.labels["init"], each.labels["fraction"]) != ("0", "0.1")]
    refused(last, "share no seed over all fractions")


@given(st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=8, unique=True), st.integers(0, 99))
def test_weights_are_those_of_the_trapezoid_rule(shares, seed):
    shares = sorted(shares)
    if min(np.diff(np.log(shares))) < 1e-9:
        return
    weights, values = log_weights(shares), np.random.default_rng(seed).normal(size=len(shares))
    places = np.log(shares)
    slow = sum((b - a) * (x + y) / 2 for a, b, x, y in zip(places, places[1:], values, values[1:], strict=False))
    assert weights @ values == pytest.approx(slow / (places[-1] - places[0]), abs=1e-9)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    assert log_weights([each * 60_000 for each in shares]) == pytest.approx(weights, abs=1e-9)


@pytest.mark.parametrize("shares", [(1.0,), (0.1, 0.1), (1.0, 0.5), (0.0, 1.0), (0.1, float("inf"))])
def test_shares_that_do_not_ascend_are_refused(shares):
    with pytest.raises(PresightError):
        log_weights(shares)


def test_tables_of_other_shapes_are_refused():
    good = np.zeros((2, 3, 10))
    with pytest.raises(PresightError, match=r"give scores \[shares, seeds, items\]"):
        data_curve((0.1, 1), good[0], good[0])
    with pytest.raises(PresightError, match="3 tables for 2 shares"):
        data_curve((0.1, 1), np.zeros((3, 3, 10)), np.zeros((3, 3, 10)))
    with pytest.raises(PresightError, match="shape"):
        data_curve((0.1, 1), good, good[:, :2])
    with pytest.raises(PresightError, match="not finite"):
        data_curve((0.1, 1), good + np.nan, good)


def simulated(order, gain, shares=4, seeds=3, items=60):
    """Two arms whose seeds and items are alike at all shares, as where one's data are among the next one's."""
    ease, own = order.normal(size=items), order.normal(size=(2, 1, seeds, items))
    runs, fresh = 0.3 * order.normal(size=(2, 1, seeds, 1)), 0.5 * order.normal(size=(2, shares, seeds, items))
    tables = ease + own + runs + fresh
    tables[0] += np.asarray(gain)[:, None, None]
    return tables


def test_intervals_of_area_and_fading_cover():
    gain, shares = (0.6, 0.4, 0.2, 0.0), (0.01, 0.05, 0.2, 1.0)
    area, draws = float(log_weights(shares) @ gain), 300
    order = np.random.default_rng(0)
    found = [data_curve(shares, *simulated(order, gain), level=0.9) for _ in range(draws)]
    for name, truth in (("area", area), ("fading", 0.6)):
        inside = np.mean([not getattr(each, name).excludes(truth) for each in found])
        assert inside > 0.9 - 3 * (0.09 / draws) ** 0.5
        assert np.mean([getattr(each, name).estimate for each in found]) == pytest.approx(truth, abs=0.05)
    # to take the shares for independent would be wrong: seeds and items are the same ones in all
    alone = np.mean(
        [np.sqrt(((log_weights(shares) * [g.half_width for g in each.gains]) ** 2).sum()) for each in found]
    )
    assert np.mean([each.area.half_width for each in found]) > 1.3 * alone


def test_the_record_is_plain(tmp_path):
    curve = data_curve((60, 600), *simulated(np.random.default_rng(1), (0.5, 0.5), shares=2))
    record = CurveOf("sounds", "lwlrap", {"trained": "head"}, "text", "random", 3, curve).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record | {
        "shares": [60.0, 600.0],
        **{name: list(record[name]) for name in ("gains", "p", "p_holm")},
        "scores": {name: list(each) for name, each in record["scores"].items()},
    }
    assert record["sentence"].startswith("On sounds (trained=head), text − random is ")
    assert "lwlrap [" in record["sentence"]
