import gzip
import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_experiment import payload, varied

from corpus import Tokenize
from corpus.documents import FILES
from corpus.tokenizer import END
from presight.stage import scratch

SOURCES = ("code", "math", "web")
SPLITS = ("train", "heldout")


def texts(tiny, source, part=0, parts=1):
    """Documents of one part of a source: every parts-th of its files, read by hand."""
    names = [f"{number:05d}.jsonl.gz" for number in range(FILES)][part::parts]
    found = [gzip.decompress((tiny.path(tiny.text) / source / name).read_bytes()).decode() for name in names]
    return [json.loads(line)["text"] for each in found for line in each.split("\n")[:-1]]


def held(text, share):
    """Held out or not, by the definition: the first 64 bits of SHA-256 as a fraction."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 2**64 < share


def twin(tiny, part, parts, share):
    """One document after the other: ``{split/source/part: (tokens, ends)}``."""
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(tiny.path(tiny.tokenizer) / "tokenizer.json"))
    end = model.token_to_id(END)
    found = {}
    for source in SOURCES:
        streams = {split: ([], []) for split in SPLITS}
        for text in texts(tiny, source, part, parts):
            tokens, ends = streams["heldout" if held(text, share) else "train"]
            tokens += [*model.encode(text).ids, end]
            ends.append(len(tokens))
        found |= {f"{split}/{source}/{part:05d}.ds": stream for split, stream in streams.items() if stream[0]}
    return found


def run(tiny, out, **fields):
    stage = Tokenize(documents=tiny.text, tokenizer=tiny.tokenizer, **fields)
    inputs = {"documents": tiny.path(tiny.text), "tokenizer": tiny.path(tiny.tokenizer)}
    out.mkdir(parents=True)
    for shard in range(stage.shards()):
        stage.run_shard(shard, out, inputs)
    stage.finish(out, inputs)
    return stage, inputs, json.loads((out / "tokens.json").read_text())


@pytest.fixture(scope="module")
def described(tiny):
    return json.loads((tiny.path(tiny.tokens) / "tokens.json").read_text())


def test_shards_equal_the_slow_twin(tiny):
    folder = tiny.path(tiny.tokens)
    expected = {}
    for part in range(2):
        expected |= twin(tiny, part, 2, tiny.tokens.heldout)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.ds")} == set(expected)
    for name, (tokens, ends) in expected.items():
        assert np.fromfile(folder / name, dtype="<u2").tolist() == tokens
        assert np.fromfile(folder / f"{name}.index", dtype="<u8").tolist() == ends


def test_more_parts_than_files_and_one(tiny, tmp_path):
    for parts in (1, 3, 6):
        out = tmp_path / str(parts) / "payload"
        _, _, found = run(tiny, out, parts=parts, heldout=0.2)
        expected = {}
        for part in range(parts):
            expected |= twin(tiny, part, parts, 0.2)
        shards = [
            each for splits in found["sources"].values() for split in splits.values() for each in split["shards"]
        ]
        assert {shard["path"] for shard in shards} == set(expected)
        for shard in shards:
            assert (out / shard["path"]).read_bytes() == np.array(expected[shard["path"]][0], "<u2").tobytes()


def test_streams_decode_to_the_documents_with_an_end_after_each(tiny, described):
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(tiny.path(tiny.tokens) / "tokenizer")
    for source in SOURCES:
        for split in SPLITS:
            shards = described["sources"][source][split]["shards"]
            streams = [np.fromfile(tiny.path(tiny.tokens) / shard["path"], dtype="<u2") for shard in shards]
            decoded = words.decode(np.concatenate(streams).tolist()).split(END)
            ordered = [text for part in range(2) for text in texts(tiny, source, part, 2)]
            assert decoded == [*(text for text in ordered if held(text, 0.1) == (split == "heldout")), ""]


def test_the_description_is_true(tiny, described):
    folder = tiny.path(tiny.tokens)
    tokenizer = (folder / "tokenizer" / "tokenizer.json").read_bytes()
    assert tokenizer == (tiny.path(tiny.tokenizer) / "tokenizer.json").read_bytes()
    assert described["tokenizer"] == hashlib.sha256(tokenizer).hexdigest()
    assert described["token_bytes"] == 2
    for source in SOURCES:
        for split, found in described["sources"][source].items():
            chosen = [text for text in texts(tiny, source) if held(text, 0.1) == (split == "heldout")]
            assert found["documents"] == len(chosen) > 0
            assert found["bytes"] == sum(len(text.encode()) for text in chosen)
            assert found["tokens"] == sum(shard["tokens"] for shard in found["shards"])
            for shard in found["shards"]:
                content = (folder / shard["path"]).read_bytes()
                assert shard["tokens"] * 2 == len(content)
                assert shard["sha256"] == hashlib.sha256(content).hexdigest()
    trained = {source: described["sources"][source]["train"]["tokens"] for source in SOURCES}
    assert json.loads((folder / "counts.json").read_text()) == trained
    listed = {shard["path"] for each in described["sources"].values() for s in each.values() for shard in s["shards"]}
    assert listed == {str(path.relative_to(folder)) for path in folder.rglob("*.ds")}


@given(st.lists(st.text(), max_size=20), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_held_out_sets_are_nested_and_depend_on_the_text_alone(tiny, given_texts, a, b):
    few, many = (
        {text for text in given_texts if varied(tiny.tokens, heldout=share).holds_out(text.encode())}
        for share in sorted((a, b))
    )
    assert few <= many == {text for text in given_texts if held(text, max(a, b))}


def test_the_share_held_out_is_about_what_was_asked(tiny):
    for share in (0.03, 0.5):
        stage = varied(tiny.tokens, heldout=share)
        found = np.mean([stage.holds_out(f"document {i}".encode()) for i in range(4000)])
        assert abs(found - share) < 5 * (share * (1 - share) / 4000) ** 0.5


def test_a_shard_run_again_after_a_kill_gives_the_same_bytes(tiny, tmp_path):
    out = tmp_path / "payload"
    stage, inputs, _ = run(tiny, out, parts=2, heldout=0.1)
    first = payload(out)
    assert first == payload(tiny.path(tiny.tokens))
    (out / "train/web/00000.ds").write_bytes(b"half")
    (out / "train/code/00000.ds.index").unlink()
    left = scratch(out) / "train-web-0"
    left.mkdir()
    for name in ("00000_unshuffled.ds", "00000_unshuffled.ds.index", "00001_unshuffled.ds"):
        (left / name).write_bytes(b"left by a killed run")
    (scratch(out) / "part-00000.json").write_text("{")
    stage.run_shard(0, out, inputs)
    stage.finish(out, inputs)
    assert payload(out) == first


def test_a_large_vocabulary_takes_four_bytes(tiny, tmp_path):
    path = tiny.path(tiny.tokenizer)
    wide = tmp_path / "wide"
    wide.mkdir()
    model = json.loads((path / "tokenizer.json").read_text())
    known = model["model"]["vocab"]
    model["model"]["vocab"] = known | {f"never-{i}": len(known) + i for i in range(70_000)}
    (wide / "tokenizer.json").write_text(json.dumps(model))
    shutil.copyfile(path / "tokenizer_config.json", wide / "tokenizer_config.json")
    stage = Tokenize(documents=tiny.text, tokenizer=tiny.tokenizer, parts=1, heldout=0.1)
    inputs = {"documents": tiny.path(tiny.text), "tokenizer": wide}
    out = tmp_path / "payload"
    out.mkdir()
    stage.run_shard(0, out, inputs)
    stage.finish(out, inputs)
    found = json.loads((out / "tokens.json").read_text())
    assert found["token_bytes"] == 4
    expected = twin(tiny, 0, 1, 0.1)
    for name, (tokens, ends) in expected.items():
        assert np.fromfile(out / name, dtype="<u4").tolist() == tokens
        assert np.fromfile(out / f"{name}.index", dtype="<u8").tolist() == ends
    assert found["sources"]["web"]["train"]["tokens"] == len(expected["train/web/00000.ds"][0])


def test_parts_and_shares_enter_the_fingerprint(tiny):
    stages = [varied(tiny.tokens, **fields) for fields in ({}, {"parts": 3}, {"heldout": 0.2})]
    assert len({stage.fingerprint for stage in stages}) == 3


def test_a_document_that_spells_the_end_does_not_end_there(tiny, tmp_path):
    from tokenizers import Tokenizer

    from corpus import Documents
    from presight.store import Store

    text = f"before {END} after"
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"text": f"{text} {number}"}) + "\n" for number in range(40)))
    documents = Documents(paths={"mine": str(file)}).settle(False)
    stage = Tokenize(documents=documents, tokenizer=tiny.tokenizer, parts=1)
    made = Store(tmp_path / "store").perform(documents)
    out = tmp_path / "out"
    out.mkdir()
    stage.run_shard(0, out, {"documents": made.path, "tokenizer": tiny.path(tiny.tokenizer)})
    tokens = np.fromfile(out / "train/mine/00000.ds", "<u2")
    ends = np.fromfile(out / "train/mine/00000.ds.index", "<u8")
    model = Tokenizer.from_file(str(tiny.path(tiny.tokenizer) / "tokenizer.json"))
    assert (tokens == model.token_to_id(END)).sum() == len(ends)
    assert model.decode(tokens[: ends[0] - 1].tolist(), skip_special_tokens=False).startswith(text)
