"""The findings in words: what is established, what is not, and what this many seeds can say at all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report import alignment, blindness, emergence, ladders, landscape, structure
from eval.report.differences import blocks
from eval.report.words import count, listing, once, plural, spread

if TYPE_CHECKING:
    from eval.report.evidence import Comparison, Evidence, Family

SHOWN = 8  # findings listed before the reader is sent to the table


def facts(evidence: Evidence) -> str:
    """What was trained and scored, in a line."""
    said = []
    if models := evidence.models:
        sizes = once(
            f"{m.config.get('num_hidden_layers', '?')} layers × {m.config.get('hidden_size', '?')}" for m in models
        )
        read = once(f"{count(m.ledger['tokens'])} tokens each" for m in models if m.ledger)
        said = [f"{plural(len(models), 'pretrained model')} ({', '.join([*sizes, *read])})"]
    said += once(f"{arm.record['task']}, {plural(arm.record['n_items'], 'item')}" for arm in evidence.arms)
    said += once(f"{arm.record['trained']} trained" for arm in evidence.arms if arm.record["trained"])
    said += once(f"{each.record['task']} probed, {plural(len(each.items), 'item')}" for each in evidence.probes)
    said += once(f"{plural(each.record['items'], 'pair')} of caption and image" for each in evidence.alignments)
    return f'<p class="facts">{escape(" · ".join(said))}</p>'


def summary(evidence: Evidence) -> str:
    """The comparisons counted by what may be said of them, then named; then what else was found, in sentences."""
    every = [(name, each) for family in evidence.families for name, each in _named(family)]
    other = {
        "What explains the gain": [said for family in evidence.families for said in ladders.verdicts(family.ladder)],
        "From when on": [emergence.verdict(each) for each in evidence.emergences],
        "Alignment": alignment.verdicts(evidence),
        "Looking": blindness.verdicts(evidence),
        "Response": landscape.verdicts(evidence),
        "Structure": structure.verdicts(evidence),
    }
    text = " ".join(map(_counted, evidence.families))
    if not text and not any(other.values()):
        text = "Nothing was compared."
    lists = _listed("Established", [pair for pair in every if pair[1].general], "") if every else ""
    lists += _listed("Not established", [pair for pair in every if not pair[1].general], "open") if every else ""
    lists += "".join(_told(title, said) for title, said in other.items() if said)
    lead = f'<p class="lead">{text}</p>' if text else ""
    return f'{lead}<div class="lists">{lists}</div>' if lists else lead


def _told(title: str, said: Sequence[tuple[str, bool]]) -> str:
    """Sentences under a title, grey where nothing is established."""
    lines = "".join(f"<li{'' if shown else ' class=open'}>{escape(words)}</li>" for words, shown in said)
    return f"<div class='told'><h3>{title}</h3><ul>{lines}</ul></div>"


def _named(family: Family) -> list[tuple[str, Comparison]]:
    return [(f"{task} · {name}", each) for task, block in blocks(family.comparisons).items() for name, each in block]


def _counted(family: Family) -> str:
    every = family.comparisons
    if not every:
        return f"Nothing was compared along {escape(family.along)}."
    established = sum(each.general for each in every)
    corrected = sum(each.verdict == "established" for each in every)
    ours = sum(each.verdict == "these models" for each in every)
    level = f"{100 * every[0].delta.interval.level:g}\u00a0%"
    controls = escape(listing(once(each.delta.control for each in every)))
    said = (
        f"Of {plural(len(every), 'comparison')} of {escape(family.treatment)} with {controls} "
        f'(<a href="#card-{family.card}">along {escape(family.along)}</a>), '
    )
    if established:
        after = {0: "none of them", established: "all of them"}.get(corrected, f"{corrected} of them")
        said += (
            f"<strong>{established} {'is' if established == 1 else 'are'} established</strong>: the {level} interval "
            f"over seeds and items excludes 0; {after} also after Holm’s correction for {plural(len(every), 'test')}"
        )
    else:
        said += f"<strong>none is established</strong>: no {level} interval over seeds and items excludes 0"
        said += " where seeds vary" if ours else ""
    if ours:
        said += f"; {ours} can be said of these very models only, for want of a second seed"
    if (rest := len(every) - established - ours) and established + ours:
        said += f". <strong>In {rest} no difference is established</strong>"
    return said + "."


def _listed(title: str, chosen: Sequence[tuple[str, Comparison]], style: str) -> str:
    ranked = sorted(chosen, key=lambda pair: -abs(pair[1].scale * pair[1].delta.estimate))
    notes = {"established alone": " — not after Holm’s correction", "these models": " — of these models only"}
    lines = [
        f"<li>{escape(name)}: <span>{each.signed(each.delta.estimate)} {each.between(each.delta.interval)} "
        f"{escape(each.unit)}</span>{notes.get(each.verdict, '')}</li>"
        for name, each in ranked[:SHOWN]
    ] or ["<li>none</li>"]
    if len(ranked) > SHOWN:
        lines.append(f'<li>and {len(ranked) - SHOWN} more in <a href="#differences">the tables</a></li>')
    return f'<div class="{style}"><h3>{title}</h3><ul>{"".join(lines)}</ul></div>'


def seeds(evidence: Evidence) -> str:
    """What this number of seeds can say and what it cannot, for the face of the report."""
    families = [family for family in evidence.families if family.comparisons]
    every = [each for family in families for each in family.comparisons]
    if not every:
        return ""
    counts = sorted({each.delta.n_seeds for each in every})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    reach = listing(
        spread([each.scale * each.delta.mde for each in every if each.unit == unit], unit)
        for unit in once(each.unit for each in every)
    )
    lines = [
        f"The unit of replication is a pretraining run: {number} of each kind here. Believe the interval over "
        "<strong>seeds and items</strong> (thin lines); it allows for other runs and other test items.",
        "Intervals of <strong>these models</strong> (thick lines) take the models as given. They speak of these very "
        "models and say nothing of another run, however short they are.",
        f"The smallest true difference that would be found four times in five is <strong>{reach}</strong>, depending "
        "on the comparison. Smaller ones would mostly be missed: not established does not mean absent.",
        f"Holm’s p allows for {listing(str(len(family.comparisons)) for family in families)} comparisons made together"
        + (", each set by itself. " if len(families) > 1 else ". ")
        + "What holds alone but not after Holm may be one of the chance findings that many tests bring.",
    ]
    if counts[0] == 1:
        lines.append("One seed says nothing about pretraining in general: the next run may differ by any amount.")
    if 2 in counts:
        lines.append("Two seeds hardly show how much runs differ, so intervals are long; a third would help most.")
    title = f"What {number} pretraining seed{'' if counts == [1] else 's'} can and cannot say"
    return f'<aside class="box"><h3>{title}</h3><ul>{"".join(f"<li>{line}</li>" for line in lines)}</ul></aside>'
