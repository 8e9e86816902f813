"""Labels of whole documents: a table of probabilities beside the documents, for text that is not yet tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from corpus.documents import INDEX, part, read_lines
from presight.console import Track
from presight.errors import PresightError
from presight.stage import Needs, PartedStage, Stage, scratch

if TYPE_CHECKING:
    from corpus.labels.classifier import Classifier

AT_ONCE = 1000  # documents


class LabelDocuments(PartedStage):
    """Writes ``<source>/<file>.parquet``: ``id`` and a probability a label and family, a row a document, in order."""

    kind = "document-labels"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    classifier: Annotated[Stage, Needs("classifier")]

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Label the files of one part."""
        label_part(inputs["documents"], inputs["classifier"], out, shard, self.parts, scratch(out))


def label_part(documents: Path, classifier: Path, out: Path, number: int, parts: int, work: Path) -> None:
    """Label every ``parts``-th file of each source of a documents artifact, from ``number`` on."""
    from corpus.labels.classifier import Classifier

    model = Classifier.load(classifier)
    sources = json.loads((documents / INDEX).read_text())["sources"]
    files = list(part(documents, sources, number, parts))
    track = Track(sum(path.stat().st_size for _, path in files), f"labelling part {number + 1}")
    for source, path in files:
        target = out / source / f"{path.name.removesuffix('.jsonl.gz')}.parquet"
        if not target.exists():
            write(map(json.loads, read_lines(path)), model, target, work / f"{number}.parquet")
        track.advance(path.stat().st_size)


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
        target.unlink()
        raise PresightError(str(place), "holds no documents", "check its files and text_key")
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
