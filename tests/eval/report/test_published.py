"""The paper's figures beside ours: the data, what of ours meets them, and what the page says."""

import json
import re
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from toy_printed import printed

from eval.report.beside import NEIGHBOURS, Beside, Gain, ranks
from eval.report.evidence import Arm, Evidence, Family, Lock, Result
from eval.report.lineage import Record
from eval.report.page import render
from eval.report.panels import colours_of, panels, span
from eval.report.paper import FILE, STRUCTURE, figures, key, label, number
from eval.report.published import judged, section
from eval.report.report import Report
from eval.report.sheet import Sheet
from eval.structure import PUBLISHED
from eval.vision.figures import OVERALL, average
from eval.vision.groups import Groups
from eval.vision.suite import PAPER
from presight import document
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Stage

GROUPS = dict(zip(("thing", "fact", "sign", "place"), PAPER, strict=True))
SHARES = ("0", "25", "50", "75", "100")


class Answers(Stage):
    """Answers to four tasks, a group each; `gain` is what the vision-centric one has over the others' luck."""

    kind: ClassVar[str] = "scores"
    seed: int
    place: int
    gain: float
    items: int = 240

    def run(self, out, inputs):
        rows, results = [], []
        for task, group in GROUPS.items():
            hard = np.random.default_rng(list(task.encode())).uniform(0.1, 0.5, self.items)
            luck = np.random.default_rng([self.seed, *task.encode()]).random(self.items)  # much of it is shared
            other = np.random.default_rng([self.seed, self.place, *task.encode()])
            luck = np.where(other.random(self.items) < 0.2, other.random(self.items), luck)
            scores = (luck < hard + self.gain * (group == "Vision-centric")).astype(float)
            names = [f"{task}/{number}" for number in range(self.items)]
            rows += [
                {"item": name, "task": task, "cluster": name, "score": score}
                for name, score in zip(names, scores.tolist(), strict=True)
            ]
            results.append({"task": task, "group": group, "metric": "accuracy", "column": "score", "chance": 0.25})
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out / "items.parquet")
        (out / "scores.json").write_text(json.dumps({"modality": "image", "trained": "", "results": results}))


def family(root, places, treatment, along, **fields):
    """The groups of models at these places: labels, with the gain of each."""
    scores = [
        Labelled(FrozenMap({**labels, "init": str(seed)}), Answers(seed=seed, place=place, gain=gain))
        for place, (labels, gain) in enumerate(places)
        for seed in range(3)
    ]
    stage = Groups(scores=tuple(scores), treatment=treatment, along=along, **fields)
    inputs = {}
    for name, each in stage.inputs().items():
        inputs[name] = root / each.fingerprint
        inputs[name].mkdir(exist_ok=True)
        each.run(inputs[name], {})
    (out := root / f"{along}-{treatment}").mkdir()
    stage.run(out, inputs)
    return Family.read(out)


def evidence(*families, published=(), **fields):
    return Evidence("", tuple(families), (), (), {}, published=tuple(published), **fields)


def arm(labels, value, task="all groups", metric="accuracy"):
    """A record of one arm, as a family has it."""
    record = {"labels": labels, "task": task, "metric": metric, "modality": "", "trained": "", "n_items": 10}
    record |= {"per_seed": [value, value], "chance": None, "learning_rates": [], "edge": False}
    record |= {"mean": {"estimate": value, "low": value - 0.05, "high": value + 0.05}, "seeds": ["0", "1"]}
    return Arm({**record, "scores": [json.dumps([labels, task])]}, "card")


def of_arms(*arms, along="mixture", **fields):
    return evidence(Family("card", along, "", "init", arms, ()), **fields)


def rows_of(page, task):
    """The cells of a group's rows in the tables of a page."""
    lines = re.findall(r"<tr(?: class=\"(\w+)\")?>(.*?)</tr>", page, flags=re.S)
    found, at = [], None
    for style, line in lines:
        cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", line)]
        if style == "task":
            at = cells[0]
        elif at == task and cells:
            found.append((style, cells))
    return found


