import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_duplicates import Given, document, find, plant, rows, shingles, shuffled, words, write

from corpus.clean.duplicates import PAIR, Duplicates, Places, clusters, same_texts
from corpus.clean.minhash import caught
from corpus.clean.signatures import Signatures
from presight.errors import PresightError


def varied(rng, text, number=1):
    """A near duplicate: some last words are others (similarity 0.9 and more of a long text)."""
    split = text.split()
    return " ".join([*split[:-number], *words(rng, number)])


def test_planted_duplicates_are_found_across_sources_and_the_first_source_keeps_its_copy(tmp_path):
    rng = shuffled(1)
    book, web, math = ([document(rng, 200) for _ in range(n)] for n in (8, 40, 20))
    math[2] = web[7].upper() + " \n"  # another case: near
    math[5] = web[8].replace(" ", "\n\t")  # other white space: exact
    math[6] = varied(rng, web[9])
    web[30], web[31] = varied(rng, web[3]), "  " + web[4]
    book[1] = web[10] + " "
    documents = write(tmp_path / "documents", {"web": web, "math": math, "book": book})

    found, gone = find(tmp_path / "default", documents)
    assert found["priority"] == ["book", "math", "web"]  # by size
    expected = {
        "web-7": ("math-2", "near"), "web-8": ("math-5", "exact"), "web-9": ("math-6", "near"),
        "web-30": ("web-3", "near"), "web-31": ("web-4", "exact"), "web-10": ("book-1", "exact"),
    }  # fmt: skip
    assert gone == {gone: kept for gone, kept in expected.items()}
    assert found["sources"] == {
        "book": {"documents": 8, "exact": 0, "near": 0},
        "math": {"documents": 20, "exact": 0, "near": 0},
        "web": {"documents": 40, "exact": 3, "near": 3},
    }
    assert found["removed_for"] == {
        "book": {"web": {"exact": 1, "near": 0}},
        "math": {"web": {"exact": 1, "near": 2}},
        "web": {"web": {"exact": 1, "near": 1}},
    }
    assert found["clusters"] == {"2": 6}
    assert found["chained"] == 0

    found, gone = find(tmp_path / "stated", documents, priority=("web",))
    assert found["priority"] == ["web", "book", "math"]
    assert gone["book-1"] == ("web-10", "exact")
    assert gone["math-2"] == ("web-7", "near")
    assert set(gone) == {"math-2", "math-5", "math-6", "web-30", "web-31", "book-1"}


def test_what_is_caught_follows_the_curve_and_unrelated_documents_stay(tmp_path):
    rng = shuffled(2)
    first, second, true = [], [], []
    for similarity in (0.4, 0.55, 0.65, 0.75, 0.85, 0.95):
        for _ in range(120):
            *pair, exact = plant(rng, similarity)
            assert abs(exact - similarity) < 0.01
            first.append(pair[0])
            second.append(pair[1])
            true.append(exact)
    a, b = map(shingles, (first[0], second[0]))
    assert len(a & b) / len(a | b) == true[0]  # the slow twin of what was planted
    documents = write(tmp_path / "documents", {"a": first, "b": second})
    found, gone = find(tmp_path, documents, priority=("a", "b"))
    assert all(name == kept.replace("a-", "b-") for name, (kept, _) in gone.items())  # no false positives
    assert found["sources"]["a"] == {"documents": len(first), "exact": 0, "near": 0}
    hits = defaultdict(list)
    for i, similarity in enumerate(true):
        hits[similarity].append(f"b-{i}" in gone)
    assert len(hits) == 6
    for similarity, of in hits.items():
        expected = caught(similarity)
        assert abs(np.mean(of) - expected) <= 4 * (expected * (1 - expected) / len(of)) ** 0.5 + 1e-9, similarity


def test_fewer_buckets_of_more_rows_catch_less_as_computed(tmp_path):
    rng = shuffled(3)
    pairs = [plant(rng, 0.8, n_grams=3, grams=60) for _ in range(150)]
    documents = write(tmp_path / "documents", {"a": [each[0] for each in pairs], "b": [each[1] for each in pairs]})
    _, gone = find(tmp_path, documents, sign={"n_grams": 3, "buckets": 4, "rows": 5, "seed": 3})
    expected = caught(pairs[0][2], 4, 5)
    assert abs(len(gone) / 150 - expected) < 4 * (expected * (1 - expected) / 150) ** 0.5


def test_short_documents_are_compared_as_they_are(tmp_path):
    texts = {
        "a": ["one two three four", "One two three four", "42"],
        "b": ["one  two three\nfour", "42 ", "43", "x y"],
    }
    _, gone = find(tmp_path, write(tmp_path / "documents", texts), priority=("a",))
    assert gone == {"b-0": ("a-0", "exact"), "b-1": ("a-2", "exact")}


