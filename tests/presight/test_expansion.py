import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from presight import expansion, recipe
from presight.stage import Labelled, Stage


def titles(graph):
    return [each.title for each in graph.instances]


# --- the twin: every stage at every combination of labels, by substitution ------------------------------------------


class Twin:
    """Substitutes one full combination of labels after another; notes which axes were looked at."""

    def __init__(self, axes: dict, stages: dict) -> None:
        self.axes, self.stages = axes, stages

    def combinations(self, axes=None):
        axes = list(self.axes) if axes is None else axes
        for place in itertools.product(*(self.axes[axis] for axis in axes)):
            yield dict(zip(axes, place, strict=True))

    def stage(self, name, place):
        """Text of the stage at a place, and the labels that mattered."""
        seen = {}
        fields = {key: self.value(value, place, seen) for key, value in self.stages[name].items()}
        return json.dumps(fields, sort_keys=True), seen

    def value(self, value, place, seen):
        if isinstance(value, list):
            items = [self.value(item, place, seen) for item in value]
            flat = [part for item in items for part in (item if isinstance(item, list) else [item])]
            return sorted(flat, key=str)
        if isinstance(value, dict):
            return {key: self.value(item, place, seen) for key, item in value.items()}
        if not (isinstance(value, str) and value.startswith("$")):
            return value
        name, _, selection = value[1:].removesuffix("]").partition("[")
        pins = dict(part.split("=") for part in selection.split(",") if "=" in part and not part.endswith("=*"))
        everything = "*" in selection.split(",")
        gathered = [part.removesuffix("=*") for part in selection.split(",") if part.endswith("=*")]
        gathered = [axis for axis in self.axes if axis not in pins] if everything else gathered
        if not gathered and not everything:
            return self.single(name, {**place, **pins}, seen, set(pins))
        members = set()
        for along in self.combinations(gathered):
            inner = {}
            text = self.single(name, {**place, **pins, **along}, inner, set(pins))
            seen.update({axis: label for axis, label in inner.items() if axis not in along})
            members.add((json.dumps({a: v for a, v in inner.items() if a in along}, sort_keys=True), text))
        return sorted([f"{labels} {text}" for labels, text in members], key=str)

    def single(self, name, place, seen, pinned):
        inner = {}
        if name in self.axes:
            inner[name] = place[name]
            text = self.value(self.axes[name][place[name]], place, inner)
        else:
            text, inner = self.stage(name, place)
        seen.update({axis: label for axis, label in inner.items() if axis not in pinned})
        return text

    def all(self):
        found = set()
        for name in self.stages:
            for place in self.combinations():
                text, seen = self.stage(name, place)
                found.add((name, frozenset(seen.items()), text))
        return found


def spell(value):
    """A stage's value in the twin's words."""
    if isinstance(value, Labelled):
        return f"{json.dumps(dict(value.labels), sort_keys=True)} {spell(value.stage)}"
    if isinstance(value, Stage):
        fields = {key: spell(getattr(value, key)) for key in value.model_fields_set if key != "resources"}
        return json.dumps({"stage": value.tag(), **fields}, sort_keys=True)
    if isinstance(value, tuple):
        return sorted((spell(item) for item in value), key=str)
    if isinstance(value, Mapping):
        return {key: spell(item) for key, item in value.items()}
    return value


@st.composite
def recipes(draw):
    """Axes of values or of stages, stages that use, pin and gather what is before them."""
    axes, stages, reach = {}, {}, {}
    for axis in "abc"[: draw(st.integers(0, 3))]:
        axes[axis] = {label: float(index) for index, label in enumerate("pqr"[: draw(st.integers(1, 3))])}
        reach[axis] = {axis}

    def reference():
        name = draw(st.sampled_from([*stages]))
        selected = draw(st.lists(st.sampled_from(sorted(reach[name])), unique=True, max_size=1)) if reach[name] else []
        for axis in selected:
            label = draw(st.sampled_from(sorted(axes[axis])))
            return f"${name}[{axis}={label}]", reach[name] - {axis}
        return f"${name}", reach[name]

    for index in range(draw(st.integers(1, 3))):
        fields = {"stage": "toys.Number", "value": float(index)}
        used = draw(st.lists(st.sampled_from(sorted(axes)), unique=True, max_size=2)) if axes else []
        if used:
            fields["shares"] = {axis: f"${axis}" for axis in used}
        stages[f"n{index}"], reach[f"n{index}"] = fields, set(used)
    for index in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):  # an axis of stages, ragged when they reach different axes
            chosen = [reference() for _ in range(draw(st.integers(1, 3)))]
            axes[f"w{index}"] = {f"l{place}": text for place, (text, _) in enumerate(chosen)}
            left, used = f"$w{index}", {f"w{index}"}.union(*(reached for _, reached in chosen))
        else:
            left, used = reference()
        right, more = reference()
        stages[f"s{index}"] = {"stage": "toys.Add", "left": left, "right": right}
        reach[f"s{index}"] = used | more
    for index in range(draw(st.integers(0, 3))):
        parts, used = [], set()
        for _ in range(draw(st.integers(1, 2))):
            name = draw(st.sampled_from(sorted(stages)))
            if not reach[name] or draw(st.booleans()):
                parts.append(f"${name}[*]")
                continue
            axis = draw(st.sampled_from(sorted(reach[name])))
            parts.append(f"${name}[{axis}=*]")
            used |= reach[name] - {axis}
        names = [name for name in stages if stages[name]["stage"] != "toys.Total"]
        if any(part[1:].partition("[")[0] not in names for part in parts):
            continue
        stages[f"t{index}"] = {"stage": "toys.Total", "numbers": parts}
        reach[f"t{index}"] = used
    used = {word for fields in stages.values() for word in axes if f"${word}" in json.dumps(fields)}
    for axis in sorted(set(axes) - used):
        stages[f"u{axis}"] = (
            {"stage": "toys.Number", "value": f"${axis}"}
            if axis in "abc"
            else {"stage": "toys.Add", "left": f"${axis}"}
        )
    return axes, stages


@given(recipes())
@settings(max_examples=300, deadline=None)
def test_expansion_is_what_substitution_gives(content):
    axes, stages = content
    graph = expansion.expand(recipe.Recipe("toy", Path("toy.yaml"), "", "", axes, stages))
    found = [(each.name, frozenset(each.labels.items()), spell(each.stage)) for each in graph.instances]
    assert len(set(found)) == len(found)
    assert set(found) == Twin(axes, stages).all()
    places = {each.stage.fingerprint: place for place, each in reversed(list(enumerate(graph.instances)))}
    for each in graph.instances:  # inputs first
        for parent in each.stage.inputs().values():
            assert places[parent.fingerprint] < places[each.stage.fingerprint]
