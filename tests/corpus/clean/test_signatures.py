import json
import random

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_duplicates import Given, document, made, rows, shuffled, write

from corpus.clean import minhash
from corpus.clean.signatures import Signatures, read_lines, text_hash, write_lines
from corpus.clean.words import WORDS
from presight.stage import scratch

TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="aeÉßİñ ̈א一、。≠K”,.:;!\n\t\u2003\x1c\x85+-=019٣½", max_size=300),
    st.lists(
        st.sampled_from(
            [
                "one",
                "Two",
                "3.14",
                "naïve",
                "x=1",
                "don't",
                "—",
                "12,000",
                "x≠y",
                "ⅷ",
                "a\u037eb",
                "ﬁ",
                "−4",
                "漢字",
                "中x",
            ]
        ),
        max_size=200,
    ).map(" ".join),
)


def steps(folder, **changed):
    config = minhash.settings(**({"n_grams": 5, "buckets": 14, "rows": 8, "seed": 1, "fold_numbers": False} | changed))
    return minhash.FastSignature(str(folder), config), MinhashDedupSignature(str(folder), config, WORDS)


@pytest.mark.parametrize("fold", [False, True])
def test_the_same_shingles_and_signatures_as_datatrove(tmp_path_factory, fold):
    ours, theirs = steps(tmp_path_factory.mktemp("steps"), fold_numbers=fold, n_grams=2, buckets=5, rows=3, seed=7)

    @settings(deadline=None, max_examples=150)
    @given(TEXTS)
    def same(text):
        found, expected = ours.get_shingles(text), theirs.get_shingles(text)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
        if found.size:
            assert ours.get_signature(found) == theirs.get_signature(expected)

    same()


def test_signatures_of_any_shingles_are_remainders_by_the_prime(tmp_path):
    ours, theirs = steps(tmp_path)
    prime = int(minhash.PRIME)
    edges = [0, 1, prime - 1, prime, prime + 1, 2 * prime, 7 * prime, 2**64 - 1]
    a, b = (int(each[0, np.flatnonzero(ours.parameters[0][0] % 2)[0]]) for each in ours.parameters)
    edges += [(value - b) * pow(a, -1, 2**64) % 2**64 for value in edges]  # what one function takes to the edges
    drawn = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    for values in (edges, drawn, drawn[:256], drawn[:257], np.repeat(drawn[:3], 200), *[[each] for each in edges]):
        shingles = np.array(values, np.uint64).reshape(-1, 1)
        assert ours.get_signature(shingles) == theirs.get_signature(shingles)


def test_the_curve_of_what_is_caught():
    assert minhash.caught(0.8) == pytest.approx(0.924, abs=5e-4)  # as datatrove documents its default
    assert minhash.threshold() == pytest.approx(0.72, abs=2e-3)
    assert (minhash.caught(0), minhash.caught(1)) == (0, 1)
    rng = random.Random(0)
    trials = 4000
    for similarity in (0.3, 0.6, 0.8):  # one bucket of three hashes in four must agree
        hits = sum(any(all(rng.random() < similarity for _ in range(3)) for _ in range(4)) for _ in range(trials))
        expected = minhash.caught(similarity, 4, 3)
        assert abs(hits / trials - expected) < 4 * (expected * (1 - expected) / trials) ** 0.5


def sources():
    rng = shuffled(0)
    texts = {"web": [document(rng) for _ in range(20)], "math": [document(rng) for _ in range(8)]}
    texts["web"][5:8] = ["three short words", "", "four words  and É"]
    texts["math"][3] = texts["web"][9].replace(" ", "\n ")
    return texts


def test_files_are_those_of_datatroves_own_step(tmp_path):
    documents = write(tmp_path / "documents", sources())
    out = made(Signatures(documents=Given(), parts=2), tmp_path / "made", documents=documents)
    described = json.loads((out / "signatures.json").read_text())
    assert described["documents"] == Given().fingerprint
    _, theirs = steps(tmp_path / "theirs")
    for part, files in enumerate(described["parts"]):
        assert [(each["source"], each["file"]) for each in files] == [
            (source, f"{number:05d}.jsonl.gz") for source in ("math", "web") for number in range(part, 3, 2)
        ]
        found = [rows(documents / each["source"] / each["file"]) for each in files]
        assert [each["documents"] for each in files] == [len(each) for each in found]
        found = [row for each in found for row in each]
        assert [json.loads(line) for line in read_lines(out / f"ids/{part:05d}.jsonl.gz")] == [
            row["id"] for row in found
        ]
        hashes = np.load(out / f"texts/{part:05d}.npy")
        assert [each.tobytes() for each in hashes] == [text_hash(row["text"].encode()) for row in found]
        theirs.run([Document(text=row["text"], id="") for row in found], part, 2)
    names = [f"bucket_{bucket:03d}/{part:05d}.minhash.sig" for bucket in range(14) for part in range(2)]
    assert [(out / name).read_bytes() for name in names] == [
        (tmp_path / "theirs" / name).read_bytes() for name in names
    ]
    signed = sum((out / name).stat().st_size for name in names[:2]) // (8 * 8 + 4)
    assert signed == 27 - 2  # the empty text is no document, the two short ones have no signature
    assert json.loads((out / "counts.json").read_text()) == {"math": 8, "web": 19}


def test_a_shard_run_again_gives_the_same_bytes_and_parts_may_be_empty(tmp_path):
    documents = write(tmp_path / "documents", sources(), files=1)
    stage = Signatures(documents=Given(), parts=3)
    out = made(stage, tmp_path / "made", documents=documents)
    first = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert np.load(out / "texts/00002.npy").shape == (0, 2)
    (out / "bucket_003/00000.minhash.sig").write_bytes(b"half")
    (out / "ids/00000.jsonl.gz").unlink()
    (scratch(out) / "part-00000.json").write_text("{")
    stage.run_shard(0, out, {"documents": documents})
    stage.finish(out, {"documents": documents})
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == first


def test_texts_are_one_text_if_white_space_is_all_that_differs():
    assert text_hash(b"a  b\r\n\tc ") == text_hash(b"a b c")
    for other in (b"a b C", b"a b, c", b"ab c", b"a b", "a b ć".encode()):
        assert text_hash(other) != text_hash(b"a b c")


def test_lines_depend_on_nothing_else(tmp_path, monkeypatch):
    lines = [b'"one"\n', "\u2028 \x85\n".encode(), b"three\n"]
    write_lines(tmp_path / "a/x.gz", lines)
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_lines(tmp_path / "b/y.gz", iter(lines))
    assert (tmp_path / "a/x.gz").read_bytes() == (tmp_path / "b/y.gz").read_bytes()
    assert list(read_lines(tmp_path / "a/x.gz")) == lines


def test_identity_is_in_the_hash_functions_and_the_documents():
    assert Signatures(documents=Given()).fingerprint == Signatures(documents=Given(), rows=8, n_grams=5).fingerprint
    different = [
        Signatures(documents=Given(), **field) for field in ({"seed": 2}, {"rows": 9}, {"fold_numbers": True})
    ]
    different += [Signatures(documents=Given(name="other")), Signatures(documents=Given())]
    assert len({stage.fingerprint for stage in different}) == 5
