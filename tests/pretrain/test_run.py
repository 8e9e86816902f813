"""Runs of several processes, runs that are interrupted, chains of runs: each against the undisturbed one."""

import json
import os
import signal
import time

import numpy as np
import pytest
import toy_processes
from toy_experiment import BATCH, ITEM, ITEMS, PARTED, beside, forked, payload, varied
from toy_labels import labelled

from presight.assembly import dump
from presight.errors import EXIT_CONTINUE, EXIT_DIVERGED, PresightError
from presight.stage import scratch
from pretrain.batches import IGNORED, Items
from pretrain.course import Course

STEP = BATCH * ITEM
NEVER_SAVED_BY_THE_CLOCK = "from pretrain import curves\ncurves.CHECKPOINT_SECONDS = 1e9\n"
SAVED_EACH_STEP = "from pretrain import curves\ncurves.CHECKPOINT_SECONDS = -1.0\n"
DIES_AFTER = """
import signal
from pretrain.rolling import Rolling
whole = Rolling.save
def save(rolling, engine, state):
    whole(rolling, engine, state)
    if state.step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
Rolling.save = save
"""


def lines(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder):
    return [line["loss"] for line in lines(folder)]


@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_two_processes_train_as_one(tiny, lm, tmp_path, zero):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    stage = varied(tiny.train, zero=zero)
    done = forked((store, stage), ranks=2, before=PARTED)
    assert done.returncode == 0, done.stderr
    made = store.path(stage)
    assert losses(made) == pytest.approx(losses(lm), abs=1e-5)
    assert json.loads((made / "ledger.json").read_text())["tokens"] == ITEMS * ITEM
    for mine, theirs in zip(lines(made), lines(lm), strict=True):
        assert mine["loss_by_source"] == pytest.approx(theirs["loss_by_source"], abs=1e-5)
        assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-3)
    assert json.loads((made / "log" / "deepspeed.json").read_text())["gradient_accumulation_steps"] == 1


@pytest.mark.parametrize(("zero", "ranks"), [(1, 2), (2, 1), (3, 2)])
def test_killed_it_goes_on_to_the_same_losses(tiny, tmp_path, zero, ranks):
    stage = varied(tiny.train, zero=zero)
    stores = [beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("whole", "killed")]
    assert forked((stores[0], stage), ranks=ranks, before=PARTED).returncode == 0
    before = PARTED + SAVED_EACH_STEP + DIES_AFTER.format(step=7)
    assert forked((stores[1], stage), ranks=ranks, before=before).returncode != 0
    assert forked((stores[1], stage), ranks=ranks, before=PARTED).returncode == 0
    whole, killed = (store.path(stage) for store in stores)
    assert payload(killed)["metrics.jsonl"] == payload(whole)["metrics.jsonl"]
    assert payload(killed)["model.safetensors"] == payload(whole)["model.safetensors"]


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_it_goes_on_with_another_number_of_processes(tiny, lm, tmp_path, zero):
    """Two ranks, then one: the same items in the same order, and losses that agree to rounding."""
    stage = varied(tiny.train, zero=zero)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    before = PARTED + SAVED_EACH_STEP + DIES_AFTER.format(step=7)
    assert forked((store, stage), ranks=2, before=before).returncode != 0
    again = forked((store, stage), before=PARTED)
    assert again.returncode == 0, again.stderr
    assert [line["tokens"] for line in lines(store.path(stage))] == [line["tokens"] for line in lines(lm)]
    assert losses(store.path(stage)) == pytest.approx(losses(lm), abs=1e-5)


@pytest.mark.parametrize(("saved", "now"), [(1, 2), (2, 1)])
def test_it_goes_on_at_another_stage_of_zero(tiny, lm, tmp_path, saved, now):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    before = SAVED_EACH_STEP + DIES_AFTER.format(step=7)
    assert forked((store, varied(tiny.train, zero=saved)), before=before).returncode != 0
    again = forked((store, varied(tiny.train, zero=now)))
    assert again.returncode == 0, again.stderr
    assert losses(store.path(tiny.train)) == pytest.approx(losses(lm), abs=1e-5)


def test_a_stage_of_zero_that_no_conversion_covers_is_one_sentence(tiny, tmp_path):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    before = SAVED_EACH_STEP + DIES_AFTER.format(step=3)
    assert forked((store, tiny.train), before=before).returncode != 0
    again = forked((store, varied(tiny.train, zero=3)))
    assert again.returncode == 2
    assert "zero: 3, but the checkpoint in " in again.stderr
    assert again.stderr.strip().splitlines()[-1].endswith("is of stage 1; go on with that.")


