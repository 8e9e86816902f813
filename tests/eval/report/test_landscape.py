"""The section of responses, against what `landscape.json` says."""

import json
import re

import numpy as np
import pytest
import yaml
from toy_printed import printed

from eval.cohort import Cohort
from eval.report import findings, landscape
from eval.report.evidence import Evidence, Result
from eval.report.sheet import Sheet
from eval.report.surfaces import BEST, UNTRUSTED
from eval.response.landscape import Landscape
from presight.stage import FrozenMap, Labelled, Stage


class Scores(Stage):
    """Of a model; the figures are given apart."""

    kind = "scores"


def study(shares, figures, **fields):
    """What a landscape finds of models with these shares, in per cent, and figures in points."""
    labels = [{"point": str(place), "init": "0"} for place in range(len(shares))]
    scores = np.stack([np.asarray(column) / 100 for column in figures.values()], axis=1)
    halves = np.stack([scores, scores], axis=2)
    table = Cohort(labels, np.arange(len(shares)), list(figures), scores, halves, np.zeros(len(figures)))
    found, axes = Landscape(scores=(Labelled(FrozenMap({}), Scores()),), **fields).found(table, shares)
    return json.loads(json.dumps(found)), axes


def written(found):
    evidence = Evidence("", (), (), (), {}, landscapes=(Result({}, "card-of-landscape", found),))
    return landscape.section(Sheet(evidence)), findings.summary(evidence)


def figure(page, name):
    (found,) = re.findall(rf'data-plot="response-card-of-{name}">(.*?)</script>', page)
    return json.loads(found)


def rows(page, first):
    """Cells of the rows that begin so."""
    found = re.findall(rf'<tr(?: class="(\w+)")?><td>({re.escape(first)}.*?)</td></tr>', page)
    return [(style, cells.split("</td><td>")) for style, cells in found]


@pytest.fixture(scope="module")
def published():
    """The paper's grid, and beside it figures that are noise alone and that climb to the border."""
    table = printed("grid")
    shares = [{"reasoning": float(row), "visual": float(column)} for row, column, _ in table]
    rng = np.random.default_rng(0)
    figures = {
        "all groups": [value for *_, value in table],
        "Knowledge": 30 + rng.standard_normal(len(table)),
        "Vision-centric": [30 + 0.1 * each["reasoning"] + 0.2 * each["visual"] for each in shares],
    }
    figures["Vision-centric"] += 0.3 * rng.standard_normal(len(table))
    found, axes = study(shares, figures)
    return found, axes, *written(found)


def test_the_map_shows_the_runs_the_surface_and_its_optimum(published):
    found, axes, page, _ = published
    drawn = figure(page, "all-groups")["data"]
    ground, border, hover, cover, points, crosses, best = drawn
    chosen = found["figures"]["all groups"]
    assert ground["z"] == chosen["raster"]["value"]
    assert border["z"] == chosen["raster"]["excess"]
    for words, numbers in zip(hover["customdata"], chosen["raster"]["excess"], strict=True):
        for (*_, said), excess in zip(words, numbers, strict=True):
            assert said == ("may be the optimum" if excess is not None and excess <= 0 else "not the optimum")
    assert border["contours"]["start"] == border["contours"]["end"] == 0
    assert [[each is not None for each in row] for row in hover["z"]] == chosen["raster"]["inside"]
    assert cover["fill"] == "toself"
    expected = {(float(row), float(column)): value for row, column, value in printed("grid")}
    seen = zip(np.round(points["x"], 6), np.round(points["y"], 6), points["marker"]["color"], strict=True)
    assert {(x, y): round(value, 6) for x, y, value in seen} == expected
    assert points["text"] == [f"{value:.1f}" for value in points["marker"]["color"]]
    further = yaml.safe_load(axes)["axes"]["mixture"].values()
    assert sorted(zip(np.round(crosses["x"], 4), np.round(crosses["y"], 4), strict=True)) == sorted(
        (round(each["reasoning"], 4), round(each["visual"], 4)) for each in further
    )
    optimum = chosen["optimum"]
    assert (best["x"], best["y"]) == tuple([100 * optimum["shares"][each]] for each in ("reasoning", "visual"))
    assert best["x"][0] + best["error_x"]["array"][0] == pytest.approx(100 * optimum["intervals"]["reasoning"][1])
    assert best["y"][0] - best["error_y"]["arrayminus"][0] == pytest.approx(100 * optimum["intervals"]["visual"][0])
    assert best["marker"]["color"] == BEST


