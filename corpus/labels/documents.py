"""Labels of whole documents: a table of probabilities beside the documents, for text that is not yet tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from presight.console import Track
from presight.errors import PresightError
from presight.stage import Needs, ShardedStage, Stage, scratch

if TYPE_CHECKING:
    from corpus.labels.classifier import Classifier

AT_ONCE = 1000  # documents


class LabelDocuments(ShardedStage):
    """Writes ``<source>/<file>.parquet``: ``id`` and a probability a label and family, a row a document, in order."""

    kind = "document-labels"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    classifier: Annotated[Stage, Needs("classifier")]
    parts: int = Field(4, ge=1, description="shards the work is cut into; more helps on a cluster")

    def shards(self) -> int:
        """One per part; a part takes every ``parts``-th file."""
        return self.parts

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Label the files of one part."""
        from corpus.labels.classifier import Classifier

        model = Classifier.load(inputs["classifier"])
        files = sorted(inputs["documents"].glob("*/*.jsonl.gz"))
        files = [file for file in files if file.parent.name not in ("dropped", "log")][shard :: self.parts]
        track = Track(sum(file.stat().st_size for file in files), f"labelling part {shard + 1}")
        for file in files:
            target = out / file.parent.name / f"{file.name.removesuffix('.jsonl.gz')}.parquet"
            if not target.exists():
                write(_documents(file), model, target, scratch(out) / f"{shard}.parquet")
            track.advance(file.stat().st_size)


def label_files(place: Path, classifier: Path, target: Path, text_key: str = "text") -> int:
    """Label the records of jsonl, parquet or text files; give how many there were.

    Raises:
        PresightError: nothing there is text, a file is damaged, or more than one in a hundred records is malformed.
    """
    from corpus.labels.classifier import Classifier
    from corpus.sources.records import Ledger, read

    ledger = Ledger(str(place), 0.01)
    track = Track(None, f"labelling {place.name}")

    def rows() -> Iterator[dict[str, Any]]:
        for row in read(place, ledger, text_key):
            track.advance()
            yield row

    target.parent.mkdir(parents=True, exist_ok=True)
    count = write(rows(), Classifier.load(classifier), target, target.with_name(f".{target.name}"))
    if not count:
        raise PresightError(str(place), "holds no documents", "check its files and text_key")
    ledger.close()
    return count


def write(rows: Iterable[Mapping[str, Any]], model: Classifier, target: Path, partial: Path) -> int:
    """Write the probabilities of documents (``id``, ``text``) as parquet, whole or not at all; give their number."""
    import numpy as np
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    names = [*model.labels, *model.taxonomy.families]
    schema = pa.schema([("id", pa.string()), *((name, pa.float32()) for name in names)])
    target.parent.mkdir(parents=True, exist_ok=True)
    count, stream = 0, iter(rows)
    with ParquetWriter(partial, schema.with_metadata({"classifier": model.digest}), compression="zstd") as file:
        while some := list(islice(stream, AT_ONCE)):
            scores = model.score_long([row["text"] for row in some])
            columns = np.hstack([scores, model.taxonomy.combine(scores)]).astype(np.float32).T
            file.write_table(pa.table([pa.array([row["id"] for row in some]), *map(pa.array, columns)], schema=schema))
            count += len(some)
    partial.replace(target)
    return count


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    from datatrove.pipeline.readers import JsonlReader

    for document in JsonlReader(str(file.parent)).read_files_shard([file.name]):
        yield {"id": document.id, "text": document.text}
