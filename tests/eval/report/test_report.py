import builtins
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from corpus.mixture import FILE, Mixture, compile_mixture
from eval.report.report import Report
from eval.stats.deltas import holm, mean_interval, prior_delta
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Needs, Stage
from presight.store import Store

SOURCES = ("web", "encyclopedia", "academia", "literature", "math", "code")
SHARES = {
    "language": dict(zip(SOURCES, (50, 2.5, 2.5, 20, 5, 20), strict=True)),
    "vision": dict(zip(SOURCES, (26, 5.5, 12.5, 2, 13, 41), strict=True)),
}
TASKS = {"images": ("image classification", "image", 0.1), "sounds": ("<b>sound</b> classification", "audio", 0.25)}


class Root(Stage):
    kind = "tokens"
    name: str = "tokens"

    def run(self, out: Path, inputs: Any) -> None:
        (out / "tokens.json").write_text("{}")
        (out / "licences.json").write_text(json.dumps(["CC-BY-4.0", "<script>alert(1)</script>"]))


class Blend(Stage):
    kind = "mixture"
    tokens: Annotated[Stage, Needs("tokens")]
    shares: FrozenMap[str, float]
    missing: str = "error"

    def run(self, out: Path, inputs: Any) -> None:
        supplies = dict.fromkeys([each for each in SOURCES if each != self.missing], 4000)
        shards = {"directory": "../../tokens/x", "shards": {}}
        asked = None if self.missing == "error" else "renormalise"
        lock = compile_mixture(self.shares, supplies, 1_900_000, 256, seed=0, missing=asked or "error", tokens=shards)
        Mixture.of(lock).write(out / FILE)


