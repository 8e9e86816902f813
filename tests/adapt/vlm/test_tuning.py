import json

import pytest
import torch
import toy_tuning as toy
from toy_experiment import PARTED, beside, forked, payload

from adapt.vlm.artifact import LANGUAGE, Attachment
from adapt.vlm.model import VisionLanguageModel
from adapt.vlm.samples import Choice, Samples, Shelf
from adapt.vlm.tune import Align, Instruct
from presight.errors import EXIT_CONTINUE, EXIT_DIVERGED
from presight.stage import scratch
from presight.store import Store

LM, SEEN, CAPTIONS, SAID = toy.Lm(), toy.Seen(), toy.Captions(), toy.Instructions()
SETTINGS = {"features": SEEN, "context": 64}
ALIGN = Align(model=LM, data=CAPTIONS, tokens=4, epochs=2, batch=24, learning_rate=1e-2, warmup=0.2, **SETTINGS)
INSTRUCT = Instruct(
    start=ALIGN, data=(CAPTIONS, SAID), batch=36, learning_rate=1e-3, decay=0.1, micro_batch=3, **SETTINGS
)
STEPS = 6  # of both: three an epoch of 64 captions, six of 192 conversations, the last of an epoch short
MADE = (LM, SEEN, CAPTIONS, SAID, ALIGN)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return [line["loss"] for line in lines(folder)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("tuning") / "store")
    done = forked(*((made, stage) for stage in (*MADE, INSTRUCT)))
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def elsewhere(store, tmp_path):
    """A store that has all but what was made of instructions."""
    return beside(store, tmp_path / "store", *MADE)


@pytest.mark.parametrize("stage", [ALIGN, INSTRUCT], ids=["align", "instruct"])
def test_every_loss_equals_a_plain_training_loop(store, stage):
    """The slow twin: one conversation at a time, transformers' own loss, torch's AdamW; no rows, no engine."""
    aligning = stage is ALIGN
    if aligning:
        attachment = Attachment(4, toy.WIDTH, toy.GRID, "toy@1", "image", "caption")
        model = VisionLanguageModel.attached(store.path(LM), attachment)
        model.language.requires_grad_(False)
        data = [store.path(CAPTIONS)]
    else:
        model = VisionLanguageModel.load(store.path(ALIGN)).with_template("plain")
        data = [store.path(CAPTIONS), store.path(SAID)]
    shelf = Shelf.of([store.path(SEEN)])
    order = Samples(Choice().of(data)[0], model.template, 4, 64, 64, stage.batch, 0, None, None)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": stage.decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    found = lines(store.path(stage))
    assert len(found) == STEPS
    for step, line in enumerate(found):
        total, count = 0.0, 0
        for number in order.chosen(step):
            said = order.conversations[number]
            text = model.template.conversation(said.turns, said.picture is not None)
            read = model.language.get_input_embeddings()(torch.from_numpy(text.ids))
            labels = torch.from_numpy(text.ids).where(torch.from_numpy(text.learnt), torch.tensor(-100))
            if said.picture:
                shown = model.look(torch.from_numpy(shelf.read([said.picture])))[0]
                read = torch.cat([read[: text.place], shown, read[text.place :]])
                labels = torch.cat([labels[: text.place], torch.full((4,), -100), labels[text.place :]])
            logits = model.language(inputs_embeds=read[None]).logits[0, :-1]
            total = total + torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum")
            count += int(text.learnt.sum())
        loss = total / count
        assert line["loss"] == pytest.approx(loss.item(), abs=2e-5)
        assert line["tokens_learnt"] == count
        for group in optimizer.param_groups:
            group["lr"] = line["learning_rate"]
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        assert line["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)
        optimizer.step()
    made = VisionLanguageModel.load(store.path(stage)).state_dict()
    for name, value in model.state_dict().items():
        assert torch.allclose(value, made[name], atol=2e-5), name


def test_metrics_say_what_was_read(store):
    found = lines(store.path(INSTRUCT))
    assert [line["step"] for line in found] == [*range(1, STEPS + 1)]
    assert [line["samples"] for line in found] == [min(36 * step, 192) for step in range(1, STEPS + 1)]
    assert [line["samples"] for line in lines(store.path(ALIGN))] == [24, 48, 64, 88, 112, 128]
    counts = json.loads((store.path(INSTRUCT) / "counts.json").read_text())
    assert (counts["samples"], counts["pictures"], counts["steps"]) == (64 + 128, 64 + 64, STEPS)
    assert counts["tokens"] == found[-1]["tokens"]
    assert counts["tokens learnt"] == sum(line["tokens_learnt"] for line in found)
    for line in found:
        assert set(line["loss_by_tag"]) <= {"perception", "reasoning", "other", "untagged"}
        assert min(line["loss_by_tag"].values()) <= line["loss"] <= max(line["loss_by_tag"].values())


def test_rates_rise_and_fall(store):
    rates = [line["learning_rate"] for line in lines(store.path(ALIGN))]
    assert rates[0] == 1e-2
    assert rates[-1] == 0.0
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("fields", "ranks"),
    [
        ({"zero": 0}, 2),
        ({"zero": 1, "micro_batch": 1}, 2),
        ({"zero": 2, "micro_batch": 2, "checkpointing": True}, 2),
        ({"zero": 3}, 1),
    ],
    ids=str,
)
def test_however_it_is_run_it_learns_the_same(store, elsewhere, fields, ranks):
    stage = INSTRUCT.changed(**fields)
    assert stage.fingerprint == INSTRUCT.fingerprint
    done = forked((elsewhere, stage), ranks=ranks, before=PARTED)
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(lines(elsewhere.path(stage)), lines(store.path(INSTRUCT)), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-3)
        assert mine["loss_by_tag"] == pytest.approx(theirs["loss_by_tag"], abs=1e-5)
        assert mine["tokens"] == theirs["tokens"]
    mine, theirs = (VisionLanguageModel.load(each.path(stage)).state_dict() for each in (elsewhere, store))
    for name, value in mine.items():
        assert torch.allclose(value, theirs[name], atol=1e-4), name


