"""The label pass: probabilities of every label for every segment, beside the tokens. Relabelling is another pass."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from corpus import segments
from corpus.spelling import Spelling
from corpus.tokens import SPLITS, read_shard, read_tokens
from presight.console import Track
from presight.stage import Cost, Needs, PartedStage, Stage, scratch

if TYPE_CHECKING:
    from corpus.labels.classifier import Classifier

LABELS = "labels.json"
AT_ONCE = 2**18  # tokens turned into text at a time: a few MB, whatever the size of the shard


class Label(PartedStage):
    """Writes ``<split>/<source>/<part>.labels.npy``: float16 [segments, labels], a row a segment of the shard."""

    kind = "labels"
    version = "1"

    tokens: Annotated[Stage, Needs("tokens")]
    classifier: Annotated[Stage, Needs("classifier")]
    segment: int = Field(segments.LONGEST, ge=16, description="tokens of a segment at most")

    def estimate(self) -> Cost:
        """Bytes read."""
        return Cost(bytes=self.tokens.estimate().bytes)

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Label one part of the token shards; what a killed run has finished is kept."""
        label_part(inputs["tokens"], inputs["classifier"], out, self.segment, shard, self.parts, scratch(out))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Describe the labels in ``labels.json``."""
        describe(inputs["tokens"], inputs["classifier"], out, self.segment)


def token_shards(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All shards of all splits and sources, the largest first, so that dealing them out gives even parts."""
    found = [
        {**shard, "split": split, "source": source}
        for source, splits in described["sources"].items()
        for split in SPLITS
        for shard in splits[split]["shards"]
    ]
    return sorted(found, key=lambda shard: (-shard["tokens"], shard["path"]))


def label_part(tokens: Path, classifier: Path, out: Path, longest: int, part: int, parts: int, work: Path) -> None:
    """Label every ``parts``-th shard of a tokens artifact, from number ``part`` on."""
    from corpus.labels.classifier import Classifier

    described = read_tokens(tokens)
    mine = token_shards(described)[part::parts]
    model = Classifier.load(classifier)
    spelling = Spelling(tokens / "tokenizer" / "tokenizer.json")
    track = Track(sum(shard["tokens"] for shard in mine), f"labelling part {part + 1}")
    for shard in mine:
        target = out / beside(shard["path"])
        if not target.exists():
            stream = read_shard(tokens, shard, described["token_bytes"])
            bounds = segments.cut(segments.ends(tokens / shard["path"], shard["tokens"]), longest)
            scores = score(model, spelling, stream, bounds, track)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = work / f"{part}.npy"
            np.save(partial, scores)
            partial.replace(target)


def score(
    model: Classifier, spelling: Spelling, stream: npt.NDArray[Any], bounds: segments.Bounds, track: Track
) -> npt.NDArray[np.float16]:
    """Probabilities of the labels of each segment: float16[segments, labels]."""
    scores = np.empty((len(bounds) - 1, len(model.labels)), dtype=np.float16)
    at = 0
    while at < len(scores):
        stop = max(at + 1, int(np.searchsorted(bounds, bounds[at] + AT_ONCE, side="right")) - 1)
        texts = spelling.texts(stream, bounds[at : stop + 1])
        scores[at:stop] = model.score_long(texts)
        track.advance(float(bounds[stop] - bounds[at]))
        at = stop
    return scores


def describe(tokens: Path, classifier: Path, out: Path, longest: int) -> None:
    """Write ``labels.json`` and ``counts.json``: where the labels lie, and each source's share of each label."""
    from corpus.labels.classifier import OUT_OF_FOLD, Classifier

    described = read_tokens(tokens)
    model = Classifier.load(classifier)
    taxonomy = model.taxonomy
    names = [*model.labels, *taxonomy.families]
    limits = np.array([model.thresholds[name] for name in names])
    sources: dict[str, dict[str, Any]] = {}
    for source, splits in described["sources"].items():
        sources[source] = {split: {"segments": 0, "shards": []} for split in SPLITS}
        hits, seen = np.zeros(len(names)), 0
        for split in SPLITS:
            for shard in splits[split]["shards"]:
                path = out / beside(shard["path"])
                scores = np.load(path, mmap_mode="r").astype(np.float32)
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                entry = {"path": beside(shard["path"]), "segments": len(scores), "sha256": digest}
                sources[source][split]["shards"].append(entry)
                sources[source][split]["segments"] += len(scores)
                if split == "train":
                    hits += (np.hstack([scores, taxonomy.combine(scores)]) >= limits).sum(axis=0)
                    seen += len(scores)
        sources[source]["shares"] = {name: hit / seen for name, hit in zip(names, hits, strict=True)} if seen else {}
    document = {
        "taxonomy": taxonomy.tree,
        "labels": list(model.labels),
        "segment": longest,
        "tokens": described["tokenizer"],
        "classifier": model.digest,
        "thresholds": dict(model.thresholds),
        "sources": sources,
    }
    shutil.copyfile(classifier / OUT_OF_FOLD, out / OUT_OF_FOLD)  # its errors go with what it labelled
    (out / LABELS).write_text(json.dumps(document, indent=1))
    counts = {
        source: {name: round(share, 4) for name, share in each["shares"].items()} for source, each in sources.items()
    }
    (out / "counts.json").write_text(json.dumps(counts))


def beside(shard: str) -> str:
    """Where the labels of a token shard lie, in their own artifact."""
    return f"{shard.removesuffix('.ds')}.labels.npy"
