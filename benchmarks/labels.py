"""The label pass beside datatrove's own fastText block: the same text and model, one core, one run.

The block is handed text that lies in memory; the pass is charged for turning its tokens back into text. Also here:
tokens to text by table and by ``decode_batch``, and tokenising beside datatrove's ``DocumentTokenizer`` used directly.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # before tokenizers is imported: one core each
SOURCES = ("web", "encyclopedia", "academia", "literature", "math", "code", "visual")
ROUNDS = 3


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest of a few rounds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def made(place: Path, megabytes: float) -> dict[str, Path]:
    """The sample's text, tokenizer, tokens, and a classifier trained on the published labels."""
    from corpus import Sample, SampleAnnotations, Tokenize, Tokenizer, TrainClassifier

    text = Sample(sources=SOURCES, megabytes=megabytes).settle(True)
    tokenizer = Tokenizer(documents=text, vocabulary=8192)
    tokens = Tokenize(documents=text, tokenizer=tokenizer, parts=1)
    annotations = SampleAnnotations(required=0.5).settle(True)
    classifier = TrainClassifier(annotations=annotations)
    found: dict[str, Path] = {}
    for name, stage in {
        "documents": text,
        "tokenizer": tokenizer,
        "tokens": tokens,
        "annotations": annotations,
        "classifier": classifier,
    }.items():
        out = found[name] = place / name / "payload"
        if out.exists():
            continue
        out.mkdir(parents=True)
        if name == "tokens":
            stage.run_shard(0, out, found)
            stage.finish(out, found)
        else:
            stage.run(out, found)
    return found


def label_pass(found: dict[str, Path]) -> None:
    """Print segments and MB a second of both, and the ratio."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import FastTextClassifierFilter

    from corpus import segments
    from corpus.labels.classifier import Classifier
    from corpus.labels.label import score, token_shards
    from corpus.spelling import Spelling
    from corpus.tokens import read_shard, read_tokens
    from presight.console import Track

    described = read_tokens(found["tokens"])
    model = Classifier.load(found["classifier"])
    spelling = Spelling(found["tokens"] / "tokenizer" / "tokenizer.json")
    shards = [shard for shard in token_shards(described) if shard["split"] == "train"]
    streams = [np.array(read_shard(found["tokens"], shard, described["token_bytes"])) for shard in shards]
    bounds = [segments.cut(segments.ends(found["tokens"] / shard["path"], shard["tokens"])) for shard in shards]
    texts = [text for stream, cut in zip(streams, bounds, strict=True) for text in spelling.texts(stream, cut)]
    size = sum(len(text.encode()) for text in texts) / 1e6

    # it asks by name for one of the wheels that fail with numpy 2
    FastTextClassifierFilter._requires_dependencies = []
    block = FastTextClassifierFilter(
        str(found["classifier"] / "model.bin"), keep_labels=[(model.labels[0], 2.0)], newline_replacement=" "
    )
    block.model  # noqa: B018 — loaded before the clock runs

    def theirs() -> None:
        for text in texts:
            block.filter(Document(text=text, id=""))

    def ours() -> None:
        for stream, cut in zip(streams, bounds, strict=True):
            score(model, spelling, stream, cut, Track(None, ""))

    def windows() -> None:
        for start in range(0, len(texts), 256):
            model.score_long(texts[start : start + 256])

    rows = [("datatrove's block, text in memory", best(theirs)), ("presight, text in memory", best(windows))]
    rows.append(("presight, from tokens", best(ours)))
    print(f"labelling {len(texts):,} segments, {size:.1f} MB, {len(model.labels)} labels; one core")
    for name, seconds in rows:
        rate = f"{len(texts) / seconds:9,.0f} segments/s {size / seconds:7.1f} MB/s"
        print(f"  {name:36} {rate}  {rows[0][1] / seconds:5.2f}×")
    table = best(lambda: [spelling.texts(stream, cut) for stream, cut in zip(streams, bounds, strict=True)])
    decoder = spelling._tokenizer()
    ranges = [
        stream[a:b].tolist() for stream, cut in zip(streams, bounds, strict=True) for a, b in itertools.pairwise(cut)
    ]
    decoded = best(lambda: decoder.decode_batch(ranges))
    rates = f"table {size / table:.0f} MB/s, decode_batch {size / decoded:.0f} MB/s"
    print(f"tokens to text: {rates}, {decoded / table:.1f}×\n")


def tokenising(found: dict[str, Path], place: Path) -> None:
    """Print tokens a second of the stage and of datatrove's tokenizer used directly on the same documents."""
    from datatrove.pipeline.tokens import DocumentTokenizer

    from corpus import Tokenize
    from corpus.documents import read_source
    from corpus.tokenizer import END

    sources = sorted(json.loads((found["documents"] / "documents.json").read_text())["sources"])
    stage = Tokenize.model_construct(documents=None, tokenizer=None, parts=1, heldout=0.03)

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            out = Path(folder) / "payload"
            out.mkdir()
            stage.run_shard(0, out, found)

    def direct() -> None:
        for source in sources:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                step = DocumentTokenizer(
                    folder,
                    str(found["tokenizer"] / "tokenizer.json"),
                    eos_token=END,
                    seed=0,
                    batch_size=1000,
                    save_final_metadata=False,
                    shuffle_documents=False,
                )
                step.run(read_source(found["documents"] / source), rank=0, world_size=1)

    described = json.loads((found["tokens"] / "tokens.json").read_text())
    total = sum(
        split["tokens"] for each in described["sources"].values() for split in (each["train"], each["heldout"])
    )
    theirs, mine = best(direct), best(ours)
    print(f"tokenising {total:,} tokens; one core, reading and writing included")
    print(f"  datatrove's DocumentTokenizer        {total / theirs:12,.0f} tokens/s   1.00×")
    print(f"  presight, held-out split and hashes  {total / mine:12,.0f} tokens/s  {theirs / mine:5.2f}×")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=2.0, help="text of each source")
    parser.add_argument("--work", type=Path, help="folder that keeps what is made for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = made(options.work or Path(folder), options.megabytes)
        label_pass(found)
        tokenising(found, Path(folder))


if __name__ == "__main__":
    main()
