import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_annotations import TAXONOMY, annotations

from corpus.labels import metrics
from corpus.labels.baseline import Baseline
from corpus.labels.classifier import Classifier, train
from corpus.labels.crossvalidation import widened
from corpus.labels.evaluation import crossvalidated, evaluate, render
from presight.errors import PresightError

KEYS = {"n", "positives", "precision", "recall", "f1", "average_precision", "brier", "threshold"}
pairs = st.lists(st.tuples(st.booleans(), st.sampled_from(np.linspace(0, 1, 9).tolist())), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    train(annotations(), TAXONOMY, folder)
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return evaluate(folder, annotations(60, seed=1), resamples=200)


def unzip(drawn):
    truth, scores = zip(*drawn, strict=True)
    return np.array(truth), np.array(scores)


@given(pairs)
@settings(deadline=None)
def test_average_precision_is_that_of_scikit_learn(drawn):
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, scores = unzip(drawn)
    if not truth.any():
        assert metrics.average_precision(truth, scores) is None
    else:
        assert metrics.average_precision(truth, scores) == pytest.approx(
            sklearn.average_precision_score(truth, scores)
        )


@given(pairs, st.integers(0, 5))
@settings(deadline=None)
def test_weighted_precision_is_that_of_repeated_rows(drawn, seed):
    truth, scores = unzip(drawn)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(truth)))
    fast = metrics.weighted_precision(truth, scores, weights.astype(float))
    for row, value in zip(weights, fast, strict=True):
        rows = np.repeat(np.arange(len(truth)), row)
        slow = metrics.average_precision(truth[rows], scores[rows])
        assert np.isnan(value) if slow is None else value == pytest.approx(slow)


@given(pairs)
def test_the_threshold_is_half_of_the_best_f1(drawn):
    truth, scores = unzip(drawn)
    best = max(metrics.decided(truth, scores >= each)["f1"] or 0.0 for each in scores)
    assert metrics.best_threshold(truth, scores) == (pytest.approx(best / 2) if truth.any() else 1)


def test_of_calibrated_scores_no_threshold_does_better():
    draw = np.random.default_rng(0)
    scores = draw.beta(0.5, 2, size=200_000)
    truth = draw.random(200_000) < scores
    chosen = metrics.decided(truth, scores >= metrics.best_threshold(truth, scores))["f1"]
    every = [metrics.decided(truth, scores >= each)["f1"] for each in np.linspace(0.01, 0.99, 99)]
    assert chosen > max(every) - 0.001


@given(pairs)
def test_decisions(drawn):
    truth, scores = unzip(drawn)
    found = metrics.decided(truth, scores >= 0.5)
    both = sum(t and s >= 0.5 for t, s in drawn)
    yes, positive = sum(s >= 0.5 for _, s in drawn), sum(t for t, _ in drawn)
    assert found["precision"] == (both / yes if yes else None)
    assert found["recall"] == (both / positive if positive else None)
    if positive and both:
        harmonic = 2 / (1 / found["precision"] + 1 / found["recall"])
        assert found["f1"] == pytest.approx(harmonic)
    else:
        assert found["f1"] == (0 if positive else None)


@given(pairs)
def test_reliability_bins_hold_everything_once(drawn):
    truth, scores = unzip(drawn)
    bins = metrics.reliability(truth, scores)
    assert sum(each["n"] for each in bins) == len(truth)
    assert sum(each["n"] * each["share"] for each in bins) == pytest.approx(truth.sum())
    assert sum(each["n"] * each["probability"] for each in bins) == pytest.approx(scores.sum())
    for each in bins:
        inside = (scores >= each["from"]) & ((scores < each["from"] + 0.1) | (each["from"] == 0.9))
        assert abs(inside.sum() - each["n"]) <= (np.abs(scores * 10 - np.round(scores * 10)) < 1e-9).sum()


def test_platt_finds_the_line():
    draw = np.random.default_rng(1)
    logits = draw.normal(size=50_000) * 2
    truth = draw.random(50_000) < 1 / (1 + np.exp(-(1.7 * logits - 0.6)))
    assert metrics.platt(truth, logits) == pytest.approx((1.7, -0.6), abs=0.05)


@given(pairs)
@settings(deadline=None)
def test_platt_is_finite_and_never_turns_scores_round(drawn):
    truth, scores = unzip(drawn)
    slope, offset = metrics.platt(truth, scores * 20 - 10)
    assert slope >= 0
    assert np.isfinite([slope, offset]).all()


def test_the_baseline_knows_the_source_alone():
    every = np.array([[1, 0], [0, 0], [1, 1], [1, 1]], dtype=bool)
    baseline = Baseline.of(["a", "a", "b", "b"], every)
    assert baseline.scores(["b", "a", "new"]).tolist() == [[1, 1], [0.5, 0], [0.75, 0.5]]
    assert baseline.thresholds == pytest.approx([3 / 7, 0.5])


