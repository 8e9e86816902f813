"""The index over runs: what it says of each, that its links lead somewhere, and that it opens by itself."""

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from toys import shell as processes

from presight import card, overview, page, recipe, registry
from presight.cli import slurm
from presight.errors import PresightError
from presight.expansion import expand
from presight.store import Store

TEXT = """
recipe: "{name}"
description: adds
hypothesis: "Sums of {name} <b>grow</b>, and go on to grow with every number that is added to them."
axes: {{init: [{first}, 1, 2]}}
stages:
  n: {{stage: toys.Number, value: $init}}
  report: {{stage: toys.Total, numbers: "$n[*]"}}
scales:
  big: {{init: [{first}, 1, 2, 3]}}
"""
HEAD = '<title>{title}</title><meta name="description" content="{said}" data-established="{established}">'
SAID = "On images, text scores 6.4 points above random &lt;here&gt;."


@pytest.fixture
def shell(monkeypatch, capfd, tmp_path):
    return processes.Shell(monkeypatch, capfd, tmp_path)


def made(root, name="adding", scale=None, first=0, until=None):
    """A recipe in the store and under runs/, whole unless told otherwise; its graph. `first` tells artifacts apart."""
    path = root / "recipe.yaml"
    path.write_text(TEXT.format(name=name, first=first))
    graph, store = expand(recipe.read(str(path), scale)), Store(root / "store")
    for each in graph.instances:
        if until is None or each.name == until:
            store.perform(each.stage)
    registry.register(graph, store, scale, [])
    registry.link(graph, store, root / "runs")
    return graph


def report(root, graph, title="Adding up", said=SAID, established="yes", counts=(12, 6, 4), stage="report"):
    """Make an artifact of a graph a report that says this of itself."""
    store = Store(root / "store")
    for each in graph.instances:
        if each.name == stage:
            folder = store.perform(each.stage).path
            (folder / "report.html").write_text(HEAD.format(title=title, said=said, established=established))
            names = ("comparisons", "established", "established_after_holm")
            (folder / "counts.json").write_text(json.dumps(dict(zip(names, counts, strict=True))))
            card.write(each.stage, folder, 0, 1, 1)
    return registry.link(graph, store, root / "runs")


def rows(root):
    """Each row of the index by its recipe: its class and its cells as read."""
    text = overview.write(root).read_text()
    found = {}
    for style, inner in re.findall(r'<tr(?: class="(\w+)")?>((?:<td>.*?</td>)+)</tr>', text, flags=re.S):
        cells = re.findall("<td>(.*?)</td>", inner, flags=re.S)
        cells = [re.sub("<[^>]*>", "", cell.replace("<br>\n", "|")) for cell in cells]
        found[cells[0].split("|")[0]] = (style, dict(zip(overview.HEADER, cells, strict=True)))
    return found


