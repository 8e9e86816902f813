"""Bits per byte of text under any causal LM, document by document: a loss that no tokenizer can move.

A document is read alone, after the start token; its end is not predicted. One that is longer than the context is read
in windows: the first predicts a whole context, each further one ``stride`` tokens after as many as there is room for.
Bits add up, and a text that fits is one forward pass. lm-eval's rolling log-likelihood has ``stride = context``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from eval.batching import Load, TokenBudget
from eval.checkpoint import load_model, reading
from eval.language.harness import encode, longest, record, start_token
from eval.stats.margins import Groups, Interval, Margins, read_scores, require_same_shape
from presight import index
from presight.console import Track
from presight.errors import EXIT_DATA, PresightError
from presight.stage import Needs, Stage

Ids = NDArray[np.int64]


class Bits(Stage):
    """Bits per byte by source: of a tokens artifact's held-out split, or of the user's own files.

    The user's texts enter the identity by content, not by place.
    """

    kind = "bits"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    tokens: Annotated[Stage, Needs("tokens")] | None = Field(None, description="its held-out documents are read")
    texts: Path | None = Field(None, exclude=True, description="folder of SOURCE.jsonl (text, cluster), SOURCE.txt")
    documents: int | None = Field(None, ge=1, description="of each source, the first so many; None: all")
    context: int | None = Field(None, ge=1, description="tokens a window reads; None: as many as the model can")
    stride: int | None = Field(None, ge=1, description="tokens that a further window predicts; None: half a context")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    batch_tokens: int = Field(8192, ge=1, exclude=True, description="tokens read at once")
    content: str = Field("", description="digest of the texts; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Index the texts."""
        if (self.tokens is None) == (self.texts is None):
            raise PresightError("texts", "and tokens: one of them is read", "give either, not both")
        if self.texts is None or self.content:
            return self
        return self.changed(content=index.content(self.texts.expanduser()))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``bits.json``, and ``items.parquet`` with a row a document.

        Raises:
            PresightError: texts changed since they were planned or cannot be read, a model that cannot be loaded, a
                context longer than its positions, or as `windows`.
        """
        import pyarrow
        import pyarrow.parquet

        if self.tokens is None:
            folder = (self.texts or Path()).expanduser()
            if index.content(folder) != self.content:
                raise PresightError("texts", "its files changed since it was planned", "run again")
            documents = read_texts(folder, self.documents)
        else:
            documents = read_heldout(inputs["tokens"], inputs["model"], self.documents)
        model, tokenizer = load_model(inputs["model"], self.resources.gpus)
        context = self.context or longest(model)
        if context > longest(model):
            raise PresightError("context", f"{context} tokens of {longest(model)} positions", "give fewer")
        stride = self.stride or max(1, context // 2)
        ids = [encode(tokenizer, each.text) if each.ids is None else each.ids for each in documents]
        bits = token_bits(model, ids, start_token(tokenizer), context, stride, self.batch_tokens)
        rows: dict[str, list[Any]] = {
            "item": [each.item for each in documents],
            "source": [each.source for each in documents],
            "cluster": [each.cluster for each in documents],
            "tokens": [len(each) for each in ids],
            "bytes": [len(each.text.encode("utf-8", "replace")) for each in documents],
            "bits": [float(each.sum()) for each in bits],
        }
        pyarrow.parquet.write_table(pyarrow.table(rows), out / "items.parquet")
        read = hashlib.sha256("\0".join(each.text for each in documents).encode("utf-8", "replace")).hexdigest()
        found = {"context": context, "stride": stride, "version": read[:16], "sources": self._sources(rows)}
        (out / "bits.json").write_text(json.dumps(found, indent=1))
        (out / "counts.json").write_text(json.dumps({"documents": len(ids), "tokens": sum(rows["tokens"])}))

    def _sources(self, rows: Mapping[str, list[Any]]) -> dict[str, Any]:
        """By source: counts, bits per byte with their interval over documents, and the loss in nats a token."""
        found, sources = {}, np.array(rows["source"])
        for source in dict.fromkeys(rows["source"]):
            part = {name: np.array(column)[sources == source] for name, column in rows.items()}
            interval = ratio_interval(part["bits"], part["bytes"], part["cluster"], self.level)
            found[source] = {
                "documents": len(part["bits"]),
                "clusters": len(set(part["cluster"].tolist())),
                "tokens": int(part["tokens"].sum()),
                "bytes": int(part["bytes"].sum()),
                "bits_per_byte": record(interval),
                "loss": float(part["bits"].sum() / part["tokens"].sum()) * math.log(2),
            }
        return found


@dataclass(frozen=True, slots=True)
class Document:
    """A text of a source, with its tokens where it is tokenised already."""

    item: str
    source: str
    cluster: str
    text: str
    ids: Ids | None = None


class Window(NamedTuple):
    """Reads tokens start … stop − 1 of a start token and its document; predicts the document's first … stop − 1."""

    start: int
    first: int
    stop: int


