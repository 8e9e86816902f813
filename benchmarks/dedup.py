"""MinHash deduplication beside datatrove's own: signatures a second, and what is caught at which similarity.

Both write the same signatures. The text is made up (Zipf's words, punctuation, some diacritics), so that nothing is
fetched; CPU time of one core. The second table plants pairs of known similarity and takes them through all stages.
"""

from __future__ import annotations

import importlib.util
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

from corpus.clean.duplicates import Duplicates
from corpus.clean.minhash import FastSignature, caught, settings
from corpus.clean.signatures import Signatures, read_lines
from corpus.clean.words import WORDS
from corpus.documents import write_index, write_source
from presight.stage import Stage

DOCUMENTS, LENGTH = 1500, 600  # words
PAIRS, GRAMS = 400, 100
SIMILARITIES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class Given(Stage):
    """Documents that lie there already."""

    kind = "documents"


def text(rng: random.Random) -> list[str]:
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", k=rng.randint(2, 10))) for _ in range(20_000)]
    words[::50] = ["naïve", "3.14", "don't", "x=1;", "“so”"] * 80
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    endings = rng.choices(["", ",", ".", ".\n"], [90, 5, 4, 1], k=LENGTH)
    return [
        " ".join(word + ending for word, ending in zip(rng.choices(words, weights, k=LENGTH), endings, strict=True))
        for _ in range(DOCUMENTS)
    ]


def rate(step: Callable[[str], MinhashDedupSignature], documents: list[str]) -> tuple[float, float, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        made = step(folder)
        made.get_shingles("load what is loaded once")
        began = time.process_time()
        made.run([Document(text=each, id="") for each in documents])
        seconds = time.process_time() - began
        first = (Path(folder) / "bucket_000" / "00000.minhash.sig").read_bytes()
    return len(documents) / seconds, sum(map(len, documents)) / 1e6 / seconds, first


def signatures(rng: random.Random) -> None:
    config = settings(5, 14, 8, 1, False)
    documents = text(rng)
    steps: dict[str, tuple[Callable[[str], MinhashDedupSignature], int]] = {
        "presight": (lambda folder: FastSignature(folder, config), 1),
        "datatrove, fast words": (lambda folder: MinhashDedupSignature(folder, config, WORDS), 4),
    }
    if importlib.util.find_spec("spacy"):
        steps["datatrove (spaCy)"] = (lambda folder: MinhashDedupSignature(folder, config), 20)
    print(f"{'signatures':>22} {'documents/s':>12} {'MB/s':>8}")
    for name, (step, share) in steps.items():
        each, megabytes, _ = rate(step, documents[::share])
        print(f"{name:>22} {each:>12.0f} {megabytes:>8.2f}", flush=True)
    same = [rate(step, documents[:50])[2] for step, _ in list(steps.values())[:2]]
    print(f"{'':>22} the same bytes: {same[0] == same[1]}")
    if "datatrove (spaCy)" not in steps:
        print(f"{'datatrove (spaCy)':>22} skipped: spaCy is not installed")


def perform(stage: Any, folder: Path, **inputs: Path) -> tuple[Path, float]:
    began = time.process_time()
    out = folder / "payload"
    out.mkdir(parents=True)
    for shard in range(stage.shards()):
        stage.run_shard(shard, out, inputs)
    stage.finish(out, inputs)
    return out, time.process_time() - began


def planted(rng: random.Random) -> Iterator[tuple[float, str, str]]:
    def words(number: int) -> list[str]:
        return [f"w{rng.getrandbits(60):x}" for _ in range(number)]

    for similarity in SIMILARITIES:
        shared = round(2 * similarity / (1 + similarity) * GRAMS)
        for _ in range(PAIRS):
            first = words(GRAMS + 4)
            yield similarity, " ".join(first), " ".join(first[: shared + 4] + words(GRAMS - shared))


def curve(rng: random.Random, folder: Path) -> None:
    pairs = list(planted(rng))
    for source, place in (("first", 1), ("second", 2)):
        rows = ({"id": f"{i}", "text": pair[place]} for i, pair in enumerate(pairs))
        write_source(folder / "documents", source, rows, None)
    write_index(folder / "documents", {})
    signing = Signatures(documents=Given())
    signed, _ = perform(signing, folder / "signatures", documents=folder / "documents")
    found, seconds = perform(Duplicates(signatures=signing, priority=("first",)), folder / "found", signatures=signed)
    rows = [json.loads(line) for path in found.rglob("*.gz") for line in read_lines(path)]
    false = sum(row["id"] != row["kept"] for row in rows)
    print(f"\n{'similarity':>22} {'caught':>12} {'expected':>8}   {PAIRS} pairs each, {false} unrelated ones taken")
    for k, similarity in enumerate(SIMILARITIES):
        hits = sum(int(row["id"]) // PAIRS == k for row in rows if row["id"] == row["kept"])
        print(f"{similarity:>22} {hits / PAIRS:>12.3f} {caught(similarity):>8.3f}")
    count = 2 * len(pairs) * 14
    print(
        f"\nbuckets of {2 * len(pairs):,} documents compared and clustered: {count / seconds / 1e3:.0f}k signatures/s"
    )


def main() -> None:
    """Print both tables; half a minute."""
    rng = random.Random(0)
    signatures(rng)
    with tempfile.TemporaryDirectory() as folder:
        curve(rng, Path(folder))


if __name__ == "__main__":
    main()