def test_tables_of_numbers_are_different_unless_numbers_are_folded(tmp_path):
    rng = shuffled(4)
    tables = [" ".join(f"{rng.randint(0, 10**6) / 100}" for _ in range(80)) for _ in range(6)]
    documents = write(tmp_path / "documents", {"math": tables})
    assert find(tmp_path / "off", documents)[1] == {}
    assert len(find(tmp_path / "on", documents, sign={"fold_numbers": True})[1]) == 5


def test_the_first_in_file_and_position_is_kept_and_clusters_are_listed(tmp_path):
    rng = shuffled(5)
    texts = [document(rng, 200) for _ in range(30)]
    for i in (4, 13, 20, 21):
        texts[i] = varied(rng, texts[3])
    texts[29] = texts[28] + " "
    found, gone = find(tmp_path, write(tmp_path / "documents", {"web": texts}))
    # round-robin over three files: 3 and 21 are in the first, and 3 stands before
    assert gone == {f"web-{i}": ("web-3", "near") for i in (4, 13, 20, 21)} | {"web-29": ("web-28", "exact")}
    assert found["clusters"] == {"2": 1, "5": 1}
    largest = found["largest"]
    assert [each["size"] for each in largest] == [5, 2]
    assert largest[0]["members"][0] == {"source": "web", "id": "web-3"}
    assert {each["id"] for each in largest[0]["members"]} == {f"web-{i}" for i in (3, 4, 13, 20, 21)}


def test_an_exact_copy_of_a_near_duplicate_is_exact(tmp_path):
    rng = shuffled(6)
    text = document(rng, 300)
    other = varied(rng, text)
    texts = {"a": [document(rng), text], "b": [document(rng), other], "c": [document(rng), other + "\n"]}
    _, gone = find(tmp_path, write(tmp_path / "documents", texts), priority=("a", "b", "c"))
    assert gone == {"b-1": ("a-1", "near"), "c-1": ("a-1", "exact")}


def test_documents_removed_by_way_of_others_are_counted(tmp_path):
    rng = shuffled(7)
    chain = [words(rng, 200)]
    for _ in range(12):  # neighbours share nine tenths, the ends a quarter
        chain.append([*chain[-1][10:], *words(rng, 10)])
    texts = {"a": [" ".join(each) for each in chain], "b": [document(rng)]}
    found, gone = find(tmp_path, write(tmp_path / "documents", texts, files=1), priority=("a",))
    assert gone == {f"a-{i}": ("a-0", "near") for i in range(1, 13)}
    assert 6 <= found["chained"] < 12


def test_priority_must_be_known_and_nothing_may_vanish(tmp_path):
    rng = shuffled(8)
    texts = [document(rng) for _ in range(5)]
    documents = write(tmp_path / "documents", {"web": [*texts, document(rng)], "copy": [each + " " for each in texts]})
    with pytest.raises(PresightError, match=r"'wbe' is no source of the documents; did you mean web\?"):
        find(tmp_path / "unknown", documents, priority=("wbe",))
    with pytest.raises(PresightError, match="source copy: all its 5 documents are duplicates, most of 'web'; leave"):
        find(tmp_path / "emptied", documents, priority=("web",))
    assert len(find(tmp_path / "well", documents)[1]) == 5


def brute(signed, documents, order):
    """The slow twin: everything that shares a text or a signature of a bucket, joined one by one."""
    described = json.loads((signed / "signatures.json").read_text())
    places, groups = [], defaultdict(list)
    for part, files in enumerate(described["parts"]):
        names = []
        for each in files:
            for i, row in enumerate(rows(documents / each["source"] / each["file"])):
                names.append((order.index(each["source"]), each["file"], i, row["id"]))
                groups["text", " ".join(row["text"].split())].append(names[-1])
        places += names
        for bucket in range(14):
            raw = (signed / f"bucket_{bucket:03d}/{part:05d}.minhash.sig").read_bytes()
            for record in (raw[i : i + 68] for i in range(0, len(raw), 68)):
                groups[bucket, record[:64]].append(names[int.from_bytes(record[64:], "little")])
    cluster = {place: {place} for place in places}
    for members in groups.values():
        joined = set().union(*(cluster[each] for each in members))
        for each in joined:
            cluster[each] = joined
    texts = [members for key, members in groups.items() if key[0] == "text"]
    exact = {each for members in texts for each in members if each != min(members)}
    return {
        place[3]: (min(joined)[3], "exact" if place in exact else "near")
        for place, joined in cluster.items()
        if place != min(joined)
    }