def test_the_cover_leaves_the_hull_open(published):
    """The signed area of its path is that of the frame less that of the hull."""
    found, _, page, _ = published
    drawn = figure(page, "all-groups")
    (path,) = [each for each in drawn["data"] if each.get("fill") == "toself"]

    def area(x, y):
        return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))

    frame = np.prod([np.ptp(drawn["layout"][axis]["range"]) for axis in ("xaxis", "yaxis")])
    hull = 100 * np.array(found["figures"]["all groups"]["raster"]["hull"])
    assert abs(area(path["x"], path["y"])) == pytest.approx(frame - abs(area(*hull.T)))


def test_what_is_established_is_black_and_what_is_not_is_grey(published):
    found, _, page, summary = published
    chosen = found["figures"]["all groups"]
    assert chosen["predicts"]
    assert f"<li>{chosen['optimum']['sentence']}</li>" in page
    for share in ("reasoning", "visual"):
        assert f"<li>{chosen['responses'][share]['sentence']}</li>" in page
        assert f"<li>all groups: {chosen['responses'][share]['sentence']}</li>" in summary
    assert "<h3>Response</h3>" in summary
    noise = found["figures"]["Knowledge"]
    assert not noise["predicts"], "the made-up study must hold a surface that does not predict"
    drawn = figure(page, "knowledge")
    assert [colour for _, colour in drawn["data"][0]["colorscale"]] == list(UNTRUSTED)
    assert "not established" in drawn["layout"]["title"]["text"]
    (style, cells), (other, peak) = rows(page, "Knowledge</td>")
    assert style == other == "open"
    assert cells[-1] == "no better than the mean"
    assert cells[1:4] == [f"{noise['leave_one_out'][order]:.2f}" for order in ("quadratic", "linear", "constant")]
    best = noise["optimum"]
    for place, share in enumerate(("reasoning", "visual")):
        numbers = [float(each) for each in re.findall(r"[\d.]+", peak[1 + 2 * place])]
        assert numbers == pytest.approx(
            [100 * best["shares"][share], *(100 * end for end in best["intervals"][share])], abs=0.051
        )
        low, high = best["region"][share]
        assert peak[2 + 2 * place] == f"{100 * low:.0f} to {100 * high:.0f}"
    assert peak[-1] == f"{best['place']}, of a {best['form']}"
    assert [style for style, _ in rows(page, "all groups</td>")] == ["", ""]


def test_a_surface_that_does_not_predict_is_greyed_where_it_is_the_chosen_one(published):
    found = {**published[0], "of": "Knowledge"}
    page, summary = written(found)
    chosen = found["figures"]["Knowledge"]
    assert f"<li class=open>{chosen['optimum']['sentence']}</li>" in page
    assert "<li class=open>The surface predicts mixtures it has not seen no better" in page
    assert f"<li class=open>Knowledge: {chosen['optimum']['sentence']}</li>" in summary
    assert "Do not use it." in page
    assert not any(each.get("name") == BEST for each in figure(page, "knowledge")["data"])


def test_an_optimum_on_the_border_is_hollow_and_said_to_be_none(published):
    found = {**published[0], "of": "Vision-centric"}
    assert found["figures"]["Vision-centric"]["optimum"]["place"] != "inside"
    page, _ = written(found)
    best = figure(page, "vision-centric")["data"][-1]
    assert best["marker"]["color"] == "white"
    assert "highest where mixing stops, which is no optimum of its own" in page
    assert re.search(r"<li class=open>The fitted surface is highest on the border", page)


