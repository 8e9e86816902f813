"""Documents without their duplicates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np

from corpus.clean.duplicates import DUPLICATES
from corpus.documents import DROPPED, INDEX, part, read_lines, write_index, write_lines
from presight.console import Track
from presight.errors import PresightError
from presight.stage import Cost, Needs, PartedStage, Stage, scratch


class Deduplicate(PartedStage):
    """The documents that ``Duplicates`` keeps, byte for byte, in files of the same names.

    ``dropped/<source>/<file>`` lists the others (``id``, id and ``source`` of the one ``kept``, ``match``: exact or
    near). In ``documents.json`` ``repeats`` counts what was dropped here. The held-out split is chosen by a hash of
    the text when the tokens are made, after this: no held-out text has a copy in training that this could find.
    """

    kind = "documents"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    duplicates: Annotated[Stage, Needs("duplicates")]

    def estimate(self) -> Cost:
        """Bytes read."""
        return Cost(bytes=self.documents.estimate().bytes)

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Copy what is kept of one part.

        Raises:
            PresightError: the duplicates are those of other documents.
        """
        folder, remove = inputs["documents"], inputs["duplicates"] / "remove"
        if json.loads((inputs["duplicates"] / DUPLICATES).read_text())["documents"] != self.documents.fingerprint:
            raise PresightError(
                "duplicates", "were found in other documents", "give the documents that their signatures were made of"
            )
        sources = json.loads((folder / INDEX).read_text())["sources"]
        track = Track(sum(each["documents"] for each in sources.values()) / self.parts, f"copying part {shard + 1}")
        dropped = {source: {"documents": 0, "bytes": 0} for source in sources}

        def kept(source: str, path: Path) -> Iterator[bytes]:
            gone = set(np.load(remove / source / path.name.replace(".jsonl.gz", ".npy")).tolist())
            for position, line in enumerate(read_lines(path)):
                if position in gone:
                    dropped[source]["documents"] += 1
                    dropped[source]["bytes"] += len(json.loads(line)["text"].encode("utf-8", "replace"))
                else:
                    yield line
                track.advance()

        for source, path in part(folder, sources, shard, self.parts):
            write_lines(out / source / path.name, kept(source, path))
        (scratch(out) / f"part-{shard:05d}.json").write_text(json.dumps(dropped))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the index and the licences, and list what was dropped."""
        parts = [json.loads((scratch(out) / f"part-{shard:05d}.json").read_text()) for shard in range(self.parts)]
        index = json.loads((inputs["documents"] / INDEX).read_text())
        for source, before in index["sources"].items():
            repeats, size = (sum(each[source][key] for each in parts) for key in ("documents", "bytes"))
            counts = {"documents": before["documents"] - repeats, "bytes": before["bytes"] - size}
            (out / source).mkdir(exist_ok=True)
            (out / source / "counts.json").write_text(json.dumps({**counts, "repeats": repeats, "empty": 0}))
        licences = inputs["documents"] / "licences.json"
        write_index(out, {"": json.loads(licences.read_text())} if licences.exists() else {}, index["files"])
        for listed in sorted((inputs["duplicates"] / "remove").glob("*/*.jsonl.gz")):
            target = out / DROPPED / listed.parent.name / listed.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(listed, target)
