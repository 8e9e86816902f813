"""The one sentence by which an index knows a report."""

import numpy as np

from eval.report.evidence import Comparison, Evidence, Family, Result
from eval.report.headline import headline
from eval.report.page import render
from eval.stats.deltas import prior_delta
from presight.overview import Page


def compared(gain, holm=None, seeds=4, control="random"):
    rng = np.random.default_rng([seeds, round(1000 * gain)])
    scores = (rng.random((2, seeds, 400)) < np.array([0.4 + gain, 0.4])[:, None, None]).astype(float)
    words = {"task": "images", "trained": "", "along": "weights", "treatment_name": "text", "control_name": control}
    delta = prior_delta(*scores, **words, labels={})
    return Comparison(delta, delta.p if holm is None else holm, "card")


def evidence(*comparisons, ladders=(), emergences=()):
    ladder = {"ladders": [{"verdict": verdict, "sentence": said} for verdict, said in ladders]} if ladders else None
    family = Family("card", "weights", "text", "init", (), comparisons, ladder)
    return Evidence("x", (family,), (), (), {}, emergences=emergences)


def test_the_surest_difference_is_told():
    small, large, sure = compared(0.15, 0.04), compared(0.3, 0.04), compared(0.2, 0.001)
    assert all(each.general for each in (small, large, sure))
    assert headline(evidence(small, large, compared(0.0))) == (large.delta.sentence(), True)
    assert headline(evidence(small, sure, large)) == (sure.delta.sentence(), True)


def test_what_does_not_survive_holm_is_no_more_than_told():
    record = {"task": "images", "layers": [1], "tokens": [1000], "replicate": "init", "onset": [1000]}
    for seeds in (4, 2):
        alone, firm = compared(0.35, 0.2, seeds), compared(0.25, 0.04, seeds)
        assert (alone.verdict, firm.verdict) == ("established alone", "established")
        said, established = headline(evidence(compared(0.0), alone))
        assert not established
        assert said == f"{alone.delta.sentence()} It does not hold after Holm’s correction."
        assert headline(evidence(alone, firm)) == (firm.delta.sentence(), True)
        assert headline(evidence(alone, emergences=(Result({}, "e", record),)))[1]  # something else is established


def test_nothing_established_is_told_as_nothing():
    assert headline(evidence(compared(0.0), compared(0.0))) == ("Of 2 comparisons none is established.", False)
    assert headline(evidence(compared(0.3, seeds=1))) == ("Of 1 comparison none is established.", False)
    assert headline(evidence()) == ("Nothing was compared.", False)


def test_a_ladder_goes_before_what_it_is_made_of():
    gain = compared(0.3)
    assert headline(evidence(gain, ladders=[("unresolved", "A."), ("stats", "B."), ("none", "C.")])) == ("B.", True)
    assert headline(evidence(gain, ladders=[("unresolved", "A.")])) == ("A.", False)


def test_what_else_is_measured_is_told_where_no_comparison_says_anything():
    record = {"task": "images", "layers": [1, 2], "tokens": [0, 1000], "replicate": "init"}
    found, open_ = (Result({}, "e", {**record, "onset": onset}) for onset in ([None, 1000], [None, None]))
    said = "images: text differs from its control in 1 of 2 layers, first from 1k tokens on (layer 2)"
    assert headline(evidence(compared(0.0), emergences=(open_, found))) == (said, True)
    assert headline(evidence(emergences=(open_,)))[1] is False
    assert headline(evidence(compared(0.0), emergences=(open_,)))[0] == "Of 1 comparison none is established."


def test_a_structure_and_a_surface_go_before_comparisons(monkeypatch):
    structures = [("Kinds go together.", True), ("One prior or two: cannot say.", False)]
    surfaces = [("Best at 60.", True)]
    monkeypatch.setattr("eval.report.structure.verdicts", lambda evidence: structures)
    monkeypatch.setattr("eval.report.landscape.verdicts", lambda evidence: surfaces)
    gain = compared(0.3)
    assert headline(evidence(gain)) == structures[0]
    structures[1] = ("Two priors.", True)
    assert headline(evidence(gain)) == structures[1]
    structures[:] = []
    assert headline(evidence(gain)) == surfaces[0]
    surfaces[:] = [("The optimum cannot be placed.", False)]
    assert headline(evidence(gain)) == (gain.delta.sentence(), True)
    assert headline(evidence()) == surfaces[0]


def test_an_index_reads_it_in_the_head_of_the_page(monkeypatch, tmp_path):
    said = 'Of "a" <b> & c’s 3 %, −1.5 to +2.'
    for established in (True, False):
        monkeypatch.setattr("eval.report.page.headline", lambda evidence, shown=established: (said, shown))
        (tmp_path / "report.html").write_text(render(Evidence('"x" & <y>', (), (), (), {}))[0], encoding="utf-8")
        page = Page.read(tmp_path / "report.html", None)
        assert (page.title, page.finding, page.established) == ('"x" & <y>', said, established)
