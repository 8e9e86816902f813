"""The report as a page: what is established and what is not, then plots, numbers and cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from eval import plots
from eval.lineage import section
from eval.plots import Plot, slug

if TYPE_CHECKING:
    from eval.report import Arm, Comparison, Evidence, Lock, Model

TEMPLATE = Path(__file__).with_name("report.html")
FOLD = 30  # rows from which a table starts folded
FINDINGS = {
    "established": "established",
    "uncorrected": "excludes 0 alone, not after Holm",
    "these models": "of these two models only",
    "not established": "not established",
}


def render(evidence: Evidence) -> tuple[str, int]:
    """The page and how many plots it has; the same evidence gives the same text."""
    from plotly.offline import get_plotlyjs

    page = _Page(evidence)
    sections = [
        ("Differences", page.differences()),
        ("Accuracy", page.accuracy()),
        ("Held-out loss", page.heldout()),
        ("Mixtures", page.mixtures()),
        ("Learning rates", page.rates()),
        ("Lineage and cards", page.lineage()),
    ]
    links = "".join(f'<a href="#{slug(name)}">{name}</a>' for name, _ in sections)
    body = [
        f"<header><h1>{escape(evidence.title)}</h1>{page.facts()}{page.summary()}{page.seeds()}<nav>{links}</nav></header>",
        *(f'<section><h2 id="{slug(name)}">{name}</h2>\n{content}</section>' for name, content in sections),
    ]
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(evidence.title), body="\n".join(body), plotly=get_plotlyjs()
    )
    return text, page.plots


class _Page:
    """Writes the sections; knows the colours and which cards are there to link to."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.palette = plots.colours(evidence)
        self.compared = [each for family in evidence.families for each in family.comparisons]
        self.plots = 0

    def facts(self) -> str:
        """What was trained and scored, in a line."""
        facts = []
        if models := self.evidence.models:
            sizes = _once(
                f"{m.config.get('num_hidden_layers', '?')} layers × {m.config.get('hidden_size', '?')}" for m in models
            )
            tokens = _once(f"{_count(m.ledger['tokens'])} tokens each" for m in models if m.ledger)
            facts = [f"{_plural(len(models), 'pretrained model')} ({', '.join([*sizes, *tokens])})"]
        tasks = _once(f"{arm.record['task']} ({arm.record['n_items']:,} items)" for arm in self.evidence.arms)
        return f'<p class="facts">{escape(" · ".join([*facts, *tasks]))}</p>'

    def summary(self) -> str:
        """What is established and, as plainly, what is not."""
        text = []
        for family in self.evidence.families:
            found = [each.verdict for each in family.comparisons]
            if not found:
                text.append(f"Nothing was compared along {escape(family.along)}.")
                continue
            controls = _list(_once(each.delta.control for each in family.comparisons))
            yes, alone, ours = (found.count(v) for v in ("established", "uncorrected", "these models"))
            line = (
                f"Of {_plural(len(found), 'comparison')} of {escape(family.treatment)} with {escape(controls)} "
                f"(<a href='#card-{family.card}'>{escape(family.along)}</a>), <strong>{yes or 'none'} "
                f"{'is' if yes < 2 else 'are'} established</strong>"
            )
            line += (
                ": the interval over seeds and items excludes 0, also after correction for the number of tests"
                if yes
                else ""
            )
            line += (
                f"; {alone} would be on {'its' if alone == 1 else 'their'} own but not once corrected" if alone else ""
            )
            line += f"; {ours} can be said of these very models only, for want of a second seed" if ours else ""
            rest = found.count("not established")
            line += f"; <strong>in {rest} no difference is established</strong>" if rest else ""
            text.append(line + ".")
        columns = [
            self._findings("Established", [each for each in self.compared if each.verdict == "established"], ""),
            self._findings(
                "Not established", [each for each in self.compared if each.verdict != "established"], "open"
            ),
        ]
        return f'<p class="lead">{" ".join(text)}</p><div class="lists">{"".join(columns)}</div>'

    def _findings(self, title: str, chosen: Sequence[Comparison], style: str) -> str:
        shown = sorted(chosen, key=lambda each: -abs(each.scale * each.delta.estimate))[:8]
        lines = [
            f"<li>{escape(_name(each))}: {_signed(each.delta.estimate, each)} {_between(each.delta.interval, each)}"
            + (f" — {FINDINGS[each.verdict]}" if each.verdict in ("uncorrected", "these models") else "")
            + "</li>"
            for each in shown
        ] or ["<li>none</li>"]
        if len(chosen) > len(shown):
            lines.append(f'<li>and {len(chosen) - len(shown)} more in <a href="#differences">the table</a></li>')
        return f'<div class="{style}"><h3>{title} <small>{_units(self.compared)}</small></h3><ul>{"".join(lines)}</ul></div>'

    def seeds(self) -> str:
        """What this number of seeds can say and what it cannot, on the face of the report."""
        if not self.compared:
            return ""
        counts = sorted({each.delta.n_seeds for each in self.compared})
        effects = [each.scale * each.delta.mde for each in self.compared]
        level = f"{100 * self.compared[0].delta.interval.level:g} %"
        number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        noun = "pretraining seed" if counts == [1] else "pretraining seeds"
        reach = _range(effects, _units(self.compared))
        lines = [
            f"The unit of replication is a pretraining run, and there are {number} of each. Believe the {level} interval "
            "over <strong>seeds and items</strong> (thin lines): it says what other runs and other test items would give.",
            "Intervals of <strong>these models</strong> (thick lines) take the models as given. They speak of these very "
            "models and nothing else, however short they are.",
            f"The smallest true difference that would be found four times in five is <strong>{reach}</strong>. Smaller ones "
            "would mostly be missed: not established does not mean absent.",
            "p is corrected (Holm) for the "
            + _list(str(len(family.comparisons)) for family in self.evidence.families if family.comparisons)
            + " comparisons made together"
            + (", each set on its own" if len(self.evidence.families) > 1 else "")
            + ". Grey in a plot means not established.",
        ]
        if counts[0] == 1:
            lines.append("With one seed nothing can be said about pretraining in general: the next run may differ.")
        elif counts[0] == 2:
            lines.append(
                "Two seeds hardly show how much runs differ, so the intervals are long; a third would help most."
            )
        items = "".join(f"<li>{line}</li>" for line in lines)
        return f'<aside class="box"><h3>What {number} {noun} can and cannot say</h3><ul>{items}</ul></aside>'

    def differences(self) -> str:
        """A forest plot and a table for each family."""
        parts = []
        for family in self.evidence.families:
            controls = _once(each.delta.control for each in family.comparisons)
            parts.append(f"<h3>{escape(family.treatment)} against {escape(_list(controls) or 'nothing')}</h3>")
            for metric in _once(each.delta.metric for each in family.comparisons):
                chosen = [each for each in family.comparisons if each.delta.metric == metric]
                name = slug("forest", family.along, metric, family.card[:8])
                key = [
                    f'<span style="color:{self.palette[c]}"><i class="dot"></i>against {escape(c)}</span>'
                    for c in controls
                ]
                key += [
                    '<span><i class="ring"></i>excludes 0, but not after Holm or of one seed</span>',
                    f'<span style="color:{plots.GREY}"><i class="ring"></i>not established</span>',
                    '<span><i class="thin"></i>over seeds and items</span><span><i class="thick"></i>these models</span>',
                    '<span><i class="tick"></i>one seed</span>',
                ]
                caption = (
                    f"{escape(family.treatment)} less its control on the same items with the same seeds; right of 0 "
                    f"{escape(family.treatment)} scores higher. {self._cards('From', [family.card])}"
                )
                parts.append(self._figure([plots.forest(chosen, self.palette, name)], caption, key))
            parts.append(self._numbers(family.comparisons))
        return "".join(parts) or "<p>No comparisons were given.</p>"

    def _numbers(self, chosen: Sequence[Comparison]) -> str:
        if not chosen:
            return ""
        level = f"{100 * chosen[0].delta.interval.level:g} %"
        head = ["", "difference", f"{level} interval, seeds and items", "these models", "p", "p, Holm", "detectable"]
        rows = [
            (
                "" if each.verdict == "established" else "open",
                [
                    f'<a href="#card-{each.card}">{escape(_name(each))}</a>',
                    f"<b>{_signed(each.delta.estimate, each)}</b>"
                    if each.verdict == "established"
                    else _signed(each.delta.estimate, each),
                    _between(each.delta.interval, each),
                    _between(each.delta.these_models, each),
                    _p(each.delta.p),
                    _p(each.holm),
                    f"{each.scale * each.delta.mde:.3g}",
                    str(each.delta.n_seeds),
                    f"{each.delta.n_items:,}"
                    + (f" in {each.delta.n_clusters:,}" if each.delta.n_clusters != each.delta.n_items else ""),
                    FINDINGS[each.verdict],
                ],
            )
            for each in chosen
        ]
        words = "".join(f"<li>{escape(each.delta.sentence())}</li>" for each in chosen)
        return (
            _table([*head, "seeds", "items", "finding"], rows)
            + f"<p class='facts'>Differences and the smallest detectable one in {_units(chosen)}; Holm’s p corrects for the "
            f"{len(chosen)} comparisons of this table. Items in clusters: so many items in so many clusters.</p>"
            + f"<details><summary>The same in sentences</summary><ul>{words}</ul></details>"
        )

    def accuracy(self) -> str:
        """Each task's arms with their intervals."""
        parts = []
        axis = self.evidence.families[0].along if self.evidence.families else ""
        arms = self.evidence.arms
        for task, metric in dict.fromkeys((arm.record["task"], arm.record["metric"]) for arm in arms):
            chosen = [arm for arm in arms if (arm.record["task"], arm.record["metric"]) == (task, metric)]
            one = chosen[0].record
            caption = (
                f"{_plural(one['n_items'], 'test item')}; interval over seeds and items, small marks are single seeds. "
                f"{self._cards('From', _once(arm.card for arm in chosen))}"
            )
            figure = plots.accuracies(chosen, axis, self.palette, slug("accuracy", task, metric))
            parts.append(f"<h3>{escape(task)} <small>({escape(one['modality'])})</small></h3>")
            parts.append(self._figure([figure], caption))
        head = ["arm", "accuracy", "interval", "single seeds", "chance", "items", "scores"]
        rows = [("", self._arm(arm)) for arm in arms]
        return "".join(parts) + (_table(head, rows) if rows else "<p>No arms were given.</p>")

    def _arm(self, arm: Arm) -> list[str]:
        record, scale = arm.record, arm.scale
        found = record["accuracy"]
        seeds = zip(record["scores"], record["seeds"], record["per_seed"], strict=False)
        return [
            escape(_place(record)),
            f"<b>{scale * found['estimate']:.3g}</b>",
            f"{scale * found['low']:.3g} to {scale * found['high']:.3g}",
            ", ".join(f"{scale * value:.3g}" for value in record["per_seed"]),
            f"{scale * record['chance']:.3g}" if record.get("chance") is not None else "",
            f"{record['n_items']:,}",
            " ".join(self._card(artifact, f"seed {seed}") for artifact, seed, _ in seeds),
        ]

    def heldout(self) -> str:
        """Small multiples, one a source, and where the curves end."""
        evidence = self.evidence
        models = [model for model in evidence.models if model.curve]
        if not models:
            return "<p>The models bring no held-out curves.</p>"
        sources = _once(point["source"] for model in models for point in model.curve)
        groups = _once(evidence.group(model) for model in models)
        figures = [
            plots.losses(source, models, evidence, self.palette, slug("heldout", str(index), source))
            for index, source in enumerate(sources)
        ]
        key = [f'<span style="color:{self.palette[group]}"><i></i>{escape(group)}</span>' for group in groups]
        start = [point["bits_per_byte"] for model in models for point in model.curve if not point["tokens"]]
        before = (
            f" Before training it is {_range(start, 'bits per byte')} (0 tokens: not on the axis)." if start else ""
        )
        without = len(evidence.models) - len(models)
        caption = (
            "Bits per byte of text that no mixture reads, against tokens read; lower is better. A line is one pretraining "
            f"run, a colour one mixture; each panel has its own scale.{before} {self._cards('From', [m.card for m in models])}"
            + (f" {_plural(without, 'model')} without curves." if without else "")
        )
        rows = []
        for source in sources:
            ends = []
            for group in groups:
                final = [_end(m, source) for m in models if evidence.group(m) == group]
                known = [value for value in final if value is not None]
                ends.append(f"{sum(known) / len(known):.3f} <small>({_span(known)})</small>" if known else "")
            rows.append(("", [escape(source), *ends]))
        table = _table(["at the end: mean (lowest to highest run)", *map(escape, groups)], rows)
        return self._figure(figures, caption, key) + table

    def mixtures(self) -> str:
        """Shares asked and given, repetition, and whatever was dropped or renormalised."""
        locks = self.evidence.mixtures
        if not locks:
            return "<p>No mixtures were given to this report.</p>"
        names = [" · ".join(each.labels.values()) or each.card[:8] for each in locks]
        gaps = [abs(p["share"] * each.lock["items"] - p["quota"]) for each in locks for p in each.lock["pools"]]
        said = (
            f"What was asked and what was given differ by at most {max(gaps):.2f} of an item "
            f"({_list(_once(str(each.lock['item']) for each in locks))} tokens)"
        )
        caption = (
            f"Shares in per cent of tokens, as given. {said}. {self._cards('From', [each.card for each in locks])}"
        )
        remarks = [
            *self._read(locks),
            *(remark for pair in zip(names, locks, strict=True) for remark in _remarks(*pair)),
        ]
        rows = [
            (
                "",
                [
                    f'<a href="#card-{each.card}">{escape(name)}</a> · {escape(pool["name"])}',
                    f"{100 * pool['share']:.3f}",
                    f"{100 * pool['realised']:.3f}",
                    f"{pool['quota'] * each.lock['item']:,}",
                    f"{pool['supply'] * each.lock['item']:,}",
                    f"{pool['quota'] / pool['supply']:.3f}" if pool["supply"] else "",
                    f"{pool['cap']:g}",
                ],
            )
            for name, each in zip(names, locks, strict=True)
            for pool in each.lock["pools"]
        ]
        head = ["source", "% asked", "% given", "tokens", "of tokens", "epochs", "epochs allowed"]
        notes = "".join(f"<li>{remark}</li>" for remark in remarks)
        figure = self._figure([plots.shares(locks, names, "mixtures-shares")], caption)
        return figure + f'<ul class="facts">{notes}</ul>' + _table(head, rows)

    def _read(self, locks: Sequence[Lock]) -> list[str]:
        """Whether the models' ledgers agree with the locks they were trained on."""
        planned = {each.card: {pool["name"]: pool["quota"] for pool in each.lock["pools"]} for each in locks}
        agree, differ = 0, []
        for model in self.evidence.models:
            record = self.evidence.records.get(model.card)
            parents = record.card["parents"] if record and record.card else []
            plan = next((planned[each["artifact"]] for each in parents if each["artifact"] in planned), None)
            if plan is None or model.ledger is None:
                continue
            if {name: pool["items"] for name, pool in model.ledger["pools"].items()} == plan:
                agree += 1
            else:
                differ.append(self._card(model.card, self.evidence.names[model.card]))
        said = [f"{_plural(agree, 'model')} read exactly the items that their lock planned."] if agree else []
        return said + [f"<strong>Not what the lock planned was read by {', '.join(differ)}.</strong>"] * bool(differ)

    def rates(self) -> str:
        """The learning rate of each arm; one on the edge of its grid may not be the best."""
        arms = self.evidence.arms
        edges = [arm for arm in arms if arm.record.get("edge")]
        rows = [
            (
                "",
                [
                    escape(_place(arm.record)),
                    ", ".join(f"{rate:g}" for rate in arm.record["learning_rates"]),
                    "on the edge of its grid" if arm.record.get("edge") else "within",
                    self._card(arm.card, "card"),
                ],
            )
            for arm in arms
        ]
        if not rows:
            return "<p>No arms were given.</p>"
        said = "<p>Every arm’s learning rate was chosen on validation items by the same search.</p>"
        if edges:
            said += (
                f'<aside class="box warning">In {_plural(len(edges), "arm")} of {len(arms)} the best rate lies on the edge of '
                "the grid. A better one may lie beyond it, and the comparison may be unfair: widen the grid.</aside>"
            )
        else:
            said += "<p>None lies on the edge of its grid.</p>"
        return said + _table(["arm", "learning rate", "place in the grid", ""], rows)

    def lineage(self) -> str:
        """The card of every artifact, once."""
        return section(self.evidence.records, self.evidence.names)

    def _figure(self, chosen: Sequence[Plot], caption: str, key: Sequence[str] = ()) -> str:
        self.plots += len(chosen)
        places = "".join(
            f'<div class="plot" id="{each.name}" role="img" aria-label="{escape(each.label)}" '
            f'style="height:{each.height}px"></div><script type="application/json" class="figure" '
            f'data-plot="{each.name}">{each.json.replace("<", chr(92) + "u003c")}</script>'
            for each in chosen
        )
        places = f'<div class="small">{places}</div>' if len(chosen) > 1 else places
        legend = f'<div class="key">{"".join(key)}</div>' if key else ""
        return f"<figure>{legend}{places}<figcaption>{caption}</figcaption></figure>\n"

    def _card(self, artifact: str, name: str) -> str:
        known = artifact in self.evidence.records
        return f'<a href="#card-{artifact}">{escape(name)}</a>' if known else escape(f"{name} ({artifact[:8]})")

    def _cards(self, word: str, artifacts: Sequence[str]) -> str:
        return f"{word} {', '.join(self._card(each, self.evidence.names.get(each, each[:8])) for each in artifacts)}."


