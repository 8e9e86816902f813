"""Means of means: the paper's own figures, plain twins, coverage, and what is refused."""

import json
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from eval import Ask, Benchmark, Existence, SceneQuestions, World
from eval.report.evidence import Family
from eval.stats.intervals import crossed_margins, mean_interval, minimum_detectable_effect, paired_item_sd
from eval.vision.figures import ALIKE, OVERALL, average
from eval.vision.groups import FILE, Groups
from eval.vision.strata import Stratum, combined
from eval.vision.suite import PAPER, groups, suite
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

ROWS = [  # the paper's runs of 1T tokens: general, knowledge, OCR and chart, vision-centric, all
    (46.92, 28.35, 21.49, 46.31, 37.32),
    (48.16, 30.30, 20.77, 47.01, 38.20),
    (49.59, 29.02, 23.63, 46.59, 38.64),
    (50.90, 31.25, 22.60, 47.32, 39.56),
]
PAPER_NAMES = [name for group in PAPER for name in groups()[group]]
SIZES = {"GQA": 40, "SEED": 30, "MLE-Bench: existence_0-30": 30, "MLE-Bench: existence_30-60": 20}


@pytest.mark.parametrize("row", ROWS)
def test_the_average_is_the_papers(row):
    assert average(dict(zip(PAPER, row[:4], strict=True))) == pytest.approx(row[4], abs=0.005)
    assert sum(row[:4]) / 4 != pytest.approx(row[4], abs=0.1)  # the mean of the groups would be another


def test_an_average_needs_all_groups():
    with pytest.raises(PresightError, match="OCR & Chart have no mean"):
        average({group: 1.0 for group in PAPER if group != "OCR & Chart"})


def all_tasks(without=()):
    found = {}
    for name, entry in suite().benchmarks.items():
        if name not in without:
            parts = [f"{name}: {part}" for part in entry.parts] or [name]
            found |= dict.fromkeys(parts, entry.group)
    return found


class Scores(Stage):
    """Scores of many tasks, as ``eval.Ask`` writes them."""

    kind: ClassVar[str] = "scores"
    seed: int
    gain: float = 0.0
    tasks: FrozenMap[str, str] = FrozenMap(all_tasks())
    scale: float = 1.0

    def score(self, task):
        easy = np.random.default_rng(list(task.encode())).random(SIZES.get(task, 12))
        luck = np.random.default_rng([self.seed, *task.encode()]).random(len(easy))
        return (luck < (easy + self.gain) / (1 + self.gain)).astype(float) * self.scale

    def run(self, out, inputs):
        rows, results = [], []
        for task, group in self.tasks.items():
            for number, score in enumerate(self.score(task)):
                rows.append(
                    {"item": f"{task}/{number}", "task": task, "cluster": f"{task}/{number // 2}", "score": score}
                )
            results.append({"task": task, "group": group, "metric": "accuracy", "column": "score", "chance": 0.25})
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out / "items.parquet")
        (out / "scores.json").write_text(json.dumps({"modality": "image", "trained": "", "results": results}))


def labelled(seed, mixture="language", **fields):
    return Labelled(FrozenMap({"mixture": mixture, "init": str(seed)}), Scores(seed=seed, **fields))


def compared(tmp_path, scores, **fields):
    stage = Groups(scores=tuple(scores), treatment="vision", along="mixture", **fields)
    inputs = {}
    for name, each in stage.inputs().items():
        inputs[name] = tmp_path / each.fingerprint
        if not inputs[name].exists():
            inputs[name].mkdir()
            each.run(inputs[name], {})
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    stage.run(out, inputs)
    return json.loads((out / FILE).read_text()), json.loads((out / "deltas.json").read_text())


def two_arms(seeds=3, gain=0.5, **fields):
    return [
        labelled(seed, mixture, gain=gain * (mixture == "vision"), **fields)
        for mixture in ("language", "vision")
        for seed in range(seeds)
    ]


