"""The recipes that ship can all be tried at a smoke size, and the benchmark that tries them says what happened."""

import json
import runpy
from pathlib import Path

import pytest

from presight import expansion, recipe

ROOT = Path(__file__).resolve().parents[2]
SMOKE = runpy.run_path(str(ROOT / "benchmarks" / "recipes.py"))
SHIPPED = list(SMOKE["shipped"]())
OWN_DATA = {"cifar10", "fsd50k", "gtzan"}  # and GPT-2


def test_all_that_packages_can_serve_have_a_smoke_scale():
    every = {str(path.relative_to(ROOT / "recipes").with_suffix("")) for path in (ROOT / "recipes").rglob("*.yaml")}
    left = {f"see_and_hear_by_reading/{name}" for name in OWN_DATA} | set(SMOKE["ABROAD"])
    assert set(SHIPPED) == every - left
    assert len(SHIPPED) == len(set(SHIPPED))
    assert SHIPPED.index("smoke") < SHIPPED.index("see_before_seeing/base")  # the small ones first


@pytest.mark.parametrize("name", SHIPPED)
def test_each_is_whole_at_that_scale_and_smaller_than_as_it_stands(name, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a plan asks no network")

    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", refused)
    path = str(ROOT / "recipes" / f"{name}.yaml")
    small, plain = (expansion.expand(recipe.read(path, scale)) for scale in ("smoke", None))
    assert small.left_out == []
    assert {each.name for each in small.instances} == set(small.recipe.stages)

    def tokens(graph):
        return sum({each.stage.fingerprint: each.stage.estimate().tokens for each in graph.instances}.values())

    assert tokens(small) <= tokens(plain)
    assert tokens(small) < 4e6
    treated = [each.stage for each in small.instances if each.stage.kind == "deltas"]
    for each in treated:
        assert each.treatment in {member.labels.get(each.along) for member in each.scores}


def test_what_a_run_left_is_read(tmp_path):
    for place, count in (("deltas", {"deltas": 3}), ("tuned/a=1", {"deltas": 4}), ("scores/a=1", {"items": 9})):
        (tmp_path / "store" / "x" / place).mkdir(parents=True)
        (tmp_path / "store" / "x" / place / "counts.json").write_text(json.dumps(count))
        (tmp_path / "runs" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / place).symlink_to(tmp_path / "store" / "x" / place)
    (tmp_path / "runs" / "store").symlink_to(tmp_path / "store")
    (tmp_path / "runs" / "report.html").write_text("x" * 70)
    assert SMOKE["comparisons"](tmp_path / "runs") == 7
    assert SMOKE["page"](tmp_path / "runs") == 70


def test_faults_are_named():
    said = (
        "left out: a\npresight: lm: it broke.\n3 stages wait for that; what is done is kept, run again to continue\n"
    )
    assert SMOKE["fault"](said, 2) == "presight: lm: it broke."
    assert SMOKE["fault"]("Traceback\nKeyError: 'x'\n\n", 1) == "KeyError: 'x'"
    assert SMOKE["fault"]("", 137) == "exit code 137"
    assert SMOKE["left_out"](said) == "left out: a"
    assert SMOKE["left_out"]("lm: left out 3 questions\n") == ""


@pytest.mark.parametrize(("name", "scale"), [("quickstart", True), ("see_and_hear_by_reading/gtzan", False)])
def test_scales_are_known(name, scale):
    assert SMOKE["has_scale"](name) is scale


def test_a_recipe_that_fails_is_named_and_the_others_run(tmp_path, monkeypatch, capsys):
    toy = "recipe: {name}\nstages: {{n: {{stage: toys.Number, value: {value}}}}}\nscales: {{smoke: {{}}}}\n"
    (tmp_path / "good.yaml").write_text(toy.format(name="good", value=1))
    (tmp_path / "bad.yaml").write_text(toy.format(name="bad", value="[]"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "toys"))
    names = [str(tmp_path / "bad.yaml"), str(tmp_path / "good.yaml")]
    monkeypatch.setattr("sys.argv", ["recipes.py", *names, "--root", str(tmp_path / "root"), "--jobs", "1"])
    assert SMOKE["main"]() == 1
    out = capsys.readouterr().out
    assert f"{names[0]}: presight: stages.n.value: " in out
    assert "1 of 2 recipes run whole" in out
    monkeypatch.setattr("sys.argv", ["recipes.py", names[1], "--root", str(tmp_path / "root")])
    assert SMOKE["main"]() == 0
    assert "1 of 1 recipes run whole" in capsys.readouterr().out
