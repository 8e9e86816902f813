"""The classifier: probabilities of every label for any text, and all that is known of its errors, in one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from corpus.labels import annotations as published
from corpus.labels import crossvalidation, model
from corpus.labels.annotations import Annotation
from corpus.labels.baseline import Baseline
from corpus.labels.model import prepare as prepare
from corpus.labels.scorer import Scorer
from corpus.labels.taxonomy import DEFAULT, Taxonomy
from presight.errors import PresightError
from presight.stage import Needs, Stage

MODEL, ABOUT, OUT_OF_FOLD = "model.bin", "classifier.json", "outoffold.jsonl"
FORMAT, VERSION = "presight classifier", 1


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Args:
        taxonomy: its labels and families.
        window: characters of a text that are scored at a time: what annotators read at most, so what it knows to read.
        digest: SHA-256 of all that describes it, the model included.
        thresholds: by label and by family, of the best F1 on validation.
        baseline: what one would say who knew the source of a text and nothing else.
        about: ``classifier.json``.
    """

    taxonomy: Taxonomy
    window: int
    digest: str
    thresholds: Mapping[str, float]
    baseline: Baseline
    about: Mapping[str, Any]
    _scorer: Scorer

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """The classifier that ``train`` wrote; nothing in it is executed.

        Raises:
            PresightError: it is none, or its model is not the one that was described.
        """
        folder = Path(folder).expanduser()
        try:
            text = (folder / ABOUT).read_bytes()
            about = json.loads(text)
            whole = about["format"] == FORMAT and about["version"] == VERSION
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PresightError(str(folder), f"holds no classifier ({ABOUT})", "train one") from error
        if not whole:
            raise PresightError(str(folder / ABOUT), f"is not {FORMAT} {VERSION}", "train it again")
        path = folder / MODEL
        if not path.is_file() or _sha256(path) != about["model"]:
            raise PresightError(str(path), "is not the model that was trained (its SHA-256 differs)", "train it again")
        taxonomy = Taxonomy.of(about["taxonomy"])
        return cls(
            taxonomy=taxonomy,
            window=about["window"],
            digest=hashlib.sha256(text).hexdigest(),
            thresholds=MappingProxyType(about["thresholds"]),
            baseline=Baseline(**about["baseline"]),
            about=MappingProxyType(about),
            _scorer=Scorer(model.load(path), taxonomy.labels),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of every array of scores."""
        return self.taxonomy.labels

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities ``[n, labels]`` of texts no longer than ``window``."""
        return self._scorer.scores(texts)

    def score_long(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Probabilities ``[n, labels]`` of texts of any length: the mean of their windows, by length."""
        windows = [
            text[start : start + self.window] for text in texts for start in range(0, max(len(text), 1), self.window)
        ]
        counts = np.array([max(1, -(-len(text) // self.window)) for text in texts], dtype=np.int64)
        if len(windows) == len(texts):
            return self.score(windows)
        weights = np.array([max(1, len(window)) for window in windows], dtype=np.float64)
        starts = np.cumsum(counts) - counts
        sums = np.add.reduceat(self.score(windows) * weights[:, None], starts, axis=0)
        return (sums / np.add.reduceat(weights, starts)[:, None]).astype(np.float32)


def train(
    annotations: Sequence[Annotation],
    taxonomy: Taxonomy,
    out: str | Path,
    seed: int = 0,
    folds: int = crossvalidation.FOLDS,
    penalty: float = model.PENALTY,
) -> None:
    """Train, calibrate and describe a classifier; the folder holds one only when all of it is there.

    Calibration and thresholds come from scores of models that had not seen the document; so do the scores in
    ``outoffold.jsonl``, from which the errors in labelled shares can be known.

    Args:
        annotations: what to learn.
        taxonomy: the labels.
        out: the folder; a classifier that is there is replaced.
        seed: of the folds.
        folds: that are held out in turn, by document.
        penalty: on the weights.

    Raises:
        PresightError: the annotations come from fewer documents than there are folds.
    """
    out = Path(out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    truth = taxonomy.indicators([each.labels for each in annotations])
    every, prepared = crossvalidation.widened(truth, taxonomy), [prepare(each.text) for each in annotations]
    fold = crossvalidation.split(annotations, taxonomy, folds, seed)
    logits = crossvalidation.out_of_fold(prepared, truth, fold, taxonomy, penalty)
    reading = crossvalidation.Reading.learn(logits, truth, taxonomy)
    scores = reading.scores(logits).astype(np.float32)
    weights = model.fit(prepared, truth, taxonomy.labels, penalty)

    (out / ABOUT).unlink(missing_ok=True)
    weights.calibrated(reading.slopes, reading.offsets).save(out / MODEL)
    with (out / OUT_OF_FOLD).open("w", encoding="utf-8", newline="\n") as file:
        for each, number, row in zip(annotations, fold.tolist(), scores, strict=True):
            values = [round(float(score), 6) for score in row]
            line = {"id": each.id, "source": each.source, "document": each.document, "fold": number}
            file.write(json.dumps({**line, "scores": values, "labels": list(each.labels)}) + "\n")
    names = [*taxonomy.labels, *taxonomy.families]
    said = crossvalidation.widened(scores, taxonomy) >= reading.thresholds
    about = {
        "format": FORMAT,
        "version": VERSION,
        "taxonomy": taxonomy.tree,
        "window": max(len(each.text) for each in annotations),
        "settings": {"penalty": penalty, "folds": folds, "seed": seed},
        "annotations": {
            "segments": len(annotations),
            "documents": len({each.document for each in annotations}),
            "digest": hashlib.sha256("".join(sorted(f"{e.id}{e.labels}\n" for e in annotations)).encode()).hexdigest(),
        },
        "thresholds": dict(zip(names, reading.thresholds.tolist(), strict=True)),
        "calibration": {  # is in the model's weights already
            label: {"slope": slope, "offset": offset}
            for label, slope, offset in zip(taxonomy.labels, reading.slopes, reading.offsets, strict=True)
        },
        "baseline": asdict(Baseline.of([each.source for each in annotations], every)),
        "confusion": _confusion(annotations, names, every, said),
        "model": _sha256(out / MODEL),
    }
    partial = out / f".{ABOUT}"
    partial.write_text(json.dumps(about, indent=1), "utf8")
    os.replace(partial, out / ABOUT)


def _confusion(
    annotations: Sequence[Annotation],
    names: Sequence[str],
    every: crossvalidation.Truth,
    said: crossvalidation.Truth,
) -> dict[str, dict[str, dict[str, int]]]:
    """Out-of-fold counts at the thresholds: source → label or family → true positives and so on."""
    sources = np.array([each.source for each in annotations])
    kinds = {"tp": every & said, "fp": ~every & said, "fn": every & ~said, "tn": ~every & ~said}
    return {
        source: {
            name: {kind: int(here[sources == source, column].sum()) for kind, here in kinds.items()}
            for column, name in enumerate(names)
        }
        for source in sorted(set(sources.tolist()))
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class TrainClassifier(Stage):
    """Trains the classifier of a taxonomy on annotations."""

    kind = "classifier"
    version = "1"

    annotations: Annotated[Stage, Needs("annotations")]
    taxonomy: str = Field(DEFAULT, exclude=True, description="a shipped taxonomy, or a YAML file of your own")
    definitions: str = Field("", description="digest of the taxonomy; filled in")
    seed: int = Field(0, description="of the folds that are held out")
    penalty: float = Field(model.PENALTY, gt=0, description="on the squared weights, beside the summed loss")

    def settle(self, fetch: bool) -> Stage:
        """Read the taxonomy: its content is what counts."""
        return self if self.definitions else self.changed(definitions=Taxonomy.read(self.taxonomy).digest)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Train."""
        taxonomy = Taxonomy.read(self.taxonomy)
        if self.definitions and taxonomy.digest != self.definitions:
            raise PresightError("taxonomy", f"{self.taxonomy!r} changed since it was planned", "run again")
        found = published.read(inputs["annotations"] / published.FILE, taxonomy)
        train(found, taxonomy, out, self.seed, penalty=self.penalty)
        names = [*taxonomy.labels, *taxonomy.families]
        every = crossvalidation.widened(taxonomy.indicators([each.labels for each in found]), taxonomy)
        positives = dict(zip(names, every.sum(axis=0).tolist(), strict=True))
        (out / "counts.json").write_text(json.dumps({"segments": len(found), "positives": positives}))
