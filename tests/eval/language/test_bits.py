import json
import math
import shutil
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from toy_experiment import ITEM
from toy_models import tiny_lm

from eval.language.bits import Bits, ratio_interval, read_heldout, read_texts, token_bits, windows
from eval.language.harness import encode, start_token
from eval.stats.intervals import mean_interval
from presight.errors import EXIT_DATA, PresightError
from presight.stage import Stage


class Given(Stage):
    """A checkpoint that lies there already."""

    kind: ClassVar[str] = "checkpoint"


class Tokens(Stage):
    kind: ClassVar[str] = "tokens"


def byte_tokenizer(start="<s>"):
    """One token a byte, and a start token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: place for place, letter in enumerate([*letters, start])}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=start, eos_token=start)


def drawn(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 300, length) for length in lengths]


def token_by_token(model, ids, start, context, stride):
    """A forward pass for each token, over what its window shows of what stands before it."""
    sequence, found = [start, *ids.tolist()], []
    for place in range(1, len(sequence)):
        stop = context
        while stop < place:
            stop += stride
        first = max(0, min(stop, len(ids)) - context)
        with torch.no_grad():
            scores = model(torch.tensor([sequence[first:place]])).logits[0, -1].double()
        found.append(-(scores.log_softmax(0)[sequence[place]].item()) / math.log(2))
    return np.array(found)


@given(st.integers(0, 300), st.integers(1, 40), st.data())
def test_windows_predict_every_token_once_with_as_much_before_it_as_there_is_room_for(tokens, context, data):
    stride = data.draw(st.integers(1, context))
    found = windows(tokens, context, stride)
    assert [place for each in found for place in range(each.first, each.stop)] == list(range(tokens))
    for each in found:
        assert 0 <= each.start <= each.first < each.stop
        assert each.stop - each.start <= context
        assert each.start == 0 or each.stop - each.start == context
        assert each.first - each.start >= min(each.first, context - stride)


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_skips_tokens_is_refused(stride):
    with pytest.raises(PresightError, match="stride"):
        windows(20, 8, stride)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize(("context", "stride"), [(8, 3), (8, 8), (8, 1), (32, 16)])
def test_bits_are_those_of_each_token_by_itself(name, context, stride):
    model = tiny_lm(name).eval()
    documents = drawn([1, 7, 8, 9, 21, 32])
    for ids, found in zip(documents, token_bits(model, documents, 5, context, stride), strict=True):
        assert found == pytest.approx(token_by_token(model, ids, 5, context, stride), abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_text_that_fits_is_one_forward_pass(name):
    model, (ids,) = tiny_lm(name).eval(), drawn([31])
    sequence = torch.tensor([[5, *ids.tolist()]])
    with torch.no_grad():
        loss = model(input_ids=sequence, labels=sequence).loss.item()
    for stride in (1, 7, 32):
        (found,) = token_bits(model, [ids], 5, 32, stride)
        assert found.sum() == pytest.approx(loss * len(ids) / math.log(2), rel=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_is_read_at_once_does_not_matter(name):
    model, documents = tiny_lm(name), drawn([40, 3, 17, 25, 3, 60])
    alone = token_bits(model, documents, 5, 16, 5, batch_tokens=1)
    for batch_tokens in (33, 8192):
        for one, many in zip(alone, token_bits(model, documents, 5, 16, 5, batch_tokens), strict=True):
            assert many == pytest.approx(one, abs=1e-5)


def test_dropout_is_off_meanwhile_and_the_model_keeps_its_mode():
    model, documents = tiny_lm("gpt2").train(), drawn([12])
    first, second = (token_bits(model, documents, 5, 8, 4)[0] for _ in range(2))
    assert model.training
    assert np.array_equal(first, second)
    assert np.array_equal(first, token_bits(model.eval(), documents, 5, 8, 4)[0])
    assert not model.training


def test_the_trainers_heldout_loss_is_the_same_measure(tiny):
    from pretrain.heldout import Heldout
    from pretrain.model import configuration, initialise

    model = initialise(configuration("tiny", 512, ITEM, 0), 0)
    heldout = Heldout.read(tiny.path(tiny.tokens), ITEM, 4)
    for source, found in heldout.losses(model).items():
        rows = heldout.tokens[source]
        bits = [token_bits(model, [row[1:]], int(row[0]), ITEM, ITEM)[0].sum() for row in rows]
        assert sum(bits) * math.log(2) / found["predicted"] == pytest.approx(found["loss"], abs=1e-5)


def test_heldout_documents_are_the_text_that_was_tokenised(tiny):
    from corpus.documents import read_source

    folder = tiny.path(tiny.tokens)
    described = json.loads((folder / "tokens.json").read_text())["sources"]
    found = read_heldout(folder, folder / "tokenizer")
    for source, splits in described.items():
        own = [each for each in found if each.source == source]
        texts = {each.text for each in read_source(tiny.path(tiny.text) / source)}
        assert len(own) == splits["heldout"]["documents"]
        assert sum(len(each.text.encode()) for each in own) == splits["heldout"]["bytes"]
        assert sum(len(each.ids) + 1 for each in own) == splits["heldout"]["tokens"]
        assert {each.text for each in own} <= texts
    assert len({each.item for each in found}) == len(found)
    few = read_heldout(folder, folder / "tokenizer", 2)
    assert [each.item for each in few] == [f"{source}/{row}" for source in described for row in (0, 1)]
    assert all(each.ids is None for each in read_heldout(folder, tiny.path(tiny.text), 2))


def test_shards_that_are_not_as_described_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny.path(tiny.tokens), tmp_path / "tokens")
    shard = next(iter(sorted(folder.glob("heldout/*/*.ds"))))
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(PresightError, match="that are described") as raised:
        read_heldout(folder, folder)
    assert raised.value.code == EXIT_DATA
    shard.unlink()
    with pytest.raises(PresightError, match="that are described"):
        read_heldout(folder, folder)
    (folder / "tokens.json").unlink()
    with pytest.raises(PresightError, match="holds no tokens"):
        read_heldout(folder, folder)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_tokens_spell_the_text_and_nothing_is_added(text):
    tokenizer = byte_tokenizer()
    ids = encode(tokenizer, text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_start_token_that_a_text_spells_out_is_text():
    tokenizer = byte_tokenizer()
    assert start_token(tokenizer) == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in encode(tokenizer, "a <s> b")
    tokenizer.bos_token = None
    assert start_token(tokenizer) == tokenizer.eos_token_id


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = [{"text": f"Row {row}, of a pair: é {'word ' * (row % 5)}", "cluster": row // 2} for row in range(8)]
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (folder / "letter.txt").write_text("Dear reader,\nthis is all there is.\n")
    (folder / "README.md").write_text("not read")
    return folder


def test_texts_are_read_from_lines_and_plain_files(texts):
    found = read_texts(texts)
    assert [each.source for each in found] == ["letter"] + ["pairs"] * 8
    assert found[0].text == (texts / "letter.txt").read_text()
    assert [each.cluster for each in found[1:5]] == ["0", "0", "1", "1"]
    assert found[0].cluster == found[0].item
    assert [each.item for each in read_texts(texts, 2)] == ["letter.txt/0", "pairs.jsonl/0", "pairs.jsonl/1"]


@pytest.mark.parametrize(
    ("line", "problem"), [("{", "is no JSON"), ("[1]", "has no text"), ('{"text": ""}', "has no text")]
)
def test_records_that_cannot_be_read_are_refused(texts, line, problem):
    (texts / "pairs.jsonl").write_text(line)
    with pytest.raises(PresightError, match=problem):
        read_texts(texts)
    for path in texts.iterdir():
        path.unlink()
    with pytest.raises(PresightError, match=r"no SOURCE\.jsonl"):
        read_texts(texts)


def run(stage, folder, **inputs):
    folder.mkdir()
    stage.run(folder, inputs)
    import pyarrow.parquet

    return json.loads((folder / "bits.json").read_text()), pyarrow.parquet.read_table(folder / "items.parquet")


def test_stage_gives_bits_a_byte_by_source(texts, tmp_path):
    tiny_lm("llama").save_pretrained(tmp_path / "lm")
    byte_tokenizer().save_pretrained(tmp_path / "lm")
    stage = Bits(model=Given(), texts=texts, context=16, stride=4).settle(True)
    found, items = run(stage, tmp_path / "out", model=tmp_path / "lm")
    assert (found["context"], found["stride"]) == (16, 4)
    model, tokenizer, documents = tiny_lm("llama"), byte_tokenizer(), read_texts(texts)
    assert items["item"].to_pylist() == [each.item for each in documents]
    for row, document in zip(items.to_pylist(), documents, strict=True):
        expected = token_by_token(model, encode(tokenizer, document.text), start_token(tokenizer), 16, 4)
        assert row["bits"] == pytest.approx(expected.sum(), abs=1e-3)
        assert row["bytes"] == row["tokens"] == len(document.text.encode())
    pairs = [row for row in items.to_pylist() if row["source"] == "pairs"]
    bits, size = (sum(row[key] for row in pairs) for key in ("bits", "bytes"))
    said = found["sources"]["pairs"]
    assert (said["documents"], said["clusters"], said["bytes"]) == (8, 4, size)
    assert said["bits_per_byte"]["estimate"] == pytest.approx(bits / size)
    assert said["loss"] == pytest.approx(bits / size * math.log(2))  # a token is a byte
    assert said["bits_per_byte"]["low"] < bits / size < said["bits_per_byte"]["high"]
    assert found["sources"]["letter"]["bits_per_byte"]["low"] is None
    again, _ = run(stage, tmp_path / "again", model=tmp_path / "lm")
    assert again == found


def test_stage_reads_the_heldout_split_and_tokenises_anew_for_another_tokenizer(tiny, tmp_path):
    from pretrain.model import configuration, initialise

    inputs = {"tokens": tiny.path(tiny.tokens)}
    lm = shutil.copytree(tiny.path(tiny.tokenizer), tmp_path / "lm")
    initialise(configuration("tiny", 512, ITEM, 0), 0).save_pretrained(lm)
    stage = Bits(model=Given(), tokens=Tokens(), documents=3).settle(True)
    own, _ = run(stage, tmp_path / "own", model=lm, **inputs)
    assert set(own["sources"]) == {"code", "math", "web"}
    tiny_lm("gpt2").save_pretrained(tmp_path / "bytes")
    byte_tokenizer().save_pretrained(tmp_path / "bytes")
    other, _ = run(stage, tmp_path / "other", model=tmp_path / "bytes", **inputs)
    for source, found in own["sources"].items():
        assert found["bytes"] == other["sources"][source]["bytes"] == other["sources"][source]["tokens"]
        assert found["tokens"] < found["bytes"]
        assert found["bits_per_byte"]["estimate"] < other["sources"][source]["bits_per_byte"]["estimate"]


def test_stage_is_named_by_content_and_refuses_what_it_cannot_read(texts, tmp_path):
    settled = Bits(model=Given(), texts=texts).settle(True)
    assert Bits(model=Given(), texts=shutil.copytree(texts, tmp_path / "b")).settle(True).fingerprint == (
        settled.fingerprint
    )
    (texts / "letter.txt").write_text("another")
    assert Bits(model=Given(), texts=texts).settle(True).fingerprint != settled.fingerprint
    with pytest.raises(PresightError, match="changed since it was planned"):
        settled.run(tmp_path, {"model": tmp_path})
    for fields in ({}, {"texts": texts, "tokens": Tokens()}):
        with pytest.raises(PresightError, match="either"):
            Bits(model=Given(), **fields).settle(True)
    with pytest.raises(PresightError, match="transformers cannot load"):
        Bits(model=Given(), texts=texts).settle(True).run(tmp_path, {"model": tmp_path})
    tiny_lm("llama").save_pretrained(tmp_path / "lm")
    byte_tokenizer().save_pretrained(tmp_path / "lm")
    with pytest.raises(PresightError, match="33 tokens of 32 positions"):
        Bits(model=Given(), texts=texts, context=33).settle(True).run(tmp_path, {"model": tmp_path / "lm"})


def jackknife(totals, sizes, clusters):
    """Estimate and standard error from leaving each cluster out, one by one."""
    names = sorted(set(clusters))
    estimate = sum(totals) / sum(sizes)
    left = []
    for name in names:
        kept = [row for row, own in enumerate(clusters) if own != name]
        left.append(sum(totals[row] for row in kept) / sum(sizes[row] for row in kept))
    n = len(names)
    return estimate, math.sqrt((n - 1) / n * sum((each - estimate) ** 2 for each in left))


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000), st.booleans())
def test_ratio_interval_is_the_jackknife_over_documents(n, seed, clustered):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 50, n)
    totals = sizes * rng.uniform(1, 3, n)
    clusters = [row // 2 if clustered and n > 2 else row for row in range(n)]
    found = ratio_interval(totals, sizes, clusters)
    estimate, error = jackknife(totals.tolist(), sizes.tolist(), clusters)
    weights = np.bincount(clusters, sizes)
    df = max(1.0, weights.sum() ** 2 / (weights**2).sum() - 1)
    assert found.estimate == pytest.approx(estimate)
    assert found.half_width == pytest.approx(t.ppf(0.975, df) * error, rel=1e-6)


def test_ratio_interval_of_equal_sizes_is_that_of_a_mean():
    scores = np.random.default_rng(0).normal(size=20)
    ratio, mean = ratio_interval(3 * scores, np.full(20, 3)), mean_interval(scores[None])
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((mean.estimate, mean.low, mean.high))


def test_ratio_interval_covers_and_agrees_with_the_bootstrap():
    rng = np.random.default_rng(0)
    covered, rounds, n = 0, 600, 30

    def sample(count):
        sizes = np.exp(rng.normal(6, 0.7, count))
        return sizes * (2 + rng.normal(0, 0.3, count)) + 40, sizes  # short documents cost more a byte

    totals, sizes = sample(400_000)
    truth = totals.sum() / sizes.sum()
    for _ in range(rounds):
        covered += not ratio_interval(*sample(n)).excludes(truth)
    assert 0.92 < covered / rounds < 0.98
    totals, sizes = sample(300)
    rows = rng.integers(0, 300, (4000, 300))
    draws = totals[rows].sum(1) / sizes[rows].sum(1)
    assert ratio_interval(totals, sizes).half_width == pytest.approx(1.97 * draws.std(), rel=0.1)


def test_ratio_interval_of_one_document_is_unknown_and_of_none_refused():
    found = ratio_interval([3.0, 4.0], [1.0, 1.0], ["a", "a"])
    assert (found.estimate, found.low, found.high) == (3.5, -math.inf, math.inf)
    with pytest.raises(PresightError, match="nought bytes"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])
    with pytest.raises(PresightError, match="shape"):
        ratio_interval([1.0, 2.0], [1.0])


def test_batches_that_memory_does_not_hold_are_halved():
    model, documents = tiny_lm("llama"), [np.arange(1, 9), np.arange(3, 12), np.arange(2, 6)]
    expected = token_bits(model, documents, 0, 8, 4)
    plain, asked = model.forward, []

    def cramped(input_ids, **given):
        asked.append(input_ids.numel())
        if input_ids.numel() > 16:
            raise RuntimeError("CUDA out of memory")
        return plain(input_ids=input_ids, **given)

    model.forward = cramped
    found = token_bits(model, documents, 0, 8, 4)
    assert max(asked) > 16 >= asked[-1]
    for mine, theirs in zip(found, expected, strict=True):
        assert np.allclose(mine, theirs, atol=1e-5)