class Lm(Stage):
    kind = "checkpoint"
    mixture: Annotated[Stage, Needs("mixture")]
    seed: int

    def run(self, out: Path, inputs: Any) -> None:
        lock = Mixture.read(inputs["mixture"]).lock
        pools = {pool["name"]: {"items": pool["quota"], "loss": 4.0} for pool in lock["pools"]}
        rng = np.random.default_rng(self.seed)
        lines = [
            {"step": step, "tokens": tokens, "source": source, "loss": 1.0, "bits_per_byte": found}
            for step, tokens in enumerate([0, *(2_000_000 // 2**k for k in range(6, -1, -1))])
            for source in SOURCES
            for found in [4.1 - 0.15 * np.log(1 + tokens) + 0.02 * rng.standard_normal() - 0.002 * pool(lock, source)]
        ]
        (out / "heldout.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (out / "metrics.jsonl").write_text("")
        ledger = {"tokens": lock["items"] * 256, "items": [0, lock["items"]], "pools": pools}
        (out / "ledger.json").write_text(json.dumps(ledger))
        (out / "config.json").write_text(json.dumps({"num_hidden_layers": 4, "hidden_size": 128}))


def pool(lock: dict[str, Any], source: str) -> float:
    return 100 * sum(each["realised"] for each in lock["pools"] if each["name"] == source)


class Scored(Stage):
    kind = "scores"
    model: Annotated[Stage, Needs("checkpoint", "tokens")]
    data: str

    def run(self, out: Path, inputs: Any) -> None:
        (out / "scores.json").write_text("{}")


class Deltas(Stage):
    kind = "deltas"
    scores: tuple[Annotated[Stage, Needs("scores")], ...]
    text: str

    def run(self, out: Path, inputs: Any) -> None:
        (out / "deltas.json").write_text(self.text)


GAINS = {"text": {"language": 0.10, "vision": 0.12}, "stats": 0.035, "random": 0.0}


@dataclass
class World:
    store: Store
    report: Report
    models: list[Labelled]
    tokens: Stage

    def run(self, out: Path) -> str:
        out.mkdir(parents=True, exist_ok=True)
        inputs = {field: self.store.path(stage) for field, stage in self.report.inputs().items()}
        self.report.run(out, inputs)
        return (out / "report.html").read_text()


def world(root: Path, seeds: int = 3, edge: bool = True, ragged: bool = False) -> World:
    store = Store(root / "store")
    tokens = Root()
    labels = [{"mixture": mixture, "init": str(seed)} for mixture in SHARES for seed in range(seeds)]
    mixes = {name: Blend(tokens=tokens, shares=FrozenMap(shares)) for name, shares in SHARES.items()}
    if ragged:
        mixes["language"] = Blend(tokens=tokens, shares=FrozenMap(SHARES["language"]), missing="math")
    lms = [Labelled(FrozenMap(each), Lm(mixture=mixes[each["mixture"]], seed=int(each["init"]))) for each in labels]
    arms, stages, table = [], [], {}
    rng = np.random.default_rng(5)
    for data, (task, modality, chance) in TASKS.items():
        hard = rng.uniform(0.1, 0.6, 600)
        for weights, mixture in [
            ("text", "language"),
            ("text", "vision"),
            ("stats", "language"),
            ("stats", "vision"),
            ("random", None),
        ]:
            gain = GAINS[weights][mixture] if weights == "text" else GAINS[weights]
            gain = gain if data == "images" else gain / 6
            scores = (rng.random((seeds, 600)) < hard + gain + 0.008 * rng.standard_normal((seeds, 1))).astype(float)
            place = {"weights": weights, **({"mixture": mixture} if mixture else {}), "data": data}
            made = [
                Scored(
                    model=lms[labels.index({"mixture": mixture, "init": str(s)})].stage if mixture else tokens,
                    data=f"{data}{weights}{s}",
                )
                for s in range(seeds)
            ]
            stages += made
            found = mean_interval(scores)
            table[weights, mixture, data] = scores
            arms.append(
                {
                    "labels": place, "task": task, "modality": modality, "trained": "norms", "metric": "accuracy",
                    "mean": {key: getattr(found, key) for key in ("estimate", "low", "high", "level", "method")},
                    "per_seed": scores.mean(1).tolist(), "seeds": [str(s) for s in range(seeds)], "chance": chance,
                    "n_items": 600, "n_clusters": 600, "learning_rates": [0.003], "edge": edge and weights == "random",
                    "scores": [each.fingerprint for each in made],
                }
            )  # fmt: skip
    families = []
    for along, pairs in {
        "weights": [("text", m, c, m if c == "stats" else None) for m in SHARES for c in ("random", "stats")],
        "mixture": [("text", "vision", "text", "language"), ("stats", "vision", "stats", "language")],
    }.items():
        deltas = []
        for data, (task, _, _) in TASKS.items():
            for weights, mixture, control, other in pairs:
                names = (weights, control) if along == "weights" else (mixture, other)
                fixed = {"mixture": mixture} if along == "weights" else {"weights": weights}
                delta = prior_delta(
                    table[weights, mixture, data],
                    table[control, other, data],
                    task=task,
                    trained="norms",
                    along=along,
                    treatment_name=names[0],
                    control_name=names[1],
                    labels={**fixed, "data": data},
                )
                deltas.append(delta.to_json() | {"sentence": delta.sentence(), "established": delta.established})
        for each, p in zip(deltas, holm([each["p"] for each in deltas]), strict=True):
            each["p_holm"] = float(p)
        treatment = "text" if along == "weights" else "vision"
        text = json.dumps(
            {"along": along, "treatment": treatment, "replicate": "init", "arms": arms, "deltas": deltas}
        )
        families.append(Deltas(scores=tuple(stages), text=text))
    for stage in [tokens, *mixes.values(), *(each.stage for each in lms), *stages, *families]:
        store.perform(stage)
    blends = tuple(Labelled(FrozenMap({"mixture": name}), stage) for name, stage in mixes.items())
    title = "What reading leaves behind <&> a test"
    report = Report(deltas=tuple(families), models=tuple(lms), mixtures=blends, title=title)
    return World(store, report, lms, tokens)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    root = tmp_path_factory.mktemp("three")
    made = world(root)
    return made, made.run(root / "out"), root / "out"


def seen(page: str) -> str:
    """The page as read: no scripts, no style, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


def findings(made: World) -> list[dict[str, Any]]:
    folders = [made.store.path(each) for each in made.report.deltas]
    return [delta for folder in folders for delta in json.loads((folder / "deltas.json").read_text())["deltas"]]


def test_what_is_not_established_is_never_called_an_effect(three):
    made, page, out = three
    deltas = findings(made)
    open_ = [each for each in deltas if not each["established"]]
    assert 0 < len(open_) < len(deltas), "the made-up world must hold both"
    lists = page[page.index('<div class="lists">') : page.index("<aside")]
    established, rest = lists.split("<h3>Not established</h3>")
    assert established.count("<li>") == len(deltas) - len(open_)
    assert rest.count("<li>") == min(len(open_), 8) + (len(open_) > 8)
    for each in deltas:
        shown = f"{100 * each['estimate']:+.1f} [{100 * each['interval']['low']:+.1f}".replace("-", "−")
        assert (shown in established) == each["established"]
    grey = re.findall(r'<tr class="open">.*?</tr>', page, flags=re.S)
    assert len(grey) == len(open_)
    assert all("not established" in row for row in grey)
    counts = json.loads((out / "counts.json").read_text())
    assert counts["established"] == len(deltas) - len(open_)
    assert counts["comparisons"] == 12


def test_what_few_seeds_can_say_stands_on_its_face(three, tmp_path):
    text = seen(three[1])
    assert "What 3 pretraining seeds can and cannot say" in text
    assert "found four times in five" in text
    assert "after Holm’s correction for 8 tests" in text
    one = seen(world(tmp_path, seeds=1).run(tmp_path / "out"))
    assert "What 1 pretraining seed can and cannot say" in one
    assert "none is established : no 95 % interval over seeds and items excludes 0 where seeds vary" in one
    assert "can be said of these very models only, for want of a second seed" in one


def test_holm_separates_what_holds_alone(tmp_path):
    made = world(tmp_path, seeds=8)
    made.run(tmp_path / "out")
    strict = [each for each in findings(made) if each["established"] and each["p_holm"] < 0.05]
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["established_after_holm"] == len(strict) > 0


def test_every_artifact_has_one_card_and_every_link_a_target(three):
    made, page, _ = three
    cards = re.findall(r'<details class="card" id="card-(\w+)">', page)
    artifacts = [each.path.name for each in made.store.artifacts()]
    assert sorted(cards) == sorted(artifacts)
    targets = set(re.findall(r'\bid="([^"]+)"', page))
    assert {link for link in re.findall(r'href="#([^"]+)"', page) if link not in targets} == set()
    for each in made.store.artifacts():
        assert f'href="store/{each.card["kind"]}/{each.path.name}/card.json"' in page
        for parent in each.card["parents"]:
            card = page[page.index(f'id="card-{each.path.name}"') :].split('<details class="card"')[0]
            assert f'href="#card-{parent["artifact"]}"' in card
    assert "CC-BY-4.0" in seen(page)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, flags=re.S)
    assert len(captions) == 6
    assert all('href="#card-' in caption for caption in captions)


def test_text_is_escaped_and_nothing_points_outside(three, tmp_path):
    made, page, _ = three
    own = re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", page, flags=re.S)
    assert "<script>alert" not in own
    assert "<b>sound" not in own
    assert "What reading leaves behind &lt;&amp;&gt; a test</title>" in own
    assert str(made.store.root.parent) not in own
    assert re.findall(r"(?:src|href)=[\"'](?!#|store/)[^\"']*", own) == []
    assert not any(key in own for key in ('"started"', "&quot;started", "&quot;host", "&quot;machine"))
    assert len(page.encode()) < 10_000_000


def test_the_same_inputs_give_the_same_bytes(three, tmp_path):
    made, page, _ = three
    assert made.run(tmp_path / "again") == page
    elsewhere = world(tmp_path / "elsewhere")  # other times, another place
    assert elsewhere.run(tmp_path / "there") == page


def test_a_collected_parent_is_said(tmp_path):
    made = world(tmp_path, seeds=2)
    shutil.rmtree(made.store.path(made.tokens))
    page = made.run(tmp_path / "out")
    assert f'<details class="card gone" id="card-{made.tokens.fingerprint}">' in page
    assert "1 of them is no longer in the store" in page
    assert f'href="store/tokens/{made.tokens.fingerprint}/card.json"' not in page


def test_mixtures_say_what_is_missing_and_that_it_was_read(tmp_path):
    text = seen(world(tmp_path, seeds=2, ragged=True).run(tmp_path / "out"))
    assert "language: math is missing (5 % of what was asked); the other shares were renormalised" in text
    assert "4 models read exactly the items that their lock planned" in text
    differ = re.search(r"differ by at most ([\d.]+) of an item", text)
    assert differ is not None
    assert float(differ[1]) < 1


def test_edges_of_the_grid_are_warned_of(three, tmp_path):
    assert "For 2 of 10 arms the best learning rate lies on the edge" in seen(three[1])
    assert "No arm’s learning rate lies on the edge" in seen(world(tmp_path, edge=False).run(tmp_path / "out"))


def test_without_plotly_the_mend_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name: str, *rest: Any, **kept: Any) -> Any:
        if name.partition(".")[0] == "plotly":
            raise ImportError(name)
        return real(name, *rest, **kept)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(PresightError, match=r"pip install 'presight\[report\]'"):
        Report(deltas=(), models=()).run(tmp_path, {})


def test_an_empty_report_is_a_page(tmp_path):
    Report(deltas=(), models=(), title="Nothing").run(tmp_path, {})
    assert "Nothing was compared." in (tmp_path / "report.html").read_text()


def test_importing_it_loads_no_plotly():
    code = "import sys, eval.report, eval.report.page, eval.report.report; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


DRAWN = "document.querySelectorAll('.js-plotly-plot .main-svg').length"
SETTLED = "new Promise(done => setTimeout(done, 400))"


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_it_renders_without_complaint_or_network(three, browser, width):
    made, _, out = three
    browser.open((out / "report.html").as_uri(), width)
    plots = json.loads((out / "counts.json").read_text())["plots"]
    assert browser.ask("document.title") == made.report.title
    assert browser.ask("innerWidth") == width
    browser.ask(SETTLED)
    height = browser.ask("document.body.scrollHeight")
    assert browser.ask("document.querySelectorAll('.js-plotly-plot').length") < plots  # those near the screen
    browser.ask(f"document.querySelector('footer, body > section:last-of-type').scrollIntoView(); {SETTLED}")
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask(DRAWN) >= plots
    assert browser.ask("document.querySelectorAll('.plot:not(.js-plotly-plot)').length") == 0
    assert browser.ask("document.body.scrollHeight") == height, "what is read moves while plots are drawn"
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    wider = "e => e.clientWidth > e.closest('.plot').clientWidth + 1"
    assert browser.ask(f"[...document.querySelectorAll('.plot .main-svg')].filter({wider}).length") == 0
    link = f"#card-{made.report.deltas[0].scores[0].fingerprint}"
    browser.ask(f"location.hash = '{link}'; {SETTLED}")
    assert browser.ask(f"document.querySelector('{link}').open && document.querySelector('{link}').checkVisibility()")
    assert browser.complaints() == []
    assert browser.requests() == [(out / "report.html").as_uri()]


@pytest.mark.browser
def test_a_plot_is_drawn_when_it_is_scrolled_to(three, browser):
    browser.open((three[2] / "report.html").as_uri(), 1280)
    last = "[...document.querySelectorAll('.plot')].at(-1)"
    browser.ask(SETTLED)
    assert not browser.ask(f"{last}.classList.contains('js-plotly-plot')")
    browser.ask(f"{last}.scrollIntoView(); {SETTLED}")
    assert browser.ask(f"{last}.classList.contains('js-plotly-plot')")
    browser.call("Page.printToPDF")
    assert browser.ask("document.querySelectorAll('.plot:not(.js-plotly-plot)').length") == 0


@pytest.mark.browser
def test_its_long_tables_are_searched_and_short_ones_are_not(three, browser):
    made, _, out = three
    browser.open((out / "report.html").as_uri(), 1280)
    long = "t => !t.closest('.card') && t.rows.length - t.querySelectorAll('.task').length > 8"
    listed = browser.ask(f"[...document.querySelectorAll('table')].filter({long}).length")
    assert browser.ask("document.querySelectorAll('.sift').length") == listed > 1
    first = "document.querySelector('table.long')"
    rows = browser.ask(f"{first}.querySelectorAll('tbody tr:not(.task)').length")
    family = findings(made)[:rows]
    assert len({each["along"] for each in family}) == 1
    browser.write_in("input[type=search]", "stats images -vision")
    shown = f"[...{first}.querySelectorAll('tbody tr')].filter(row => row.checkVisibility()).map(row => row.className)"
    assert browser.ask(f"{shown}.length") < rows
    assert browser.ask("document.querySelector('output').textContent").endswith(f" of {rows} rows")
    browser.write_in("input[type=search]", "")
    browser.ask("document.querySelector('.sift [type=checkbox]').click()")
    assert set(browser.ask(shown)) <= {"", "task"}
    assert browser.ask("document.querySelector('output').textContent") == (
        f"{sum(each['established'] for each in family)} of {rows} rows"
    )


@pytest.mark.browser
def test_the_browser_would_see_a_fault(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<script>console.error('no'); undefined.x</script><img src='http://127.0.0.1:9/x.png'>"
    )
    browser.open((tmp_path / "bad.html").as_uri(), 800)
    browser.ask("new Promise(done => setTimeout(done, 300))")
    assert len(browser.complaints()) >= 2
    assert len(browser.requests()) == 2


def test_a_mixture_by_family_says_what_its_shares_truly_are():
    from corpus.mixing import lock as locks
    from eval.report.evidence import Lock
    from eval.report.mixtures import remarks_on

    made = compile_mixture({"web": 1}, {"web": 100}, 2560, 256, seed=0, target=5120, tokens={})
    truth = {"visual": {"value": 0.141, "low": 0.13, "high": 0.15}}
    made |= {"labelled": {"visual": 0.15, "code": 0.2}, "truth": truth}
    said = remarks_on("a<b", Lock({}, "card", {**made, "plan": locks.plan(made)}))
    assert "a&lt;b: 15.00% of it is labelled visual, truly 14.1% (13.0% to 15.0%)." in said
    assert "a&lt;b: 20.00% of it is labelled code, how much truly is was not estimated." in said
    assert "a&lt;b: pools were cut to be repeated as often as in 5.12k tokens." in said
