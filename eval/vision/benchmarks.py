"""A published benchmark as questions, with its pictures beside them."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from eval.vision.columns import SEVERAL
from eval.vision.suite import COMMIT, Entry, benchmark
from presight import index
from presight.console import Track, say
from presight.errors import PresightError, Unavailable
from presight.stage import Cost, Stage

if TYPE_CHECKING:
    from eval.vision.columns import Draft
    from eval.vision.items import Item

SKIPPED = "skipped.json"


class Benchmark(Stage):
    """Questions of one of the paper's benchmarks, from the hub or a copy of it here, and their pictures.

    The hub must be reachable where this runs; where it is not, download there
    (``hf download --repo-type dataset ID --revision COMMIT --local-dir PLACE``) and name the copy as `path`: parquet,
    lines of JSON, or what ``datasets`` saved. Questions about several pictures are left out and counted; so is what is
    broken, up to `tolerance`.
    """

    kind = "questions"
    version = "1"

    name: str = Field(description="of the benchmark, as GQA")
    path: str | None = Field(None, exclude=True, description="a copy of it here")
    file: str | None = Field(None, exclude=True, description="a file of further benchmarks, as benchmarks.yaml")
    limit: int | None = Field(None, ge=2, description="questions, drawn by a hash of their names; None: all")
    tolerance: float = Field(0.01, ge=0, le=1, description="share of the questions that may be broken; 0: none")
    declared: str | None = Field(None, description="name@version of path, taken at your word instead of hashing it")
    revision: str = Field("", description="commit of the hub's dataset; filled in")
    content: str = Field("", description="digest of the copy; filled in")
    definition: str = Field("", description="digest of how the benchmark is read and asked; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Take down how the benchmark is asked, and pin its data."""
        if self.definition:
            return self
        entry = self.entry
        if self.declared is not None and "@" not in self.declared:
            raise PresightError("declared", f"{self.declared!r} has no version", "write name@version")
        if self.path:
            return self.changed(definition=entry.digest, content=self._digest())
        from presight.hub import commit

        asked = self.revision or entry.revision or "main"
        found = commit("dataset", entry.id, asked, f"{self.name}.revision", fetch)
        return self.changed(definition=entry.digest, revision=found)

    @property
    def entry(self) -> Entry:
        """What is known of the benchmark."""
        return benchmark(self.name, Path(self.file).expanduser() if self.file else None)

    def _digest(self) -> str:
        assert self.path
        place = Path(self.path).expanduser()
        if not place.is_dir():
            raise PresightError("path", f"{self.path!r} is no folder here", "name the folder of the copy")
        return self.declared or index.content(place)

    def estimate(self) -> Cost:
        """Questions, about."""
        known = self.entry.items or 0
        return Cost(items=min(known, self.limit) if self.limit else known)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the questions and their pictures.

        Raises:
            PresightError: the copy or the definition changed since they were planned, the data cannot be had or read,
                or too many questions are broken.
        """
        from adapt.vlm.pictures import Writer
        from eval.vision import items

        entry = self.entry
        if entry.digest != self.definition:
            raise PresightError("name", f"{self.name} is asked otherwise than when it was planned", "run again")
        folder = self._folder(entry)
        skipped: dict[str, str] = {}
        drafts = self._drafts(entry, folder, skipped)
        whole = len(drafts) + len(skipped)
        unread = sum(why != SEVERAL for why in skipped.values())  # of all, whatever the limit
        chosen = _drawn(drafts, self.limit)
        with Writer(out) as writer:
            items.write(out, self._items(entry, folder, drafts, chosen, writer, skipped))
        several = sum(why == SEVERAL for why in skipped.values())
        self._report(out, entry, whole, several, skipped)
        unseen = len(skipped) - several - unread  # of those that were drawn
        if unread > self.tolerance * whole or unseen > self.tolerance * len(chosen):
            name, why = next((name, why) for name, why in skipped.items() if why != SEVERAL)
            many = f"{unread} of {whole}" if unread > self.tolerance * whole else f"{unseen} of {len(chosen)}"
            problem = f"{many} questions are broken, first {name}, which {why}"
            raise PresightError(self.name, problem, "fetch the data again, or raise tolerance")

    def _folder(self, entry: Entry) -> Path:
        if self.path:
            if self._digest() != self.content:
                raise PresightError("path", "its files changed since it was planned", "run again")
            return Path(self.path).expanduser()
        from huggingface_hub import snapshot_download

        from presight.hub import line

        assert re.fullmatch(COMMIT, self.revision)
        patterns = list(entry.patterns)
        try:
            return Path(
                snapshot_download(entry.id, repo_type="dataset", revision=self.revision, allow_patterns=patterns)
            )
        except Exception as error:  # of any layer of the network
            problem = f"{entry.id} cannot be had ({line(error)})"
            raise Unavailable(self.name, problem, "try again, or name a copy as path") from error

    def _drafts(self, entry: Entry, folder: Path, skipped: dict[str, str]) -> dict[int, Draft]:
        """The questions by the numbers of their rows, pictures not looked at."""
        from eval.vision.columns import draft, text_columns, wanted
        from eval.vision.tables import rows, tables

        columns = text_columns(entry) | ({entry.join.column} if entry.join else set())
        found = {}
        for number, (_, row) in enumerate(rows(tables(folder, entry.files, entry.split), columns)):
            if wanted(entry, row):
                try:
                    found[number] = draft(self.name, entry, row, number)
                except ValueError as error:
                    skipped[f"{self.name}/{number:06d}"] = str(error)
        if not found:
            why = f"first {next(iter(skipped.values()))}" if skipped else f"none has {entry.where}"
            raise PresightError(self.name, f"no row of it is a question ({why})", "give the benchmark's own files")
        return found

    def _items(
        self,
        entry: Entry,
        folder: Path,
        drafts: Mapping[int, Draft],
        chosen: set[int],
        writer: Any,
        skipped: dict[str, str],
    ) -> Iterator[Item]:
        """The chosen questions that have one picture each."""
        from adapt.vlm.pictures import picture
        from eval.vision.items import Item
        from eval.vision.tables import suffix_of

        track = Track(len(chosen), f"pictures of {self.name}")
        for number, found in self._pictures(entry, folder, chosen):
            each = drafts[number]
            track.advance()
            try:
                if isinstance(found, ValueError):
                    raise found
                different = list(dict.fromkeys(found))
                if len(different) != 1:
                    raise ValueError(SEVERAL if different else "has no picture")
                picture(each.item, different[0])
                yield Item(
                    item=each.item,
                    task=each.task,
                    group=entry.group,
                    prompt=each.prompt,
                    picture=writer.add(different[0], suffix_of(different[0])),
                    options=each.options,
                    answer=each.answer,
                    metric=each.metric,
                    cluster=each.cluster,
                    facts=each.facts,
                )
            except ValueError as error:
                skipped[each.item] = str(error)
            except PresightError as error:
                skipped[each.item] = error.problem

    def _pictures(
        self, entry: Entry, folder: Path, chosen: set[int]
    ) -> Iterator[tuple[int, list[bytes] | ValueError]]:
        """The encoded pictures of the chosen rows, or why there are none."""
        from eval.vision.columns import image_columns
        from eval.vision.tables import contents, rows, tables

        columns = set(image_columns(entry)) | ({entry.join.column} if entry.join else set())
        joined = self._joined(entry, folder) if entry.join else {}
        for number, (table, row) in enumerate(rows(tables(folder, entry.files, entry.split), columns)):
            if number in chosen:
                values = [row.get(column) for column in image_columns(entry)]
                try:
                    if entry.join and not any(values):
                        table, value = joined.get(str(row.get(entry.join.column)), (table, None))
                        values = [value]
                    yield number, contents(values, table, folder)
                except ValueError as error:
                    yield number, error

    def _joined(self, entry: Entry, folder: Path) -> dict[str, tuple[Path, Any]]:
        """Pictures that lie in files of their own, by name."""
        from eval.vision.columns import image_columns
        from eval.vision.tables import rows

        assert entry.join
        paths = sorted({path for pattern in entry.join.files for path in folder.glob(pattern)})
        key, column = entry.join.key, image_columns(entry)[0]
        return {str(row.get(key)): (table, row.get(column)) for table, row in rows(paths, {key, column})}

    def _report(self, out: Path, entry: Entry, whole: int, several: int, skipped: Mapping[str, str]) -> None:
        """Count and say what was left out, and whether there were as many questions as there should be."""
        if several:
            say(f"{self.name}: left out {several} questions about several pictures")
        if len(skipped) > several:
            name, why = next((name, why) for name, why in skipped.items() if why != SEVERAL)
            say(f"{self.name}: left out {len(skipped) - several} questions, first {name}, which {why}")
        if entry.items and entry.items != whole:
            say(f"{self.name}: {whole} questions, not the {entry.items} that are known: in part, or another release")
        counts = json.loads((out / "counts.json").read_text())
        counts |= {"of": whole, "several pictures": several, "broken": len(skipped) - several}
        (out / "counts.json").write_text(json.dumps(counts))
        (out / SKIPPED).write_text(json.dumps(skipped, indent=1, ensure_ascii=False))
        (out / "licences.json").write_text(json.dumps([entry.licence]))


def _drawn(drafts: Mapping[int, Draft], limit: int | None) -> set[int]:
    """Numbers of the rows to keep; those that are scored together stay together."""
    from eval.vision.metrics import CIRCLE, PAIR

    if limit is None:
        return set(drafts)
    bound: dict[str, list[int]] = {}
    for number, each in drafts.items():
        bound.setdefault(str(each.facts.get(CIRCLE) or each.facts.get(PAIR) or each.item), []).append(number)
    order = sorted(bound, key=lambda name: hashlib.blake2b(name.encode(), digest_size=16).digest())
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, int, str]] = []
    for name in order:  # parts take turns, or small ones would be left with too few to say anything
        task = drafts[bound[name][0]].task
        ranked.append((turns[task], len(ranked), name))
        turns[task] += 1
    kept: set[int] = set()
    for *_, name in sorted(ranked):
        if len(kept) >= limit:
            break
        kept |= set(bound[name])
    return kept