def plots(page):
    return {
        name: json.loads(drawn.replace("\\u003c", "<"))
        for name, drawn in re.findall(r'class="figure" data-plot="(published[^"]*)">(.*?)</script>', page, flags=re.S)
    }


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    places = [
        ({"category": category, "share": share}, gain * int(share) / 100)
        for category, gain in (("reasoning", 0.5), ("visual", 0.0))
        for share in SHARES
    ]
    return family(tmp_path_factory.mktemp("shares"), places, "0", "share")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    places = [
        ({"mixture": name}, gain)
        for name, gain in (
            ("code", 0.3), ("web", 0.1), ("encyclopedia", 0.05), ("academia", 0.2), ("literature", 0.12),
            ("math", 0.25), ("gossip", 0.0),
        )
    ]  # fmt: skip
    return family(tmp_path_factory.mktemp("sources"), places, "code", "mixture")


# --- the data ---------------------------------------------------------------------------------------------------


def test_the_tables_are_those_printed():
    known = figures()
    grid = known["grid"].curves[()]
    for row, column, value in printed("grid"):
        assert grid[f"r{row}v{column}"] == {OVERALL: value}
    assert len(grid) == 30
    mixes = known["mixes"].curves[()]
    columns = {"vqa": OVERALL, "text": "text accuracy", "perplexity": "perplexity"}
    for row, column, value in printed("mixes"):
        if column in columns:
            assert mixes[row][columns[column]] == value
    for row, _, value in printed("1T"):
        mix, _, blind = row.partition(" + ")
        place = key({"tuning": "blind" if blind else "normal"})
        assert known["trillion"].curves[place][known["trillion"].named(mix[-1])][OVERALL] == value
    single, seen = known["sources"], known["existence"]
    for row, _, value in printed("single source"):
        assert single.curves[()][single.named(row)][OVERALL] == value
    for row, column, value in printed("existence by source"):
        level = {"small": ": 0-30", "medium": ": 30-60", "large": ": 60-100"}
        group = "Existence" if column == "overall" else f"existence by size{level[column]}"
        assert seen.curves[()][seen.named(row)][group] == value


def test_the_curves_are_those_read_off():
    names = {f"{name} reasoning": name for name in ("code", "math", "science")}
    names |= {"visual concept": "concept", "visual attribute": "attribute", "visual relationship": "relation"}
    names |= {"reasoning combination": "reasoning", "visual combination": "visual"}
    both = {**figures()["labels"].curves, **figures()["proportions"].curves}
    for table, group in (("curves average", OVERALL), ("curves vision-centric", "Vision-centric")):
        rows = printed(table)
        assert len(rows) == 40
        for row, column, value in rows:
            assert both[key({"category": names[row]})][column][group] == value


@pytest.mark.parametrize(
    ("name", "error"), [("scale", 0.02), ("sources", 0.02), ("encoders", 0.02), ("trillion", 0.005)]
)
def test_groups_add_up_to_the_average(name, error):
    points = [point for curve in figures()[name].curves.values() for point in curve.values()]
    assert len(points) >= 4
    for point in points:
        assert average({group: point[group] for group in PAPER}) == pytest.approx(point[OVERALL], abs=error)


def test_the_same_models_have_the_same_scores_in_two_figures():
    """The encoders' first curve is that of the proportions."""
    one = figures()["encoders"].curves[key({"category": "reasoning", "eyes": "metaclip"})]
    other = figures()["proportions"].curves[key({"category": "reasoning"})]
    assert [one[at]["Vision-centric"] for at in SHARES] == [other[at]["Vision-centric"] for at in SHARES]
    web = figures()["scale"].curves[key({"size": "3b"})]["30"]
    assert web == pytest.approx(figures()["sources"].curves[()]["web"], abs=0.011)