def test_bf16_learns_about_as_well(store, elsewhere):
    stage = INSTRUCT.changed(dtype="bf16")
    done = forked((elsewhere, stage))
    assert done.returncode == 0, done.stderr
    assert losses(elsewhere.path(stage)) == pytest.approx(losses(store.path(INSTRUCT)), abs=0.02)
    assert losses(elsewhere.path(stage)) != losses(store.path(INSTRUCT))


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


@pytest.mark.parametrize("stage", [ALIGN, INSTRUCT], ids=["align", "instruct"])
def test_killed_it_goes_on_to_the_same_bytes(store, tmp_path, stage):
    there = beside(store, tmp_path / "store", *MADE[: 4 + (stage is INSTRUCT)])
    killed = forked((there, stage), before=SAVED_EACH_STEP + DIES_AFTER.format(step=4))
    assert killed.returncode != 0
    assert there.find(stage) is None
    if stage is ALIGN:  # what is frozen is in no checkpoint
        rolling = scratch(there.work(stage) / "payload") / "rolling"
        size = sum(path.stat().st_size for path in rolling.rglob("*") if path.is_file())
        assert 0 < size < (store.path(LM) / "model.safetensors").stat().st_size
    again = forked((there, stage))
    assert again.returncode == 0, again.stderr
    assert payload(there.path(stage)) == payload(store.path(stage))


def test_two_processes_saved_one_goes_on(store, tmp_path):
    there = beside(store, tmp_path / "store", *MADE[:4])
    before = SAVED_EACH_STEP + DIES_AFTER.format(step=4)
    assert forked((there, ALIGN), ranks=2, before=before).returncode != 0
    again = forked((there, ALIGN))
    assert again.returncode == 0, again.stderr
    assert losses(there.path(ALIGN)) == pytest.approx(losses(store.path(ALIGN)), abs=1e-5)


SIGNALLED = """
import signal
from adapt.vlm.tuning import Tuning
plain = Tuning._backward
def backward(tuning, *given):
    if tuning.state.step == 4:
        os.kill(os.getpid(), signal.SIG{name})
    return plain(tuning, *given)
Tuning._backward = backward
"""


@pytest.mark.parametrize(("name", "ranks"), [("TERM", 1), ("USR1", 2)])
def test_told_to_stop_it_saves_and_asks_to_be_continued(store, elsewhere, name, ranks):
    told = forked((elsewhere, INSTRUCT), ranks=ranks, before=SIGNALLED.format(name=name))
    assert told.returncode == EXIT_CONTINUE == 85, told.stderr
    assert "signal: saved at step 5 in " in told.stderr
    assert elsewhere.find(INSTRUCT) is None
    again = forked((elsewhere, INSTRUCT), ranks=ranks)
    assert again.returncode == 0, again.stderr
    if ranks == 1:
        assert payload(elsewhere.path(INSTRUCT)) == payload(store.path(INSTRUCT))
    assert losses(elsewhere.path(INSTRUCT)) == pytest.approx(losses(store.path(INSTRUCT)), abs=1e-5)


SPOILT = """
from adapt.vlm.tuning import Tuning
plain = Tuning._backward
def backward(tuning, *given):
    sums = plain(tuning, *given)
    return sums * float("nan") if tuning.state.step == 3 else sums
Tuning._backward = backward
"""


def test_a_loss_that_is_no_number_stops_it(store, elsewhere):
    done = forked((elsewhere, INSTRUCT), before=SAVED_EACH_STEP + SPOILT)
    assert done.returncode == EXIT_DIVERGED == 88
    assert "loss: is nan at step 4; the last good checkpoint is " in done.stderr
    assert elsewhere.find(INSTRUCT) is None


def test_no_place_and_no_time_is_in_the_payload(store):
    for stage in (ALIGN, INSTRUCT):
        for content in payload(store.path(stage)).values():
            assert str(store.root).encode() not in content
            assert b"per_second" not in content
    assert (store.path(INSTRUCT) / "log" / "speed.jsonl").exists()
    assert (store.path(INSTRUCT) / LANGUAGE / "tokenizer.json").exists()
