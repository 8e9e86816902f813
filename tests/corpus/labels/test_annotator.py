import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from toy_endpoint import Say, Server
from toys import shell

from corpus.labels import annotations
from corpus.labels.annotator import annotate
from corpus.labels.excerpts import windows
from corpus.labels.taxonomy import Taxonomy
from presight import console, owner
from presight.errors import PresightError

TAXONOMY = Taxonomy.read()
MATHS = '{"reason": "a proof", "labels": ["math_reasoning"]}'


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"source": f"s{n % 3}", "text": f"piece number {n}"} for n in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def segments(texts):
    return windows(texts, None)


def run(server, segments, out, **options):
    settings = {"model": "m", "taxonomy": TAXONOMY, "pause": 0.01, "timeout": 5.0, "retries": 3, "concurrency": 4}
    return annotate(segments, out, endpoint=server.url, **{**settings, **options})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def about(out):
    return json.loads((out / "annotator.json").read_text())


def test_every_segment_is_labelled_in_order(segments, tmp_path, capsys):
    together = threading.Event()

    def script(asked):
        if server.in_flight > 1:
            together.set()
        elif len(server.asked) > 1:  # the first goes alone; the next waits until it is not
            together.wait(30)
        return Say(MATHS if "7" in asked.piece else '{"labels": []}')

    with Server(script) as server:
        summary = run(server, segments, tmp_path / "out", timeout=60)
        assert together.is_set()
        assert 1 < server.most_in_flight <= 4
    assert (summary.labelled, summary.failed, summary.left, summary.requests) == (24, 0, 0, 24)
    rows = lines(tmp_path / "out" / "annotations.jsonl")
    assert [row["id"] for row in rows] == [segment.id for segment in segments]
    for row, segment in zip(rows, segments, strict=True):
        assert row["labels"] == (["math_reasoning"] if "7" in segment.text else [])
        assert (row["source"], row["text"], row["document"]) == (segment.source, segment.text, segment.document)
        assert (row["annotators"], row["model"], row["prompt"]) == (1, "m@toy", about(tmp_path / "out")["prompt"])
    read = annotations.read(tmp_path / "out" / "annotations.jsonl", TAXONOMY)
    assert [(each.id, list(each.labels)) for each in read] == [(row["id"], row["labels"]) for row in rows]
    found = about(tmp_path / "out")
    assert found["complete"]
    assert found["labels"] == {"math_reasoning": 2}
    assert found["models"] == {"m@toy": 24}
    assert found["tokens"] == {"prompt": 2400, "answer": 240}
    assert found["taxonomy"] == TAXONOMY.digest
    assert found["endpoint"] == server.url.removeprefix("http://")
    assert TAXONOMY.entries[0].definition in found["prompt_text"]
    said = capsys.readouterr().err
    assert "24 of 24 segments labelled; 0 failed; 24 answers, 2,640 tokens" in said
    entry = lines(tmp_path / "out" / "answers.jsonl")[1]
    assert entry["raw"]
    assert (entry["attempt"], entry["tries"], entry["usage"]["estimated"]) == (1, 1, False)


def test_a_server_that_fails_in_every_way_is_worn_down(segments, tmp_path):
    trouble = [
        Say(status=429, headers={"Retry-After": "0.1"}),
        Say(status=500),
        Say(after=2.5),
        Say(raw=b'{"choices": [{"mess'),
        Say(cut=50),
        Say(text="no JSON, sorry"),
        Say(text='{"labels": ["mathematics"]}'),
    ]

    def script(asked):
        number = int(asked.piece.split()[-1])
        return trouble[number % len(trouble)] if asked.time == 0 and number > 2 else Say(MATHS)

    with Server(script) as server:
        summary = run(server, segments, tmp_path / "out", timeout=2.0)
    assert (summary.labelled, summary.failed) == (24, 0)
    assert summary.faults == {"no object": 3, "unknown label": 3}
    assert summary.requests == 30
    assert len(server.asked) == 24 + 21
    assert about(tmp_path / "out")["tries"] == 24 + 21