def plain(stage):
    """The figures of one model by the definition, in plain Python."""
    means = {task: stage.score(task).mean() for task in stage.tasks}
    found = {}
    for group, names in groups().items():
        each = []
        for name in names:
            parts = [mean for task, mean in means.items() if task.split(": ")[0] == name]
            each.append(sum(parts) / len(parts))
            if name == "MLE-Bench":
                every = np.concatenate([stage.score(task) for task in means if task.startswith(name)])
                found[name + ALIKE], each[-1] = each[-1], every.mean()
            found[name] = each[-1]
        found[group] = sum(each) / len(each)
    found[OVERALL] = sum(found[name] for group in PAPER for name in groups()[group]) / 16
    return found


def test_figures_are_means_of_means(tmp_path):
    scores = two_arms()
    told, deltas = compared(tmp_path, scores)
    assert told["missing"] == {}
    assert len(told["arms"]) == 2 * (17 + 1 + 5 + 1)
    for arm in told["arms"]:
        own = [each.stage for each in scores if each.labels["mixture"] == arm["labels"]["mixture"]]
        expected = [plain(stage)[arm["task"]] for stage in own]
        assert arm["per_seed"] == pytest.approx(expected)
        assert arm["mean"]["estimate"] == pytest.approx(np.mean(expected))
        assert arm["mean"]["low"] < arm["mean"]["estimate"] < arm["mean"]["high"]
        assert arm["chance"] == pytest.approx(0.25)
    by_name = {arm["task"]: arm["mean"]["estimate"] for arm in told["arms"] if arm["labels"]["mixture"] == "vision"}
    assert by_name[OVERALL] == pytest.approx(average({group: by_name[group] for group in PAPER}))
    assert by_name["MLE-Bench"] != pytest.approx(by_name["MLE-Bench" + ALIKE])
    assert {delta["task"] for delta in deltas["deltas"]} == {*PAPER, "Existence", OVERALL}


