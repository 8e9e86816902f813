import gzip
import json
import re

from toy_experiment import payload

from corpus import Invented


def make(out, **fields):
    out.mkdir()
    Invented(**fields).run(out, {})
    return payload(out)


def texts(files, source):
    packed = [files[f"{source}/{number:05d}.jsonl.gz"] for number in range(4)]
    return [json.loads(line)["text"] for each in packed for line in gzip.decompress(each).decode().splitlines()]


def test_bytes_follow_from_the_seed(tmp_path):
    first = make(tmp_path / "a", documents=20)
    assert make(tmp_path / "b", documents=20) == first
    other = make(tmp_path / "c", documents=20, seed=1)
    for source in ("code", "math", "web"):
        assert not set(texts(first, source)) & set(texts(other, source))


def test_more_documents_begin_with_the_fewer(tmp_path):
    few, many = make(tmp_path / "a", documents=10), make(tmp_path / "b", documents=40)
    for source in ("code", "math", "web"):
        assert set(texts(few, source)) < set(texts(many, source))
        assert len(texts(many, source)) == 40


def test_the_sources_are_what_they_say(tmp_path):
    files = make(tmp_path / "a", documents=30)
    assert json.loads(files["licences.json"]) == ["CC0-1.0"]
    for text in texts(files, "math"):
        for line in text.splitlines():
            a, b, c, d, e, f, g, h = map(int, re.findall(r"\d+", line))
            assert a + b == c == d == h
            assert (e, f, g) == (b, a, a)
    for text in texts(files, "code"):
        compile(text, "invented", "exec")
    for text in texts(files, "web"):
        assert text.count("Nobody saw the") == 8