@pytest.mark.parametrize("parts", [1, 4, 15, 47])
def test_any_cut_of_the_work_gives_the_same_as_the_slow_twin(tmp_path, parts):
    rng = shuffled(9)
    pool = [document(rng, 60) for _ in range(60)]
    texts = {name: [] for name in ("x", "y", "z")}
    for i in range(220):
        text = rng.choice(pool)
        texts[rng.choice("xyz")].append(varied(rng, text, rng.randint(1, 8)) if rng.random() < 0.6 else text + " " * i)
    for name in texts:
        texts[name].append(document(rng, 60))
    documents = write(tmp_path / "documents", texts, files=4)
    found, gone = find(tmp_path, documents, sign={"parts": 3}, priority=("y", "z", "x"), parts=parts)
    expected = brute(tmp_path / "signatures/payload", documents, ["y", "z", "x"])
    assert gone == expected
    assert len(gone) > 80
    assert sum(size["exact"] + size["near"] for size in found["sources"].values()) == len(gone)
    ranges = {path.name for path in (tmp_path / "duplicates/scratch/pairs").glob("texts*")}
    assert len(ranges) == max(1, parts // 15)
    positions = {path.parent.name: np.load(path) for path in (tmp_path / "duplicates/payload").rglob("00001.npy")}
    for name, found_positions in positions.items():
        ids = [row["id"] for row in rows(documents / name / "00001.jsonl.gz")]
        assert found_positions.tolist() == [i for i, each in enumerate(ids) if each in gone]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=12), max_size=4))
def test_clusters_are_the_connected_components(tmp_path, files):
    described = {
        "parts": [[{"source": "s", "file": "0", "documents": 12}], [{"source": "s", "file": "1", "documents": 8}]]
    }
    places = Places(described, ["s"])
    paths = []
    for i, pairs in enumerate(files):
        names = [[(int(x >= 12), x - 12 * (x >= 12)) for x in pair] for pair in pairs]
        np.array(names, PAIR).reshape(-1, 2).tofile(tmp_path / f"{i}.dups")
        paths.append(tmp_path / f"{i}.dups")
    least = list(range(20))
    for _ in range(20):  # the slow twin: pass the least number on
        for x, y in (pair for pairs in files for pair in pairs):
            least[x] = least[y] = min(least[x], least[y])
    expected = [[x, y] for x, y in enumerate(least) if x != y]
    assert clusters(places, paths).tolist() == expected
    at = len(paths) // 2
    assert clusters(places, paths[at:], clusters(places, paths[:at])).tolist() == expected


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=12, unique=True), st.permutations("abc")
)
def test_places_count_in_order_of_priority_file_and_position(files, order):
    sizes = {file: len(file[0]) * 2 + file[1] for file in files}
    parts = [[], [], []]
    for source, number in files:
        parts[number % 3].append({"source": source, "file": f"{number}", "documents": sizes[source, number]})
    places = Places({"parts": parts}, order)
    expected = sorted(
        (order.index(each["source"]), each["file"], i)
        for part in parts
        for each in part
        for i in range(each["documents"])
    )
    for number, part in enumerate(parts):
        names = [(order.index(each["source"]), each["file"], i) for each in part for i in range(each["documents"])]
        ranks = places.ranks(number, np.arange(len(names)))
        assert [expected[rank] for rank in ranks] == names
        assert places.sources(ranks).tolist() == [name[0] for name in names]
        assert [places.name(rank) for rank in ranks.tolist()] == [(order[name[0]], name[1]) for name in names]


@pytest.mark.parametrize("ranges", [1, 3])
def test_same_texts_of_all_ranges_are_all_of_them(tmp_path, ranges):
    rng = np.random.default_rng(0)
    (tmp_path / "texts").mkdir()
    values = rng.integers(0, 2**64, (30, 2), dtype=np.uint64)
    values[1] = [values[0, 0], values[2, 1]]  # half a hash is no hash
    parts = [values[rng.integers(0, 30, size)] for size in (40, 0, 25)]
    for i, part in enumerate(parts):
        np.save(tmp_path / "texts" / f"{i:05d}.npy", part)
    expected = defaultdict(list)
    for i, part in enumerate(parts):
        for j, each in enumerate(part):
            expected[each.tobytes()].append((i, j))
    expected = {pair for group in expected.values() for pair in pairwise(group)}
    found = [pair for i in range(ranges) for pair in same_texts(tmp_path, i, ranges).tolist()]
    assert len(found) == len(expected)
    assert set(map(tuple, found)) == expected


def test_documents_without_any_duplicate(tmp_path):
    rng = shuffled(10)
    documents = write(tmp_path / "documents", {"a": [document(rng) for _ in range(9)], "b": ["short"]})
    found, gone = find(tmp_path, documents, parts=3)
    assert (gone, found["clusters"], found["largest"], found["removed_for"]["a"]) == ({}, {}, [], {})
    removed = sorted((tmp_path / "duplicates/payload/remove").rglob("*.npy"))
    assert [len(np.load(path)) for path in removed] == [0] * 6


def test_identity(tmp_path):
    signatures = Signatures(documents=Given())
    assert (
        Duplicates(signatures=signatures).fingerprint != Duplicates(signatures=signatures, priority=("a",)).fingerprint
    )
    with pytest.raises(ValueError, match="needed"):
        Duplicates(signatures=Given())
