"""The section of mixtures: shares asked and given, repetition, and whatever was dropped or renormalised."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from corpus import Mixture
from eval.report.figures import INK, Plot, empty, plot, text
from eval.report.sheet import Sheet, table
from eval.report.words import listing, once, plural
from presight.console import number

if TYPE_CHECKING:
    from eval.report.evidence import Lock

TINTS = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#DDDDDD")  # Tol's light scheme
PATTERNS = ("", "/", ".", "x")  # a second round of tints is told apart by these


def section(sheet: Sheet) -> str:
    """Shares as bars, remarks, and a table of all pools."""
    locks = sheet.evidence.mixtures
    if not locks:
        return ""
    names = [" · ".join(each.labels.values()) or each.card[:8] for each in locks]
    gaps = [abs(p["share"] * each.lock["items"] - p["quota"]) for each in locks for p in each.lock["pools"]]
    asked = "asked, renormalised" if any(each.lock["missing"] for each in locks) else "asked"
    said = (
        f"What was {asked} and what was given differ by at most {max(gaps):.2f} of an item "
        f"({listing(once(str(each.lock['item']) for each in locks))} tokens)"
    )
    caption = f"Shares in per cent of tokens, as given. {said}. {sheet.cards([each.card for each in locks])}"
    remarks = [
        *_read(sheet, locks),
        *(remark for pair in zip(names, locks, strict=True) for remark in remarks_on(*pair)),
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
    figure = sheet.figure([shares(locks, names, "mixtures-shares")], caption)
    return figure + f'<ul class="facts">{notes}</ul>' + table(head, rows)


def shares(mixtures: Sequence[Lock], names: Sequence[str], name: str) -> Plot:
    """What each mixture holds, as stacked bars of realised shares."""
    figure = empty()
    given = [{pool["name"]: 100 * pool["realised"] for pool in each.lock["pools"]} for each in mixtures]
    for index, source in enumerate(dict.fromkeys(source for each in given for source in each)):
        x = [each.get(source, 0.0) for each in given]
        figure.add_bar(
            x=x,
            y=list(range(len(mixtures))),
            orientation="h",
            name=text(source),
            marker={
                "color": TINTS[index % len(TINTS)],
                "line": {"color": "white", "width": 1},
                "pattern": {"shape": PATTERNS[index // len(TINTS) % len(PATTERNS)], "size": 5, "fgcolor": "#555"},
            },
            text=[f"{text(source)}<br>{value:.3g}" if value >= 4 else "" for value in x],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": INK, "size": 11},
            constraintext="inside",
            hovertemplate=f"{text(source)}: %{{x:.2f}} %<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, margin={"l": 8, "r": 8, "t": 4, "b": 44}, showlegend=True)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "traceorder": "normal"}
    )
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    figure.update_xaxes(range=[0, 100], showgrid=False, showticklabels=False, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(mixtures))),
        ticktext=[text(each) for each in names],
        autorange="reversed",
        automargin=True,
    )
    return plot(figure, name, f"Shares of the sources in {len(mixtures)} mixtures", 100 + 62 * len(mixtures))


def _read(sheet: Sheet, locks: Sequence[Lock]) -> list[str]:
    """Whether the models' ledgers agree with the locks they were trained on."""
    from corpus import Sampler

    evidence = sheet.evidence
    planned = {each.card: Sampler(each.lock) for each in locks}
    agree, differ = 0, []
    for model in evidence.models:
        record = evidence.records.get(model.card)
        parents = record.card["parents"] if record and record.card else []
        sampler = next((planned[each["artifact"]] for each in parents if each["artifact"] in planned), None)
        if sampler is None or model.ledger is None:
            continue
        first, last = model.ledger["items"]
        plan = (sampler.drawn(last) - sampler.drawn(first)).tolist()
        if [pool["items"] for pool in model.ledger["pools"].values()] == plan:
            agree += 1
        else:
            differ.append(sheet.card(model.card, evidence.names[model.card]))
    said = [f"{plural(agree, 'model')} read exactly the items that their lock planned."] if agree else []
    return said + [f"<strong>Not what the lock planned was read by {', '.join(differ)}.</strong>"] * bool(differ)


def remarks_on(name: str, each: Lock) -> list[str]:
    """What is to be known of a mixture, in sentences of HTML."""
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
