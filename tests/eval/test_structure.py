"""Models with a known structure: one factor, two, none; what families and noise change, and what few models allow."""

import json
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from eval.cohort import Cohort, _error
from eval.response.landscape import FILE as LANDSCAPE
from eval.response.landscape import NEXT, Landscape
from eval.structure import FEWEST, FILE, PERCEPTION, PUBLISHED, REASONING, Structure, structure
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

GROUPS = (*PERCEPTION, *REASONING)


class Mixed(Stage):
    """A mixture by label family."""

    kind: ClassVar[str] = "mixture"
    families: FrozenMap[str, float] = FrozenMap()
    sources: FrozenMap[str, float] = FrozenMap()


class Scores(Stage):
    """Answers of a model with an ability for each group to the same items as any other."""

    kind: ClassVar[str] = "scores"
    abilities: tuple[float, float, float, float]
    seed: int = 0
    items: int = 60
    scale: float = 1.0
    mixture: Mixed | None = None

    def run(self, out, inputs):
        rows, results = [], []
        for group, ability in zip(GROUPS, self.abilities, strict=True):
            hard = np.random.default_rng(list(group.encode())).normal(size=self.items)
            luck = np.random.default_rng([self.seed, *group.encode()]).random(self.items)
            right = luck < 1 / (1 + np.exp(hard - ability))
            rows += [
                {
                    "item": f"{group}/{n}",
                    "task": f"of {group}",
                    "cluster": f"{group}/{n // 2}",
                    "score": self.scale * each,
                }
                for n, each in enumerate(right)
            ]
            results.append({"task": f"of {group}", "group": group, "metric": "accuracy", "column": "score"})
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out / "items.parquet")
        (out / "scores.json").write_text(json.dumps({"modality": "image", "trained": "", "results": results}))


def inputs_of(tmp_path, scores):
    found = {}
    for index, each in enumerate(scores):
        folder = tmp_path / f"in{index}"
        folder.mkdir()
        each.stage.run(folder, {})
        found[f"scores[{index}]"] = folder
    return found


def model(number, abilities, seed=0, **fields):
    labels = FrozenMap({"mixture": f"m{number}", "init": str(seed)})
    return Labelled(labels, Scores(abilities=tuple(map(float, abilities)), seed=1000 * seed + number, **fields))