def windows(tokens: int, context: int, stride: int) -> list[Window]:
    """Windows of at most ``context`` tokens that predict each of a document's tokens once.

    Raises:
        PresightError: a stride that is not from 1 to the context.
    """
    if not 1 <= stride <= context:
        raise PresightError("stride", f"{stride} tokens in a context of {context}", "give from 1 to the context")
    found, first = [], 0
    while first < tokens:
        stop = min(tokens, first + (stride if first else context))
        found.append(Window(max(0, stop - context), first, stop))
        first = stop
    return found


def token_bits(
    model: Any, documents: Sequence[Ids], start: int, context: int, stride: int, batch_tokens: int = 8192
) -> list[NDArray[np.float64]]:
    """Bits of every token of every document, each [tokens].

    Args:
        model: a transformers causal LM; left in the mode it was in.
        documents: token ids [tokens], without a start token.
        start: the token that every document is read after.
        context, stride: tokens that a window reads, and that a further one predicts.
        batch_tokens: read at once; changes last digits only.

    Raises:
        PresightError: as `windows`.
    """
    import torch

    sequences = [torch.from_numpy(np.concatenate([[start], ids]).astype(np.int64)) for ids in documents]
    places = [(row, each) for row, ids in enumerate(documents) for each in windows(len(ids), context, stride)]
    found = [np.full(len(ids), np.nan) for ids in documents]
    track = Track(sum(map(len, documents)), "reading texts")
    with reading(model) as device:

        def read(chunk: list[tuple[int, Window]]) -> list[NDArray[np.float64]]:
            """Bits of the tokens that each window predicts; the first is the longest."""
            ids = torch.zeros(len(chunk), chunk[0][1].stop - chunk[0][1].start, dtype=torch.long)  # [B, T]
            for line, (row, each) in zip(ids, chunk, strict=True):
                line[: each.stop - each.start] = sequences[row][each.start : each.stop]
            # padding stands behind what is read, where a causal model does not look
            logits = model(input_ids=ids.to(device), use_cache=False).logits  # [B, T, V]
            bits = []
            for scores, (row, each) in zip(logits, chunk, strict=True):
                scores = scores[each.first - each.start : each.stop - each.start].float()
                goals = sequences[row][each.first + 1 : each.stop + 1].to(device)
                nats = scores.logsumexp(1) - scores.gather(1, goals[:, None]).squeeze(1)
                bits.append(nats.double().cpu().numpy() / math.log(2))
            track.advance(sum(map(len, bits)))
            return bits

        budget = TokenBudget(batch_tokens)
        for (row, each), bits in zip(
            places, budget.map(read, places, lambda place: Load(place[1].stop - place[1].start)), strict=True
        ):
            found[row][each.first : each.stop] = bits
    return found