def test_slopes_are_those_of_the_responses(published):
    found, _, page, _ = published
    (drawn,) = re.findall(r'data-plot="slopes-card-of">(.*?)</script>', page)
    whiskers = [each for each in json.loads(drawn)["data"] if each.get("error_x")]
    slopes = [
        each["responses"][share][half]
        for share in ("reasoning", "visual")
        for each in found["figures"].values()
        for half in ("early", "late")
    ]
    assert len(whiskers) == len(slopes) == 12
    for each, slope in zip(whiskers, slopes, strict=True):
        assert each["x"][0] == pytest.approx(slope["estimate"] / 10)
        assert each["x"][0] + each["error_x"]["array"][0] == pytest.approx(slope["high"] / 10)
        assert (each["marker"]["color"] == "white") == (slope["low"] <= 0 <= slope["high"])
    for name, each in found["figures"].items():
        for share, response in each["responses"].items():
            ((style, cells),) = rows(page, f"{name} · {share}")
            assert (style == "open") == (response["verdict"] == "not resolvable")
            assert cells[-1].startswith(response["verdict"])


def test_every_mixture_stands_in_a_table_and_every_further_run(published):
    found, axes, page, _ = published
    for place, point in enumerate(found["figures"]["all groups"]["points"]):
        name = ", ".join(f"{100 * share:.4g}" for share in point["shares"])
        ((_, cells),) = rows(page, f"{name}</td>")
        assert cells[1:] == ["1", *(f"{each['points'][place]['mean']:.2f}" for each in found["figures"].values())]
    for name, each in yaml.safe_load(axes)["axes"]["mixture"].items():
        ((_, cells),) = rows(page, name)
        assert [float(cell) for cell in cells[1:]] == [*(pytest.approx(share, rel=1e-3) for share in each.values()), 1]


def test_one_share_is_a_line_with_its_band_and_its_runs():
    share = np.tile([0, 25, 50, 75, 100], 3)
    score = 38 + 6 * share / 100 - 5 * (share / 100) ** 2 + 0.2 * np.random.default_rng(0).standard_normal(15)
    found, _ = study([{"visual": float(each)} for each in share], {"all groups": score}, criterion="I")
    page, _ = written(found)
    drawn = figure(page, "all-groups")
    raster = found["figures"]["all groups"]["raster"]
    (line,) = [each for each in drawn["data"] if each.get("mode") == "lines"]
    assert line["y"] == raster["value"]
    (band,) = [each for each in drawn["data"] if each.get("fill") == "toself"]
    assert band["y"] == [*raster["high"], *reversed(raster["low"])]
    single = [each for each in drawn["data"] if each["mode"] == "markers" and len(each["x"]) == 15]
    assert sorted(single[0]["y"]) == pytest.approx(sorted(score))
    spans = [(shape["x0"], shape["x1"]) for shape in drawn["layout"]["shapes"]]
    for x, excess in zip(raster["axes"][0], raster["excess"], strict=True):
        assert (excess <= 0) == any(low <= 100 * x <= high for low, high in spans)
    assert "shaded may be the optimum" in page


def test_shares_and_groups_may_have_any_name_and_what_is_missing_of_a_group_is_said():
    """A share named as a key of the record, and one figure that stands on a part of its benchmarks."""
    table = printed("grid")
    shares = [{"value": float(row), "place": float(column)} for row, column, _ in table]
    scores = [score for *_, score in table]
    found, _ = study(shares, {"labels (1 of 4)": scores, "shares": [score - 5 for score in scores]}, of="labels")
    best = found["figures"]["labels"]["optimum"]
    assert best["place"] == "inside"
    assert best["shares"] == {"value": pytest.approx(0.65, abs=0.05), "place": pytest.approx(0.16, abs=0.05)}
    assert best["value"] == pytest.approx(max(scores), abs=1)
    assert found["models"][0]["labels"] == {"point": "0", "init": "0"}
    assert found["models"][0]["shares"] == shares[0]
    assert found["models"][0]["figures"]["labels (1 of 4)"] == pytest.approx(scores[0] / 100)
    assert {each.partition(":")[0] for each in found["sentences"]} == {"labels (1 of 4)", "shares"}
    page, summary = written(found)
    assert "<h3>labels (1 of 4) over value and place</h3>" in page
    assert rows(page, "labels (1 of 4) · value")
    assert "labels (1 of 4), %</th>" in page
    assert "<li>labels (1 of 4): The fitted optimum" in summary
    assert ">labels<" not in page
    drawn = figure(page, "labels")
    assert (drawn["data"][-1]["x"], drawn["data"][-1]["y"]) == tuple([100 * at] for at in best["shares"].values())