def test_differences_are_those_of_the_figures(tmp_path):
    told, deltas = compared(tmp_path, two_arms(), each=True)
    arms = {(arm["task"], arm["labels"]["mixture"]): arm for arm in told["arms"]}
    assert len(deltas["deltas"]) == len(told["rows"])
    for delta in deltas["deltas"]:
        ours, theirs = arms[delta["task"], "vision"], arms[delta["task"], "language"]
        assert delta["estimate"] == pytest.approx(ours["mean"]["estimate"] - theirs["mean"]["estimate"])
        assert delta["per_seed"] == pytest.approx(np.subtract(ours["per_seed"], theirs["per_seed"]).tolist())
        assert (delta["p"] < 0.05) == delta["established"]
        assert delta["p_holm"] >= delta["p"]
    whole = next(delta for delta in deltas["deltas"] if delta["task"] == OVERALL)
    assert whole["established"]
    assert whole["n_seeds"] == 3
    assert "points of accuracy above" in whole["sentence"]
    single = next(delta for delta in deltas["deltas"] if delta["task"] == "SEED")
    lone = [np.stack([Scores(seed=s, gain=g).score("SEED") for s in range(3)]) for g in (0.5, 0.0)]
    expected = crossed_margins(*lone, clusters=np.arange(30) // 2).interval()
    assert single["interval"]["low"] == pytest.approx(expected.low)
    assert single["interval"]["high"] == pytest.approx(expected.high)


def test_the_report_reads_them(tmp_path):
    compared(tmp_path, two_arms())
    family = Family.read(tmp_path / "out")
    assert family.treatment == "vision"
    assert {arm.record["task"] for arm in family.arms} == {each.delta.task for each in family.comparisons}


def test_a_group_that_lacks_a_benchmark_has_no_figure(tmp_path, capsys):
    tasks = FrozenMap(all_tasks(without=("TextVQA", "BLINK")) | {"BLINK: Counting": "Vision-centric"})
    told, deltas = compared(tmp_path, two_arms(tasks=tasks))
    assert told["missing"]["OCR & Chart"] == ["TextVQA"]
    assert told["missing"]["Vision-centric"][0] == "BLINK: IQ_Test"
    assert {delta["task"] for delta in deltas["deltas"]} == {"General", "Knowledge", "Existence"}
    assert "OCR & Chart: no figure without TextVQA" in capsys.readouterr().err


def test_what_is_there_may_stand_for_a_group_and_is_named_so(tmp_path):
    tasks = FrozenMap(all_tasks(without=("TextVQA",)))
    _, deltas = compared(tmp_path, two_arms(tasks=tasks), partial=True)
    named = {delta["task"] for delta in deltas["deltas"]}
    assert named == {
        "General",
        "Knowledge",
        "OCR & Chart (2 of 3)",
        "Vision-centric",
        "Existence",
        f"{OVERALL} (15 of 16)",
    }


def test_nothing_whole_is_refused(tmp_path):
    with pytest.raises(PresightError, match="no group is whole: General without MME, MMBench, SEED; Knowledge"):
        compared(tmp_path, two_arms(tasks=FrozenMap({"GQA": "General"})))


def test_groups_may_be_those_of_the_questions_or_ones_own(tmp_path):
    tasks = FrozenMap(
        {"count": "General", "colour": "General", "where": "Vision-centric", "existence by size: 0-30": "Existence"}
    )
    _, deltas = compared(tmp_path, two_arms(tasks=tasks))
    assert {delta["task"] for delta in deltas["deltas"]} == {"General", "Vision-centric", "Existence", OVERALL}
    own = FrozenMap({"seen": ("count", "colour"), "placed": ("where",)})
    told, deltas = compared(tmp_path, two_arms(tasks=tasks), benchmarks=own)
    assert {delta["task"] for delta in deltas["deltas"]} == {"seen", "placed", OVERALL}
    assert next(row for row in told["rows"] if row["name"] == OVERALL)["weights"] == pytest.approx(
        {"count": 1 / 3, "colour": 1 / 3, "where": 1 / 3}
    )


def test_what_is_no_share_and_what_shares_no_seed_is_refused(tmp_path):
    with pytest.raises(PresightError, match="is no share"):
        compared(tmp_path, two_arms(scale=2.0))
    with pytest.raises(PresightError, match="share no seed"):
        compared(tmp_path, [labelled(0), labelled(1, "vision")])
    with pytest.raises(PresightError, match="meets no control"):
        compared(tmp_path, [labelled(0, "vision")])
    with pytest.raises(PresightError, match="no scores are labelled 'vision'"):
        compared(tmp_path, [labelled(0)])


# --- what a plan says -------------------------------------------------------------------------------------------


class Model(Stage):
    kind: ClassVar[str] = "checkpoint"
    seed: int
    gain: float = 0.0


def planned(*questions, seeds=3, **fields):
    scores = [
        Labelled(
            FrozenMap({"mixture": mixture, "init": str(seed)}),
            Ask(model=Model(seed=seed, gain=gain), questions=questions, condition="none"),
        )
        for mixture, gain in (("language", 0.0), ("vision", 0.5))
        for seed in range(seeds)
    ]
    return Groups(scores=tuple(scores), treatment="vision", along="mixture", **fields).design()


def smallest(items, seeds=3):
    effect = minimum_detectable_effect(items, seeds, item_sd=paired_item_sd(0.5, 0.3), seed_sd=0.02)
    return f"{100 * effect:.1f} points"


def worth(*counts):
    """Of benchmarks that count alike."""
    return round(len(counts) ** 2 / sum(1 / count for count in counts))


def test_a_plan_counts_benchmarks_alike():
    line = planned(*(Benchmark(name=name) for name in PAPER_NAMES))
    known = {name: suite().benchmarks[name].items for name in PAPER_NAMES}
    known |= dict.fromkeys(("COCO", "ADE"), known["RealWorldQA"])  # nobody states theirs
    ocr = worth(*(known[name] for name in ("TextVQA", "ChartQA", "OCRBench")))
    assert f"OCR & Chart (worth {ocr:,} items): {smallest(ocr)}" in line
    seen = worth(*(known[name] for name in ("RealWorldQA", "COCO", "ADE", "Omni3D")), 6 * (known["BLINK"] // 6))
    assert f"Vision-centric (worth {seen:,} items): {smallest(seen)}" in line
    whole = int(line.split(f"{OVERALL} (worth ")[1].split(" items")[0].replace(",", ""))
    assert 19_000 < whole < 23_000  # of more than 50,000 questions
    assert f"{OVERALL} (worth {whole:,} items): {smallest(whole)}" in line
    assert line.index(OVERALL) < line.index("General")


def test_a_plan_names_figures_that_are_alike_together():
    scenes = SceneQuestions(world=World(sample="shapes"), items=100, novel=False)
    line = planned(scenes)
    assert f"{OVERALL} (worth 1,300 items): {smallest(1300)}" in line
    assert f"General / Knowledge / OCR & Chart (worth 300 items): {smallest(300)}" in line
    assert f"Vision-centric (worth 400 items): {smallest(400)}" in line
    assert "depth" not in line
    assert "depth" in planned(scenes, each=True)


def test_a_plan_judges_one_figure():
    scenes = SceneQuestions(world=World(sample="shapes"), items=100, novel=False)
    assert planned(scenes, expected=20).endswith(
        f"; expected +20 of {OVERALL}: resolvable, as one comparison before Holm"
    )
    short = planned(scenes, expected=-5.6, of="Vision-centric")
    assert "; expected −5.6 of Vision-centric: not resolvable with 3 seeds; " in short
    assert planned(scenes, expected=2, of="Existence").endswith(
        "a difference of Existence is expected, which is no figure here: known: General, Knowledge, OCR & Chart, "
        "Vision-centric, all groups"
    )
    levels = planned(Existence(world=World(sample="shapes"), items=700), expected=9, of="Existence")
    assert "Existence (worth 2,100 items)" in levels
    assert levels.endswith("expected +9 of Existence: resolvable, as one comparison before Holm")
    assert planned(scenes, seeds=1, expected=1).startswith("one seed can show no difference along mixture")


def test_what_cannot_be_planned():
    assert planned(Benchmark(name="GQA")) is None  # no group is whole: the run says so
    assert Groups(scores=tuple(two_arms()), treatment="vision", along="mixture").design() is None  # sizes unknown


def test_what_is_expected_is_no_part_of_what_is_computed():
    stages = [
        Groups(scores=tuple(two_arms()), treatment="vision", along="mixture", **fields)
        for fields in ({}, {"expected": 0.9, "of": "General", "assumed": {"seed_sd": 0.5}})
    ]
    assert stages[0].fingerprint == stages[1].fingerprint


def tables(rng, seeds, sizes, seed_sd=0.0):
    shared = rng.normal(0, seed_sd, (seeds, 1))
    return [shared + rng.normal(0, 1, (1, size)) + rng.normal(0, 0.5, (seeds, size)) for size in sizes]


def test_one_stratum_is_the_plain_mean():
    table = tables(np.random.default_rng(0), 3, [40], 0.3)[0]
    assert combined([Stratum(table, weight=7.0)]).interval() == mean_interval(table)


def test_one_model_is_the_textbooks_stratified_mean():
    first, second = tables(np.random.default_rng(1), 1, [20, 50])
    found = combined([Stratum(first, weight=1), Stratum(second, weight=3)])
    assert found.estimate == pytest.approx(first.mean() / 4 + 3 * second.mean() / 4)
    own = first.var(ddof=1) / 20 / 16, 9 * second.var(ddof=1) / 50 / 16
    assert found.item == pytest.approx(sum(own))
    assert found.item_df == pytest.approx(sum(own) ** 2 / (own[0] ** 2 / 19 + own[1] ** 2 / 49))


def test_a_bootstrap_within_strata_agrees():
    rng = np.random.default_rng(2)
    parts = tables(rng, 1, [60, 200, 120])
    draws = [
        np.mean([part[0][rng.integers(0, part.shape[1], part.shape[1])].mean() for part in parts]) for _ in range(4000)
    ]
    assert np.std(draws) == pytest.approx(np.sqrt(combined([Stratum(part) for part in parts]).item), rel=0.06)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.3), (6, 0.3)])
def test_intervals_cover(seeds, seed_sd):
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(600):
        parts = tables(rng, seeds, [15, 30, 60], seed_sd)
        hits += not combined([Stratum(part) for part in parts]).interval().excludes(0.0)
    assert 0.92 <= hits / 600 <= 0.995


def test_strata_need_the_same_seeds():
    with pytest.raises(PresightError, match="differ in their seeds"):
        combined([Stratum(np.zeros((2, 3))), Stratum(np.zeros((3, 3)))])
