import json
import math

import numpy as np
import pytest
from toy_experiment import BATCH, ITEM, ITEMS, PARTED, beside, forked, payload, varied

from corpus.mixture import FILE
from presight.errors import EXIT_DIVERGED, PresightError
from presight.stage import scratch
from pretrain.batches import Items
from pretrain.heldout import Heldout
from pretrain.model import configuration, initialise
from pretrain.schedule import learning_rate
from pretrain.vocabulary import vocabulary, words

STEPS = 16
LAST = ITEMS - (STEPS - 1) * BATCH


def lines(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder):
    return [line["loss"] for line in lines(folder)]


@pytest.fixture(scope="module")
def items(tiny):
    return Items(tiny.path(tiny.mixture) / FILE)


def test_the_checkpoint_loads_and_gives_the_trainers_own_loss(tiny, lm):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(lm)
    found = Heldout.read(tiny.path(tiny.tokens), ITEM, 12).losses(model)
    last = {line.pop("source"): line for line in lines(lm, "heldout.jsonl")[-3:]}
    for source, each in found.items():
        assert last[source]["loss"] == pytest.approx(each["loss"], abs=1e-5)
        assert last[source]["bits_per_byte"] == pytest.approx(each["bits_per_byte"], abs=1e-5)
    assert len(AutoTokenizer.from_pretrained(lm)) == model.config.vocab_size
    assert str(model.dtype) == "torch.float32"


def test_heldout_losses_are_taken_at_the_milestones_and_fall(lm):
    found = lines(lm, "heldout.jsonl")
    assert [(line["step"], line["source"]) for line in found] == [
        (step, source) for step in (0, 8, 16) for source in ("code", "math", "web")
    ]
    assert [line["tokens"] for line in found[::3]] == [0, 8 * BATCH * ITEM, ITEMS * ITEM]
    for first, last in zip(found[:3], found[-3:], strict=True):
        assert abs(first["loss"] - math.log(words(lm)[0])) < 0.1
        assert last["loss"] < first["loss"] - 0.5


def test_the_ledger_equals_the_lock(lm, items):
    ledger = json.loads((lm / "ledger.json").read_text())
    assert ledger["tokens"] == ITEMS * ITEM == json.loads((lm / "counts.json").read_text())["tokens"]
    for pool in items.mixture.lock["pools"]:
        found = ledger["pools"][pool["name"]]
        assert (found["items"], found["tokens"]) == (pool["quota"], pool["quota"] * ITEM)
        assert found["epochs"] == pool["epochs"]
    total, count = dict.fromkeys(items.names, 0.0), dict.fromkeys(items.names, 0)
    for step, line in enumerate(lines(lm)):
        pools = items.batch(step * BATCH, min((step + 1) * BATCH, ITEMS)).pools.tolist()
        for name, loss in line["loss_by_source"].items():
            total[name] += loss * pools.count(items.names.index(name))
            count[name] += pools.count(items.names.index(name))
    for name, found in ledger["pools"].items():
        assert found["items"] == count[name]
        assert found["loss"] == pytest.approx(total[name] / count[name], abs=1e-9)


def test_metrics_are_consecutive(lm, items):
    found = lines(lm)
    assert [line["step"] for line in found] == [*range(1, STEPS + 1)]
    assert [line["tokens"] for line in found] == [min(step * BATCH, ITEMS) * ITEM for step in range(1, STEPS + 1)]
    plan = {"warmup": round(0.05 * STEPS), "decay": 0, "peak": 3e-3, "final": 0.1}
    rates = [learning_rate("cosine", step, STEPS, **plan) for step in range(STEPS)]
    assert [line["learning_rate"] for line in found] == rates
    for step, line in enumerate(found):
        pools = items.batch(step * BATCH, min((step + 1) * BATCH, ITEMS)).pools
        shares = {name: np.mean(pools == items.names.index(name)) for name in line["loss_by_source"]}
        assert sum(shares.values()) == pytest.approx(1)
        assert line["loss"] == pytest.approx(sum(shares[n] * loss for n, loss in line["loss_by_source"].items()))
        assert line["gradient_norm"] > 0