# The n-th time that it comes here, the run is sent a signal: in a step, in the held-out losses, in a save.
SIGNALLED = """
import signal
from pretrain import engine, heldout, rolling, sums
def signalling(owner, name, when):
    plain, seen = getattr(owner, name), []
    def wrapped(*given, **named):
        seen.append(1)
        if len(seen) == when:
            os.kill(os.getpid(), signal.{signal})
        return plain(*given, **named)
    setattr(owner, name, wrapped)
signalling({owner}, "{name}", {when})
"""


@pytest.mark.parametrize(
    ("number", "owner", "name", "when"),
    [
        ("SIGUSR1", "sums.Sums", "add", 5),
        ("SIGTERM", "heldout.Batch", "targets", 5),
        ("SIGTERM", "rolling", "write", 2),
        ("SIGTERM", "engine", "engine", 1),
    ],
)
def test_told_to_stop_it_saves_and_asks_to_be_continued(tiny, lm, tmp_path, number, owner, name, when):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    clock = SAVED_EACH_STEP if name == "write" else NEVER_SAVED_BY_THE_CLOCK
    told = forked(
        (store, tiny.train), before=clock + SIGNALLED.format(signal=number, owner=owner, name=name, when=when)
    )
    assert told.returncode == EXIT_CONTINUE == 85, told.stderr
    assert "signal: saved at step " in told.stderr
    assert store.find(tiny.train) is None
    again = forked((store, tiny.train))
    assert again.returncode == 0, again.stderr
    assert payload(store.path(tiny.train)) == payload(lm)


def test_one_process_of_two_is_told_and_both_stop(tiny, tmp_path):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    slow = "import time\nfrom pretrain.sums import Sums\nplain = Sums.add\n"
    slow += "def add(*given):\n    time.sleep(0.3)\n    return plain(*given)\nSums.add = add\n"
    both = toy_processes.begin([(str(store.root), dump(tiny.train))], before=slow, ranks=2)
    metrics = store.work(tiny.train) / "payload" / "metrics.jsonl"
    while not metrics.exists():
        time.sleep(0.05)
    os.kill(both.pids[1], signal.SIGUSR1)
    assert both.wait().returncode == EXIT_CONTINUE
    marks = list((scratch(store.work(tiny.train) / "payload") / "rolling").glob("*/COMPLETE"))
    assert len(marks) == 1
    assert json.loads(marks[0].read_text())["world"] == 2


def chain(tiny, root):
    """A run of 12 steps with a cooldown of a third, and the same as a trunk of two links and a branch."""
    settings = {"warmup": 2, "milestones": 2}
    whole = varied(tiny.train, schedule="wsd", until=12 * STEP, cooldown=1 / 3, **settings)
    first = varied(tiny.train, schedule="stable", until=4 * STEP, keep_state=True, **settings)
    trunk = varied(first, start=first, until=8 * STEP)
    branch = varied(first, start=trunk, schedule="decay", until=12 * STEP, keep_state=False)
    return beside(tiny.store, root, tiny.mixture), whole, first, trunk, branch


def test_a_branch_off_a_trunk_is_the_run_that_came_down_by_itself(tiny, tmp_path):
    store, whole, *links = chain(tiny, tmp_path)
    done = forked((store, whole), *((store, link) for link in links))
    assert done.returncode == 0, done.stderr
    expected, found = lines(store.path(whole)), [line for link in links for line in lines(store.path(link))]
    assert [line["learning_rate"] for line in found] == pytest.approx([line["learning_rate"] for line in expected])
    for mine, theirs in zip(found, expected, strict=True):
        assert mine["loss"] == theirs["loss"]
        assert (mine["step"], mine["tokens"]) == (theirs["step"], theirs["tokens"])
    branch = store.path(links[-1])
    assert payload(branch)["model.safetensors"] == payload(store.path(whole))["model.safetensors"]
    assert not (branch / "state").exists()
    read = json.loads((branch / "ledger.json").read_text())
    assert read["tokens"] == 4 * STEP
    assert json.loads((branch / "counts.json").read_text()) == {"tokens": 12 * STEP, "steps": 12}
    assert {line["step"] for line in lines(branch, "heldout.jsonl")} == {12}
    assert [link.estimate().tokens for link in links] == [4 * STEP] * 3


