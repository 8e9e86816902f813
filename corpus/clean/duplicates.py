"""Which documents are duplicates of which, and which copy is kept: the one of the source that comes first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from corpus.clean.signatures import SIGNATURES
from corpus.documents import read_lines, write_lines
from presight.console import progress
from presight.errors import PresightError, nearest
from presight.stage import Needs, ShardedStage, Stage, scratch

DUPLICATES = "duplicates.json"
LARGEST = 20  # clusters listed for audit,
MEMBERS = 10  # with some of their documents
PAIR = np.dtype([("part", "<u4"), ("document", "<u4")])  # datatrove's names for a document; two a record


class Duplicates(ShardedStage):
    """Clusters of documents that share a text or a bucket, across all sources, and the one that is kept of each.

    The kept document is the first by (source in order of ``priority``, file, position). Sources that ``priority``
    does not name follow in order of size, smallest first: a copy is a larger part of a small source, and scarce
    sources are what binds a mixture.

    A removed document is an *exact* duplicate if the same text stands before it in that order, else a *near* one.
    Clusters are connected components, so one may be removed for a document that it shares no bucket with, by way of
    others; ``chained`` counts these.

    Writes ``remove/<source>/<file>.npy`` (positions, uint64, sorted), beside it ``….jsonl.gz`` (a line each: ``id``,
    ``kept``, ``source``, ``match``) and ``duplicates.json``.

    On a cluster: with ``parts`` beyond ``buckets`` + 1 every bucket is cut into ranges of hashes; merging takes some
    10 µs a signature whatever the cut, so 3·10⁹ documents are 120 core-hours: 150 parts, an hour each. Pairs are
    folded in file by file: the finisher holds two 8-byte numbers and the ids of the *clustered* documents (up to
    2³¹), some 200 GB where a billion are: one node with large memory.
    """

    kind = "duplicates"
    version = "1"

    signatures: Annotated[Stage, Needs("signatures")]
    priority: tuple[str, ...] = Field((), description="sources, the first keeps its copy; the rest follow by size")
    parts: int = Field(5, ge=1, description="shards the buckets are spread over; more helps on a cluster")

    def shards(self) -> int:
        """One per part."""
        return self.parts

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Find the pairs of some buckets; the text's hash is one bucket more."""
        from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets

        from corpus.clean.minhash import settings

        folder, pairs = inputs["signatures"], scratch(out) / "pairs"
        pairs.mkdir(exist_ok=True)
        described = _described(folder)
        self._order(described["bytes"])  # a wrong name is better said now than by the finisher
        chosen = described["settings"]
        ranges = self._ranges(folder, chosen)
        tasks = chosen["buckets"] * ranges
        _open_many()
        for task in progress(range(shard, tasks + ranges, self.parts), f"comparing, part {shard + 1}"):
            if task < tasks:
                step = MinhashDedupBuckets(str(folder), str(pairs), config=settings(**chosen), lines_to_buffer=1000)
                step.run(None, task, tasks)
            else:
                same_texts(folder, task - tasks, ranges).tofile(pairs / f"texts_{task - tasks:05d}.dups")

    def _ranges(self, folder: Path, chosen: Mapping[str, int]) -> int:
        """Ranges of hashes a bucket is cut into; datatrove takes their bounds from the first part's signatures."""
        first = (folder / "bucket_000" / "00000.minhash.sig").stat().st_size // (8 * chosen["rows"] + 4)
        return max(1, min(self.parts // (chosen["buckets"] + 1), first))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Cluster, choose what is kept, and write what is to be removed.

        Raises:
            PresightError: ``priority`` names an unknown source, or a source would lose all its documents.
        """
        described = _described(inputs["signatures"])
        places = Places(described, self._order(described["bytes"]))
        files = sorted((scratch(out) / "pairs").glob("*.dups"))
        texts = [file for file in files if file.name.startswith("texts")]
        buckets = [file for file in files if file not in texts]
        same = clusters(places, texts)
        found = clusters(places, buckets, same)
        exact = np.isin(found[:, 0], same[:, 0])
        chained = ~exact & ~_direct(places, buckets, found)

        table = _table(places, found, exact)
        sources = {}
        for name in sorted(described["bytes"]):
            gone = {match: sum(row[name][match] for row in table.values()) for match in ("exact", "near")}
            sources[name] = {"documents": places.documents[name], **gone}
            if places.documents[name] and sum(gone.values()) == places.documents[name]:
                keeper = max(places.order, key=lambda other: sum(table[other][name].values()))
                raise PresightError(
                    f"source {name}",
                    f"all its {places.documents[name]} documents are duplicates, most of {keeper!r}",
                    f"leave it out, or name it before {keeper!r} in priority",
                )

        named = np.union1d(found[:, 0], found[:, 1])
        ids = dict(zip(named.tolist(), _ids(inputs["signatures"], described, places, named), strict=True))
        _write(out, places, found, exact, ids)
        summary = {
            "documents": described["documents"],
            "settings": described["settings"],
            "priority": places.order,
            "sources": sources,
            "removed_for": {
                keeper: {name: counts for name, counts in row.items() if any(counts.values())}
                for keeper, row in table.items()
            },
            "chained": int(chained.sum()),
            **_sizes(places, found, ids),
        }
        (out / DUPLICATES).write_text(json.dumps(summary, indent=1))
        (out / "counts.json").write_text(
            json.dumps({name: each["exact"] + each["near"] for name, each in sources.items()})
        )

    def _order(self, sizes: Mapping[str, int]) -> list[str]:
        for name in self.priority:
            if name not in sizes:
                raise PresightError("priority", f"{name!r} is no source of the documents", nearest(name, sizes))
        rest = sorted(set(sizes) - set(self.priority), key=lambda name: (sizes[name], name))
        return [*dict.fromkeys(self.priority), *rest]


class Places:
    """Numbers documents in order of (priority of the source, file, position): the smaller one is kept.

    Args:
        described: ``signatures.json``.
        order: all sources, the first in priority first.
    """

    def __init__(self, described: Mapping[str, Any], order: Sequence[str]) -> None:
        files = [(number, each) for number, part in enumerate(described["parts"]) for each in part]
        counts = np.array([each["documents"] for _, each in files], np.int64)
        rank = {name: place for place, name in enumerate(order)}
        sequence = sorted(range(len(files)), key=lambda i: (rank[files[i][1]["source"]], files[i][1]["file"]))
        self.order = list(order)
        self.files = [(files[i][1]["source"], files[i][1]["file"]) for i in sequence]
        self.starts = np.concatenate([[0], np.cumsum(counts[sequence])])  # of the files in this order
        self.documents = dict.fromkeys(order, 0)
        for _, each in files:
            self.documents[each["source"]] += each["documents"]
        # every part's documents follow one another in the order read
        self._read = np.concatenate([[0], np.cumsum(counts)])
        self._first = np.empty(len(files), np.int64)
        self._first[sequence] = self.starts[:-1]
        sizes = [sum(each["documents"] for each in part) for part in described["parts"]]
        self._parts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def ranks(self, part: Any, document: np.ndarray) -> np.ndarray:
        """Numbers, int64 [n], of documents given by part and position in it."""
        read = self._parts[part] + document.astype(np.int64)
        file = np.searchsorted(self._read, read, side="right") - 1
        return np.asarray(self._first[file] + read - self._read[file])

    def sources(self, ranks: np.ndarray) -> np.ndarray:
        """Place of their source in the order, int64 [n]."""
        known = {name: place for place, name in enumerate(self.order)}
        by_file = np.array([known[source] for source, _ in self.files], np.int64)
        return np.asarray(by_file[np.searchsorted(self.starts, ranks, side="right") - 1])

    def name(self, rank: int) -> tuple[str, str]:
        """Source and file of a document."""
        return self.files[int(np.searchsorted(self.starts, rank, side="right")) - 1]


def same_texts(folder: Path, number: int, ranges: int) -> np.ndarray:
    """Pairs of documents with one text whose hash lies in one of some equal ranges, PAIR [n, 2]."""
    hashes, names = [], []
    for part, path in enumerate(sorted((folder / "texts").glob("*.npy"))):
        each = np.load(path)
        mine = np.flatnonzero((each[:, 0] >> np.uint64(32)) * np.uint64(ranges) >> np.uint64(32) == number)
        hashes.append(each[mine])
        names.append(np.empty(len(mine), PAIR))
        names[-1]["part"], names[-1]["document"] = part, mine
    all_hashes, all_names = np.concatenate(hashes), np.concatenate(names)
    order = np.lexsort((all_hashes[:, 1], all_hashes[:, 0]))  # stable
    equal = np.flatnonzero((all_hashes[order][1:] == all_hashes[order][:-1]).all(axis=1))
    return np.stack([all_names[order[equal]], all_names[order[equal + 1]]], axis=1)


def clusters(places: Places, files: Sequence[Path], found: np.ndarray | None = None) -> np.ndarray:
    """Documents that are no first of their cluster, and that first one: ranks int64 [n, 2], sorted.

    Pairs of a file are joined to what is ``found`` and folded at once, so that memory grows with documents, not pairs.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    found = np.empty((0, 2), np.int64) if found is None else found
    for file in files:
        pairs = np.fromfile(file, PAIR).reshape(-1, 2)
        edges = np.concatenate([found, places.ranks(pairs["part"].ravel(), pairs["document"].ravel()).reshape(-1, 2)])
        nodes, ends = np.unique(edges, return_inverse=True)
        ends = ends.reshape(-1, 2)
        graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes)))
        _, labels = connected_components(graph, directed=False)
        _, first = np.unique(labels, return_index=True)  # nodes ascend: the first of a label is its smallest
        kept = nodes[first[labels]]
        found = np.stack([nodes, kept], axis=1)[nodes != kept]
    return found