def test_every_loss_equals_a_plain_training_loop(tiny, lm, items):
    """The slow twin: transformers' own loss, torch's AdamW, clipping by hand; no engine."""
    import torch

    size, end = words(tiny.path(tiny.tokenizer))
    model = initialise(configuration("tiny", size, ITEM, end), 0)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    found = lines(lm)
    for step in range(STEPS):
        x = torch.from_numpy(items.batch(step * BATCH, min((step + 1) * BATCH, ITEMS)).tokens)
        assert len(x) == (BATCH if step < STEPS - 1 else LAST)
        loss = model(input_ids=x, labels=x).loss
        assert found[step]["loss"] == pytest.approx(loss.item(), abs=2e-5)
        for group in optimizer.param_groups:
            group["lr"] = found[step]["learning_rate"]
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert found[step]["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)
        optimizer.step()


INJECTED = """
from pretrain import sums
from pretrain.sums import Sums
plain = Sums.add
def spoilt(self, batch, part, losses, counted):
    if spoils(batch):
        losses = losses * float("nan")
    plain(self, batch, part, losses, counted)
Sums.add = spoilt
from pretrain.run import Run
step = Run._step
def watched(run, *given):
    global spoils
    spoils = lambda batch: run.stage.seed == 13 and run.state.step == 3
    return step(run, *given)
Run._step = watched
"""


@pytest.fixture(scope="module")
def variants(tiny, tmp_path_factory):
    """Folders of runs in other ways, then one that diverges; one process makes them all."""
    root = tmp_path_factory.mktemp("variants")
    ways = {
        "micro": {"micro_batch": 4},
        "other seed": {"seed": 1},
        "zero 0": {"zero": 0},
        "zero 3": {"zero": 3},
        "bf16": {"dtype": "bf16"},
        "nan": {"seed": 13},
    }
    jobs = {
        name: (beside(tiny.store, root / name, tiny.mixture), varied(tiny.train, **fields))
        for name, fields in ways.items()
    }
    done = forked(*jobs.values(), before=PARTED + INJECTED)
    return {name: store.path(stage) for name, (store, stage) in jobs.items()} | {"done": done, "nan job": jobs["nan"]}


def test_accumulation_changes_nothing(lm, variants):
    assert LAST < BATCH - 4  # the last batch leaves one micro-batch empty and one partial
    assert losses(variants["micro"]) == pytest.approx(losses(lm), abs=1e-5)
    for mine, theirs in zip(lines(variants["micro"]), lines(lm), strict=True):
        assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-4)
        assert mine["loss_by_source"] == pytest.approx(theirs["loss_by_source"], abs=1e-5)
    assert lines(variants["micro"], "heldout.jsonl")[-1]["loss"] == pytest.approx(
        lines(lm, "heldout.jsonl")[-1]["loss"], abs=1e-5
    )


@pytest.mark.parametrize("way", ["zero 0", "zero 3"])
def test_every_stage_of_zero_gives_the_same_model(tiny, lm, variants, way):
    from transformers import AutoModelForCausalLM

    assert losses(variants[way]) == pytest.approx(losses(lm), abs=1e-5)
    model = AutoModelForCausalLM.from_pretrained(variants[way])
    found = Heldout.read(tiny.path(tiny.tokens), ITEM, 12).losses(model)
    assert found["web"]["loss"] == pytest.approx(lines(lm, "heldout.jsonl")[-1]["loss"], abs=1e-5)


def test_bf16_trains_about_as_well(tiny, lm, variants):
    assert losses(variants["bf16"]) == pytest.approx(losses(lm), abs=0.02)
    assert losses(variants["bf16"]) != losses(lm)
    assert (variants["bf16"] / "model.safetensors").stat().st_size == (lm / "model.safetensors").stat().st_size


def test_seeds_differ_in_weights_alone(lm, variants):
    mine, other = payload(lm), payload(variants["other seed"])
    assert mine["model.safetensors"] != other["model.safetensors"]
    assert losses(lm)[-1] != losses(variants["other seed"])[-1]
    for name in ("config.json", "tokenizer.json", "counts.json"):
        assert mine[name] == other[name]
    same = [line["tokens"] for line in lines(lm)]
    assert [line["tokens"] for line in lines(variants["other seed"])] == same


