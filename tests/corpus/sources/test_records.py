import gzip
import io
import json
import math
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.documents import Documents, read_source
from corpus.sources.records import LONGEST, Ledger, plain, read
from presight.errors import PresightError

LINES = {
    b'{"text": "a %d"}': None,
    b'{"text": "\\ud83d\\ude00 %d", "id": 7}': None,
    b'{"text": ""}': "empty",
    b'{"text": "again"}': "repeat",
    b"   ": "blank",
    b'{"text": "cut': "not JSON",
    b"[[" * 20_000: "not JSON",
    b'["text"]': "no JSON object",
    b"7": "no JSON object",
    b'{"body": "b"}': "no text",
    b'{"text": null}': "no text",
    b'{"text": ["t"]}': "text is no string",
    b'{"text": "\xff"}': "not UTF-8",
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def rows(place, tolerance=1.0, **options):
    ledger = Ledger("paths.mine", tolerance)
    return list(read(place, ledger, **options)), ledger


def texts(place, **options):
    return [row["text"] for row in rows(place, **options)[0]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(list(LINES)), max_size=40), st.sampled_from(["", ".gz", ".zst"]), st.booleans())
def test_every_line_is_accounted_for(tmp_path_factory, chosen, packed, ended):
    folder = tmp_path_factory.mktemp("lines")
    lines = [line % number if b"%d" in line else line for number, line in enumerate(chosen)]
    content = b"\n".join(lines) + b"\n" * ended
    if packed == ".zst":
        import zstandard

        content = zstandard.compress(content)
    (folder / f"x.jsonl{packed}").write_bytes(gzip.compress(content) if packed == ".gz" else content)
    expected = {kind: [LINES[line] for line in chosen].count(kind) for kind in set(LINES.values())}
    good = expected[None] + min(1, expected["repeat"])
    stage = Documents(paths={"mine": str(folder)}, tolerance=1).settle(False)
    (folder / "out").mkdir()
    if not good:
        with pytest.raises(PresightError, match="has no documents"):
            stage.run(folder / "out", {})
        return
    stage.run(folder / "out", {})
    counts = json.loads((folder / "out" / "documents.json").read_text())["sources"]["mine"]
    malformed = counts.get("malformed", {"count": 0, "kinds": {}, "examples": []})
    assert counts["documents"] == good == len(list(read_source(folder / "out" / "mine")))
    kinds = {
        kind: count for kind, count in expected.items() if count and kind not in (None, "empty", "repeat", "blank")
    }
    assert malformed["kinds"] == kinds
    assert malformed["count"] == sum(kinds.values())
    places = [f"x.jsonl{packed}:{number}" for number, line in enumerate(chosen, 1) if LINES[line] in kinds]
    assert malformed["examples"] == places[:5]
    seen = counts["documents"] + counts["repeats"] + counts["empty"] + malformed["count"] + expected["blank"]
    assert seen == len(lines)