def _direct(places: Places, files: Sequence[Path], found: np.ndarray) -> np.ndarray:
    """Which removed documents share a bucket with the kept one, bool [n]."""
    direct = np.zeros(len(found), bool)
    for file in files:
        bucket = clusters(places, [file])  # equal signatures: the kept one, if among them, is their first
        at = np.searchsorted(found[:, 0], bucket[:, 0])
        inner = bucket[:, 0] == found[np.minimum(at, len(found) - 1), 0]
        direct[at[inner]] |= found[at[inner], 1] == bucket[inner, 1]
    return direct


def _table(places: Places, found: np.ndarray, exact: np.ndarray) -> dict[str, dict[str, dict[str, int]]]:
    """Kept source → removed source → exact and near duplicates."""
    size = len(places.order)
    cells = (places.sources(found[:, 1]) * size + places.sources(found[:, 0])) * 2 + exact
    counts = np.bincount(cells, minlength=2 * size * size).reshape(size, size, 2)
    return {
        kept: {
            gone: {"exact": int(counts[i, j, 1]), "near": int(counts[i, j, 0])} for j, gone in enumerate(places.order)
        }
        for i, kept in enumerate(places.order)
    }


def _sizes(places: Places, found: np.ndarray, ids: Mapping[int, str]) -> dict[str, Any]:
    """How many clusters are of which size; the largest with the kept document first."""
    kept, sizes = np.unique(found[:, 1], return_counts=True)
    sizes += 1
    largest = []
    for i in np.argsort(-sizes, kind="stable")[:LARGEST]:
        members = [int(kept[i]), *found[found[:, 1] == kept[i], 0][: MEMBERS - 1].tolist()]
        named = [{"source": places.name(rank)[0], "id": ids[rank]} for rank in members]
        largest.append({"size": int(sizes[i]), "members": named})
    histogram = zip(*np.unique(sizes, return_counts=True), strict=True)
    return {"clusters": {str(size): int(count) for size, count in histogram}, "largest": largest}


