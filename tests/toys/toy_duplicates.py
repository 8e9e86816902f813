"""Made-up documents with planted duplicates, and the stages that find them."""

import gzip
import json
import random

from corpus.clean.duplicates import Duplicates
from corpus.clean.signatures import Signatures
from corpus.documents import write_index, write_source
from presight.stage import Stage


class Given(Stage):
    """Documents that a test wrote itself."""

    kind = "documents"
    name: str = "given"


def words(rng, number):
    """Words that no other text has."""
    return [f"w{rng.getrandbits(60):x}" for _ in range(number)]


def plant(rng, similarity, n_grams=5, grams=100):
    """Two texts and the Jaccard similarity of their sets of n-grams, as near to the one asked for as words allow."""
    shared = round(2 * similarity / (1 + similarity) * grams)
    first = words(rng, grams + n_grams - 1)
    second = first[: shared + n_grams - 1] + words(rng, grams - shared)
    pair = [" ".join(first), " ".join(second)]
    rng.shuffle(pair)
    return *pair, shared / (2 * grams - shared)


def shingles(text, n_grams=5):
    split = text.split()
    return {tuple(split[i : i + n_grams]) for i in range(len(split) - n_grams + 1)}


def document(rng, number=40):
    return " ".join(words(rng, rng.randint(number // 2, number)))


def write(folder, sources, files=3):
    """Documents ``{source: [text]}`` with ids ``source-i``, in the project's format."""
    for source, texts in sources.items():
        write_source(
            folder, source, ({"id": f"{source}-{i}", "text": text} for i, text in enumerate(texts)), None, files
        )
    write_index(folder, {"all": ["CC0", "MIT"]}, files)
    return folder


def made(stage, out, **inputs):
    """The folder of a stage, all its shards run in this process."""
    (out / "payload").mkdir(parents=True)
    for shard in range(stage.shards()):
        stage.run_shard(shard, out / "payload", inputs)
    stage.finish(out / "payload", inputs)
    return out / "payload"


def find(folder, documents, sign=None, **fields):
    """Signatures and duplicates of a folder of documents; the latter's summary and its removals."""
    stage = Signatures(documents=Given(), **({"parts": 2} | (sign or {})))
    signed = made(stage, folder / "signatures", documents=documents)
    stage = Duplicates(signatures=stage, **({"parts": 2} | fields))
    found = made(stage, folder / "duplicates", signatures=signed)
    return json.loads((found / "duplicates.json").read_text()), removals(found / "remove")


def rows(path):
    """The objects of a packed file."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def removals(folder):
    """Id of every removed document → (id of the kept one, exact or near)."""
    lines = [line for path in sorted(folder.rglob("*.gz")) for line in rows(path)]
    assert len({line["id"] for line in lines}) == len(lines)
    assert all(line["kept"].rpartition("-")[0] == line["source"] for line in lines)
    return {line["id"]: (line["kept"], line["match"]) for line in lines}


def shuffled(seed):
    return random.Random(seed)
