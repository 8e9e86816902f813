"""Documents of the model hub: datasets pinned to a commit, streamed, and cut to a size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from corpus.documents import COMPRESSED, FILES, capped, check_name, write_index, write_source
from corpus.sources import public
from corpus.sources.records import Ledger
from presight import index
from presight.errors import PresightError, nearest
from presight.hub import commit, line
from presight.stage import Cost, FrozenMap, Stage


class Dataset(BaseModel, frozen=True, extra="forbid"):
    """A dataset of the hub; ``owner/name`` or ``owner/name@revision`` for short."""

    id: str = Field(description="owner/name on the hub")
    config: str | None = Field(None, description="its configuration")
    files: str | None = Field(None, description="pattern of the files to read, where they are more than wanted")
    split: str = Field("train", description="its split")
    revision: str | None = Field(None, description="a commit; a branch or tag is looked up; None: main")
    text_key: str = Field("text", description="the column of the text")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, _, revision = value.partition("@")
        return {"id": name, "revision": revision or None}

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit."""
        return bool(re.fullmatch(public.COMMIT, self.revision or ""))


FEWEST = 2  # bytes of a token of the smallest vocabularies: what may do is not called short


class Hub(Stage):
    """Text of the model hub: the public stand-ins by name, or any dataset; the first megabytes in order of its files.

    What it is follows from ids and commits. The hub must be reachable where this runs; where it is not, download there
    (``hf download --repo-type dataset ID --revision COMMIT --local-dir PLACE``) and name the copy in ``paths``: with a
    commit it is taken at your word, without one its content is its identity.
    """

    kind = "documents"
    version = "1"

    sources: tuple[str, ...] = Field((), description="of the sixteen that have a public stand-in")
    datasets: FrozenMap[str, Dataset] = Field(FrozenMap(), description="source: dataset of the hub")
    paths: FrozenMap[str, str] = Field(FrozenMap(), exclude=True, description="source: a copy of its dataset here")
    megabytes: float = Field(1000.0, gt=0, description="text of each source, at most")
    metadata_keys: tuple[str, ...] = Field((), description="columns that are kept as metadata")
    tolerance: float = Field(0.01, ge=0, le=1, description="share of a source's records that may be malformed")
    files: int = Field(FILES, ge=1, le=1000, description="files a source is cut into: the unit of parallel work")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of copies without a commit; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Put the named sources' datasets in, and pin every dataset."""
        datasets = self._all()
        if not self.sources and all(each.pinned or source in self.content for source, each in datasets.items()):
            return self
        content = {}
        for source, dataset in datasets.items():
            check_name(f"datasets.{source}", source)
            if dataset.pinned:
                continue
            if source in self.paths:
                content[source] = index.content(Path(self.paths[source]).expanduser())
            else:
                found = commit("dataset", dataset.id, dataset.revision or "main", f"datasets.{source}.revision", fetch)
                datasets[source] = dataset.model_copy(update={"revision": found})
        return self.changed(sources=(), datasets=FrozenMap(datasets), content=FrozenMap(content))

    def _all(self) -> dict[str, Dataset]:
        named = {
            source: Dataset(**public.stand_in(source).model_dump(include=set(Dataset.model_fields)))
            for source in self.sources
        }
        if twice := set(named) & set(self.datasets):
            raise PresightError(f"datasets.{min(twice)}", "is among sources, too", "name it once")
        datasets = {**named, **self.datasets}
        if not datasets:
            raise PresightError("sources", "none is named", nearest("", public.public().sources))
        if unknown := set(self.paths) - set(datasets):
            raise PresightError(f"paths.{min(unknown)}", "is no source", nearest(min(unknown), datasets))
        return datasets

    def estimate(self) -> Cost:
        """Bytes of text, at most."""
        text = int(self.megabytes * 1e6) * (len(self.sources) + len(self.datasets))
        return Cost(bytes=text, disk=int(COMPRESSED * text))

    def supply(self) -> dict[str, int | None]:
        """Tokens of each source at most, before anything is read; None: unknown."""
        asked = int(self.megabytes * 1e6 / FEWEST)
        found: dict[str, int | None] = {}
        for source, dataset in self._all().items():
            entry = _entry(dataset)
            found[source] = min(asked, entry.tokens) if entry and entry.tokens else None
        return found

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Read every dataset until it has given enough."""
        licences = {}
        for source, dataset in self.datasets.items():
            place = Path(self.paths[source]).expanduser() if source in self.paths else None
            if place and not place.exists():  # or the hub would be asked for a dataset of that name
                raise PresightError(f"paths.{source}", f"{str(place)!r} is not here", "name the copy's folder")
            if place and source in self.content and index.content(place) != self.content[source]:
                raise PresightError(f"paths.{source}", "its files changed since it was planned", "run again")
            ledger = Ledger(f"datasets.{source}", self.tolerance)
            rows = capped(self.rows(dataset, place, ledger), ledger, self.megabytes)
            write_source(out, source, rows, int(self.megabytes * 1e6), self.files, ledger)
            entry = _entry(dataset)
            licences[source] = [entry.licence] if entry else []
        write_index(out, licences, self.files)

    def rows(self, dataset: Dataset, place: Path | None, ledger: Ledger) -> Iterator[dict[str, Any]]:
        """The documents of a dataset in its own order, the malformed ones counted.

        Raises:
            PresightError: it cannot be had or read, or too many of its records are malformed.
        """
        from datatrove.pipeline.readers import HuggingFaceDatasetReader

        def whole(_: Any, row: dict[str, Any], path: str, number: str) -> dict[str, Any]:
            # the row itself is passed on: the reader drops what has no text, and its ids depend on the tasks
            return {"id": number, "text": "row", "metadata": {"row": row}}

        options = {"name": dataset.config, "data_files": dataset.files, "split": dataset.split}
        if place is None:
            options["revision"] = dataset.revision
        given = {key: value for key, value in options.items() if value is not None}
        reader = HuggingFaceDatasetReader(str(place or dataset.id), given, True, batch_size=100, adapter=whole)
        try:
            for each in reader.run():
                row = each.metadata["row"]
                ledger.records += 1
                where, number = f"{dataset.id}:{ledger.records}", ledger.records - 1
                if found := ledger.document(row, dataset.text_key, where, dataset.id, number, self.metadata_keys):
                    yield found
        except PresightError:
            raise
        except Exception as error:  # of the network, the hub, or any format
            mend = "check its id, config, files, split and revision, log in if it is gated, or name a copy in paths"
            raise PresightError(ledger.field, f"{dataset.id} cannot be read ({line(error)})", mend) from error
        ledger.close()


def _entry(dataset: Dataset) -> public.Corpus | None:
    """What is known of a dataset that is one of the public stand-ins."""
    for entry in public.public().sources.values():
        if (entry.id, entry.config, entry.files) == (dataset.id, dataset.config, dataset.files):
            return entry
    return None