def drawn(models, structure, seed=0):
    """Abilities [models, 4] of one factor, or of one for perception and one for reasoning."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(models, 2))
    own = 0.3 * rng.normal(size=(models, 4))
    places = (0, 0, 1, 1) if structure == 2 else (0, 0, 0, 0)
    return factors[:, places] + own


def cohort(scores, errors=0.0, families=None, halves=None):
    scores = np.asarray(scores, float)
    labels = [{"mixture": str(n)} for n in range(len(scores))]
    kinds = np.arange(len(scores)) if families is None else np.asarray(families)
    twice = np.stack([scores, scores], axis=2) if halves is None else halves
    return Cohort(labels, kinds, list(GROUPS), scores, twice, np.full(4, errors))


@pytest.mark.parametrize(("factors", "verdict"), [(1, "one"), (2, "two")])
def test_the_structure_that_was_put_in_is_found(factors, verdict):
    found = structure(cohort(drawn(105, factors)), draws=500)
    assert found["factors"]["verdict"] == verdict
    clear = [each["difference"]["low"] > 0 for each in found["differences"]]
    assert all(clear) if factors == 2 else not any(clear)


def test_noise_hides_two_factors_and_is_said_to():
    rng = np.random.default_rng(1)
    truth = drawn(20, 2)
    halves = truth[:, :, None] + 3 * rng.normal(size=(20, 4, 2))
    found = structure(cohort(halves.mean(axis=2), 4.5, halves=halves), draws=500)
    assert found["factors"]["verdict"] == "cannot say"
    assert "cannot be said" in found["sentences"][-1]
    assert found["more_models"] is None or found["more_models"] > 0


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_too_few_mixtures_are_counted_not_refused(tmp_path, count):
    scores = [model(n, each, seed) for n, each in enumerate(drawn(count, 1)) for seed in (0, 1, 2)]
    stage = Structure(scores=tuple(scores))
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, inputs_of(tmp_path, scores))
    (said,) = json.loads((out / FILE).read_text())["sentences"]
    assert f"{FEWEST - count} more models of other mixtures" in said
    assert f"{FEWEST - count} more" in stage.design()


def test_seeds_of_one_mixture_are_no_further_models():
    truth = drawn(8, 2)
    rng = np.random.default_rng(0)
    many = np.repeat(truth, 5, axis=0) + 0.01 * rng.normal(size=(40, 4))
    together = structure(cohort(many, families=np.repeat(np.arange(8), 5)), draws=500)
    for one, other in zip(together["correlations"], structure(cohort(many), draws=500)["correlations"], strict=True):
        wide, narrow = (
            np.arctanh(each["spearman"]["high"]) - np.arctanh(each["spearman"]["low"]) for each in (one, other)
        )
        assert wide > 1.5 * narrow
    assert together["factors"]["n_models"] == 8


def test_a_family_counts_once_however_many_seeds_it_has():
    """One family five times, of scores that no number of seeds averages exactly; and seeds against their means."""
    rng = np.random.default_rng(0)
    truth = drawn(8, 2) / 10
    truth[1, 0] = truth[0, 0] = 0.1  # a tie, which rounding of a mean of five must not undo
    halves = truth[:, :, None] + 0.02 * rng.normal(size=(8, 4, 2))
    halves[:2, 0] = 0.1
    once = structure(cohort(halves.mean(axis=2), halves=halves), draws=200)
    again = np.repeat(np.arange(8), [5, *[1] * 7])
    often = structure(cohort(halves.mean(axis=2)[again], families=again, halves=halves[again]), draws=200)
    for each in ("correlations", "differences", "factors"):
        assert often[each] == once[each]
    assert len(often["models"]) == 12
    assert all("problem" not in each["corrected"] for each in once["correlations"])
    seeds = halves[:, None] + 0.02 * rng.normal(size=(8, 3, 4, 2))
    means = structure(cohort(seeds.mean(axis=(1, 3)), halves=seeds.mean(axis=1)), draws=200)
    every = seeds.reshape(24, 4, 2)
    found = structure(cohort(every.mean(axis=2), families=np.repeat(np.arange(8), 3), halves=every), draws=200)
    for one, other in zip(found["correlations"], means["correlations"], strict=True):
        assert one["spearman"]["estimate"] == pytest.approx(other["spearman"]["estimate"])
        assert one["corrected"]["estimate"] == pytest.approx(other["corrected"]["estimate"])
    assert found["models"][3] == {
        "labels": {"mixture": "3"},
        "family": 1,
        "figures": dict(zip(GROUPS, every.mean(axis=2)[3].tolist(), strict=True)),
    }


def test_from_scores_to_a_verdict(tmp_path):
    truth = drawn(24, 2, seed=3)
    scores = [model(n, each, items=300) for n, each in enumerate(truth)]
    out = tmp_path / "out"
    out.mkdir()
    Structure(scores=tuple(scores), draws=500).run(out, inputs_of(tmp_path, scores))
    found = json.loads((out / FILE).read_text())
    by_pair = {frozenset(each["pair"]): each for each in found["correlations"]}
    assert by_pair[frozenset(PERCEPTION)]["spearman"]["estimate"] > 0.7
    corrected = by_pair[frozenset(PERCEPTION)]["corrected"]["estimate"]
    assert corrected >= by_pair[frozenset(PERCEPTION)]["spearman"]["estimate"] - 0.1
    assert {pair: each["published"] for pair, each in by_pair.items()} == PUBLISHED
    assert len(found["models"]) == 24
    assert found["models"][0]["labels"] == {"init": "0", "mixture": "m0"}
    assert found["factors"]["verdict"] == "two"


def test_errors_are_of_items_about_what_all_models_share():
    """Against repeats: the variance of a mean over fresh items, given the model's true mean on each."""
    rng = np.random.default_rng(0)
    models, items = 6, 4000
    table = rng.normal(size=(1, items)) * 5 + rng.normal(size=(models, items)) * 2  # hard for all, and luck
    assert _error(table, np.arange(items)) == pytest.approx(4 / items, rel=0.1)
    twice = np.repeat(table[:, : items // 2], 2, axis=1)  # each item asked twice is no further item
    assert _error(twice, np.repeat(np.arange(items // 2), 2)) == pytest.approx(8 / items, rel=0.1)


def test_published_correlations_within_are_above_those_across():
    from eval.response.published import published_correlation

    within = [PUBLISHED[frozenset(PERCEPTION)], PUBLISHED[frozenset(REASONING)]]
    across = [value for pair, value in PUBLISHED.items() if pair not in (frozenset(PERCEPTION), frozenset(REASONING))]
    assert min(within) > max(across)
    assert all(published_correlation(value, 105).excludes(0) for value in within)
    assert not any(published_correlation(value, 105).excludes(0) for value in across)


def test_what_cannot_be_averaged_is_refused(tmp_path):
    scores = [model(n, each, scale=2.0) for n, each in enumerate(drawn(5, 1))]
    with pytest.raises(PresightError, match="no share"):
        Structure(scores=tuple(scores)).run(tmp_path, inputs_of(tmp_path, scores))
    twice = [scores[0], scores[0]]
    (tmp_path / "twice").mkdir()
    with pytest.raises(PresightError):
        Structure(scores=tuple(twice)).run(tmp_path, inputs_of(tmp_path / "twice", twice))


# --- the landscape ----------------------------------------------------------------------------------------------


def hill(reasoning, visual):
    return 1.5 - ((reasoning - 60) / 15) ** 2 - ((visual - 15) / 10) ** 2


def study(points, seeds=(0,), items=400):
    return [
        model(n, [hill(**point)] * 4, seed, items=items, mixture=Mixed(families=FrozenMap(point)))
        for n, point in enumerate(points)
        for seed in seeds
    ]


POINTS = [{"reasoning": float(r), "visual": float(v)} for r in (45, 60, 75) for v in (5, 15, 25)]


def landscape(tmp_path, scores, **fields):
    stage = Landscape(scores=tuple(scores), **fields)
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, inputs_of(tmp_path, scores))
    return stage, json.loads((out / LANDSCAPE).read_text()), out


def test_the_hill_that_was_put_in_is_climbed(tmp_path):
    stage, found, out = landscape(tmp_path, study(POINTS, (0, 1)), mixtures=3)
    best = found["figures"]["all groups"]["optimum"]
    assert best["place"] == "inside"
    assert best["shares"]["reasoning"] == pytest.approx(0.60, abs=0.05)
    assert best["shares"]["visual"] == pytest.approx(0.15, abs=0.05)
    assert "9 mixtures × 2 runs for the 6 terms" in stage.design()
    import yaml

    axes = yaml.safe_load((out / NEXT).read_text())["axes"]
    assert len(axes["mixture"]) == 3
    assert axes["init"] == [2]  # a seed that no run used
    assert {frozenset(each) for each in axes["mixture"].values()} == {frozenset(("reasoning", "visual"))}


def test_the_design_counts_the_shares_that_vary_and_the_runs_of_each_mixture():
    """As `found` does: neither what is held fixed nor the rest; several artifacts of a model are one run."""
    scores = [
        model(n, [0.0] * 4, mixture=Mixed(families=FrozenMap({**point, "code": 5.0, "web": 95 - sum(point.values())})))
        for n, point in enumerate(POINTS[:4])
    ]
    said = Landscape(scores=tuple(scores)).design()
    assert said == "4 mixtures × 1 run cannot determine the 6 terms of a surface over reasoning, visual"
    assert Landscape(scores=(*scores, scores[0])).design() == said
    uneven = (*study(POINTS), *study(POINTS[:2], (1, 2)))
    said = Landscape(scores=uneven).design()
    assert said == "9 mixtures × 1 to 3 runs for the 6 terms of a surface over reasoning, visual"
    assert Landscape(scores=tuple(study(POINTS[:1]))).design() is None


def test_what_the_runs_do_not_determine_is_said(tmp_path):
    _, found, out = landscape(tmp_path, study(POINTS[:3]))
    assert any("cannot be said" in each for each in found["sentences"])
    assert not (out / NEXT).exists()


def test_sources_that_add_up_leave_one_out_and_shares_are_of_the_nearest_mixture(tmp_path):
    scores = [
        model(n, [0.02 * code] * 4, mixture=Mixed(sources=FrozenMap({"code": code, "web": 100 - code})))
        for n, code in enumerate((0.0, 25.0, 50.0, 75.0, 100.0))
    ]
    _, found, out = landscape(tmp_path, scores)
    import yaml

    further = yaml.safe_load((out / NEXT).read_text())["axes"]["mixture"]
    assert all(each.keys() == {"code", "web"} and abs(sum(each.values()) - 100) < 1e-3 for each in further.values())
    assert found["figures"]["all groups"]["names"] == ["code"]
    assert found["models"][1]["shares"] == {"code": 25.0, "web": 75.0}


def test_what_is_held_fixed_is_part_of_further_mixtures(tmp_path):
    import yaml

    scores = [
        model(n, [0.02 * visual] * 4, mixture=Mixed(families=FrozenMap({"reasoning": 60.0, "visual": visual})))
        for n, visual in enumerate((0.0, 0.5, 1.0, 5.0, 10.0))
    ]
    _, found, out = landscape(tmp_path, scores)
    assert found["models"][2]["shares"] == {"reasoning": 60.0, "visual": 1.0}  # of families, always per cent
    further = yaml.safe_load((out / NEXT).read_text())["axes"]["mixture"]
    assert {each["reasoning"] for each in further.values()} == {60}
    assert all(0 <= each["visual"] <= 10 for each in further.values())


def test_parts_of_sources_are_shares_and_bounds_are_refused(tmp_path):
    scores = [
        model(n, [0.1 * n] * 4, mixture=Mixed(sources=FrozenMap({"code": float(n), "web": float(4 - n)})))
        for n in range(5)
    ]
    assert landscape(tmp_path, scores)[1]["models"][1]["shares"] == {"code": 25.0, "web": 75.0}


def test_models_of_one_mixture_have_no_landscape(tmp_path):
    scores = study(POINTS[:1], (0, 1))
    with pytest.raises(PresightError, match="same shares"):
        landscape(tmp_path, scores)