def test_figures_that_no_model_differs_on_are_said_to_say_nothing():
    """All score nought, as OCR does of a tiny run; repeats agree to the last answer."""
    shares = [{"reasoning": float(r), "visual": float(v)} for r in (45, 60, 75) for v in (5, 15, 25)]
    rising = [20 + 0.1 * each["reasoning"] for each in shares]
    found, axes = study(2 * shares, {"all groups": 2 * rising, "OCR & Chart": 18 * [0.0]})
    single, _ = study(shares, {"all groups": [each + at % 2 for at, each in enumerate(rising)], "OCR": 9 * [0.0]})
    assert axes == ""
    assert single["figures"]["all groups"]["unsaid"] == []
    for figures, name, words in (
        (found, "all groups", "repeats agree exactly"),
        (found, "OCR & Chart", "score alike"),
        (single, "OCR", "score alike"),
    ):
        own = figures["figures"][name]
        assert len(own["unsaid"]) == 3
        assert all(words in each for each in own["unsaid"])
        assert "optimum" not in own
    for each in (found, single):
        assert "score alike, at 0" in written(each)[0]


def test_more_than_two_shares_have_tables_and_no_map():
    rng = np.random.default_rng(3)
    mixes = 100 * rng.dirichlet(np.ones(4), 24)
    names = ("web", "code", "math <b>", "books")
    shares = [dict(zip(names, map(float, row), strict=True)) for row in mixes]
    found, _ = study(shares, {"all groups": 30 + 0.05 * mixes[:, 0] + 0.3 * rng.standard_normal(24)})
    assert found["rest"] == "books"
    page, _ = written(found)
    assert "3 shares vary: no map of them can be drawn" in page
    assert "response-card-of" not in re.sub("slopes-card-of", "", page)
    assert "books is what they leave" in page
    assert "math &lt;b&gt;" in page
    assert "math <b>" not in re.sub(r"<script.*?</script>", "", page)
    _, (_, peak) = rows(page, "all groups</td>")
    assert len(peak) == 1 + 2 * 3 + 1
    for place, share in enumerate(names[:3]):
        assert peak[1 + 2 * place].startswith(
            f"{100 * found['figures']['all groups']['optimum']['shares'][share]:.1f} ["
        )


def test_runs_that_determine_no_surface_are_drawn_and_what_cannot_be_said_is():
    shares = [
        {"reasoning": 50.0, "visual": 5.0},
        {"reasoning": 60.0, "visual": 15.0},
        {"reasoning": 70.0, "visual": 5.0},
    ]
    found, axes = study(shares, {"all groups": [30, 32, 31], "General": [40, 42, 43]})
    assert axes == ""
    page, summary = written(found)
    (points,) = figure(page, "all-groups")["data"]
    assert points["marker"]["color"] == [30, 32, 31]
    assert "no surface can be fitted" in page
    words = found["figures"]["all groups"]["unsaid"]
    assert len(words) == 3
    for each in words:
        assert f"<li class=open>{each}" in page
        assert f"<li class=open>all groups: {each}" in summary
    assert "<h3>" in page
    assert "slopes-" not in page


def test_nothing_given_writes_nothing_and_the_same_gives_the_same(published):
    assert landscape.section(Sheet(Evidence("", (), (), (), {}))) == ""
    assert written(published[0]) == published[2:]