def test_shape_of_the_report(report):
    json.dumps(report, allow_nan=False)
    assert set(report["labels"]) == set(TAXONOMY.labels)
    assert set(report["families"]) == {"visual", "reasoning"}
    for part in (report, report["baseline"]):
        assert set(part["by_source"]) == {"web", "code", "novel"}
        for entries in (part["labels"], part["families"], *part["by_source"].values()):
            assert all(set(entry) >= KEYS for entry in entries.values())
    science = report["labels"]["science_reasoning"]
    assert science["positives"] == 0
    assert science["average_precision"] is science["f1"] is science["recall"] is None
    assert science["intervals"] == {"f1": None, "average_precision": None, "gain": None}
    assert (report["segments"], report["out_of_fold"]) == (60, 0)


def test_numbers_of_the_report_are_the_slow_ones(folder, report):
    rows = annotations(60, seed=1)
    found = Classifier.load(folder)
    scores = widened(found.score([row.text for row in rows]), TAXONOMY)
    every = widened(TAXONOMY.indicators([row.labels for row in rows]), TAXONOMY)
    names = [*TAXONOMY.labels, *TAXONOMY.families]
    web = np.array([row.source == "web" for row in rows])
    for name, entry in (report["labels"] | report["families"]).items():
        truth, ours = every[:, names.index(name)], scores[:, names.index(name)]
        assert entry["average_precision"] == pytest.approx(metrics.average_precision(truth, ours)) or not truth.any()
        assert entry["brier"] == pytest.approx(np.mean((ours - truth) ** 2), abs=1e-6)
        said = ours >= found.thresholds[name]
        assert entry["precision"] == (pytest.approx((truth & said).sum() / said.sum()) if said.any() else None)
        inside = report["by_source"]["web"][name]
        assert inside["positives"] == truth[web].sum()
        share = [row.source == "web" and name in (*row.labels, *families(row)) for row in annotations()]
        guess = report["baseline"]["by_source"]["web"][name]
        expected = sum(share) / sum(row.source == "web" for row in annotations())
        assert guess["brier"] == pytest.approx(np.mean((expected - truth[web]) ** 2))
        if truth[web].any():
            assert guess["average_precision"] == pytest.approx(truth[web].mean()), "one score for all: the prevalence"


def families(row):
    return [family for family, labels in TAXONOMY.families.items() if set(labels) & set(row.labels)]


def test_intervals_hold_the_number_and_resample_documents(report):
    for entry in report["families"].values():
        for name in ("f1", "average_precision"):
            low, high = entry["intervals"][name]
            assert low <= entry[name] <= high
        assert entry["intervals"]["gain"][0] >= 0, "the words say more than the source"


def test_its_own_annotations_are_judged_out_of_fold(folder):
    rows = annotations()
    report = evaluate(folder, rows, resamples=0)
    assert report["out_of_fold"] == 90
    lines = [json.loads(line) for line in (folder / "outoffold.jsonl").read_text().splitlines()]
    brier = np.mean([(line["scores"][0] - ("visual_concept" in line["labels"])) ** 2 for line in lines])
    assert report["labels"]["visual_concept"]["brier"] == pytest.approx(brier)


def test_texts_of_a_document_that_was_trained_on_are_counted(folder):
    known = annotations()[0]
    other = annotations(60, seed=1)
    rows = [type(known)(each.id, each.source, known.document, each.labels, each.text) for each in other]
    assert evaluate(folder, rows, resamples=0)["of_a_known_document"] == 60


def test_crossvalidated():
    report = crossvalidated(annotations(), TAXONOMY, folds=3, resamples=50)
    json.dumps(report, allow_nan=False)
    mean, error = report["folds"]["visual"]["average_precision"]
    assert 0.9 < mean <= 1
    assert 0 <= error < 0.1
    assert report["folds"]["science_reasoning"]["f1"] == [None, None]
    text = render(report)
    assert "mean ± standard error over folds" in text
    assert "visual in novel" in text


def test_the_table_says_what_is_not_established(report):
    text = render(report)
    assert "science_reasoning: not established; 0 positives are too few" in text
    assert "60 segments of 30 documents" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("content", [None, "{", '{"id": 1'])
def test_a_classifier_without_its_scores_is_refused(folder, tmp_path, content):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "outoffold.jsonl").unlink()
    if content:
        (tmp_path / "outoffold.jsonl").write_text(content)
    with pytest.raises(PresightError, match=r"outoffold\.jsonl: cannot be read .*; train the classifier again"):
        evaluate(tmp_path, annotations(), resamples=0)