def test_invalid_answers_are_sent_back_then_counted_as_failed(segments, tmp_path, capsys):
    def script(asked):
        return Say("{", finish="length") if asked.piece.endswith(("3", "8")) else Say(MATHS)

    with Server(script) as server:
        summary = run(server, segments, tmp_path / "out", nudges=2)
        assert (summary.labelled, summary.failed, summary.left) == (19, 5, 0)
        assert summary.faults == {"cut off": 15}
        stubborn = [asked for asked in server.asked if asked.piece.endswith("3")]
        assert [len(asked.body["messages"]) for asked in stubborn[:1]] == [1]
        assert {len(asked.body["messages"]) for asked in stubborn} == {1, 3}
        assert "no JSON object" in stubborn[-1].body["messages"][-1]["content"]
        assert len(lines(tmp_path / "out" / "annotations.jsonl")) == 19
        assert len(about(tmp_path / "out")["invalid"]) == 5
        assert "5 failed" in capsys.readouterr().err
        count = len(server.asked)
        run(server, segments, tmp_path / "out", nudges=2)
        assert len(server.asked) == count
    with Server(lambda asked: Say(MATHS)) as server:
        summary = run(server, segments, tmp_path / "out", nudges=2, again=True)
        assert len(server.asked) == 5
        assert all(len(asked.body["messages"]) == 1 for asked in server.asked)
    assert (summary.labelled, summary.failed, summary.requests) == (24, 0, 39)


def test_a_larger_sample_asks_only_about_what_is_new(texts, tmp_path):
    with Server() as server:
        run(server, windows(texts, 3), tmp_path / "out")
        run(server, windows(texts, 5), tmp_path / "out")
        assert len(server.asked) == 15
    assert len(lines(tmp_path / "out" / "annotations.jsonl")) == 15


PROGRAM = """
import sys
from corpus.labels import annotations
from corpus.labels.annotator import annotate
from corpus.labels.excerpts import windows
from corpus.labels.taxonomy import Taxonomy
texts, out, url = sys.argv[1:]
annotate(windows(texts, None), out, taxonomy=Taxonomy.read(), endpoint=url, model="m", concurrency=4)
"""


def test_after_kill_9_nothing_that_was_answered_is_asked_again(texts, segments, tmp_path):
    out = tmp_path / "out"
    with Server(lambda _: Say(MATHS, after=0.05)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(texts), str(out), server.url],
            env=shell.environment(),
            start_new_session=True,
        )
        while len(server.asked) < 10:
            assert process.poll() is None
            time.sleep(0.005)
        with pytest.raises(PresightError, match=f"process {process.pid} .*is annotating"):
            run(server, segments, out)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = len(server.asked)
        with (out / "answers.jsonl").open("ab") as file:
            file.write(b'{"id": "torn')
        answered = {entry["id"] for entry in lines_whole(out / "answers.jsonl")[1:]}
        assert 0 < len(answered) < 24
        summary = run(server, segments, out)
        later = [asked.piece for asked in server.asked[before:]]
    assert summary.labelled == 24
    text = {segment.text: segment.id for segment in segments}
    assert not answered & {text[piece] for piece in later}
    assert sorted(text[piece] for piece in later) == sorted({segment.id for segment in segments} - answered)
    assert len(server.asked) <= 24 + 4  # what was in flight at the kill
    with Server(lambda _: Say(MATHS)) as server:
        run(server, segments, tmp_path / "undisturbed")
    assert (out / "annotations.jsonl").read_bytes() == (tmp_path / "undisturbed" / "annotations.jsonl").read_bytes()