def test_what_remains_is_counted_in_points():
    found = figures()["removal"].curves[()]
    assert found["nothing"]["OCR & Chart"] == 17.74
    assert found["perception"]["OCR & Chart"] == pytest.approx(17.74 * 0.9092)
    assert average({group: found["nothing"][group] for group in PAPER}) == pytest.approx(
        found["nothing"][OVERALL], abs=0.01
    )


def test_correlations_stand_in_one_place():
    found = figures()[STRUCTURE].curves[()]
    assert len(found) == len(PUBLISHED) == 6
    for pair, value in PUBLISHED.items():
        assert found[label(" × ".join(sorted(pair)))] == {"rank correlation": value}
    assert document.read(FILE)[STRUCTURE]["rows"] == []


@given(st.floats(-1000, 1000, allow_nan=False).map(lambda value: round(value, 3)))
def test_numbers_are_one_label_however_they_are_written(value):
    ways = {label(value), label(str(value)), label(f"{value:.3f}"), label(f"{value:.5f}")}
    assert len(ways) == 1
    assert number(ways.pop()) == pytest.approx(value, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("tokens", [1_048_576, 30_000_000_000, 1_000_000_000_000])
def test_tokens_are_labels_and_numbers(tokens):
    assert number(label(tokens)) == tokens
    assert label(tokens) != label(tokens + 1)


@given(st.text(max_size=20))
def test_a_label_of_a_label_is_itself(words):
    assert label(label(words)) == label(words)


# --- what of ours meets it --------------------------------------------------------------------------------------


def test_a_gain_is_the_treatments_difference_turned_round(shares):
    beside = Beside(figures()["proportions"], evidence(shares))
    assert beside.reference == "0"
    checked = 0
    for category in ("reasoning", "visual"):
        curve = key({"category": category})
        for each in shares.comparisons:
            delta = each.delta
            if delta.labels["category"] == category and delta.task in beside.figure.groups:
                gain = beside.gain(curve, delta.task, delta.control)
                means = [beside.marks[curve][delta.task][at].value for at in (delta.control, "0")]
                assert gain.value == pytest.approx(means[0] - means[1]) == pytest.approx(-100 * delta.estimate)
                assert gain.limits == pytest.approx((-100 * delta.interval.high, -100 * delta.interval.low))
                assert gain.established == each.general
                checked += 1
    assert checked == 2 * 4 * 2
    theirs = figures()["proportions"].curves[key({"category": "visual"})]
    wanted = theirs["75"]["Vision-centric"] - theirs["0"]["Vision-centric"]
    assert beside.published_gain(key({"category": "visual"}), "Vision-centric", "75") == wanted
    assert beside.published_gain(key({"category": "visual"}), "Knowledge", "75") is None
    assert beside.gain(key({"category": "visual"}), "Vision-centric", "0") is None


def test_the_reference_is_the_treatment_wherever_it_stands(tmp_path):
    places = [({"mixture": name}, gain) for name, gain in (("0", 0.0), ("6", 0.3), ("10", 0.3))]
    found = family(tmp_path, places, "6", "mixture")
    beside = Beside(figures()["mixes"], evidence(found))
    assert beside.reference == "6"
    assert beside.published_gain((), OVERALL, "0") == pytest.approx(32.4 - 33.3)
    (delta,) = (each.delta for each in found.comparisons if each.delta.task == OVERALL and each.delta.control == "10")
    assert beside.gain((), OVERALL, "10").value == pytest.approx(-100 * delta.estimate)
    bare = evidence(Family("card", "mixture", "6", "init", found.arms, ()))
    alone = Beside(figures()["mixes"], bare)  # nothing compared: the first that both have, without intervals
    assert alone.reference == "0"
    assert alone.gain((), OVERALL, "6").limits is None


def test_other_names_of_a_label_are_known():
    beside = Beside(figures()["mixes"], of_arms(arm({"mixture": "language"}, 0.3), arm({"mixture": "balanced"}, 0.4)))
    assert set(beside.marks[()][OVERALL]) == {"0", "6"}
    found = of_arms(*(arm({"mixture": name}, 0.3) for name in ("web-crawl", "Computer Sci", "qa_forum", "gossip")))
    beside = Beside(figures()["sources"], found)
    assert beside.order(OVERALL)[-1] == "gossip"
    assert set(beside.marks[()][OVERALL]) == {"web", "computer_science", "qa_forum", "gossip"}
    assert beside.published((), OVERALL, "web") == 31.28
    assert beside.published((), OVERALL, "gossip") is None


@pytest.mark.parametrize(
    "labels",
    [
        {"share": "50"},  # of no category
        {"category": "sport", "share": "50"},
        {"category": "reasoning", "share": "half"},
        {"category": "reasoning", "share": "37"},  # a place, but none of the paper's
        {"category": "reasoning"},
        {},
    ],
)
def test_what_is_elsewhere_is_not_beside_it(labels):
    found = of_arms(arm(labels, 0.3), published=["proportions"])
    assert Beside(figures()["proportions"], found).marks == {}
    page, drawn = render(found)
    assert drawn == 1  # its scores
    assert "Nothing of ours stands beside it: it goes along share (0 to 100), at reasoning and visual" in page
    assert [cells[1] for _, cells in rows_of(page, "Vision-centric")][:2] == ["38.76", "40.16"]


def test_a_place_of_ours_that_the_paper_lacks_is_shown(tmp_path):
    arms = [arm({"category": "reasoning", "share": share}, 0.3) for share in ("50", "37.5")]
    beside = Beside(figures()["proportions"], of_arms(*arms))
    assert beside.order(OVERALL) == ["0", "25", "37.5", "50", "75", "100"]
    assert set(beside.marks[key({"category": "reasoning"})][OVERALL]) == {"50", "37.5"}


def test_free_axes_are_shown_and_pair_where_they_agree():
    arms = [arm({"size": size, "read": read}, 0.3) for size in ("1m", "3B") for read in ("0", "100")]
    beside = Beside(figures()["scale"], of_arms(*arms, along="read"))
    assert beside.partner == {key({"size": "1m"}): None, key({"size": "3b"}): key({"size": "3b"})}
    colours = colours_of(beside)
    assert colours[True, key({"size": "3b"})] == colours[False, key({"size": "3b"})]
    assert colours[True, key({"size": "1m"})] not in {colours[False, curve] for curve in beside.figure.curves}
    lone = Beside(figures()["scale"], of_arms(arm({"read": "0"}, 0.3), along="read"))
    assert lone.partner == {(): None}


def test_what_an_axis_does_not_reach_stands_on_every_curve():
    """Fresh weights have read no mixture."""
    arms = [arm({"size": "1m", "read": "0"}, 0.2)]
    arms += [arm({"size": "1m", "read": "100", "mixture": name}, 0.3) for name in ("web", "code")]
    beside = Beside(figures()["scale"], of_arms(*arms, along="read"))
    assert {key({"size": "1m", "mixture": name}) for name in ("web", "code")} == set(beside.marks)
    for curve in beside.marks.values():
        assert {at: mark.value for at, mark in curve[OVERALL].items()} == {"0": 20, "100": 30}


def test_several_of_ours_may_stand_beside_one_curve():
    labels = [{"without": what, "mixture": name} for what in ("nothing", "perception") for name in ("a", "b")]
    beside = Beside(figures()["removal"], of_arms(*(arm(each, 0.3) for each in labels), along="without"))
    assert beside.partner == {key({"mixture": "a"}): (), key({"mixture": "b"}): ()}
    assert len({colours_of(beside)[True, curve] for curve in beside.marks}) == 2


def test_a_share_may_be_that_of_a_source_in_the_mixture():
    pools = {"0": (1.0, 0.0), "1": (0.5, 0.5)}
    locks = tuple(
        Lock(
            {"mixture": name}, name, {"pools": [{"name": "web", "realised": web}, {"name": "code", "realised": code}]}
        )
        for name, (web, code) in pools.items()
    )
    labels = [{"mixture": name} for name in pools]
    arms = [arm(each, 0.1 + place, "colour", "soundness") for place, each in enumerate(labels)]
    found = evidence(Family("card", "mixture", "1", "init", tuple(arms), ()))
    found = Evidence("", found.families, (), locks, {})
    beside = Beside(figures()["traces"], found)
    curve = key({"category": "code", "task": "colour"})
    assert {at: mark.value for at, mark in beside.marks[curve]["soundness"].items()} == {"0": 0.1, "50": 1.1}
    assert beside.partner[curve] == key({"category": "code"})
    assert Beside(figures()["traces"], Evidence("", found.families, (), (), {})).marks == {}


def test_alignments_and_correlations_are_beside_theirs():
    shares = [
        ({"category": "code", "share": at, "init": str(seed)}, 0.05 + seed / 100) for at in SHARES for seed in (0, 1)
    ]
    aligned = tuple(Result(labels, "card", {"estimate": value, "items": 512}) for labels, value in shares)
    beside = Beside(figures()["alignment"], evidence(alignments=aligned))
    mark = beside.marks[key({"category": "code"})][NEIGHBOURS]["50"]
    assert (mark.value, mark.seeds) == (pytest.approx(0.055), 2)
    assert mark.limits == pytest.approx((0.055 - 12.706 * 0.005, 0.055 + 12.706 * 0.005), abs=1e-5)
    pairs = [
        {"pair": ["General (2 of 4)", "OCR & Chart"], "spearman": {"estimate": 0.6, "low": 0.2, "high": 0.8}},
        {"pair": ["Vision-centric", "General (2 of 4)"], "spearman": {"estimate": 0.1, "low": -0.3, "high": 0.5}},
    ]
    structures = (Result({}, "card", {"correlations": pairs, "models": [{}] * 9}),)
    found = evidence(structures=structures, published=[STRUCTURE])
    beside = Beside(figures()[STRUCTURE], found)
    assert beside.gain((), "rank correlation", label("General × OCR & Chart")).established
    assert "Nothing of ours stands beside it" in section(Sheet(evidence(published=[STRUCTURE])))


def test_ranks_are_scipys(sources):
    beside = Beside(figures()["sources"], evidence(sources))
    names = ["code", "web", "encyclopedia", "academia", "literature", "math"]
    for group in (*PAPER, OVERALL):
        shared, rho = ranks(beside, (), group)
        ours = [beside.marks[()][group][name].value for name in names]
        theirs = [figures()["sources"].curves[()][name][group] for name in names]
        assert shared == 6  # one of ours is not of the paper's
        assert rho.estimate == pytest.approx(spearmanr(theirs, ours).statistic)
    few = of_arms(*(arm({"mixture": name}, place / 10) for place, name in enumerate(names[:3])))
    assert ranks(Beside(figures()["sources"], few), (), OVERALL) == (3, None)


@pytest.mark.parametrize(
    ("gain", "published", "words"),
    [
        (None, 1.0, ""),
        (Gain(2.0), 1.0, "not compared here"),
        (Gain(2.0, (-1.0, 5.0), 3), 4.0, "not resolved, holds the paper’s"),
        (Gain(2.0, (-1.0, 5.0), 3), 6.0, "not resolved, excludes the paper’s"),
        (Gain(2.0, (-1.0, 5.0), 3), None, "not resolved"),
        (Gain(3.0, (1.0, 5.0), 3), 4.0, "same sign, holds the paper’s"),
        (Gain(3.0, (1.0, 5.0), 3), 6.0, "same sign, excludes the paper’s"),
        (Gain(-3.0, (-5.0, -1.0), 3), 6.0, "opposite sign, excludes the paper’s"),
        (Gain(3.0, (1.0, 5.0), 1), 4.0, "of these models only: same sign, holds the paper’s"),
        (Gain(3.0, (1.0, 5.0), 3), None, "established, the paper does not say"),
        (Gain(3.0, (1.0, 5.0), 3), 0.0, "established, the paper has none"),
    ],
)
def test_agreement_in_words(gain, published, words):
    assert judged(gain, published) == words


def test_a_span_of_counts():
    assert (span([3, 3], "seed"), span([1], "seed"), span([3, 2], "seed")) == ("3 seeds", "1 seed", "2 to 3 seeds")


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(shares, sources):
    return render(evidence(shares, sources, published=["proportions", "sources"]))[0]


def test_the_page_has_every_number_of_both(page, shares):
    beside = Beside(figures()["proportions"], evidence(shares))
    part = page[page.index('id="beside-the-paper"') : page.index("published-sources")]
    found = rows_of(part, "Vision-centric")
    assert len(found) == 2 * len(SHARES)
    for style, cells in found:
        category, at = cells[0].split(" · ")
        curve = key({"category": category})
        mark, gain = beside.marks[curve]["Vision-centric"][at], beside.gain(curve, "Vision-centric", at)
        assert cells[1] == f"{beside.published(curve, 'Vision-centric', at):.4g}"
        assert cells[2] == "{:.1f} [{:.1f}, {:.1f}]".format(mark.value, *mark.limits)
        if at == "0":
            assert (style, cells[5]) == ("", "reference")
        else:
            assert cells[4] == "{:+.1f} [{:+.1f}, {:+.1f}]".format(gain.value, *gain.limits).replace("-", "−")
            assert (style == "open") == (not gain.established) == cells[5].startswith("not resolved")
    verdicts = {cells[5].partition(",")[0] for _, cells in found}
    assert {"same sign", "not resolved"} <= verdicts, "the made-up world must hold both"


def test_two_panels_share_an_axis_and_grey_what_is_open(page, shares):
    drawn = plots(page)["published-proportions-vision-centric"]
    left = [each for each in drawn["data"] if each.get("xaxis", "x") == "x"]
    right = [each for each in drawn["data"] if each.get("xaxis") == "x2"]
    assert len(left) == len(right) == 2
    assert not any(each.get("error_y") for each in left)
    layout = drawn["layout"]
    assert layout["xaxis"]["range"] == layout["xaxis2"]["range"]
    assert layout["xaxis"]["domain"][1] < layout["xaxis2"]["domain"][0]
    assert layout["yaxis2"]["anchor"] == "x2"
    assert "overlaying" not in layout["yaxis2"]
    beside = Beside(figures()["proportions"], evidence(shares))
    for line, category in zip(right, ("reasoning", "visual"), strict=True):
        curve = key({"category": category})
        marks = beside.marks[curve]["Vision-centric"]
        assert line["y"] == pytest.approx([marks[at].value for at in SHARES])
        highs = np.array(line["y"]) + line["error_y"]["array"]
        assert highs == pytest.approx([marks[at].limits[1] for at in SHARES])
        hollow = [colour == "white" for colour in line["marker"]["color"]]
        assert hollow == [not beside.stands(curve, "Vision-centric", at) for at in SHARES]
    assert "published-proportions-knowledge" not in plots(page)  # the paper does not have it


def test_sources_are_ranked_and_said_not_to_compare(page):
    drawn = plots(page)["published-sources-vision-centric"]
    names = [re.sub(r"<[^>]*>", "", each) for each in drawn["layout"]["yaxis"]["ticktext"]]
    theirs = {at: point["Vision-centric"] for at, point in figures()["sources"].curves[()].items()}
    assert names == [*sorted(theirs, key=lambda at: -theirs[at]), "gossip"]
    whiskers = [each for each in drawn["data"] if each.get("error_x")]
    assert len(whiskers) == 7
    assert all(each["xaxis"] == "x2" for each in whiskers)
    text = re.sub(r"<[^>]*>", "", page)
    assert text.count("Rank agreement with the paper over 6 places: Spearman’s ρ = ") == 5
    assert "Levels are not comparable (other models and other questions), only shapes are" in text
    assert "Published: figure 2 (read off the drawing, to some 0.02); 3B parameters" in text
    assert page.count("<li class=open>Rank agreement") == page.count(", not resolved.</li>") > 0


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({}, "Levels are not comparable (other models and other questions), only shapes are"),
        (
            {"pretrain.Train": {"model": "1m"}, "eval.SceneQuestions": {}},
            "(questions about composed scenes are not the paper’s; 1m parameters are not 3B parameters, 30B tokens)",
        ),
        (
            {"pretrain.Train": {"model": "3b"}, "eval.SceneQuestions": {}},
            "(questions about composed scenes are not the paper’s), only",
        ),
        (
            {"pretrain.Train": {"model": "3b"}, "adapt.Align": {"model": "abc"}, "eval.Benchmark": {}},
            "Model size and benchmarks are the paper’s; corpora and tokens need not be: levels compare with care.",
        ),
    ],
)
def test_whether_levels_compare_is_read_off_the_cards(stages, said):
    records = {tag: Record("kind", tag, {"stage": tag, "fields": fields}) for tag, fields in stages.items()}
    families = (Family("card", "mixture", "", "init", (arm({"mixture": "web"}, 0.3),), ()),)
    sheet = Sheet(Evidence("", families, (), (), records, published=("sources",)))
    assert said in section(sheet)


