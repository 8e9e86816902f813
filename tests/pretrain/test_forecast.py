import pytest
from toy_experiment import BATCH, ITEM, ITEMS, varied

from presight.errors import PresightError
from presight.stage import Cost, Resources
from pretrain import Checkpoint
from pretrain.budget import Layout, memory, predict
from pretrain.forecast import forecast, tokens_alone
from pretrain.model import shape

STEP = BATCH * ITEM


def test_a_run_is_predicted_on_the_gpus_that_it_asks_for(tiny):
    run = varied(
        tiny.train, model="1b", dtype="bf16", zero=3, optimizer="muon", checkpointing=True,
        resources=Resources(gpus=4, nodes=2),
    )  # fmt: skip
    found = forecast(run, "A100")
    layout = Layout(
        gpus=8, zero=3, dtype="bf16", optimizer="muon", checkpointing=True, micro_batch=2, context=ITEM, vocabulary=512
    )
    assert found.layout == layout
    assert found.tokens == ITEMS * ITEM
    assert found.memory == memory(shape("1b"), layout)
    assert found.rate == predict("1b", ITEMS * ITEM, gpu="A100", layout=layout)
    assert forecast(run, "A100", mfu=0.1).rate.rate == pytest.approx(
        predict("1b", 1.0, gpu="A100", layout=layout, mfu=0.1).rate
    )


def test_where_nothing_is_published_memory_alone_is_an_answer(tiny):
    found = forecast(tiny.train, "H100")
    assert isinstance(found.rate, PresightError)
    assert "none is published for" in str(found.rate)
    assert found.memory.total > 0
    with pytest.raises(PresightError, match="mfu: 2 is no share"):
        forecast(tiny.train, "H100", mfu=2)
    with pytest.raises(PresightError, match="gpu: 'X1' is no card"):
        forecast(varied(tiny.train, dtype="bf16"), "X1")


def test_a_start_from_elsewhere_has_no_size(tiny):
    assert forecast(varied(tiny.train, start=Checkpoint(repository="lab/lm")), "H100") is None


def test_what_chains_save(tiny):
    """Budgets of 4, 8 and 16 steps: a trunk to 12, and a quarter of each budget for its branch."""
    settings = {"schedule": "stable", "warmup": 1, "keep_state": True}
    trunk = [varied(tiny.train, until=3 * STEP, **settings)]
    trunk += [varied(trunk[0], start=trunk[0], until=6 * STEP)]
    trunk += [varied(trunk[0], start=trunk[1], until=12 * STEP)]
    decay = {"schedule": "decay", "keep_state": False}
    branches = [varied(link, start=link, until=n * STEP, **decay) for link, n in zip(trunk, (4, 8, 15), strict=True)]
    runs = [*trunk, *branches]
    assert sum(run.estimate().tokens for run in runs) == (12 + 1 + 2 + 3) * STEP
    assert tokens_alone(runs) == (4 + 8 + 15) * STEP
    assert tokens_alone([tiny.train, varied(tiny.train, seed=1)]) == 2 * ITEMS * ITEM


def test_a_trunk_in_one_piece_saves_as_much(tiny):
    piece = varied(tiny.train, schedule="stable", warmup=1, until=12 * STEP, keep_every=3 * STEP)
    branches = [
        varied(piece, start=piece, start_at=at * STEP, until=to * STEP, schedule="decay", keep_every=None)
        for at, to in ((3, 4), (6, 8), (12, 15))
    ]
    assert sum(run.estimate().tokens for run in [piece, *branches]) == (12 + 1 + 2 + 3) * STEP
    assert tokens_alone([piece, *branches]) == (4 + 8 + 15) * STEP


def test_the_disk_holds_models_and_what_is_needed_to_go_on(tiny):
    words, tokens = 512, ITEMS * ITEM
    model, state = 4 * shape("tiny").parameters(words), 12 * shape("tiny").parameters(words)

    def disk(**fields):
        found = varied(tiny.train, **fields).estimate()
        return found.disk, found.working

    assert disk() == (model, 2 * state)
    assert disk(keep_state=True) == (model + state, 2 * state)
    assert disk(keep_milestones=True, milestones=5) == (6 * model, 2 * state)
    assert disk(keep_every=tokens // 2) == (3 * model + 2 * state, 2 * state)
    assert disk(dtype="bf16")[1] == 2 * 14 * shape("tiny").parameters(words)


def test_a_model_takes_the_disk_that_was_foreseen(tiny, lm):
    found = sum(path.stat().st_size for path in lm.glob("*.safetensors"))
    assert found == pytest.approx(tiny.train.estimate().disk, rel=0.05)


def test_a_run_of_adaptation_takes_the_hours_of_its_arithmetic(tiny):
    class Frozen:
        """Two thirds of the arithmetic of training a 1b model on 3,000 tokens."""

        zero, dtype, offload, checkpointing, micro_batch, batch, context = 1, "bf16", False, False, 4, 32, ITEM
        tunes = False
        resources = Resources(gpus=8)
        vocabulary = 512

        def size(self):
            return "1b"

        def estimate(self):
            return Cost(tokens=3000, flops=2000 * shape("1b").flops(512, ITEM))

    found = forecast(Frozen(), "A100")
    whole = predict("1b", 2000, gpu="A100", layout=found.layout)
    assert found.tokens == 3000
    assert found.rate.gpu_hours == pytest.approx(whole.gpu_hours)
    assert found.speed == pytest.approx(1.5 * whole.rate)
    assert (found.memory.gradients, found.memory.optimizer) == (0, 0)
    assert found.memory.weights == memory(shape("1b"), found.layout).weights > 0