def test_a_branch_off_a_checkpoint_on_the_way_is_a_branch_off_a_link(tiny, tmp_path):
    """A trunk in one piece that keeps checkpoints serves as one in links does."""
    store, whole, _, trunk, branch = chain(tiny, tmp_path)
    piece = varied(trunk, start=None, keep_state=False, keep_every=4 * STEP)
    off = varied(branch, start=piece, start_at=8 * STEP)
    early = varied(branch, start=piece, start_at=4 * STEP, until=8 * STEP)
    done = forked(*((store, link) for link in (whole, piece, off, early)))
    assert done.returncode == 0, done.stderr
    assert [int(path.name) for path in sorted((store.path(piece) / "checkpoints").iterdir())] == [4 * STEP, 8 * STEP]
    assert lines(store.path(off)) == lines(store.path(whole))[8:]
    assert payload(store.path(off))["model.safetensors"] == payload(store.path(whole))["model.safetensors"]
    assert [line["step"] for line in lines(store.path(early))] == [5, 6, 7, 8]
    assert [link.estimate().tokens for link in (piece, off, early)] == [8 * STEP, 4 * STEP, 4 * STEP]
    nowhere = forked((store, varied(off, start_at=5 * STEP)))
    assert nowhere.returncode == 2
    assert "start_at: no checkpoint was kept at 5120 tokens; kept: 4096, 8192." in nowhere.stderr


def test_weights_alone_are_a_start_from_the_first_item(tiny, lm, tmp_path):
    again = varied(tiny.train, start=tiny.train, until=4 * STEP, learning_rate=1e-3)
    store = beside(tiny.store, tmp_path, tiny.mixture, tiny.train)
    done = forked((store, again))
    assert done.returncode == 0, done.stderr
    found = lines(store.path(again))
    assert found[0]["tokens"] == STEP
    assert found[0]["loss"] < losses(lm)[0] - 0.5
    before = {line["source"]: line["loss"] for line in lines(lm, "heldout.jsonl")[-3:]}
    for line in lines(store.path(again), "heldout.jsonl")[:3]:
        assert line["loss"] == pytest.approx(before[line["source"]], abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schedule": "decay"}, "start: is not given, but decay is a branch"),
        ({"schedule": "stable"}, "warmup: 0.05 is a share of the steps, and a trunk does not know"),
        ({"until": 10**9}, "until: 1000000000 tokens of a mixture of 16000"),
        ({"start_at": 1024}, "start_at: there is no start; name a run with keep_every"),
        (
            {"keep_every": 1000},
            "keep_every: 1000 tokens are no whole number of steps of 1024 from 0 on; give a multiple",
        ),
        ({"keep_state": True}, "until: 16000 tokens are no whole number of steps of 1024 from 0 on; give a multiple"),
        ({"optimizer": "muon", "dtype": "bf16"}, "zero: 1 has no Muon in bf16; give 2"),
    ],
)
def test_what_makes_no_chain_is_one_sentence(tiny, tmp_path, fields, words):
    with pytest.raises(PresightError) as error:
        varied(tiny.train, **fields).run(tmp_path, {"mixture": tiny.path(tiny.mixture)})
    assert words in str(error.value)


# The sixth step's loss is no number, nor is any gradient; what is left of them must not reach the steps that come.
SPOILT = """
from pretrain.loss import Objective
from pretrain.run import Run
spoils = False
plain, step = Objective.forward, Run._step
def forward(self, *given):
    total, losses = plain(self, *given)
    poison = float("nan") if spoils and self.training else 1.0
    return total * poison, losses * poison
def stepping(run, *given):
    global spoils
    spoils = run.state.step == 5
    return step(run, *given)
Objective.forward, Run._step = forward, stepping
"""
RELEASED = """
from pretrain.rolling import Rolling
Rolling.left_out = lambda rolling: [5]
"""


@pytest.mark.parametrize(
    "fields", [{"zero": 0}, {"zero": 1, "micro_batch": 4}, {"zero": 2, "dtype": "bf16"}, {"zero": 3}]
)
def test_a_step_without_a_number_is_left_out_and_said(tiny, tmp_path, fields):
    """What comes of it is what would have come of a run that was told of the step beforehand."""
    stage = varied(tiny.train, spikes="skip", **fields)
    stores = [beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("spoilt", "told")]
    done = forked((stores[0], stage), before=PARTED + SAVED_EACH_STEP + SPOILT)
    assert done.returncode == 0, done.stderr
    assert forked((stores[1], stage), before=PARTED + RELEASED).returncode == 0
    made = stores[0].path(stage)
    found = lines(made)
    assert [line["step"] for line in found if line.get("skipped")] == [6]
    assert [line["step"] for line in found] == [*range(1, 17)]
    assert found == lines(stores[1].path(stage))
    ledger = json.loads((made / "ledger.json").read_text())
    assert ledger["skipped"] == [5]
    assert ledger["tokens"] == (ITEMS - BATCH) * ITEM
    assert json.loads((made / "counts.json").read_text())["skipped_steps"] == 1


