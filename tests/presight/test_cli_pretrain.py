import json

import pytest
from typer.testing import CliRunner

from presight.cli import app
from presight.console import number
from presight.errors import PresightError
from pretrain.budget import Layout, memory, predict
from pretrain.model import SHAPES, shape


def call(*words):
    """What ``presight`` prints; its error, if it has one."""
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def asked(*words):
    return call("pretrain", "budget", *words)


FLAGSHIP = ("--model", "7b", "--tokens", "1e12", "--gpu", "A100", "--gpus", 128)


def test_the_flagship_in_words_and_for_machines():
    shown = asked(*FLAGSHIP)
    for each in ("6.95B parameters", "6N + 12LDT", "no causal discount", "MFU 40.0% of 312 TFLOP/s", "2509.26625"):
        assert each in shown
    assert "31.9 days, 98,136 A100-hours" in shown
    assert [line.split()[1] for line in shown.splitlines() if line.strip().startswith("ZeRO")] == ["1", "2", "3"]
    (found,) = json.loads(asked(*FLAGSHIP, "--json"))
    want = predict("7b", 1e12, gpu="A100", layout=Layout(gpus=128))
    assert found["gpu_hours"] == pytest.approx(want.gpu_hours)
    assert found["memory"]["total"] == want.memory.total
    assert found["utilisation"] == {"mfu": 0.4, "source": want.utilisation.source}
    assert found["formula"] == want.formula


def test_every_option_reaches_the_layout():
    words = ("--model", "1b", "--gpu", "A100", "--gpus", 3, "--zero", 2, "--optimizer", "muon", "--offload")
    more = ("--checkpointing", "--micro-batch", 4, "--context", 1024, "--vocabulary", 16_384, "--full-logits")
    (found,) = json.loads(asked(*words, *more, "--dtype", "fp32", "--mfu", 0.3, "--json"))
    layout = Layout(3, 2, "fp32", "muon", True, True, 4, 1024, 16_384, 0)
    assert Layout(**found["layout"]) == layout
    assert found["memory"]["logits"] == memory(shape("1b"), layout).logits
    assert found["utilisation"]["mfu"] == 0.3
    assert found["tokens"] is None
    assert "gpu_hours" not in found


def test_all_sizes_with_and_without_a_published_rate():
    found = {each["model"]: each for each in json.loads(asked("--json"))}
    assert list(found) == list(SHAPES)
    assert all(each["memory"]["total"] > 0 for each in found.values())
    assert found["7m"]["problem"].startswith("mfu: none is published for 13M parameters")
    assert found["7b"]["rate"] == pytest.approx(predict("7b", 1).rate)
    rows = {line.split()[0]: line.split() for line in asked().splitlines() if line.split()[:1]}
    assert rows["7b"][-2:] == ["46%", number(predict("7b", 1).rate)]
    assert rows["7m"][-1] == "yes"
    assert "none is published" in asked("--model", "7m")
    assert "8 h 20 min, 66.7 H100-hours" in asked("--model", "340m", "--rate", "1e6", "--tokens", "3e10")


def test_this_cpu_is_measured(monkeypatch):
    monkeypatch.setattr("pretrain.budget.matmul_peak", lambda dtype: 1e11)
    shown = asked("--model", "7m", "--gpu", "cpu", "--dtype", "fp32", "--mfu", 0.5, "--tokens", "1e6")
    assert "MFU 50.0% of 0.1 TFLOP/s (cpu, fp32, dense): as given" in shown
    assert "1 × cpu" in shown
    assert "ZeRO 0" in shown