def test_a_row_says_what_was_expected_and_found(tmp_path):
    report(tmp_path, made(tmp_path))
    ((style, cells),) = rows(tmp_path).values()
    assert style == ""
    assert cells["recipe"] == "adding|Adding up"
    assert cells["expected"].startswith("Sums of adding &lt;b&gt;grow&lt;/b&gt;, and go on")
    assert cells["found"] == SAID
    assert (cells["established"], cells["after Holm"]) == ("6 of 12", "4")
    assert (cells["seeds"], cells["stages"], cells["scale"]) == ("3", "4 of 4", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", cells["made"])


def test_seeds_and_scale_are_those_of_the_report(tmp_path):
    big = made(tmp_path, scale="big")
    report(tmp_path, big)
    graph = made(tmp_path)
    report(tmp_path, graph)
    path = tmp_path / "recipe.yaml"
    path.write_text(path.read_text().replace("go on to grow", "then shrink"))
    changed, store = expand(recipe.read(str(path), "big")), Store(tmp_path / "store")
    registry.register(changed, store, "big", ["n.value=$init"])  # as a run begins, before it links anything
    ((_, cells),) = rows(tmp_path).values()
    assert (cells["seeds"], cells["stages"], cells["scale"]) == ("3", "4 of 4", "")
    assert "go on to grow" in cells["expected"]
    registry.link(changed, store, tmp_path / "runs")
    ((_, cells),) = rows(tmp_path).values()
    assert (cells["seeds"], cells["stages"], cells["scale"]) == ("4", "5 of 5", "big --set n.value=$init")
    assert "then shrink" in cells["expected"]


def test_without_a_report_there_are_no_seeds_and_no_scale(tmp_path):
    made(tmp_path)
    made(tmp_path, scale="big", until="n")
    ((style, cells),) = rows(tmp_path).values()
    assert (cells["seeds"], cells["stages"], cells["scale"]) == ("", "4 of 5", "")
    assert (style, cells["found"], cells["established"], cells["made"]) == ("open", "It has no report.", "", "")


def test_what_is_not_established_is_grey(tmp_path):
    report(tmp_path, made(tmp_path, "sure"))
    report(tmp_path, made(tmp_path, "unsure", first=5), established="no", counts=(12, 0, 0))
    found = rows(tmp_path)
    assert {name: style for name, (style, _) in found.items()} == {"sure": "", "unsure": "open"}
    assert found["unsure"][1]["established"] == "0 of 12"


def test_a_cleaned_store_is_said_and_not_fatal(tmp_path):
    report(tmp_path, made(tmp_path))
    shutil.rmtree(tmp_path / "store" / "total")
    ((_, cells),) = rows(tmp_path).values()
    assert SAID in cells["found"]
    assert "1 link leads to what is no longer in the store" in cells["found"]
    assert (cells["established"], cells["made"], cells["stages"]) == ("", "", "3 of 4")
    shutil.rmtree(tmp_path / "store")
    ((_, cells),) = rows(tmp_path).values()
    assert "5 links lead to" in cells["found"]
    assert "does not know this recipe any more" in cells["found"]
    assert cells["stages"] == cells["expected"] == ""


def test_a_report_of_an_earlier_recipe_is_said_to_be_one(tmp_path):
    report(tmp_path, made(tmp_path))
    made(tmp_path, scale="big", until="n")
    ((_, cells),) = rows(tmp_path).values()
    assert "The report is of an earlier run" in cells["found"]
    assert cells["established"] == ""


def test_links_lead_to_pages_that_exist(tmp_path):
    odd = "50% & #1 'mixed'?"
    report(tmp_path, made(tmp_path, odd))
    several = made(tmp_path, "several", first=5)
    report(tmp_path, several)
    report(tmp_path, several, title="One of three", stage="n")
    (tmp_path / "runs" / "several" / "notes.html").write_text("mine")
    (tmp_path / "runs" / ".slurm-check").mkdir()
    (tmp_path / "runs" / "loose").mkdir()
    text = overview.write(tmp_path).read_text()
    linked = re.findall(r'href="([^"]*)"', text)
    assert len(linked) == len(set(linked)) == 5
    assert all((tmp_path / "runs" / unquote(each)).is_file() for each in linked)
    assert text.count("One of three") == 3
    assert "notes.html" not in text
    assert set(re.findall("<b>([^<]*)</b>", text)) == {"50% &amp; #1 &#x27;mixed&#x27;?", "several", "loose"}


def test_it_is_written_whole_and_the_same_again(tmp_path):
    report(tmp_path, made(tmp_path))
    first = overview.write(tmp_path)
    text = first.read_text()
    assert first == tmp_path / "runs" / "index.html"
    assert overview.write(tmp_path).read_text() == text
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"index.html", "adding"}
    assert str(tmp_path) not in text


@pytest.mark.parametrize("where", ["presight.overview.render", "pathlib.Path.replace", "pathlib.Path.write_text"])
def test_a_failed_write_leaves_the_old_one_alone(tmp_path, monkeypatch, capsys, where):
    report(tmp_path, made(tmp_path))
    text = overview.write(tmp_path).read_text()
    made(tmp_path, "another", first=5)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, fail)
    with pytest.raises(OSError, match="No space left"):
        overview.write(tmp_path)
    overview.refresh(tmp_path)
    said = "could not be written (OSError: [Errno 28] No space left on device)"
    assert said in capsys.readouterr().err
    ledger = {"recipe": str(tmp_path / "recipe.yaml"), "scale": None, "set": [], "root": str(tmp_path)}
    monkeypatch.setattr("presight.registry.link", lambda *_: None)
    slurm._link(SimpleNamespace(arguments=ledger))
    assert said in capsys.readouterr().err
    assert (tmp_path / "runs" / "index.html").read_text() == text
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"index.html", "adding", "another"}


def dangle(runs, recipes):
    (runs / "odd" / "report.html").unlink()
    (runs / "odd" / "report.html").symlink_to("nowhere")


def cover(runs, recipes):
    (runs / "odd" / "report.html").unlink()
    (runs / "odd" / "report.html").mkdir()


def nullify(runs, recipes):
    (path,) = recipes.glob("odd*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hypothesis": None, "description": None, "set": None}))


@pytest.mark.parametrize(
    ("spoil", "found", "stages"),
    [
        (lambda runs, recipes: (recipes / "cut.json").write_text(""), SAID, "4 of 4"),
        (lambda runs, recipes: (recipes / "list.json").write_text("[]"), SAID, "4 of 4"),
        (lambda runs, recipes: (recipes / "bytes.json").write_bytes(b"\xff"), SAID, "4 of 4"),
        (lambda runs, recipes: (recipes / "folder.json").mkdir(), SAID, "4 of 4"),
        (lambda runs, recipes: shutil.rmtree(recipes), "does not know this recipe", ""),
        (lambda runs, recipes: shutil.rmtree(recipes.parent), "5 links lead to", ""),
        (dangle, "It has no report.", "4 of 4"),
        (cover, "It has no report.", "4 of 4"),
        (nullify, SAID, "4 of 4"),
    ],
)
def test_what_is_odd_is_left_out_and_not_fatal(tmp_path, spoil, found, stages):
    report(tmp_path, made(tmp_path, "odd"))
    spoil(tmp_path / "runs", tmp_path / "store" / registry.RECIPES)
    ((_, cells),) = rows(tmp_path).values()
    assert found in cells["found"]
    assert cells["stages"] == stages


