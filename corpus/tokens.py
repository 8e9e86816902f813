"""Token shards: every source tokenised once by datatrove, a held-out split set aside by document hash."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from corpus.documents import INDEX, read_source
from presight.console import Track
from presight.errors import EXIT_DATA, PresightError
from presight.stage import Cost, Needs, PartedStage, Stage, scratch

TOKENS = "tokens.json"
SPLITS = ("train", "heldout")
BYTES_A_TOKEN = 3.0  # of text, at least: more with larger vocabularies


class Tokenize(PartedStage):
    """Writes ``<split>/<source>/<part>.ds`` (little-endian tokens) and ``.ds.index`` (document ends, uint64)."""

    kind = "tokens"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    tokenizer: Annotated[Stage, Needs("tokenizer", "checkpoint")] = Field(
        description="$tokenizer, or a checkpoint to go on from: its own"
    )
    heldout: float = Field(0.03, gt=0, lt=1, description="share of documents never trained on, chosen by their hash")

    def estimate(self) -> Cost:
        """Bytes read, and those of the tokens."""
        text, words = self.documents.estimate().bytes, getattr(self.tokenizer, "vocabulary", 0)
        return Cost(bytes=text, disk=int(text / BYTES_A_TOKEN) * (2 if 0 < words <= 1 << 16 else 4))

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Tokenise one part of every source."""
        folder = inputs["documents"]
        described = json.loads((folder / INDEX).read_text())["sources"]
        track = Track(sum(each["bytes"] for each in described.values()) / self.parts, f"tokenising part {shard + 1}")
        step = self._step(inputs["tokenizer"], scratch(out))
        parts = {source: self._source(step, shard, source, out, inputs, track) for source in sorted(described)}
        (scratch(out) / f"part-{shard:05d}.json").write_text(json.dumps(parts))

    def _step(self, tokenizer: Path, work: Path) -> Any:
        """Datatrove's tokenizing step: one for all sources, since loading it takes a tenth of a second."""
        from datatrove.pipeline.tokens import DocumentTokenizer

        from corpus.tokenizer import end_of_text

        step = DocumentTokenizer(
            str(work),
            str(tokenizer / "tokenizer.json"),
            eos_token=end_of_text(tokenizer),
            shuffle_documents=False,  # the sampler permutes items
            save_final_metadata=False,  # it would write this machine's path
            batch_size=1000,
            seed=0,
        )
        step.tokenizer.encode_special_tokens = True  # a document that spells the end-of-text token does not end there
        return step

    def _source(
        self, step: Any, shard: int, source: str, out: Path, inputs: Mapping[str, Path], track: Track
    ) -> dict[str, dict[str, Any]]:
        """Both splits of one part of a source, read once: what is held out, little, waits in memory."""
        counts = {split: {"documents": 0, "bytes": 0} for split in SPLITS}
        waiting: list[Any] = []

        def train() -> Iterator[Any]:
            for document in read_source(inputs["documents"] / source, shard, self.parts):
                raw = document.text.encode("utf-8", "replace")
                split = "heldout" if self.holds_out(raw) else "train"
                counts[split]["documents"] += 1
                counts[split]["bytes"] += len(raw)
                track.advance(len(raw))
                if split == "train":
                    yield document
                else:
                    waiting.append(document)

        written = {
            split: self._write(step, shard, f"{split}/{source}", documents, out)
            for split, documents in (("train", train()), ("heldout", waiting))
        }
        return {split: counts[split] | written[split] for split in SPLITS}

    def _write(self, step: Any, shard: int, place: str, documents: Iterable[Any], out: Path) -> dict[str, Any]:
        from datatrove.io import get_datafolder

        # datatrove leaves `*.ds` of a killed run where it stood: write beside, then move into place
        work = scratch(out) / f"{place.replace('/', '-')}-{shard}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        step.output_folder = get_datafolder(str(work))
        step.run(iter(documents), rank=shard, world_size=self.parts)
        written = work / f"{shard:05d}_unshuffled.ds"
        if not written.exists() or not written.stat().st_size:
            return {"token_bytes": step.token_size, "tokens": 0}
        name = f"{place}/{shard:05d}.ds"
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", ".index"):
            written.with_name(written.name + suffix).replace(target.with_name(target.name + suffix))
        work.rmdir()
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        tokens = target.stat().st_size // step.token_size
        return {"token_bytes": step.token_size, "tokens": tokens, "path": name, "sha256": digest}

    def holds_out(self, text: bytes) -> bool:
        """Whether a document of this UTF-8 belongs to the held-out split: a property of its text alone."""
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) < self.heldout * 2**64

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Describe the shards in ``tokens.json`` and take the tokenizer along."""
        parts = [json.loads(path.read_text()) for path in sorted(scratch(out).glob("part-*.json"))]
        sources = {
            source: {split: _gather([part[source][split] for part in parts]) for split in SPLITS}
            for source in parts[0]
        }
        for path in inputs["tokenizer"].iterdir():
            if path.is_file() and path.name.startswith(("tokenizer", "special")):
                (out / "tokenizer").mkdir(exist_ok=True)
                shutil.copyfile(path, out / "tokenizer" / path.name)
        tokenizer = (out / "tokenizer" / "tokenizer.json").read_bytes()
        described = {
            "tokenizer": hashlib.sha256(tokenizer).hexdigest(),
            "token_bytes": max(each["token_bytes"] for part in parts[0].values() for each in part.values()),
            "sources": sources,
        }
        (out / TOKENS).write_text(json.dumps(described, indent=1))
        (out / "counts.json").write_text(
            json.dumps({source: each["train"]["tokens"] for source, each in sources.items()})
        )


def read_tokens(folder: Path) -> dict[str, Any]:
    """A tokens artifact's description, its tokenizer checked.

    Raises:
        PresightError: it is none, or its tokenizer is another than the one the tokens were made with (exit code 87).
    """
    try:
        described: dict[str, Any] = json.loads((folder / TOKENS).read_text())
        made = str(described["tokenizer"])
        found = hashlib.sha256((folder / "tokenizer" / "tokenizer.json").read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PresightError(str(folder), f"holds no tokens ({error})", "give a tokens artifact") from error
    if found != made:
        problem = f"has the tokenizer {found[:8]}, but the tokens were made with {made[:8]}"
        raise PresightError(str(folder), problem, "restore it, or tokenise again", EXIT_DATA)
    return described


def read_shard(folder: Path, shard: Mapping[str, Any], token_bytes: int, verify: bool = True) -> npt.NDArray[Any]:
    """The tokens of a shard, memory-mapped, once its size and, to ``verify``, its hash are what its description says.

    Raises:
        PresightError: it is missing, short or changed (exit code 87).
    """
    path = folder / shard["path"]
    size = path.stat().st_size if path.exists() else 0
    mend = "restore it, or delete its artifact and run again"
    if size != shard["tokens"] * token_bytes:
        found = f"has {size} bytes" if path.exists() else "is no file"
        problem = f"{found}, but {shard['tokens'] * token_bytes} bytes are expected"
        raise PresightError(str(path), problem, mend, EXIT_DATA)
    if verify:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
                raise PresightError(str(path), "has other bytes than its description names", mend, EXIT_DATA)
    return np.memmap(path, dtype=f"<u{token_bytes}", mode="r")


def _gather(parts: list[dict[str, Any]]) -> dict[str, Any]:
    shards = [{key: part[key] for key in ("path", "tokens", "sha256")} for part in parts if "path" in part]
    return {key: sum(part[key] for part in parts) for key in ("documents", "bytes", "tokens")} | {"shards": shards}
