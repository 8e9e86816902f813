"""The classifier beside what else one would do, each judged on documents it has not seen.

*source* knows where a text is from and nothing else; *descent* is fastText as it is usually trained (two-grams, 64
dimensions, 40 epochs); *tf-idf* is logistic regression on words and pairs of words, weighed as scikit-learn does it.
All are calibrated and cut at thresholds in the same way; for ours both come from within the training folds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from corpus.labels import annotations as published
from corpus.labels import evaluation, metrics, model
from corpus.labels.annotations import Annotation
from corpus.labels.baseline import Baseline
from corpus.labels.classifier import Classifier, train
from corpus.labels.crossvalidation import FOLDS, Held, Reading, crossvalidate, over_folds, split, widened
from corpus.labels.taxonomy import Taxonomy

Fit = Callable[[list[str], np.ndarray, list[str]], np.ndarray]
WITHIN = (
    ("visual", "web"),
    ("visual", "literature"),
    ("visual", "encyclopedia"),
    ("reasoning", "academia"),
    ("reasoning", "encyclopedia"),
)


def logit(scores: np.ndarray) -> np.ndarray:
    scores = scores.clip(1e-6, 1 - 1e-6)
    return np.log(scores / (1 - scores))


def descent(taxonomy: Taxonomy) -> Fit:
    """FastText by stochastic gradient descent; a text without labels is skipped unless it is given one."""
    import fasttext

    def fit(texts: list[str], truth: np.ndarray, others: list[str]) -> np.ndarray:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            for text, row in zip(texts, truth, strict=True):
                names = [label for label, yes in zip(taxonomy.labels, row, strict=True) if yes] or ["none"]
                file.write(" ".join(model.PREFIX + name for name in names) + " " + " ".join(text.split()) + "\n")
            file.flush()
            trained = fasttext.train_supervised(
                file.name,
                loss="ova",
                wordNgrams=2,
                dim=64,
                lr=0.5,
                epoch=40,
                bucket=100_000,
                thread=1,
                seed=0,
                verbose=0,
            )
        scores = np.zeros((len(others), len(taxonomy.labels)))
        for row, (names, values) in enumerate(
            zip(*trained.predict([" ".join(t.split()) for t in others], k=-1), strict=True)
        ):
            for name, value in zip(names, values, strict=True):
                if (label := name.removeprefix(model.PREFIX)) in taxonomy.labels:
                    scores[row, taxonomy.labels.index(label)] = value
        return logit(scores)

    return fit


def tfidf(texts: list[str], truth: np.ndarray, others: list[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    features, rest = words.fit_transform(texts), words.transform(others)
    columns = [
        LogisticRegression(C=30, max_iter=1000).fit(features, column).decision_function(rest)
        if column.any()
        else np.full(len(others), -9.0)
        for column in truth.T
    ]
    return np.stack(columns, axis=1)


def judged(rows: list[Annotation], taxonomy: Taxonomy, fit: Fit, seed: int) -> Held:
    """Out-of-fold scores; each fold is calibrated and cut by what was said of the others."""
    truth, texts = taxonomy.indicators([row.labels for row in rows]), [row.text for row in rows]
    fold, logits = split(rows, taxonomy, FOLDS, seed), np.zeros(truth.shape)
    for each in range(FOLDS):
        inside, outside = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        logits[outside] = fit([texts[i] for i in inside], truth[inside], [texts[i] for i in outside])
    scores = np.zeros((len(rows), truth.shape[1] + len(taxonomy.families)))
    thresholds = np.zeros((FOLDS, scores.shape[1]))
    for each in range(FOLDS):
        reading = Reading.learn(logits[fold != each], truth[fold != each], taxonomy)
        scores[fold == each] = widened(reading.scores(logits[fold == each]), taxonomy)
        thresholds[each] = reading.thresholds
    return Held(fold, scores, scores >= thresholds[fold], thresholds)


def of_source(rows: list[Annotation], taxonomy: Taxonomy, seed: int) -> Held:
    every = widened(taxonomy.indicators([row.labels for row in rows]), taxonomy)
    fold, scores = split(rows, taxonomy, FOLDS, seed), np.zeros(every.shape)
    thresholds = np.zeros((FOLDS, every.shape[1]))
    for each in range(FOLDS):
        known = [row.source for row, place in zip(rows, fold, strict=True) if place != each]
        baseline = Baseline.of(known, every[fold != each])
        scores[fold == each] = baseline.scores([row.source for row, at in zip(rows, fold, strict=True) if at == each])
        thresholds[each] = baseline.thresholds
    return Held(fold, scores, scores >= thresholds[fold], thresholds)


def speed(rows: list[Annotation], taxonomy: Taxonomy) -> float:
    """Megabytes of text a second, preparation included; the best of five passes."""
    texts = [row.text for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        train(rows, taxonomy, folder)
        classifier = Classifier.load(Path(folder))
        best = np.inf
        for _ in range(5):
            began = time.process_time()
            classifier.score(texts)
            best = min(best, time.process_time() - began)
    return sum(len(text.encode("utf-8", "replace")) for text in texts) / best / 1e6


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--annotations", type=Path, help="jsonl; default: the sample's, from its packages")
    options.add_argument("--seed", type=int, default=0, help="of the folds")
    given = options.parse_args()
    taxonomy = Taxonomy.read()
    rows = published.read(given.annotations, taxonomy) if given.annotations else published.load_sample()
    every = widened(taxonomy.indicators([row.labels for row in rows]), taxonomy)
    names = [*taxonomy.labels, *taxonomy.families]
    families = {name: names.index(name) for name in taxonomy.families}
    runs = {
        "source": lambda: of_source(rows, taxonomy, given.seed),
        "descent": lambda: judged(rows, taxonomy, descent(taxonomy), given.seed),
        "tf-idf": lambda: judged(rows, taxonomy, tfidf, given.seed),
        "ours": lambda: crossvalidate(rows, taxonomy, FOLDS, given.seed),
    }
    held: dict[str, Held] = {}
    print(f"{len(rows):,} segments, {FOLDS} folds by document, mean ± standard error\n")
    print(
        f"{'':<9}" + "".join(f"{f'{name} {kind}':<19}" for kind in ("AP", "F1", "Brier") for name in families),
        flush=True,
    )
    for name, run in runs.items():
        held[name] = run()
        by_fold = over_folds(held[name], every)
        cells = [
            f"{np.nanmean(v := by_fold[kind][:, column]):.3f} ± {np.nanstd(v, ddof=1) / np.sqrt(FOLDS):.3f}"
            for kind in ("average_precision", "f1", "brier")
            for column in families.values()
        ]
        print(f"{name:<9}" + "".join(f"{cell:<19}" for cell in cells), flush=True)

    sources = np.array([row.source for row in rows])
    within = [(family, source) for family, source in WITHIN if every[sources == source, families[family]].any()]
    print("\naverage precision within sources, all folds together (source alone: the share of positives)")
    print(f"{'':<9}" + "".join(f"{f'{family}, {source}':<25}" for family, source in within))
    for name in runs:
        cells = []
        for family, source in within:
            here, column = sources == source, families[family]
            truth = every[here, column]
            value = (
                truth.mean() if name == "source" else metrics.average_precision(truth, held[name].scores[here, column])
            )
            cells.append(f"{value:<25.2f}")
        print(f"{name:<9}" + "".join(cells))
    print("\nours, by label and source")
    print(evaluation.render(evaluation.crossvalidated(rows, taxonomy, FOLDS, given.seed)))
    print(f"\nscoring: {speed(rows, taxonomy):.1f} MB/s of one core")


if __name__ == "__main__":
    main()