def ratio_interval(
    totals: ArrayLike, sizes: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Interval of Σ totals / Σ sizes over documents, or clusters of them: of bits per byte, or nats per word.

    The jackknife that `eval.margins` uses for clusters of unequal size, a document's bytes in place of a cluster's
    items; degrees of freedom by Kish's effective number. Of a single document the limits are infinite.

    Args:
        totals, sizes: [documents]; sizes above 0.
        clusters: cluster ids [documents].
        level: nominal coverage.

    Raises:
        PresightError: wrong shapes, values that are not finite, sizes of nought, a bad level.
    """
    top, bottom = read_scores("totals", totals, 1), read_scores("sizes", sizes, 1)
    require_same_shape("totals", top, "sizes", bottom)
    if bottom.min() <= 0:
        raise PresightError("sizes", "a document of nought bytes or words", "leave it out")
    estimate = float(top.sum() / bottom.sum())
    if len(top if clusters is None else np.unique(clusters)) < 2:
        return Interval(estimate, -math.inf, math.inf, level, "one document")
    groups = Groups.of(len(top), clusters)
    top, bottom = groups.sums(top[None])[0], groups.sums(bottom[None])[0]
    count, whole = groups.count, bottom.sum()  # [clusters]
    moved = (count - 1) * (top - estimate * bottom) / (whole - bottom)  # by leaving one out, times count − 1
    variance, df = float((moved**2).sum()) / (count * (count - 1)), max(1.0, float(whole**2 / (bottom**2).sum()) - 1)
    noun = "clusters" if count < np.size(totals) else "items"
    return Margins(estimate, 0.0, variance, 0.0, 0, df, count, noun).interval(level)


def read_heldout(folder: Path, model: Path, most: int | None = None) -> list[Document]:
    """The held-out documents of a tokens artifact; with their tokens, where they are of the model's own tokenizer.

    Their text is what the tokens spell: the original's bytes, for a byte-level tokenizer such as `corpus.Tokenizer`.

    Args:
        folder, model: of the tokens, and of the checkpoint that is to read them.
        most: documents of each source.

    Raises:
        PresightError: there are no tokens, or a shard or its index is not as described (exit code 87).
    """
    from transformers import AutoTokenizer

    try:
        described = json.loads((folder / "tokens.json").read_text())
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError) as error:
        raise PresightError(str(folder), "holds no tokens", "give a tokens artifact") from error
    own = model / "tokenizer.json"
    same = own.exists() and hashlib.sha256(own.read_bytes()).hexdigest() == described["tokenizer"]
    found: list[Document] = []
    for source, splits in described["sources"].items():
        known = len(found)
        for shard in splits["heldout"]["shards"]:
            for ids in _documents(folder / shard["path"], described["token_bytes"], shard["tokens"]):
                if most is not None and len(found) - known == most:
                    break
                ids, item = ids[: -1 if ids[-1] == tokenizer.eos_token_id else None], f"{source}/{len(found) - known}"
                text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
                found.append(Document(item, source, item, text, ids if same else None))
    return found


def _documents(shard: Path, token_bytes: int, tokens: int) -> Iterator[Ids]:
    """The documents of a shard, by its index of their ends."""
    places = ((shard, f"<u{token_bytes}"), (shard.with_name(f"{shard.name}.index"), "<u8"))
    stream, ends = (np.fromfile(path, kind) if path.exists() else np.zeros(0, kind) for path, kind in places)
    if len(stream) != tokens or not len(ends) or ends[-1] != tokens:
        mend = "delete its artifact and run again"
        raise PresightError(str(shard), f"is not the {tokens} tokens that are described", mend, EXIT_DATA)
    yield from (each.astype(np.int64) for each in np.split(stream, ends[:-1].astype(np.int64)) if len(each))


def read_texts(folder: Path, most: int | None = None) -> list[Document]:
    """Documents of a folder, at most so many a file: lines of ``SOURCE.jsonl``, or all of a ``SOURCE.txt``.

    A line has a ``text`` and, where some belong together, a ``cluster``. Other files are passed over.

    Raises:
        PresightError: no such file, or a record that cannot be read or has no text.
    """
    found: list[Document] = []
    for path in sorted(each for each in folder.iterdir() if each.suffix in (".jsonl", ".txt")):
        for number, row in enumerate(islice(_rows(path), most)):
            text = row.get("text") if isinstance(row, dict) else None
            if not (isinstance(text, str) and text):
                raise PresightError(f"{path.name}, record {number + 1}", "has no text", "give it one, or leave it out")
            item, cluster = f"{path.name}/{number}", row.get("cluster")
            found.append(Document(item, path.stem, item if cluster is None else str(cluster), text))
    if not found:
        raise PresightError(str(folder), "has no SOURCE.jsonl and no SOURCE.txt with text", "put one there")
    return found


def _rows(path: Path) -> Iterator[Any]:
    """The records of a file; lines are read as they are asked for."""
    if path.suffix == ".txt":
        yield {"text": path.read_bytes().decode("utf-8", "replace")}
        return
    with path.open(encoding="utf-8") as opened:
        for number, line in enumerate(filter(str.strip, opened), 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise PresightError(f"{path.name}, record {number}", "is no JSON", "write a record a line") from error