def test_what_vanishes_meanwhile_is_left_out(tmp_path, monkeypatch):
    report(tmp_path, made(tmp_path))
    walk, folder = os.walk, tmp_path / "runs" / "adding"

    def vanishing(top):
        for each in walk(top):
            shutil.rmtree(folder / "n", ignore_errors=True)
            (folder / "report").unlink(missing_ok=True)
            yield each

    monkeypatch.setattr("os.walk", vanishing)
    ((_, cells),) = rows(tmp_path).values()
    assert "The report is of an earlier run" in cells["found"]
    assert "no longer in the store:" not in cells["found"]


def test_a_link_that_is_replaced_meanwhile_leads_where_it_led(tmp_path, monkeypatch):
    report(tmp_path, made(tmp_path))
    follow = os.readlink

    def vanishing(path):
        target = follow(path)
        Path(path).unlink()
        return target

    monkeypatch.setattr("os.readlink", vanishing)
    ((_, cells),) = rows(tmp_path).values()
    assert (cells["found"], cells["established"], cells["seeds"]) == (SAID, "6 of 12", "3")


def test_an_index_of_many_is_not_folded():
    runs = [overview.Run(f"recipe-{index}", {}, False, (), (), 0) for index in range(page.FOLD + 1)]
    assert "<details" not in overview.render(runs)


def test_failures_are_reported_whatever_becomes_of_the_index(shell, monkeypatch):
    def fail(runs):
        raise KeyError("odd")

    monkeypatch.setattr(overview, "render", fail)
    name = shell.write("stages: {bad: {stage: toys.Fault}, good: {stage: toys.Number}}")
    code, _, err = shell("run", name)
    assert code == 2
    failure, index = err.index("'user' is a fault"), err.index("could not be written (KeyError: 'odd')")
    assert failure < index
    assert "Traceback" not in err
    code, _, err = shell("run", name, "--until", "good")
    assert (code, "could not be written (KeyError: 'odd')" in err) == (0, True)


def test_without_runs_there_is_none(tmp_path):
    with pytest.raises(PresightError, match="nothing was run; presight run quickstart"):
        overview.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_it_and_every_run_does(shell, tmp_path):
    code, _, err = shell("report")
    assert (code, err) == (2, "presight: runs: is not there: nothing was run; presight run quickstart.\n")
    name = shell.write(TEXT.format(name="adding", first=0))
    assert shell("run", name)[0] == 0
    index = tmp_path / "runs" / "index.html"
    assert "4 of 4" in index.read_text()
    index.unlink()
    assert shell("report")[:2] == (0, "runs/index.html\n")
    assert "4 of 4" in index.read_text()
    (tmp_path / "runs" / "adding" / "report.html").write_text("x")
    assert shell("report", name)[:2] == (0, "runs/adding/report.html\n")
    shown = " ".join(shell("report", "--help")[1].split())
    assert "without one, the index of all runs" in shown
    assert "newest report" in shown


@pytest.mark.browser
@pytest.mark.parametrize("width", [1100, 400])
def test_it_opens_by_itself(browser, tmp_path, width):
    for index in range(9):
        counts = (12, index, max(index - 2, 0))
        graph = made(tmp_path, f"recipe-{index}", first=10 + index)
        report(tmp_path, graph, said=f"Finding {index}. {SAID}", established="yes" if index else "no", counts=counts)
    page = overview.write(tmp_path)
    browser.open(page.as_uri(), width)
    assert browser.ask("document.title") == "Presight runs"
    assert browser.ask("innerWidth") == width
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    shown = "[...document.querySelectorAll('tbody tr:not([hidden])')].map(row => row.querySelector('b').textContent)"
    assert len(browser.ask(shown)) == 9
    browser.write_in("input[type=search]", "grow -recipe-3 finding")
    assert browser.ask("document.querySelector('output').textContent") == "8 of 9 rows"
    browser.ask("document.querySelector('[type=checkbox]').click()")
    browser.ask("document.querySelectorAll('th button')[4].click()")
    assert browser.ask(shown) == [f"recipe-{index}" for index in (1, 2, 4, 5, 6, 7, 8)]
    link = browser.ask("document.querySelector('tbody tr:not([hidden]) a').href")
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    browser.open(link, width)
    assert browser.ask("document.title") == "Adding up"
