"""What duplicates are found by: of every document a hash of its text and a MinHash signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from corpus.documents import INDEX, part, read_lines, write_lines
from presight.console import Track
from presight.stage import Cost, Needs, PartedStage, Stage, scratch

SIGNATURES = "signatures.json"


class Signatures(PartedStage):
    """The first of three stages: signatures by part, ``Duplicates`` by bucket, ``Deduplicate`` by part.

    Writes per part ``bucket_00b/<part>.minhash.sig`` (datatrove's format: sorted records of ``rows`` uint64 and the
    document's number), ``texts/<part>.npy`` (128-bit hash of every text, uint64 [n, 2]) and ``ids/<part>.jsonl.gz``.

    Two texts are exact duplicates if they differ in white space alone; case and punctuation count. Near duplicates
    share n-grams of lower-case words. A text of fewer words than ``n_grams`` has no signature: exact only.

    On a cluster: about 1 kB of signatures a document and buffers of one part in memory. 10 TB of text are some 3·10⁹
    documents and 3 TB of signatures; with 1,000 parts, an array of 1,000 jobs of an hour or two on one core each. The
    documents must lie in at least as many files, and ``Duplicates`` opens one file a part at once.
    """

    kind = "signatures"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    n_grams: int = Field(5, ge=1, description="words that are compared at a time")
    buckets: int = Field(14, ge=1, description="more catch more; see corpus.clean.minhash.caught")
    rows: int = Field(8, ge=1, description="hashes a bucket; more catch less")
    seed: int = Field(1, ge=0, description="of the hash functions")
    fold_numbers: bool = Field(False, description="all numbers alike: boilerplate with dates collapses, tables too")

    def estimate(self) -> Cost:
        """Bytes read."""
        return Cost(bytes=self.documents.estimate().bytes)

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Sign the documents of one part."""
        from datatrove.data import Document

        from corpus.clean.minhash import FastSignature, settings

        folder = inputs["documents"]
        sources = json.loads((folder / INDEX).read_text())["sources"]
        track = Track(sum(each["bytes"] for each in sources.values()) / self.parts, f"signing part {shard + 1}")
        files: list[dict[str, Any]] = []
        ids: list[bytes] = []
        hashes = bytearray()

        def documents() -> Iterator[Document]:
            for source, path in part(folder, sources, shard, self.parts):
                before = len(ids)
                for line in read_lines(path):
                    row = json.loads(line)
                    text = row["text"].encode("utf-8", "replace")
                    ids.append(json.dumps(row["id"]).encode() + b"\n")
                    hashes.extend(text_hash(text))
                    track.advance(len(text))
                    yield Document(text=text.decode(), id=row["id"])
                files.append({"source": source, "file": path.name, "documents": len(ids) - before})

        config = settings(self.n_grams, self.buckets, self.rows, self.seed, self.fold_numbers)
        FastSignature(str(out), config).run(documents(), shard, self.parts)
        (out / "texts").mkdir(exist_ok=True)
        np.save(out / "texts" / f"{shard:05d}.npy", np.frombuffer(hashes, "<u8").reshape(-1, 2))
        write_lines(out / "ids" / f"{shard:05d}.jsonl.gz", ids)
        (scratch(out) / f"part-{shard:05d}.json").write_text(json.dumps(files))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Describe in ``signatures.json`` which document is where: the files of every part in the order read."""
        sources = json.loads((inputs["documents"] / INDEX).read_text())["sources"]
        described: dict[str, Any] = {
            "documents": self.documents.fingerprint,
            "settings": {name: getattr(self, name) for name in ("n_grams", "buckets", "rows", "seed", "fold_numbers")},
            "bytes": {source: each["bytes"] for source, each in sorted(sources.items())},
            "parts": [
                json.loads((scratch(out) / f"part-{shard:05d}.json").read_text()) for shard in range(self.parts)
            ],
        }
        (out / SIGNATURES).write_text(json.dumps(described, indent=1))
        counts = dict.fromkeys(described["bytes"], 0)
        for file in (each for files in described["parts"] for each in files):
            counts[file["source"]] += file["documents"]
        (out / "counts.json").write_text(json.dumps(counts))


def text_hash(text: bytes) -> bytes:
    """16 bytes of BLAKE2b of a UTF-8 text whose runs of (ASCII) white space are single spaces."""
    return hashlib.blake2b(b" ".join(text.split()), digest_size=16).digest()