def test_a_loss_that_is_no_number_stops_the_run(variants):
    done, (store, stage) = variants["done"], variants["nan job"]
    assert done.returncode == EXIT_DIVERGED == 88
    assert "loss: is nan at step 4; there is no checkpoint yet; lower learning_rate" in done.stderr
    assert store.find(stage) is None


KILLED = """
import os, signal
from pretrain import curves
from pretrain.rolling import Rolling
curves.CHECKPOINT_SECONDS = -1.0
whole = Rolling.save
def save(rolling, engine, state):
    if state.step == 9:
        engine.save_checkpoint(str(rolling.folder), tag="step-0000000009")
        os.kill(os.getpid(), signal.SIGKILL)
    if state.step % 3 == 0:
        whole(rolling, engine, state)
Rolling.save = save
"""
WATCHED = """
from pretrain.run import Run
plain = Run._step
def watched(run, *given):
    print(f"STEP {run.state.step}", file=sys.stderr)
    return plain(run, *given)
Run._step = watched
"""


def test_a_killed_run_goes_on_to_the_same_bytes(tiny, lm, tmp_path):
    store = beside(tiny.store, tmp_path / "store", tiny.mixture)
    killed = forked((store, tiny.train), before=KILLED)
    assert killed.returncode == -9
    assert store.find(tiny.train) is None
    out = store.work(tiny.train) / "payload"
    rolling = scratch(out) / "rolling"
    assert {path.name for path in rolling.glob("step-*")} == {"step-0000000006", "step-0000000009"}
    assert not (rolling / "step-0000000009" / "COMPLETE").exists()
    for path in (rolling / "step-0000000009").rglob("*"):
        path.write_bytes(b"half")
    with (out / "metrics.jsonl").open(
        "a"
    ) as metrics:  # what a kill may leave: steps after the checkpoint, half a line
        metrics.write(json.dumps({"step": 7, "loss": 0.0}) + "\n" + '{"step": 8, "lo')
    with (out / "heldout.jsonl").open("a") as measured:
        measured.write(json.dumps({"step": 8, "source": "web"}) + "\n")
    again = forked((store, tiny.train), before=WATCHED)
    assert again.returncode == 0, again.stderr
    steps = [int(line.split()[1]) for line in again.stderr.splitlines() if line.startswith("STEP ")]
    assert steps == [*range(6, STEPS)]
    assert payload(store.path(tiny.train)) == payload(lm)
    assert store.find(tiny.train).card["attempts"] == 2
    assert not store.work(tiny.train).exists()


def test_no_place_and_no_time_is_in_the_payload(tiny, lm):
    for content in payload(lm).values():
        assert str(tiny.store.root).encode() not in content
        assert b"per_second" not in content


def test_how_it_is_run_is_not_its_identity(tiny):
    first = tiny.train.fingerprint
    for fields in ({"zero": 3}, {"micro_batch": 4}, {"resources": {"threads": 2}}):
        assert varied(tiny.train, **fields).fingerprint == first
    for fields in ({"seed": 1}, {"batch": 8}, {"learning_rate": 1e-3}, {"dtype": "bf16"}, {"clip": 0.5}):
        assert varied(tiny.train, **fields).fingerprint != first


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"micro_batch": 3}, "3 does not divide the batch of 16"), ({"zero": 0, "dtype": "bf16"}, "bf16")],
)
def test_what_cannot_be_run_is_one_sentence(tiny, tmp_path, fields, words):
    with pytest.raises(PresightError, match=words) as error:
        varied(tiny.train, **fields).run(tmp_path, {"mixture": tiny.path(tiny.mixture)})
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_vocabulary_is_found_behind_the_mixture(tiny):
    assert vocabulary(tiny.train) == 512
    assert vocabulary(tiny.text) == 32768
    cost = tiny.train.estimate()
    assert cost.tokens == ITEMS * ITEM
    assert cost.flops > 6 * cost.tokens * 100_000
