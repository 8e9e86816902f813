"""The report as a page: findings first, then plots with their numbers, then the card of everything behind them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from corpus import Mixture
from eval.report import findings, plots
from eval.report.findings import FINDINGS, listing, once, plural, spread
from eval.report.lineage import section
from eval.report.plots import Plot, slug
from presight.console import number

if TYPE_CHECKING:
    from eval.report.evidence import Arm, Comparison, Evidence, Family, Lock, Model

TEMPLATE = Path(__file__).with_name("report.html")
FOLD = 30  # rows from which a table starts folded


def render(evidence: Evidence) -> tuple[str, int]:
    """The page and how many plots it has; the same evidence gives the same text."""
    from plotly.offline import get_plotlyjs

    page = _Page(evidence)
    sections = {
        "Differences": page.differences(),
        "Accuracy": page.accuracy(),
        "Held-out loss": page.heldout(),
        "Mixtures": page.mixtures(),
        "Learning rates": page.rates(),
        "Lineage and cards": section(evidence.records, evidence.names),
    }
    said = findings.facts(evidence) + findings.summary(evidence) + findings.seeds(evidence)
    links = "".join(f'<a href="#{slug(name)}">{name}</a>' for name in sections)
    body = [
        f"<header><h1>{escape(evidence.title)}</h1>{said}<nav>{links}</nav></header>",
        *(f'<section><h2 id="{slug(name)}">{name}</h2>\n{content}</section>' for name, content in sections.items()),
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
        self.plots = 0

    def differences(self) -> str:
        """A forest plot and a table for each family."""
        return "".join(map(self._family, self.evidence.families)) or "<p>No comparisons were given.</p>"

    def _family(self, family: Family) -> str:
        if not family.comparisons:
            return f"<p>Nothing was compared along {escape(family.along)}.</p>"
        treatment, controls = escape(family.treatment), once(each.delta.control for each in family.comparisons)
        key = [_key("dot", f"against {control}", self.palette[control]) for control in controls]
        key += [
            _key("ring", "alone, not after Holm; or one seed"),
            _key("ring", "not established", plots.GREY),
            _key("thin", "over seeds and items"),
            _key("thick", "these models"),
            _key("tick", "one seed"),
        ]
        caption = (
            f"{treatment} less its control on the same items with the same seeds: right of 0, {treatment} scores "
            f"higher. {self._cards([family.card])}"
        )
        parts = [f"<h3>{treatment} against {escape(listing(controls))}</h3>"]
        for metric in once(each.delta.metric for each in family.comparisons):
            chosen = [each for each in family.comparisons if each.delta.metric == metric]
            element = slug("forest", family.along, metric, family.card[:8])
            parts.append(self._figure([plots.forest(chosen, self.palette, element)], caption, key))
            parts.append(_numbers(chosen))
        words = "".join(f"<li>{escape(each.delta.sentence())}</li>" for each in family.comparisons)
        return "".join(parts) + f"<details><summary>The same in sentences</summary><ul>{words}</ul></details>"

    def accuracy(self) -> str:
        """Each task's arms with their intervals."""
        if not self.evidence.arms:
            return "<p>No arms were given.</p>"
        parts = []
        axis = self.evidence.families[0].along
        for (task, modality, metric), arms in self._tasks().items():
            caption = (
                f"{plural(arms[0].record['n_items'], 'test item')}; intervals over seeds and items, small marks are "
                f"single seeds. {self._cards(once(arm.card for arm in arms))}"
            )
            figure = plots.accuracies(arms, axis, self.palette, slug("accuracy", task, metric))
            rows = [("", self._arm(*pair)) for pair in zip(plots.arm_names(arms, axis), arms, strict=True)]
            parts.append(f"<h3>{escape(task)} <small>({escape(modality)})</small></h3>")
            parts.append(self._figure([figure], caption))
            parts.append(
                _table(
                    [metric + ", %" * (metric == "accuracy"), "mean", "interval", "single seeds", "chance", "scores"],
                    rows,
                )
            )
        return "".join(parts)

    def _tasks(self) -> dict[tuple[str, str, str], list[Arm]]:
        found: dict[tuple[str, str, str], list[Arm]] = {}
        for arm in self.evidence.arms:
            found.setdefault((arm.record["task"], arm.record["modality"], arm.record["metric"]), []).append(arm)
        return found

    def _arm(self, name: str, arm: Arm) -> list[str]:
        record, found = arm.record, arm.record["mean"]
        return [
            escape(name),
            f"<b>{arm.number(found['estimate'])}</b>",
            f"[{arm.number(found['low'])}, {arm.number(found['high'])}]",
            ", ".join(map(arm.number, record["per_seed"])),
            f"{arm.scale * record['chance']:.3g}" if record.get("chance") is not None else "",
            " ".join(self._card(*pair) for pair in zip(record["scores"], map(_seed, record["seeds"]), strict=False)),
        ]

    def heldout(self) -> str:
        """Small multiples, one a source, and where the curves end."""
        evidence = self.evidence
        models = [model for model in evidence.models if model.curve]
        if not models:
            return "<p>The models bring no held-out curves.</p>"
        sources = once(point["source"] for model in models for point in model.curve)
        groups = once(evidence.group(model) for model in models)
        figures = [
            plots.losses(source, models, evidence, self.palette, slug("heldout", str(index), source))
            for index, source in enumerate(sources)
        ]
        key = [_key("line", group, self.palette[group]) for group in groups]
        start = [point["bits_per_byte"] for model in models for point in model.curve if not point["tokens"]]
        before = (
            f" Before training it is {spread(start, 'bits per byte')} (0 tokens: not on the axis)." if start else ""
        )
        without = len(evidence.models) - len(models)
        caption = (
            "Bits per byte of text that no mixture reads, against tokens read; lower is better. A line is one "
            "pretraining run, a colour one mixture; each panel has its own scale."
            f"{before} {self._cards([m.card for m in models])}"
            + (f" {plural(without, 'model')} without curves." if without else "")
        )
        rows = []
        for source in sources:
            ends = []
            for group in groups:
                final = [_end(m, source) for m in models if evidence.group(m) == group]
                known = [value for value in final if value is not None]
                ends.append(
                    f"{sum(known) / len(known):.3f} <small>({min(known):.3f} to {max(known):.3f})</small>"
                    if known
                    else ""
                )
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
        asked = "asked, renormalised" if any(each.lock["missing"] for each in locks) else "asked"
        said = (
            f"What was {asked} and what was given differ by at most {max(gaps):.2f} of an item "
            f"({listing(once(str(each.lock['item']) for each in locks))} tokens)"
        )
        caption = f"Shares in per cent of tokens, as given. {said}. {self._cards([each.card for each in locks])}"
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
        head = ["source", f"% {asked}", "% given", "tokens", "tokens there", "epochs", "epochs allowed"]
        notes = "".join(f"<li>{remark}</li>" for remark in remarks)
        figure = self._figure([plots.shares(locks, names, "mixtures-shares")], caption)
        return figure + f'<ul class="facts">{notes}</ul>' + _table(head, rows)

    def _read(self, locks: Sequence[Lock]) -> list[str]:
        """Whether the models' ledgers agree with the locks they were trained on."""
        from corpus import Sampler

        planned = {each.card: Sampler(each.lock) for each in locks}
        agree, differ = 0, []
        for model in self.evidence.models:
            record = self.evidence.records.get(model.card)
            parents = record.card["parents"] if record and record.card else []
            sampler = next((planned[each["artifact"]] for each in parents if each["artifact"] in planned), None)
            if sampler is None or model.ledger is None:
                continue
            first, last = model.ledger["items"]
            plan = (sampler.drawn(last) - sampler.drawn(first)).tolist()
            if [pool["items"] for pool in model.ledger["pools"].values()] == plan:
                agree += 1
            else:
                differ.append(self._card(model.card, self.evidence.names[model.card]))
        said = [f"{plural(agree, 'model')} read exactly the items that their lock planned."] if agree else []
        return said + [f"<strong>Not what the lock planned was read by {', '.join(differ)}.</strong>"] * bool(differ)

    def rates(self) -> str:
        """The learning rate of each arm; one on the edge of its grid may not be the best."""
        if not (arms := self.evidence.arms):
            return "<p>No arms were given.</p>"
        mixed = self.evidence.mixed_arithmetic
        axis = self.evidence.families[0].along
        rows = []
        for (task, _, _), every in self._tasks().items():
            if not (chosen := [arm for arm in every if arm.record["learning_rates"]]):
                continue  # nothing was fitted to answer it
            rows.append(("task", [f"<b>{escape(task)}</b>"]))
            for name, arm in zip(plots.arm_names(chosen, axis), chosen, strict=True):
                edge = arm.record["edge"]
                rates = ", ".join(f"{rate:g}" for rate in arm.record["learning_rates"])
                place = "<b>on the edge of its grid</b>" if edge else "within its grid"
                rows.append(("", [escape(name), rates, place, self._card(arm.card, "card")]))
        if edges := sum(bool(arm.record["edge"]) for arm in arms):
            said = (
                f'<aside class="box warning">For {edges} of {plural(len(arms), "arm")} the best learning rate lies on '
                "the edge of the grid. A better one may lie beyond it, and comparisons with these arms may be unfair: "
                "widen the grid.</aside>"
            )
        elif not rows:
            said = "<p>No arm was fitted: none has a learning rate.</p>"
        else:
            said = "<p>No arm’s learning rate lies on the edge of the grid it was chosen from.</p>"
        if mixed:
            said += (
                '<aside class="box warning">The models were trained by arithmetics that no passport shows to be '
                f"the same to the last bit ({escape('; '.join(mixed))}): part of a difference between them may be "
                "rounding. Train them alike, or give the report a passport.</aside>"
            )
        if shared := sum(map(self.evidence.shares_search, arms)):
            said += (
                f"<p>In {shared} of {plural(len(arms), 'arm')} one search serves several seeds: the noise of its "
                "choice is in none of the intervals above.</p>"
            )
        return said + (_table(["arm", "learning rate", "place", ""], rows) if rows else "")

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

    def _cards(self, artifacts: Sequence[str]) -> str:
        return f"Cards: {', '.join(self._card(each, self.evidence.names.get(each, each[:8])) for each in artifacts)}."


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
    for family, share in lock.get("labelled", {}).items():
        truth = escape(Mixture.of(lock).truth(family))
        said.append(f"{escape(name)}: {share:.2%} of it is labelled {escape(family)}, {truth}.")
    if lock.get("target"):
        said.append(f"{escape(name)}: pools were cut to be repeated as often as in {number(lock['target'])} tokens.")
    said.append(f"{escape(name)}: nearest its limit of epochs is {escape(lock['binding'])}.")
    return said


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls; `rows` are (class, cells), already HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(
        f'<tr class="{style}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n' for style, cells in rows
    ).replace(' class=""', "")
    table = f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>\n'
    return table if len(rows) <= FOLD else f"<details><summary>{len(rows)} rows</summary>{table}</details>"