def _remarks(name: str, each: Lock) -> list[str]:
    lock, said = each.lock, []
    if lock["normalised"] is not None:
        said.append(f"{escape(name)}: its shares summed to {lock['normalised']:g} and were normalised.")
    for gone in lock["missing"]:
        share = f"{100 * gone['share']:.3g} %"
        said.append(
            f"<strong>{escape(name)}: {escape(gone['name'])} is missing</strong> ({share} of what was asked); "
            "the other shares were renormalised."
        )
    said.append(f"{escape(name)}: nearest its limit of epochs is {escape(lock['binding'])}.")
    return said


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls; `rows` are (class, cells), already HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(
        f"<tr{f' class={style}' if style else ''}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
        for style, cells in rows
    )
    table = f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>\n'
    return table if len(rows) <= FOLD else f"<details><summary>{len(rows)} rows</summary>{table}</details>"


def _name(each: Comparison) -> str:
    delta = each.delta
    place = [delta.task, *[f"{delta.trained} trained"] * bool(delta.trained), *delta.labels.values()]
    return f"{', '.join(place)}: {delta.treatment} − {delta.control}"


def _place(record: Mapping[str, Any]) -> str:
    return " · ".join(
        [record["task"], *record["labels"].values(), *[f"{record['trained']} trained"] * bool(record["trained"])]
    )


def _end(model: Model, source: str) -> float | None:
    return next((point["bits_per_byte"] for point in reversed(model.curve) if point["source"] == source), None)


def _number(value: float, each: Comparison) -> str:
    return f"{each.scale * value:.1f}" if each.scale == 100 else f"{value:.3g}"


def _signed(value: float, each: Comparison) -> str:
    return ("−" if value < 0 else "+") + _number(abs(value), each)


def _between(interval: Any, each: Comparison) -> str:
    return f"[{_signed(interval.low, each)}, {_signed(interval.high, each)}]"


def _units(chosen: Iterable[Comparison]) -> str:
    return _list(_once("points" if each.scale == 100 else each.delta.metric for each in chosen))


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _range(values: Sequence[float], unit: str) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def _count(tokens: int) -> str:
    for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{suffix}"
    return str(tokens)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _once(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _list(items: Iterable[str]) -> str:
    every = list(items)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}" if every else ""