def test_a_run_that_stops_names_its_last_good_checkpoint(tiny, tmp_path):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    done = forked((store, tiny.train), before=SAVED_EACH_STEP + SPOILT)
    assert done.returncode == EXIT_DIVERGED
    assert "loss: is nan at step 6; the last good checkpoint is " in done.stderr
    assert "step-0000000005; lower learning_rate, or leave the step out with spikes: skip." in done.stderr


def test_milestones_are_models(tiny, lm, tmp_path):
    from transformers import AutoModelForCausalLM

    stage = varied(tiny.train, keep_milestones=True)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    assert forked((store, stage)).returncode == 0
    folders = sorted((store.path(stage) / "milestones").iterdir())
    assert [int(folder.name) for folder in folders] == [0, 8 * STEP, ITEMS * ITEM]
    first, last = (AutoModelForCausalLM.from_pretrained(folder) for folder in (folders[0], folders[-1]))
    assert payload(folders[-1])["model.safetensors"] == payload(lm)["model.safetensors"]
    assert not all((a == b).all() for a, b in zip(first.parameters(), last.parameters(), strict=True))
    assert losses(store.path(stage)) == losses(lm)


@pytest.mark.parametrize("fields", [{"zero": 1}, {"zero": 2, "dtype": "bf16"}, {"zero": 3}])
def test_muon_learns(tiny, lm, tmp_path, fields):
    stage = varied(tiny.train, optimizer="muon", learning_rate=0.01, **fields)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    done = forked((store, stage), before=PARTED)
    assert done.returncode == 0, done.stderr
    found = lines(store.path(stage))
    assert found[-1]["loss"] < found[0]["loss"] - 0.5
    assert {line["gradient_norm"] for line in found} == {None}  # it would be the update's
    assert json.loads((store.path(stage) / "log" / "deepspeed.json").read_text())["gradient_clipping"] == 0


def test_ways_that_save_memory_change_nothing(tiny, lm, tmp_path):
    stage = varied(tiny.train, checkpointing=True, offload=True, zero=2)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    done = forked((store, stage))
    assert done.returncode == 0, done.stderr
    assert losses(store.path(stage)) == pytest.approx(losses(lm), abs=1e-5)


def test_alone_the_mean_over_ranks_is_spared_and_nothing_else(tiny, tmp_path):
    stage = varied(tiny.train, dtype="bf16", batch=2 * tiny.train.batch, micro_batch=tiny.train.batch, until=4 * STEP)
    spared, meant = (beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("spared", "meant"))
    reduced = """
from deepspeed.runtime.engine import DeepSpeedEngine
plain, calls = DeepSpeedEngine.buffered_allreduce_fallback, []
DeepSpeedEngine.buffered_allreduce_fallback = lambda *given, **named: (calls.append(1), plain(*given, **named))
from pretrain.run import Run
closing = Run._close
def close(run):
    assert bool(calls) == MEANT
    closing(run)
Run._close = close
"""
    both = {
        spared: "MEANT = False",
        meant: "MEANT = True\nfrom pretrain import engine\nengine._alone = lambda made: made",
    }
    for store, asked in both.items():
        done = forked((store, stage), before=asked + reduced)
        assert done.returncode == 0, done.stderr
    assert payload(spared.path(stage)) == payload(meant.path(stage))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_compiled_it_learns_the_same(tiny, lm, tmp_path, dtype):
    """The plain backend: what its kernels would save takes minutes of a C++ compiler here."""
    stage = varied(tiny.train, compiled=True, until=4 * STEP, dtype=dtype)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    before = """
import torch
plain = torch.nn.Module.compile
torch.nn.Module.compile = lambda module: plain(module, backend="aot_eager")
from transformers.models.llama import modeling_llama
layer = modeling_llama.LlamaDecoderLayer
forward = layer.forward
def seen(self, hidden, attention_mask=None, **given):
    assert attention_mask is None  # which would keep attention from its quick kernels
    return forward(self, hidden, attention_mask=attention_mask, **given)
layer.forward = seen
from pretrain import attention
attention.pays = lambda: True
from pretrain.run import Run
closing = Run._close
def close(run):
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # one for all layers, to learn and to look
    assert not torch._dynamo.utils.counters["graph_break"]
    closing(run)
Run._close = close
"""
    done = forked((store, stage), before=before)
    assert done.returncode == 0, done.stderr
    found = losses(store.path(stage))
    assert found[0] == pytest.approx(losses(lm)[0], abs=1e-5 if dtype == "fp32" else 0.02)
    assert found[-1] < found[0] - 0.2