def test_the_papers_program_row_by_row():
    found = json.loads(asked("--program", "see_before_seeing", "--json"))
    assert found["runs"] == sum(row["runs"] for row in found["rows"]) == 133
    assert found["gpu_hours"] == pytest.approx(sum(row["runs"] * row["gpu_hours"] for row in found["rows"]))
    shown = asked("--program", "see_before_seeing")
    assert sum(line.split()[:1] == ["scale"] for line in shown.splitlines()) == 35
    assert f"{found['gpu_hours']:,.0f}" in shown
    assert shown.count("MFU") == 1  # one basis, said once
    quick = json.loads(asked("--program", "see_before_seeing", "--gpu", "H100", "--gpus", 8, "--json"))
    assert quick["gpu_hours"] < found["gpu_hours"] / 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--tokens", "1e9"), "tokens: whose run is not said; name a size with --model, or a --program."),
        (("--rate", "1e5"), "rate: a rate was measured with one size; name it with --model."),
        (("--program", "mine"), "program: 'mine' is no programme of runs; known: see_before_seeing."),
        (("--program", "see_before_seeing", "--model", "7b"), "program: a programme has its own sizes and tokens"),
        (("--model", "8b"), "model: '8b' is no size"),
        (("--gpu", "H1000"), "gpu: 'H1000' is no card with a data sheet here; did you mean H100?"),
        (("--model", "7m", "--tokens", "1e9"), "mfu: none is published for 13M parameters on H100 in bf16"),
        (("--model", "7b", "--zero", "0"), "zero: stage 0 has no fp32 gradients for bf16 weights"),
        (("--mfu", "40"), "mfu: 40 is no share of a peak"),
    ],
)
def test_errors_are_one_sentence(words, sentence):
    with pytest.raises(PresightError) as found:
        asked(*words)
    assert str(found.value).startswith(sentence)
    assert found.value.code == 2


def test_help_names_the_command():
    done = CliRunner().invoke(app, ["pretrain", "--help"])
    assert done.exit_code == 0
    assert "budget" in done.stdout


CHAIN = """
recipe: chain
stages:
  text: {stage: corpus.Invented, documents: 20}
  tokenizer: {stage: corpus.Tokenizer, documents: $text, vocabulary: 512}
  tokens: {stage: corpus.Tokenize, documents: $text, tokenizer: $tokenizer}
  mix: {stage: corpus.Mix, tokens: $tokens, sources: {web: 50, code: 50}, budget: 16384, item: 64}
  trunk: {stage: pretrain.Train, mixture: $mix, model: 1b, dtype: bf16, schedule: stable, warmup: 1, until: 8192,
    keep_state: true}
  short: {stage: pretrain.Train, mixture: $mix, start: $trunk, schedule: decay, dtype: bf16, until: 10240}
  long: {stage: pretrain.Train, mixture: $mix, start: $trunk, schedule: decay, dtype: bf16}
"""


def test_a_plan_says_what_pretraining_takes_and_what_chains_save(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    recipe = tmp_path / "chain.yaml"
    recipe.write_text(CHAIN)
    plain = call("plan", str(recipe), "--root", str(tmp_path))
    assert "chains: 18.4k tokens are read instead of 26.6k: 31% of pretraining saved" in plain
    assert "tokens/s" not in plain  # nobody asked for GPUs
    words = call("plan", str(recipe), "--root", str(tmp_path), "--gpu", "A100")
    assert "A100-hours" in words
    assert ": llm-foundry on a node of A100s" in words
    found = json.loads(call("plan", str(recipe), "--root", str(tmp_path), "--gpu", "A100", "--mfu", "0.5", "--json"))
    runs = found["pretraining"]["runs"]
    assert [run["stage"] for run in runs] == ["trunk", "short", "long"]
    assert [run["tokens"] for run in runs] == [8192, 2048, 8192]
    assert all(run["mfu"] == {"mfu": 0.5, "source": "as given"} for run in runs)
    assert (found["pretraining"]["tokens"], found["pretraining"]["tokens_alone"]) == (18432, 26624)


def test_a_passport_is_shown_class_by_class(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(PresightError, match="holds no passport; make one: presight run passport"):
        call("pretrain", "passport", tmp_path)
    ways = {
        name: {"digest": "", "losses": [], "distance": far} for name, far in (("a/b", 0), ("c", 1e-8), ("d", 2e-3))
    }
    document = {"model": "tiny", "steps": 10, "classes": [["d"], ["a/b", "c"]], "ways": ways}
    (tmp_path / "passport.json").write_text(json.dumps(document))
    said = call("pretrain", "passport", tmp_path).splitlines()
    assert said[0] == "10 steps of tiny: 3 ways, 2 classes"
    rows = [line.split() for line in said if line.strip().endswith(("e-08", "e+00", "e-03"))]
    assert rows == [["1", "a,", "b", "0.0e+00"], ["c", "1.0e-08"], ["2", "d", "2.0e-03"]]
    assert json.loads(call("pretrain", "passport", tmp_path, "--json")) == document
