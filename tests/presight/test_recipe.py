from pathlib import Path

import pytest
import toys
import yaml

from presight import expansion, recipe
from presight.assembly import stage_class
from presight.errors import PresightError, Unavailable
from presight.stage import FrozenMap, Labelled


@pytest.fixture
def expand(tmp_path):
    def expand(text, scale=None, overrides=()):
        path = tmp_path / "toy.yaml"
        path.write_text(text)
        return expansion.expand(recipe.read(str(path), scale, overrides))

    return expand


def titles(graph):
    return [each.title for each in graph.instances]


# --- the same by hand -------------------------------------------------------------------------------------------

RAGGED = """
recipe: ragged
axes:
  mixture: {vision: {web: 1, code: 2}, language: {web: 3}}
  init: [0, 1]
  weights: {text: $lm, random: $random}
stages:
  lm: {stage: toys.Number, shares: $mixture, value: $init}
  random: {stage: toys.Number, value: $init}
  scores: {stage: toys.Add, left: $weights}
  all: {stage: toys.Total, numbers: "$scores[*]"}
  by_init: {stage: toys.Total, numbers: "$scores[init=*]"}
  by_weights: {stage: toys.Total, numbers: "$scores[weights=*,init=0]"}
"""


def test_random_does_not_depend_on_the_mixture_and_is_made_once(expand):
    graph = expand(RAGGED)
    named = {each.title: each for each in graph.instances}
    assert [title for title in named if title.startswith("scores")] == [
        "scores[weights=text,mixture=vision,init=0]",
        "scores[weights=text,mixture=vision,init=1]",
        "scores[weights=text,mixture=language,init=0]",
        "scores[weights=text,mixture=language,init=1]",
        "scores[weights=random,init=0]",
        "scores[weights=random,init=1]",
    ]
    (everything,) = [each for each in graph.instances if each.name == "all"]
    assert [dict(each.labels) for each in everything.stage.numbers][-1] == {"weights": "random", "init": "1"}
    assert len(everything.stage.numbers) == 6
    assert {title for title in named if title.startswith("by_init")} == {
        "by_init[weights=text,mixture=vision]",
        "by_init[weights=text,mixture=language]",
        "by_init[weights=random]",
    }
    # At each mixture, its own text weights and the one random control.
    assert {title for title in named if title.startswith("by_weights")} == {
        "by_weights[mixture=vision]",
        "by_weights[mixture=language]",
    }
    vision = named["by_weights[mixture=vision]"].stage.numbers
    assert [dict(each.labels) for each in vision] == [{"weights": "text"}, {"weights": "random"}]
    assert vision[0].stage == named["scores[weights=text,mixture=vision,init=0]"].stage
    assert vision[1].stage == named["scores[weights=random,init=0]"].stage


def test_a_pin_takes_one_label(expand):
    graph = expand("""
axes: {a: [1, 2], b: [x, y]}
stages:
  n: {stage: toys.Bag, word: $b, whole: $a}
  m: {stage: toys.Number, value: $a}
  s: {stage: toys.Add, left: "$m[a=2]", right: 0}
  t: {stage: toys.Add, left: $m, right: "$m[ a = 1 ]"}
  u: {stage: toys.Bag, gathered: ["$n[*]", "$m[a=*]"], words: [$b, k]}
""")
    named = {each.title: each.stage for each in graph.instances}
    assert named["s"].left.value == 2
    assert (named["t[a=2]"].left.value, named["t[a=2]"].right.value) == (2, 1)
    assert named["u[b=y]"].words == ("y", "k")
    assert [dict(each.labels) for each in named["u[b=x]"].gathered] == [
        {"b": b, "a": a} for b in "xy" for a in "12"
    ] + [{"a": "1"}, {"a": "2"}]


def test_gathering_what_has_one_place_gives_one(expand):
    graph = expand("stages: {n: {stage: toys.Number}, t: {stage: toys.Total, numbers: '$n[*]'}}")
    (total,) = graph.targets()
    assert total.numbers == (Labelled(FrozenMap(), toys.Number()),)


SCALED = """
axes: {a: [1, 2]}
threads: 2
stages:
  n: {stage: toys.Number, value: $a, shares: {x: 1, y: 2}, resources: {minutes: 3}}
  m: {stage: toys.Add, left: $n, steps: 2}
scales:
  big: {a: [5], n: {shares: {y: 3}}, m: {steps: 4}, threads: 1}
  bad: {k: 3}
  worse: {m: 3}
"""