@pytest.mark.parametrize("pays", [False, True])
def test_in_bf16_two_ranks_learn_as_one(tiny, tmp_path, pays):
    stage = varied(tiny.train, dtype="bf16", until=4 * STEP)
    one, two = (beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("one", "two"))
    before = f"""
from pretrain import attention
attention.pays = lambda: {pays}
from pretrain.run import Run
closing = Run._close
def close(run):
    from transformers import AttentionInterface
    assert (AttentionInterface()["sdpa"] is attention.attend) == {pays}
    closing(run)
Run._close = close
"""
    for store, ranks in ((one, 1), (two, 2)):
        done = forked((store, stage), before=before, ranks=ranks)
        assert done.returncode == 0, done.stderr
    assert losses(one.path(stage)) == pytest.approx(losses(two.path(stage)), abs=2e-3)


def test_documents_are_kept_apart(tiny, lm, tmp_path):
    stage = varied(tiny.train, documents=True)
    store = beside(tiny.store, tmp_path, tiny.mixture)
    done = forked((store, stage))
    assert done.returncode == 0, done.stderr
    assert losses(store.path(stage)) != losses(lm)
    items = Items(tiny.path(tiny.mixture), documents=True)
    batch = items.batch(0, 64)
    end = 0  # the end-of-text token
    begins = (batch.positions[:, 1:] == 0) & (np.arange(1, ITEM) > 0)
    assert begins.any()
    assert (batch.tokens[:, :-1][begins] == end).all()
    assert ((batch.targets() == IGNORED)[:, :-1] == begins).all()


def test_every_item_is_read_once_by_somebody():
    course = Course(first=5, last=48, batch=8, before=3)
    assert course.steps == 6
    for world in (1, 2, 4, 8):
        read = [
            item for step in range(3, 9) for rank in range(world) for item in range(*course.bounds(step, rank, world))
        ]
        assert read == [*range(5, 48)]


def test_losses_are_taken_by_label(tiny, lm, tmp_path):
    """The classifier tells the invented sources apart, so a label's loss is mostly that of its source."""
    label = labelled(tiny, tmp_path)[1]
    stage = varied(tiny.train, labels=label)
    store = beside(tiny.store, tmp_path / "store", tiny.mixture, label)
    done = forked((store, stage))
    assert done.returncode == 0, done.stderr
    assert losses(store.path(stage)) == losses(lm)
    for line in lines(store.path(stage)):
        by_source, by_label = line["loss_by_source"], line["loss_by_label"]
        assert by_label["math_reasoning"] == pytest.approx(by_source["math"], abs=0.1)
        assert by_label["visual"] == pytest.approx(by_source["web"], abs=0.1)


# Killed with -9 between two steps, or within one, at a step that the dice say; saved at random steps before it.
STRUCK = """
import random, signal
from pretrain import curves
from pretrain.sums import Sums
dice = random.Random({seed})
curves.CHECKPOINT_SECONDS = -1.0 if dice.random() < 0.7 else 1e9
when, seen, plain = dice.randint(2, 5), [], Sums.add  # three kills within sixteen steps
def add(*given):
    seen.append(1)
    if len(seen) == when and os.environ["RANK"] == "{rank}":
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*given)
Sums.add = add
"""


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("zero", "dtype"), [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16")])
def test_killed_again_and_again_the_losses_are_the_undisturbed_ones(tiny, tmp_path, zero, dtype, ranks):
    """Twenty kills over every stage of ZeRO, one process and two, and five more in bf16."""
    stage = varied(tiny.train, zero=zero, dtype=dtype)
    stores = [beside(tiny.store, tmp_path / name, tiny.mixture) for name in ("whole", "struck")]
    assert forked((stores[0], stage), ranks=ranks, before=PARTED).returncode == 0
    kills = 3 if ranks == 1 else 2
    for kill in range(kills):
        seed = 100 * zero + 10 * ranks + kill
        before = PARTED + STRUCK.format(seed=seed, rank=kill % ranks)
        assert forked((stores[1], stage), ranks=ranks, before=before).returncode != 0
        assert stores[1].find(stage) is None
    assert forked((stores[1], stage), ranks=ranks, before=PARTED).returncode == 0
    whole, struck = (payload(store.path(stage)) for store in stores)
    assert struck["metrics.jsonl"] == whole["metrics.jsonl"]
    assert struck["heldout.jsonl"] == whole["heldout.jsonl"]
    assert struck["model.safetensors"] == whole["model.safetensors"]