def test_more_than_is_tolerated_is_refused_and_the_tolerance_it_takes_is_right(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n' * 6 + "{\n")
    with pytest.raises(PresightError) as error:
        rows(tmp_path, 0.01)
    assert str(error.value) == (
        "paths.mine: 1 of 7 records is malformed (14.29%; not JSON: 1), first x.jsonl:7; "
        "mend them or set tolerance: 0.1429."
    )
    assert len(rows(tmp_path, 0.1429)[0]) == 6
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n' * 99 + "{\n")
    assert len(rows(tmp_path, 0.01)[0]) == 99
    with pytest.raises(PresightError, match=r"set tolerance: 0\.01"):
        rows(tmp_path, 0.0)


def test_a_wrong_key_is_noticed_soon(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"body": "a"}\n' * 1000 + "not even JSON\n" * 10**5)
    ledger = Ledger("paths.mine", 0.5)
    with pytest.raises(PresightError, match=r"1,000 of 1,000 records .* first x\.jsonl:1; check text_key, "):
        list(read(tmp_path, ledger))
    assert ledger.records == 1000


def test_ids_are_unique_in_a_folder_and_records_keep_theirs(tmp_path):
    for name in ("a.jsonl", "sub/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "a", "id": null}\n\n{\n{"text": "b", "id": "B"}\n{"text": "c"}\n')
    found = [row["id"] for row in rows(tmp_path)[0]]
    assert found == ["a.jsonl/0", "a.jsonl/B", "a.jsonl/3", "sub/a.jsonl/0", "sub/a.jsonl/B", "sub/a.jsonl/3"]
    assert rows(tmp_path / "sub" / "a.jsonl")[0][0]["id"] == "a.jsonl/0"


def test_metadata_is_kept_where_asked_for_and_stays_readable(tmp_path):
    record = '{"text": "a", "n": NaN, "big": 1e999, "deep": {"x": [1, Infinity, null]}, "left": "out"}\n'
    (tmp_path / "x.jsonl").write_text(record)
    keys = ("n", "big", "deep", "absent")
    assert rows(tmp_path, metadata_keys=keys)[0][0]["metadata"] == {
        "n": None,
        "big": None,
        "deep": {"x": [1, None, None]},
    }
    (tmp_path / "out").mkdir()
    Documents(paths={"mine": str(tmp_path / "x.jsonl")}, metadata_keys=keys).settle(False).run(tmp_path / "out", {})
    assert [each.metadata["deep"] for each in read_source(tmp_path / "out" / "mine")] == [{"x": [1, None, None]}]


def test_numbers_and_depth_that_other_readers_choke_on(tmp_path):
    lines = [f'{{"text": "a", "n": {9**n}}}' for n in (19, 20, 21, 4000)]
    lines += [f'{{"text": "a", "n": {"[" * n}{"]" * n}}}' for n in (100, 900)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    found, ledger = rows(tmp_path, metadata_keys=("n",))
    assert [each["metadata"]["n"] for each in found[:4]] == [9**19, 9**20, str(9**21), str(9**4000)]
    assert len(found) == 5
    assert ledger.kinds == {"nested too deep": 1}
    assert ledger.examples == ["x.jsonl:6"]


def test_plain():
    import datetime

    assert plain({1: (b"x", datetime.date(2026, 1, 2), True)}) == {"1": ["b'x'", "2026-01-02", True]}
    assert plain(-math.inf) is None


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n')
    assert texts(tmp_path) == ["a", "b"]


def many(count=3000):
    import hashlib

    return [
        json.dumps({"text": hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()}).encode() for i in range(count)
    ]


def test_files_of_several_members_are_read_whole(tmp_path):
    import zstandard

    lines = many()
    halves = [b"\n".join(lines[:1111]) + b"\n", b"\n".join(lines[1111:]) + b"\n"]
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(map(gzip.compress, halves)))
    (tmp_path / "b.jsonl.zst").write_bytes(b"".join(map(zstandard.compress, halves)))
    assert len(texts(tmp_path)) == 2 * len(lines)


def damaged(name, content):
    import zstandard

    whole = gzip.compress(content) if name.endswith("gz") else zstandard.compress(content)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    return [whole[: len(whole) // 2], whole[:-2], bytes(flipped), whole + b"more", b"no such format"]


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.warc.gz"])
def test_a_damaged_file_is_refused_whatever_is_tolerated(tmp_path, name):
    for content in damaged(name, archive(conversion("w" * 99)) if "warc" in name else b"\n".join(many())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PresightError, match=rf"{name}: cannot be read \(.+\); mend it or take it away") as error:
            rows(tmp_path)
        assert "\n" not in str(error.value)


def parquet(path, **columns):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=700)


def test_parquet_rows_are_accounted_for(tmp_path):
    import pyarrow

    bad = pyarrow.Array.from_buffers(
        pyarrow.string(),
        3,
        [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pyarrow.py_buffer(b"a\xffb")],
    )
    parquet(tmp_path / "a.parquet", text=bad, image=[b"big"] * 3)
    found, ledger = rows(tmp_path / "a.parquet")
    assert [(row["id"], row["text"]) for row in found] == [("a.parquet/0", "a"), ("a.parquet/2", "b")]
    assert ledger.counts() == {"malformed": {"count": 1, "kinds": {"not UTF-8": 1}, "examples": ["a.parquet:2"]}}
    parquet(tmp_path / "b.parquet", text=[f"{i}" if i % 100 else None for i in range(2000)], url=["u"] * 2000)
    found, ledger = rows(tmp_path / "b.parquet", metadata_keys=["url"])
    assert len(found) == 1980
    assert found[0] == {"id": "b.parquet/1", "text": "1", "metadata": {"url": "u"}}
    assert (ledger.records, ledger.kinds) == (2000, {"no text": 20})
    with pytest.raises(PresightError, match=r"b\.parquet: has no column 'body'; set text_key to one of text, url"):
        rows(tmp_path / "b.parquet", text_key="body")


def test_parquet_that_python_cannot_hold(tmp_path):
    import pyarrow
    import pyarrow.parquet

    parquet(tmp_path / "a.parquet", text=["a", "b"], id=pyarrow.array([2**62, 0], pyarrow.timestamp("us")))
    found, ledger = rows(tmp_path)
    assert ([each["text"] for each in found], ledger.kinds) == (["b"], {"value out of range": 1})
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(PresightError, match=r"b\.parquet: cannot be read"):
        rows(tmp_path / "b.parquet")


def test_parquet_of_other_types(tmp_path):
    import pyarrow

    parquet(
        tmp_path / "x.parquet",
        text=pyarrow.array(["a", "b", "a"]).dictionary_encode(),
        id=pyarrow.array([5, 6, None]),
    )
    assert [(row["id"], row["text"]) for row in rows(tmp_path)[0]] == [
        ("x.parquet/5", "a"),
        ("x.parquet/6", "b"),
        ("x.parquet/2", "a"),
    ]
    parquet(tmp_path / "x.parquet", text=[1, 2])
    assert rows(tmp_path)[1].kinds == {"text is no string": 2}


def test_plain_text_is_cut_when_long_and_repaired_where_it_is_no_utf8(tmp_path):
    lines = "".join(f"line {i} of a long file\n" for i in range(LONGEST // 10))
    (tmp_path / "a.txt").write_text(lines)
    (tmp_path / "b.md").write_bytes(b"na\xc3\xafve caf\xe9")
    found, ledger = rows(tmp_path)
    assert "".join(row["text"] for row in found[:-1]) == lines
    assert len(found) == 4
    assert all(row["text"].endswith("\n") and len(row["text"]) < LONGEST + 50 for row in found[:-1])
    assert [row["id"] for row in found][:2] == ["a.txt", f"a.txt@{len(found[0]['text'])}"]
    assert found[-1]["text"] == "naïve caf\ufffd"
    assert (ledger.records, ledger.counts()) == (4, {"repaired": 1})


def test_files_of_other_formats_are_named(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    assert texts(tmp_path) == ["a"]
    assert "1 of its 2 files have another format and are not read, such as b.csv" in capsys.readouterr().err


def archive(*records, packed=False):
    """A WARC file of (type, payload type, body) records, written by warcio."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    out = io.BytesIO()
    writer = WARCWriter(out, gzip=packed)
    for number, (kind, mime, body) in enumerate(records):
        http = (
            StatusAndHeaders("200 OK", [("Content-Type", mime)], protocol="HTTP/1.0") if kind == "response" else None
        )
        headers = {"WARC-Record-ID": f"<urn:{number}>", "WARC-Date": "2026-01-01T00:00:00Z"}
        if kind == "conversion":
            headers["WARC-Identified-Payload-Type"] = mime
        writer.write_record(
            writer.create_warc_record(
                f"http://x.org/{number}",
                kind,
                payload=io.BytesIO(body),
                http_headers=http,
                warc_headers_dict=headers,
                warc_content_type="text/plain",
            )
        )
    return out.getvalue()


def conversion(text, mime="text/plain"):
    return "conversion", mime, text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("name", ["x.warc", "x.warc.gz", "x.warc.wet.gz"])
def test_extracted_text_of_web_archives(tmp_path, name):
    records = [conversion("first ü"), ("metadata", "text/plain", b"about"), conversion("{}", "text/css")]
    (tmp_path / name).write_bytes(archive(*records, conversion("last"), packed=name.endswith("gz")))
    found, ledger = rows(tmp_path, metadata_keys=["url"])
    assert [row["text"] for row in found] == ["first ü", "last"]
    assert found[1] == {"id": f"{name}/<urn:3>", "text": "last", "metadata": {"url": "http://x.org/3"}}
    assert (ledger.records, ledger.counts()) == (2, {"passed_over": 1})


def test_web_records_that_cannot_be_decoded_are_counted(tmp_path, monkeypatch):
    import cchardet

    monkeypatch.setattr(cchardet, "detect", lambda content: {"encoding": None})
    (tmp_path / "x.warc").write_bytes(archive(conversion("a"), conversion(b"\xff\xfe\x00"), conversion("b")))
    found, ledger = rows(tmp_path)
    assert [row["text"] for row in found] == ["a", "b"]
    assert ledger.counts()["malformed"] == {"count": 1, "kinds": {"not decodable": 1}, "examples": ["x.warc:2"]}


def test_an_archive_that_ends_within_a_record_is_refused(tmp_path):
    whole = archive(conversion("a"), conversion("b" * 500))
    (tmp_path / "x.warc").write_bytes(whole[:-200])
    with pytest.raises(PresightError, match=r"x\.warc: cannot be read \(record 2 is cut off\)"):
        rows(tmp_path)


PAGE = f"<html><head><title>T</title></head><body><nav>menu</nav><article><p>{'A true sentence. ' * 30}</p></article>"


def test_web_pages_need_an_extractor(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    (tmp_path / "x.warc").write_bytes(archive(("response", "text/html", PAGE.encode())))
    with pytest.raises(PresightError, match=r"holds web pages, .*; pip install 'presight\[html\]'\.$"):
        rows(tmp_path)


def test_web_pages(tmp_path):
    pytest.importorskip("trafilatura")
    records = [("response", "text/html", PAGE.encode()), ("response", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(50))]
    (tmp_path / "x.warc.gz").write_bytes(archive(*records, *records[:1], packed=True))
    found, ledger = rows(tmp_path)
    assert len(found) == 2  # what recurs is not dropped: a document's text is its own
    assert all("A true sentence." in row["text"] and "menu" not in row["text"] for row in found)
    assert ledger.counts() == {"passed_over": 1}
