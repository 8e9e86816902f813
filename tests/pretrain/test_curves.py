import json

from pretrain.curves import HELDOUT, METRICS, SPEED, Curves, Speed
from pretrain.guard import WINDOW
from pretrain.rolling import State


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_lines_after_the_checkpoint_are_written_again_and_half_a_line_is_dropped(tmp_path):
    (tmp_path / METRICS).write_text(
        "".join(json.dumps({"step": n, "loss": n / 2}) + "\n" for n in range(1, 6)) + '{"st'
    )
    (tmp_path / HELDOUT).write_text("".join(json.dumps({"step": n}) + "\n" for n in (0, 2, 4)))
    with Curves(tmp_path, State(step=4, measured=2), chief=True) as curves:
        assert curves.losses() == [0.5, 1.0, 1.5, 2.0]
        curves.write(METRICS, {"step": 5, "loss": 9.0})
    assert steps(tmp_path / METRICS) == [1, 2, 3, 4, 5]
    assert steps(tmp_path / HELDOUT) == [0, 2]
    assert (tmp_path / SPEED).read_text() == ""


def test_a_rank_that_does_not_write_touches_nothing(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 4.0}\n')
    before = (tmp_path / METRICS).read_bytes()
    with Curves(tmp_path, State(step=1), chief=False) as curves:
        curves.write(METRICS, {"step": 9})
        assert curves.losses() == [3.0]
    assert (tmp_path / METRICS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [METRICS]


def test_steps_that_were_left_out_have_no_loss_to_judge_by(tmp_path):
    lines = [{"step": n} | ({"skipped": True} if n == 3 else {"loss": float(n)}) for n in range(1, 2 * WINDOW)]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Curves(tmp_path, State(step=6), chief=True) as curves:
        assert curves.losses() == [1.0, 2.0, 4.0, 5.0, 6.0]


def test_utilisation_is_said_with_what_it_stands_on():
    found = Speed(flops=6e6, peak=1e9, source="measured", ranks=2).of(100.0)
    assert found["mfu"] == 0.3
    assert (found["formula"], found["peak"], found["peak_source"]) == ("6N + 12LDT", 1e9, "measured")
    assert Speed(None, 1e9, "measured", 1).of(100.0)["mfu"] is None
    assert Speed(6e6, None, "no data sheet", 1).of(100.0)["mfu"] is None