def test_scales_then_overrides_in_their_order(expand):
    (total,) = expand(SCALED, "big").targets()
    assert (total.steps, total.left.value, dict(total.left.shares)) == (4, 5, {"x": 1, "y": 3})
    assert total.resources.threads == 1
    overrides = ["m.steps=5", "m.steps=6", "a=[7]", "n.shares.y=9", "threads=3"]
    (total,) = expand(SCALED, "big", overrides).targets()
    assert (total.steps, total.left.value, dict(total.left.shares)) == (6, 7, {"x": 1, "y": 9})
    assert total.resources.threads == 3
    (total,) = expand(SCALED, "big", ["n.shares={z: 1e0}", "n.value=4", "a=[0]", "m.right=$a"]).targets()
    assert (dict(total.left.shares), total.left.value, total.right) == ({"z": 1}, 4, 0)
    (total,) = expand(SCALED, None, ["a={one: 1}"]).targets()
    assert total.left.resources.threads == 2
    assert total.left.resources.minutes == 3


def test_an_override_of_one_stage_leaves_its_alias_alone(expand):
    text = """
stages:
  n: {stage: toys.Number, shares: &s {x: 1}}
  m: &m {stage: toys.Number, value: 1, shares: *s}
  k: *m
"""
    graph = expand(text, None, ["m.shares.x=2", "m.value=3"])
    found = {each.name: (each.stage.value, dict(each.stage.shares)) for each in graph.instances}
    assert found == {"n": (0, {"x": 1}), "m": (3, {"x": 2}), "k": (1, {"x": 1})}


