import gzip
import json
import os
import signal
import sys
from collections import Counter

import pytest
from toy_duplicates import Given, document, made, removals, shuffled, words, write
from toy_experiment import payload

from corpus import Documents
from corpus.clean.deduplicate import Deduplicate
from corpus.clean.duplicates import Duplicates
from corpus.clean.signatures import Signatures
from corpus.documents import read_source
from presight.errors import PresightError
from presight.store import Store

FILES = 3


def texts(seed):
    rng = shuffled(seed)
    found = {"web": [document(rng) for _ in range(40)], "math": [document(rng, 100) for _ in range(15)]}
    found["web"] += [text + " \n" for text in found["math"][:5]]  # exact
    found["web"] += [f"{text} {' '.join(words(rng, 2))}" for text in found["math"][5:9]]  # near
    found["web"][3] = "ü, 漢字, \u2028 and the line goes on \x85 here\r\n"
    rng.shuffle(found["web"])
    return found


def stages(documents, **fields):
    signatures = Signatures(documents=documents, parts=2)
    duplicates = Duplicates(signatures=signatures, parts=2, **fields)
    return signatures, duplicates, Deduplicate(documents=documents, duplicates=duplicates, parts=2)


def run(folder, given, documents):
    signatures, duplicates, deduplicate = stages(documents)
    signed = made(signatures, folder / "signatures", documents=given)
    found = made(duplicates, folder / "duplicates", signatures=signed)
    return found, made(deduplicate, folder / "deduplicated", documents=given, duplicates=found)


def lines(folder, source):
    return {path.name: gzip.decompress(path.read_bytes()).splitlines(True) for path in folder.glob(f"{source}/*.gz")}


def test_what_is_kept_is_kept_byte_for_byte_and_the_rest_is_listed(tmp_path):
    given = write(tmp_path / "given", texts(0), FILES)
    found, out = run(tmp_path, given, Given())
    gone = removals(found / "remove")
    assert Counter(match for _, match in gone.values()) == {"exact": 5, "near": 4}
    index = json.loads((out / "documents.json").read_text())
    before = json.loads((given / "documents.json").read_text())
    assert index["files"] == before["files"] == FILES
    for source in ("web", "math"):
        rows = lines(given, source)
        assert len(rows) == FILES
        kept = {name: [line for line in each if json.loads(line)["id"] not in gone] for name, each in rows.items()}
        assert lines(out, source) == kept
        sizes = [len(json.loads(line)["text"].encode()) for each in kept.values() for line in each]
        counts = {"documents": len(sizes), "bytes": sum(sizes), "repeats": 9 * (source == "web"), "empty": 0}
        assert index["sources"][source] == counts
        assert counts.keys() == before["sources"][source].keys()
        assert len(list(read_source(out / source))) == len(sizes)
    assert json.loads((out / "counts.json").read_text()) == {
        source: each["bytes"] for source, each in index["sources"].items()
    }
    assert json.loads((out / "licences.json").read_text()) == ["CC0", "MIT"]
    assert removals(out / "dropped") == gone
    for name, each in lines(given, "web").items():  # in the order of the file
        listed = [json.loads(line)["id"] for line in lines(out / "dropped", "web")[name]]
        assert listed == [row["id"] for row in map(json.loads, each) if row["id"] in gone]


def test_again_there_is_nothing_left_to_remove_here(tmp_path):
    given = write(tmp_path / "given", texts(2), FILES)
    _, out = run(tmp_path / "once", given, Given())
    found, again = run(tmp_path / "twice", out, Given())
    assert not removals(found / "remove")
    assert lines(again, "web") == lines(out, "web")


def test_duplicates_of_other_documents_are_refused(tmp_path):
    given = write(tmp_path / "given", texts(3), FILES)
    found, _ = run(tmp_path, given, Given())
    other = Given(name="other")
    stage = Deduplicate(documents=other, duplicates=stages(Given())[1])
    with pytest.raises(PresightError, match="duplicates: were found in other documents"):
        stage.run_shard(0, tmp_path, {"documents": given, "duplicates": found})


def test_a_source_with_the_name_of_the_list_is_refused(tmp_path):
    with pytest.raises(PresightError, match="source dropped: is no name for a source's folder"):
        write(tmp_path / "given", {"dropped": ["one", "two"], "web": ["three"]}, FILES)


def killed(store, stages, opened):
    """Perform the stages in a process that is killed when it opens its n-th file to write; whether it was."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == signal.SIGKILL
    left = opened

    def watch(event, arguments):
        nonlocal left
        if event == "open" and ".work" in str(arguments[0]) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(watch)
        for stage in stages:
            store.perform(stage)
        os._exit(0)
    finally:
        os._exit(1)


def test_the_same_bytes_after_any_number_of_kills(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    paths = {}
    for source, each in texts(4).items():
        paths[source] = str(tmp_path / f"{source}.jsonl")
        (tmp_path / f"{source}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in each))
    documents = Documents(paths=paths).settle(fetch=False)
    chain = stages(documents)
    quiet, other = Store(tmp_path / "quiet"), Store(tmp_path / "other")
    for store in (quiet, other):
        store.perform(documents)
    for stage in chain:
        quiet.perform(stage)
    kills = Counter()
    for opened in range(1, 400, 7):
        if not killed(other, chain, opened):
            break
        kills[next(stage.tag() for stage in chain if not other.find(stage))] += 1
    assert all(kills[stage.tag()] for stage in chain), kills
    for stage in chain:
        found = payload(other.path(stage))
        assert found == payload(quiet.path(stage))
        assert json.loads((other.path(stage) / "card.json").read_text())["attempts"] > 1
    assert len(list(read_source(other.path(chain[-1]) / "web"))) == 40
