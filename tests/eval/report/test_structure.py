"""The section of structure, against what `structure.json` says."""

import json
import re

import numpy as np
import pytest

from eval.cohort import Cohort
from eval.report import findings, structure
from eval.report.evidence import Evidence, Result
from eval.report.figures import GREY
from eval.report.report import Report
from eval.report.sheet import Sheet
from eval.structure import PERCEPTION, REASONING
from eval.structure import structure as found_of
from presight.stage import Stage
from presight.store import Store

GROUPS = [*PERCEPTION, *REASONING]


class Found(Stage):
    """An artifact of what was found."""

    kind = "structure"
    text: str

    def run(self, out, inputs):
        (out / "structure.json").write_text(self.text)


def cohort(models, seeds=1, seed=0, noise=0.5, factors=2):
    """Figures of models with a factor for perception and one for reasoning, or one for both."""
    rng = np.random.default_rng(seed)
    places = [0, 0, 1, 1] if factors == 2 else [0, 0, 0, 0]
    truth = rng.normal(size=(models, 2))[:, places] + noise * rng.normal(size=(models, 4))
    families = np.repeat(np.arange(models), seeds)
    halves = 0.4 + 0.02 * truth[families][:, :, None] + 0.006 * rng.normal(size=(len(families), 4, 2))
    labels = [{"source": f"<s>{family}", "init": str(place % seeds)} for place, family in enumerate(families)]
    return Cohort(labels, families, GROUPS, halves.mean(axis=2), halves, np.full(4, 0.006**2 / 2))


def written(found):
    evidence = Evidence(
        "", (), (), (), {}, structures=(Result({}, "card-of-structure", json.loads(json.dumps(found))),)
    )
    return structure.section(Sheet(evidence)), findings.summary(evidence)


def figures(page, name):
    """Plots whose id begins so, in order."""
    return [
        json.loads(each) for each in re.findall(rf'data-plot="structure-card-of-{name}[^"]*">(.*?)</script>', page)
    ]


def holds(interval):
    return interval["low"] <= 0 <= interval["high"]


@pytest.fixture(scope="module")
def made():
    found = found_of(cohort(46), draws=300)
    return found, *written(found)


def test_cells_are_grey_where_the_interval_holds_nought(made):
    found, page, _ = made
    (drawn,) = figures(page, "matrix")
    grey, coloured = drawn["data"]
    known = {tuple(each["pair"]): each["spearman"] for each in found["correlations"]}
    across, down = drawn["layout"]["xaxis"]["ticktext"], drawn["layout"]["yaxis"]["ticktext"]
    assert across == [each.replace("&", "&amp;") for each in GROUPS[:-1]]
    said = 0
    for y, second in enumerate(GROUPS[1:]):
        for x, first in enumerate(GROUPS[:-1]):
            value = known.get((first, second))
            cells = grey["z"][y][x], coloured["z"][y][x]
            if value is None:
                assert cells == (None, None)
                continue
            said += 1
            assert cells == ((value["estimate"], None) if holds(value) else (None, value["estimate"]))
            words = (grey if holds(value) else coloured)["text"][y][x]
            numbers = [float(each) for each in re.findall(r"[+-]\d\.\d\d", words.replace("−", "-"))]
            assert numbers == pytest.approx([value["estimate"], value["low"], value["high"]], abs=0.0051)
    assert said == 6
    assert len(drawn["layout"]["shapes"]) == 2  # General with OCR & Chart, Knowledge with Vision-centric
    assert len(down) == 3
    assert {True, False} == {holds(each) for each in known.values()}, "the made-up models must hold both"


def test_correlations_stand_beside_the_corrected_and_the_published(made):
    found, page, _ = made
    (drawn,) = figures(page, "correlations")
    whiskers = [each for each in drawn["data"] if each.get("error_x")]
    diamonds = [each["x"][0] for each in drawn["data"] if each["marker"].get("symbol") == "diamond"]
    kinds = [list(PERCEPTION), list(REASONING)]
    ordered = sorted(found["correlations"], key=lambda each: each["pair"] not in kinds)
    assert diamonds == [each["published"] for each in ordered]
    expected = [each[which] for each in ordered for which in ("spearman", "corrected")]
    assert len(whiskers) == len(expected) == 12
    for each, interval in zip(whiskers, expected, strict=True):
        assert each["x"] == [pytest.approx(interval["estimate"])]
        assert each["x"][0] - each["error_x"]["arrayminus"][0] == pytest.approx(interval["low"])
        assert (each["error_x"]["color"] == GREY) == holds(interval)
    assert page.count(">one kind<") == 2
    assert page.count(">different kinds<") == 4