def _ids(folder: Path, described: Mapping[str, Any], places: Places, ranks: np.ndarray) -> list[str]:
    """Ids of documents, of whose ranks, which ascend, only those in ``ranks`` are held."""
    ids = [""] * len(ranks)
    for part, files in enumerate(described["parts"]):
        here = places.ranks(part, np.arange(sum(each["documents"] for each in files)))
        at = np.searchsorted(ranks, here)
        wanted = ranks[np.minimum(at, len(ranks) - 1)] == here if len(ranks) else np.zeros(len(here), bool)
        for line, place, want in zip(read_lines(folder / "ids" / f"{part:05d}.jsonl.gz"), at, wanted, strict=True):
            if want:
                ids[place] = json.loads(line)
    return ids


def _write(out: Path, places: Places, found: np.ndarray, exact: np.ndarray, ids: Mapping[int, str]) -> None:
    """Positions and descriptions of the removed documents of every file."""
    bounds = np.searchsorted(found[:, 0], places.starts)
    for number, (source, file) in enumerate(places.files):
        mine = slice(bounds[number], bounds[number + 1])
        folder = out / "remove" / source
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / file.replace(".jsonl.gz", ".npy"), (found[mine, 0] - places.starts[number]).astype("<u8"))
        lines = (
            {"id": ids[gone], "kept": ids[kept], "source": places.name(kept)[0], "match": "exact" if same else "near"}
            for (gone, kept), same in zip(found[mine].tolist(), exact[mine].tolist(), strict=True)
        )
        write_lines(folder / file, (json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines))


def _described(folder: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((folder / SIGNATURES).read_text())
    return described


def _open_many() -> None:
    """Let this process open as many files as it may: datatrove merges all parts of a bucket at once."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