def lines_whole(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_the_budget_stops_before_it_is_exceeded_and_goes_on_when_raised(segments, tmp_path):
    out = tmp_path / "out"
    with Server(lambda _: Say(usage={"prompt_tokens": 900, "completion_tokens": 40})) as server:
        most = 8_000  # two requests at worst
        with pytest.raises(PresightError, match=r"budget: has only .* tokens left") as caught:
            run(server, segments, out, max_tokens=most)
        assert caught.value.code == 85
        found = about(out)
        assert not found["complete"]
        assert 0 < found["labelled"] < 24
        assert found["labelled"] + found["left"] == 24
        assert sum(found["tokens"].values()) <= most
        assert len(lines(out / "annotations.jsonl")) == found["labelled"] == len(server.asked)
        summary = run(server, segments, out, max_tokens=27_000)
        assert summary.labelled == 24
        assert len(server.asked) == 24


def test_the_budget_of_money_counts_both_prices(segments, tmp_path):
    with Server() as server:
        price = (1.0, 1000.0)  # an answer of 10 tokens is 0.01, at worst 256 tokens 0.256
        with pytest.raises(PresightError, match=r"0\.2.* of max_cost"):
            run(server, segments, tmp_path / "out", max_cost=0.4, price=price)
        assert about(tmp_path / "out")["cost"] <= 0.4
        assert len(server.asked) == 14
        with pytest.raises(PresightError, match=r"max_cost: 0\.4 means nothing without a price"):
            run(server, segments, tmp_path / "out", max_cost=0.4)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_costs_one_request(segments, tmp_path, status):
    with Server(lambda _: Say(status=status)) as server:
        with pytest.raises(PresightError, match=f"refuses requests: status {status}"):
            run(server, segments, tmp_path / "out")
        assert len(server.asked) == 1
    assert not (tmp_path / "out" / "annotations.jsonl").exists()


def test_a_refusal_in_the_middle_stops_everything(segments, tmp_path):
    with Server(lambda asked: Say(status=401) if len(server.asked) > 8 else Say()) as server:
        with pytest.raises(PresightError, match="status 401"):
            run(server, segments, tmp_path / "out")
        assert len(server.asked) < 16
        server.script = lambda _: Say()
        assert run(server, segments, tmp_path / "out").labelled == 24


def test_an_endpoint_that_is_down_stops_the_run(segments, tmp_path):
    with Server(lambda asked: Say(status=503) if len(server.asked) > 8 else Say()) as server:
        with pytest.raises(PresightError, match="gave no answer in 2 tries, at last: status 503") as caught:
            run(server, segments, tmp_path / "out", retries=1)
        assert caught.value.code == 2
        assert len(server.asked) <= 8 + 2 * 6
    with Server(lambda _: Say(status=503)) as server:
        with pytest.raises(PresightError, match="gave no answer"):
            run(server, segments, tmp_path / "new", retries=1)
        assert len(server.asked) == 2


def test_a_segment_that_gets_no_answer_is_left_for_the_next_run(segments, tmp_path):
    def script(asked):
        return Say(cut=10) if asked.piece.endswith("number 13") else Say()

    with Server(script) as server:
        with pytest.raises(PresightError, match="no answer about 1 of 24 segments; run again") as caught:
            run(server, segments, tmp_path / "out", retries=1)
        assert caught.value.code == 85
        assert (about(tmp_path / "out")["labelled"], about(tmp_path / "out")["left"]) == (23, 1)
        server.script = lambda _: Say()
        assert run(server, segments, tmp_path / "out").labelled == 24
        assert len(server.asked) == 23 + 2 + 1


@pytest.mark.parametrize(("change", "word"), [({"model": "n"}, "model"), ({"temperature": 1.0}, "temperature")])
def test_another_question_needs_another_folder(segments, tmp_path, change, word):
    with Server() as server:
        run(server, segments[:3], tmp_path / "out")
        with pytest.raises(PresightError, match=f"another {word}.*another folder"):
            run(server, segments, tmp_path / "out", **change)
        tree = TAXONOMY.tree
        tree["families"]["visual"]["visual_concept"]["definition"] = "Things."
        with pytest.raises(PresightError, match="another prompt"):
            run(server, segments, tmp_path / "out", taxonomy=Taxonomy.of(tree))
        assert len(server.asked) == 3


def test_no_secret_is_written(segments, tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_API_KEY", "s3cret")
    with Server() as server:
        run(server, segments, tmp_path / "out")
    assert all("s3cret" not in path.read_text() for path in (tmp_path / "out").iterdir())


def test_somebody_else_is_waited_for_by_the_user(segments, tmp_path):
    with owner.hold(tmp_path / "out" / ".owner"), Server() as server:
        with pytest.raises(PresightError, match="is annotating into it"):
            run(server, segments, tmp_path / "out")
        assert not server.asked


def test_progress_is_reported(segments, tmp_path):
    seen = []
    console.report_to(lambda done, total, what: seen.append((done, total, what)))
    try:
        with Server() as server:
            run(server, segments, tmp_path / "out")
    finally:
        console.report_to(None)
    assert seen[-1] == (24, 24, "annotating")


@pytest.mark.skipif(
    "PRESIGHT_ANNOTATE_ENDPOINT" not in os.environ, reason="needs a server: PRESIGHT_ANNOTATE_ENDPOINT"
)
def test_a_real_server(tmp_path):
    """``PRESIGHT_ANNOTATE_MODEL`` names its model; a small one answers badly, but every segment is settled."""
    texts = tmp_path / "texts.jsonl"
    pieces = [
        "The oak is tall, its bark grey and furrowed, its leaves dark green above and paler beneath.",
        "Let p be prime. If p divides ab, then p divides a or p divides b, by Euclid's lemma.",
        "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
    ]
    texts.write_text("".join(json.dumps({"text": text, "source": "toy"}) + "\n" for text in pieces))
    summary = annotate(
        windows(texts, None),
        tmp_path / "out",
        taxonomy=TAXONOMY,
        endpoint=os.environ["PRESIGHT_ANNOTATE_ENDPOINT"],
        model=os.environ.get("PRESIGHT_ANNOTATE_MODEL", "default"),
        concurrency=2,
        answer_tokens=96,
        timeout=300,
        nudges=1,
    )
    assert (summary.segments, summary.left) == (3, 0)
    assert summary.labelled + summary.failed == 3
    assert len(lines(tmp_path / "out" / "annotations.jsonl")) == summary.labelled
    assert summary.tokens.prompt > 0