def test_the_eight_differences_are_drawn_and_tabled(made):
    found, page, summary = made
    (drawn,) = figures(page, "differences")
    whiskers = [each for each in drawn["data"] if each.get("error_x")]
    assert len(whiskers) == len(found["differences"]) == 8
    for each, gap in zip(whiskers, found["differences"], strict=True):
        assert each["x"][0] + each["error_x"]["array"][0] == pytest.approx(gap["difference"]["high"])
        assert (each["marker"]["color"] == "white") == holds(gap["difference"])
    assert (
        page.count("<td>established</td>") == sum(not holds(each["difference"]) for each in found["differences"]) > 0
    )
    assert f"<li>{found['sentences'][-2]}</li>" in summary


def test_every_sentence_is_there_and_grey_where_nothing_is_established(made):
    found, page, summary = made
    shown = [not holds(each["spearman"]) for each in found["correlations"]] + [True, True]
    assert found["factors"]["verdict"] == "two"
    for words, established in zip(found["sentences"], shown, strict=True):
        words = words.replace("&", "&amp;")
        assert f"<li{'' if established else ' class=open'}>{words}</li>" in page
    assert "<h3>Structure</h3>" in summary
    assert found["sentences"][0].replace("&", "&amp;") not in summary  # only what follows from them


def test_models_are_dots_in_every_pair_of_groups(made):
    found, page, _ = made
    panels = [each for each in figures(page, "") if each["layout"].get("title", {}).get("text")]
    assert len(panels) == 6
    (dots,) = panels[0]["data"]
    assert dots["x"] == pytest.approx([100 * each["figures"]["General"] for each in found["models"]])
    assert dots["y"] == pytest.approx([100 * each["figures"]["OCR & Chart"] for each in found["models"]])
    assert len(set(dots["marker"]["color"])) == 1  # more families than colours
    assert len(re.findall(r"<tr><td>&lt;s&gt;\d+</td>|<tr><td>&lt;s&gt;\d+ · init 0</td>", page)) == 46
    assert "<s>" not in re.sub(r"<script.*?</script>", "", page)


def test_noise_hides_two_factors_which_is_said_and_greyed():
    table = cohort(12, noise=1.0)
    found = found_of(table, draws=300)
    assert found["factors"]["verdict"] == "cannot say", "the made-up models must be too few"
    page, summary = written(found)
    assert f"<li class=open>{found['sentences'][-1]}</li>" in page
    assert f"<li class=open>{found['sentences'][-1]}</li>" in summary
    assert f"a chance of {found['factors']['power']:.2f} over 12 mixtures" in page
    if found["more_models"]:
        assert f"{found['more_models']:,} more models of other mixtures would tell" in page


def test_a_correction_that_cannot_be_made_is_said():
    found = found_of(cohort(12), draws=300)
    found["correlations"][0]["corrected"] = {"problem": "reliability: none is left of the <scores>."}
    page, _ = written(found)
    assert "none is left of the &lt;scores&gt;" in page
    (drawn,) = figures(page, "correlations")
    assert len([each for each in drawn["data"] if each.get("error_x")]) == 11


@pytest.mark.parametrize("models", [1, 3])
def test_too_few_models_are_still_dots_and_have_a_colour_each(models):
    found = found_of(cohort(models, seeds=3))
    page, summary = written(found)
    (words,) = found["sentences"]
    assert f"<li class=open>{words}</li>" in page
    assert f"<li class=open>{words}</li>" in summary
    panels = figures(page, "")
    assert len(panels) == 6
    (dots,) = panels[0]["data"]
    assert len(dots["x"]) == 3 * models
    assert len(set(dots["marker"]["color"])) == models
    assert [len(set(dots["marker"]["color"][3 * n : 3 * n + 3])) for n in range(models)] == [1] * models
    assert page.count('class="dot"') == (models if models > 1 else 0)


def test_a_report_reads_it_from_its_artifact(made, tmp_path):
    store, stage = Store(tmp_path / "store"), Found(text=json.dumps(made[0]))
    store.perform(stage)
    Report(structures=(stage,)).run(tmp_path, {"structures[0]": store.path(stage)})
    page = (tmp_path / "report.html").read_text()
    assert re.findall(r"<h2 id=[^>]*>(.*?)</h2>", page) == ["Structure", "Lineage and cards"]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert (counts["structures"], counts["plots"]) == (1, 9)
    assert page.count(f'href="#card-{store.path(stage).name}"') >= 1


def test_nothing_given_writes_nothing_and_the_same_gives_the_same(made):
    assert structure.section(Sheet(Evidence("", (), (), (), {}))) == ""
    assert written(made[0]) == made[1:]