def _key(glyph: str, text: str, colour: str = plots.INK) -> str:
    return f'<span><i class="{glyph}" style="color:{colour}"></i>{escape(text)}</span>'


def _numbers(chosen: Sequence[Comparison]) -> str:
    """The comparisons of one metric as a table, a block for each task."""
    level, unit = f"{100 * chosen[0].delta.interval.level:g}\u00a0%", chosen[0].unit
    rows = []
    for task, block in plots.blocks(chosen).items():
        rows.append(("task", [f"<b>{escape(task)}</b>"]))
        for name, each in block:
            delta = each.delta
            clusters = f" in {delta.n_clusters:,} clusters" if delta.n_clusters != delta.n_items else ""
            estimate = each.signed(delta.estimate)
            cells = [
                f'<a href="#card-{each.card}">{escape(name)}</a>',
                f"<b>{estimate}</b>" if each.general else estimate,
                each.between(delta.interval),
                each.between(delta.these_models),
                _p(delta.p),
                _p(each.holm),
                f"{each.scale * delta.mde:.2g}",
                f"{delta.n_seeds} × {delta.n_items:,}{clusters}",
                FINDINGS[each.verdict],
            ]
            rows.append(("" if each.general else "open", cells))
    head = [
        f"difference, {escape(unit)}",
        "",
        f"{level} interval, seeds and items",
        f"{level}, these models",
        "p",
        "p, Holm",
        "would detect",
        "seeds × items",
        "finding",
    ]
    return _table(head, rows)


def _seed(seed: str) -> str:
    return f"seed {seed}"


def _end(model: Model, source: str) -> float | None:
    return next((point["bits_per_byte"] for point in reversed(model.curve) if point["source"] == source), None)


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