def test_a_part_of_a_group_is_not_called_the_group():
    records = {tag: Record("kind", tag, {"stage": tag, "fields": {}}) for tag in ("pretrain.Train", "eval.Benchmark")}
    records["pretrain.Train"].card["fields"]["model"] = "3b"
    arms = tuple(arm({"mixture": "web"}, 0.3, task) for task in ("General (1 of 4)", "all groups (3 of 16)"))
    family = Family("card", "mixture", "", "init", arms, ())
    page = section(Sheet(Evidence("", (family,), (), (), records, published=("sources",))))
    assert "<b>General, ours 1 of 4.</b>" in page
    assert "<b>all groups, ours 3 of 16</b>" in page
    assert "Levels are not comparable (parts of groups are not groups), only shapes are" in page


def test_what_a_curve_has_of_its_own_is_not_taken_from_elsewhere():
    general, own = arm({"share": "50"}, 0.2), arm({"share": "50", "category": "visual"}, 0.4)
    for arms in ((general, own), (own, general)):
        family = Family("card", "share", "", "init", arms, ())
        found = Beside(figures()["proportions"], Evidence("", (family,), (), (), {}))
        assert [mark.value for mark in found.among("all groups")] == [pytest.approx(40)]


def test_small_published_differences_keep_their_digits():
    page = section(Sheet(Evidence("", (), (), (), {}, published=("alignment",))))
    assert "+0.00<" not in page
    assert "+0.00" in page


def test_tokens_are_counted_in_their_own():
    arms = [arm({"size": "1m", "read": read}, 0.3) for read in ("0", "50", "100")]
    locks = (Lock({}, "mix", {"pools": [], "items": 1600, "item": 256}),)
    found = Evidence("", (Family("card", "read", "", "init", tuple(arms), ()),), (), locks, {})
    beside = Beside(figures()["scale"], found)
    layout = json.loads(panels(beside, OVERALL, colours_of(beside), "x").json)["layout"]
    assert layout["xaxis"]["tickvals"] == layout["xaxis2"]["tickvals"] == [0, 30, 100]
    assert layout["xaxis"]["ticktext"] == ["0", "30B", "100B"]
    assert layout["xaxis2"]["ticktext"] == ["0", "123k", "410k"]


def test_an_unknown_figure_is_refused_with_the_nearest():
    assert Report(published=("sources",)).published == ("sources",)
    with pytest.raises(PresightError, match=r"published: 'source' is no figure of the paper; did you mean sources\?"):
        Report(published=("source",))
    assert render(evidence())[0].count("Beside the paper") == 0