def test_unavailable_data_and_what_stands_on_them_are_left_out(expand, tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.write_text("3")
    text = f"""
axes: {{data: {{here: $here, there: $there}}}}
stages:
  here: {{stage: toys.File, path: {here}}}
  there: {{stage: toys.File, path: {tmp_path}/there}}
  rate: {{stage: toys.Add, left: $data}}
  all: {{stage: toys.Total, numbers: "$rate[*]"}}
  gone: {{stage: toys.Total, numbers: "$there[*]"}}
  over: {{stage: toys.Add, left: "$there"}}
"""
    graph = expand(text)
    assert titles(graph) == ["here", "rate[data=here]", "all"]
    assert graph.left_out == [f"{tmp_path}/there: is not there; write it."]
    assert len(graph.targets()[0].numbers) == 1
    here.unlink()
    with pytest.raises(Unavailable, match="is not there; write it"):
        expand(text)
    with pytest.raises(Unavailable):  # also when a pin or a gather has nothing left to choose from
        expand(text + f'  last: {{stage: toys.Add, left: "$rate[data=here]", right: "$data[data={"there"}]"}}\n')


def test_identity_is_the_content_not_the_place(expand, tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    made = []
    for folder, content in (("one", "3"), ("two", "3"), ("three", "4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data").write_text(content)
        made += expand(f"stages: {{x: {{stage: toys.File, path: {tmp_path}/{folder}/data}}}}").targets()
    assert made[0].fingerprint == made[1].fingerprint != made[2].fingerprint


def test_targets_and_titles(expand):
    graph = expand(RAGGED)
    assert len(graph.targets()) == 1 + 3 + 2
    assert [stage.tag() for stage in graph.targets("lm")] == ["toys.Number"] * 4
    twice = expand("stages: {x: {stage: toys.Number}, y: {stage: toys.Number}}")
    assert twice.titles() == {toys.Number().fingerprint: "x"}
    with pytest.raises(PresightError, match=r"--until scors: is no stage of the recipe; did you mean scores\?"):
        graph.targets("scors")


N = "stages: {n: {stage: toys.Number}}"


@pytest.mark.parametrize(
    ("text", "scale", "overrides", "parts"),
    [
        ("[1]", None, (), ["toy.yaml: is not a mapping", "begin with `recipe: NAME`"]),
        ("", None, (), ["is not a mapping"]),
        ("stagse: {}", None, (), ["stagse: is no key of a recipe", "did you mean stages?"]),
        ("recipe: x", None, (), ["has no stages", "add `stages:`"]),
        ("stages: [a]", None, (), ["stages: ['a'] is not a mapping of names"]),
        ("stages: {1: {stage: toys.Number}}", None, (), ["is not a mapping of names"]),
        ("stages: {n: 3}", None, (), ["stages.n: 3 is not a mapping"]),
        ("stages: {n: }", None, (), ["stages.n.stage: None names no stage", "write stage: package.Name"]),
        ("stages: {n: {stage: toys.Numbr}}", None, (), ["stages.n.stage: toys has no stage 'Numbr'", "mean Number?"]),
        ("stages: {n: {stage: corpsu.Mix}}", None, (), ["stages.n.stage: 'corpsu.Mix' is in no importable package"]),
        ("stages: {n: {stage: .Mix}}", None, (), ["stages.n.stage: '.Mix' is in no importable package"]),
        ("stages: {n: {stage: toys.Number, vlaue: 1}}", None, (), ["stages.n.vlaue", "did you mean value?"]),
        ("stages: {n: {stage: toys.Number, value: x}}", None, (), ["stages.n.value: 'x' should be a valid number"]),
        ("stages: {n: {stage: toys.Number, value: .nan}}", None, (), ["stages.n.value: nan should be a finite"]),
        ("stages: {n: {stage: toys.Add}}", None, (), ["stages.n.left: toys.Add needs it"]),
        ("stages: {n: {stage: toys.Add, left: $m}}", None, (), ["stages.n.left: $m is no stage or axis", "known: n"]),
        ("stages: {n: {stage: toys.Add, left: $m-1}}", None, (), ["'$m-1' is no reference", "write $name"]),
        ("stages: {n: {stage: toys.Add, left: $}}", None, (), ["'$' is no reference"]),
        ("stages: {n: {stage: toys.Add, left: $n}}", None, (), ["stages.n.left: n → n is a circle", "earlier"]),
        (
            "stages: {n: {stage: toys.Add, left: $m}, m: {stage: toys.Add, left: $n}}",
            None,
            (),
            ["stages.m.left: n → m → n is a circle"],
        ),
        ("axes: {a: {x: $a}}\nstages: {n: {stage: toys.Add, left: $a}}", None, (), ["axes.a.x: a → a is a circle"]),
        ("axes: {a: {x: $b}, b: {y: $a}}\nstages: {n: {stage: toys.Add, left: $a}}", None, (), ["a → b → a is a cir"]),
        ("axes: {a: {x: $n}}\nstages: {n: {stage: toys.Add, left: $a}}", None, (), ["n → a → n is a circle"]),
        ("axes: {a: [1]}\n" + N, None, (), ["axes.a: is used by no stage", "refer to it as $a, or delete it"]),
        ("axes: {n: [1]}\n" + N, None, (), ["axes.n: is also the name of a stage", "rename"]),
        ("axes: {a: 3}\n" + N, None, (), ["axes.a: 3 is not an axis"]),
        ("axes: {a: []}\n" + N, None, (), ["axes.a: [] is not an axis"]),
        ("axes: {a: [1, 1]}\n" + N, None, (), ["axes.a: [1, 1] is not an axis", "distinct"]),
        ("axes: {a: [1, '1']}\n" + N, None, (), ["is not an axis"]),
        ("axes: {a: [{x: 1}]}\n" + N, None, (), ["is not an axis", "give each a name"]),
        ("threads: 0\n" + N, None, (), ["threads: 0 is not a number of threads"]),
        ("threads: many\n" + N, None, (), ["threads: 'many' is not a number"]),
        ("recipe: ../x\n" + N, None, (), ["recipe: '../x' cannot name a folder"]),
        (SCALED, "bigg", (), ["--scale bigg", "has no such scale", "did you mean big?"]),
        (SCALED, "bad", (), ["scales.bad.k: 'k' is no stage or axis"]),
        (SCALED, "worse", (), ["stages.m: 3 is not a mapping"]),
        (N, None, ["n.value"], ["--set n.value: has no value", "write --set stage.field=value"]),
        (N, None, ["m.value=1"], ["--set m.value: 'm' is no stage or axis", "known: n"]),
        (N, None, ["=1"], ["--set : '' is no stage or axis"]),
        (N, None, ["n.vale=1"], ["stages.n.vale", "did you mean value?"]),
        (N, None, ["n.shares.x=1"], ["--set n.shares.x: 'shares' holds no fields", "set it whole"]),
        (N, None, ["n.value=[1"], ["--set n.value, line 1: is not YAML"]),
        (N, None, ["n.value="], ["stages.n.value: None should be a valid number"]),
        (N, None, ["threads=x"], ["threads: 'x' is not a number of threads"]),
        (RAGGED.replace("init=0]", "init=7]"), None, (), ["stages.by_weights.numbers: axis init has no '7' here"]),
        (RAGGED.replace("init=0]", "int=0]"), None, (), ["[int=0] selects along no axis", "did you mean init?"]),
        (RAGGED.replace("[*]", "[]"), None, (), ["stages.all.numbers: [] selects along no axis it reaches"]),
        (RAGGED.replace("$scores[*]", "$init[*]"), None, (), ["only stages are gathered", "refer to a stage"]),
    ],
)
def test_faults_are_one_sentence_with_field_value_and_mend(expand, text, scale, overrides, parts):
    with pytest.raises(PresightError) as caught:
        expand(text, scale, overrides)
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2
    for part in parts:
        assert part in str(caught.value)


def test_recipes_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe.locate("quickstart").name == "quickstart.yaml"
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.yaml").write_text(N)
    assert recipe.read("quickstart").path == Path("recipes/quickstart.yaml")
    with pytest.raises(PresightError, match=r"recipe 'quikstart': .*; did you mean quickstart\?"):
        recipe.locate("quikstart")


@pytest.mark.parametrize("name", ["quickstart", "smoke"])
def test_shipped_recipes_name_known_stages_and_fields(name):
    read = recipe.read(name)
    assert read.name == name
    assert yaml.safe_load(read.path.read_text())["recipe"] == name
    for fields in read.stages.values():
        assert set(fields) - {"stage"} <= set(stage_class(fields["stage"]).model_fields)


# --- a recipe over another ----------------------------------------------------------------------------------------

BASE = """
recipe: base
description: what it is about
axes: {init: [0, 1], mixture: {web: {web: 1}, code: {code: 1}}}
stages:
  lm: {stage: toys.Number, shares: $mixture, value: $init}
  other: {stage: toys.Number, value: 7}
  all: {stage: toys.Total, numbers: "$lm[*]"}
scales:
  small: {lm: {value: 3}, other: {value: 8}, init: [0]}
"""


@pytest.fixture
def over(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)

    def read(text, scale=None):
        path = tmp_path / "sub" / "toy.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return recipe.read(str(path), scale)

    return read


def test_a_recipe_is_laid_over_the_one_that_it_extends(over):
    read = over(
        """
        extends: ../base.yaml
        hypothesis: more is more
        axes: {mixture: {math: {math: 1}}}
        stages: {lm: {value: 2}, more: {stage: toys.Number, value: 1}}
        scales: {small: {lm: {value: 4}}, large: {init: [0, 1, 2]}}
        """
    )
    base = yaml.safe_load(BASE)
    assert (read.name, read.description, read.hypothesis) == ("toy", "what it is about", "more is more")
    assert read.axes == {"init": {"0": 0, "1": 1}, "mixture": {"math": {"math": 1}}}
    assert read.stages == base["stages"] | {
        "lm": {"stage": "toys.Number", "shares": "$mixture", "value": 2},
        "more": {"stage": "toys.Number", "value": 1},
    }


def test_a_field_is_replaced_whole_and_resources_by_entry(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "stages: {mix: {stage: toys.Number, shares: {web: 1, code: 1}, resources: {threads: 2, gpus: 1}}}\n"
    )
    text = "extends: base.yaml\nstages: {mix: {shares: {math: 1}, resources: {gpus: 4}}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    read = recipe.read(str(tmp_path / "mine.yaml"))
    assert read.name == "mine"  # else it would take its base's place under runs/
    assert read.stages["mix"]["shares"] == {"math": 1}
    assert read.stages["mix"]["resources"] == {"threads": 2, "gpus": 4}


def test_scales_are_merged_by_field(over):
    text = "extends: ../base.yaml\nscales: {small: {lm: {value: 4}}}\n"
    read = over(text, "small")
    assert read.stages["lm"]["value"] == 4
    assert read.stages["other"]["value"] == 8
    assert list(read.axes["init"]) == ["0"]


def test_null_takes_out_and_scales_of_the_base_forget_it(over):
    text = "extends: ../base.yaml\naxes: {init: null}\nstages: {other: null, lm: {value: 1}}\n"
    read = over(text, "small")
    assert set(read.stages) == {"lm", "all"}
    assert set(read.axes) == {"mixture"}
    assert read.stages["lm"]["value"] == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("extends: nothing.yaml\n", "is no file"),
        ("extends: toy.yaml\n", "leads back to itself"),
        ("extends: 3\n", "is no file"),
        ("extends: ../base.yaml\nscales: {small: {other: {value: 1}, lost: {a: 1}}}\n", "is no stage or axis"),
    ],
)
def test_a_recipe_that_cannot_be_laid_over_another(over, text, problem):
    with pytest.raises(PresightError, match=problem):
        over(text, "small")
