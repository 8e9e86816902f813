"""The section of the paper's figures beside ours: what it has of one seed, what we have with intervals."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from eval.report.beside import FEWEST, Beside, Gain, Mark, ranks
from eval.report.evidence import join
from eval.report.figures import GREY, slug
from eval.report.panels import Colours, colours_of, panels, span
from eval.report.paper import Figure, Key, figures
from eval.report.sheet import Sheet, key, table
from eval.report.words import count, listing, once, plural

if TYPE_CHECKING:
    from eval.report.evidence import Evidence

SCENES = ("SceneQuestions", "Existence")  # stages that ask about composed scenes
SMALL = 5  # values below which differences are told by digits, not by places
RESOLVED = 5  # places from which on a rank correlation says something


def section(sheet: Sheet) -> str:
    """For each of the named figures its groups, the paper's beside ours, and a table of both."""
    return "".join(_figure(sheet, name, figures()[name]) for name in sheet.evidence.published)


def _figure(sheet: Sheet, name: str, figure: Figure) -> str:
    beside = Beside(figure, sheet.evidence)
    read = " (read off the drawing, to some 0.02)" if figure.digitised else ""
    facts = f"Published: {figure.where}{read}; {figure.models}; {figure.questions}; {figure.sample}, no intervals."
    title = f"<h3>{escape(figure.title)}</h3>"
    if not beside.marks:
        nothing = escape(_nothing(figure, sheet.evidence))
        return f'{title}<p class="facts">{escape(facts)}</p><p>{nothing}</p>{_numbers(beside)}'
    facts += f" Ours: {_ours(beside)}. {_unlike(beside)}"
    parts = [f'{title}<p class="facts">{escape(facts)} {sheet.cards(once(mark.card for mark in beside.among()))}</p>']
    colours = colours_of(beside)
    groups = [group for group in figure.groups if beside.among(group)]
    for group in groups:
        drawn = [panels(beside, group, colours, slug("published", name, group))]
        caption = f"<b>{escape(_named(beside, group))}.</b> {escape(_agreement(beside, group))}"
        parts.append(sheet.figure(drawn, caption, _legend(beside, group, colours) if group == groups[0] else ()))
        lines = "".join(
            f"<li{'' if shown else ' class=open'}>{escape(said)}</li>" for said, shown in _ranks(beside, group)
        )
        parts.append(f'<ul class="verdicts">{lines}</ul>' if lines else "")
    return "".join(parts) + _numbers(beside)


def _named(beside: Beside, group: str) -> str:
    """A group, and how much of it ours is of, where that is not all: then it is another group by the paper's name."""
    parts = once(filter(None, (mark.part for mark in beside.among(group) if mark.accuracy)))
    return f"{group}, ours {listing(parts)}" if parts else group


def _nothing(figure: Figure, evidence: Evidence) -> str:
    """That nothing of ours matches, and what would."""
    axes = once(axis for arm in evidence.arms for axis in arm.record["labels"])
    ends = " to ".join(once(figure.shown(at) for at in (figure.order[0], figure.order[-1])))
    places = listing(once(filter(None, map(figure.called, figure.curves))))
    at = f", at {places}" if places else ""
    have = f"the scores of this report are labelled by {listing(axes)}" if axes else "this report has no scores"
    return f"Nothing of ours stands beside it: it goes along {figure.axis} ({ends}){at}; {have}."


def _ours(beside: Beside) -> str:
    """What our points are made of."""
    marks, evidence = beside.among(), beside.evidence
    if beside.figure.itself:
        return span((mark.items for mark in marks), "model")
    sizes = [f"{size} parameters" for size in _sizes(evidence)]
    read = [f"{count(each.ledger['tokens'])} tokens" for each in evidence.models if each.ledger]
    items = f"{span((mark.items for mark in marks), 'item')} a figure"
    return ", ".join([*sizes, *once(read), span((mark.seeds for mark in marks), "seed"), items])


def _sizes(evidence: Evidence) -> list[str]:
    """The sizes of the models that were pretrained, by their cards."""
    cards = [each.card for each in evidence.records.values() if each.card]
    sizes = (card["fields"].get("model") for card in cards if str(card["stage"]).startswith("pretrain."))
    return once(size for size in sizes if isinstance(size, str))


def _unlike(beside: Beside) -> str:
    """Whether levels may be compared, and why not."""
    figure, evidence = beside.figure, beside.evidence
    if figure.itself:
        return "Other models and other questions than the paper’s."
    stages = [str(each.card["stage"]).rpartition(".")[2] for each in evidence.records.values() if each.card]
    sizes = _sizes(evidence)
    others = [size for size in sizes if size.lower() not in figure.models.lower().replace(",", "").split()]
    why = ["questions about composed scenes are not the paper’s"] * any(each in SCENES for each in stages)
    why += ["parts of groups are not groups"] * any(mark.part for mark in beside.among() if mark.accuracy)
    why += [f"{listing(others)} parameters are not {figure.models}"] * bool(others)
    if not why and sizes and "Benchmark" in stages:
        return "Model size and benchmarks are the paper’s; corpora and tokens need not be: levels compare with care."
    return (
        f"Levels are not comparable ({'; '.join(why) or 'other models and other questions'}), only shapes are: "
        "each panel has a scale of its own."
    )


def _legend(beside: Beside, group: str, colours: Colours) -> list[str]:
    """Curves where there are several, and what is filled."""
    figure = beside.figure
    theirs = [curve for curve, points in figure.curves.items() if any(group in each for each in points.values())]
    curves = [(figure.called(curve) or "published", colours[False, curve]) for curve in theirs]
    curves += [(figure.called(curve) or "ours", colours[True, curve]) for curve in beside.marks]
    named = [key("dot", *each) for each in dict.fromkeys(curves)] if len(curves) > 2 else []
    against = "0" if figure.itself else f"{figure.shown(beside.reference)}, or is it"
    return [*named, key("dot", f"ours: differs from {against}"), key("ring", "ours: not established to", GREY)]


def _agreement(beside: Beside, group: str) -> str:
    """What ours says of a group's published differences, in a sentence."""
    figure, alone, both = beside.figure, list[Gain](), list[tuple[Gain, float]]()
    for curve, partner in beside.partner.items():
        for at in beside.order(group):
            gain = beside.gain(curve, group, at)
            theirs = None if partner is None else beside.published_gain(partner, group, at)
            if gain is not None and gain.limits is not None:
                alone += [gain] * (theirs is None)
                both += [(gain, theirs)] if theirs is not None else []
    what = "Correlations" if figure.itself else f"Differences from {figure.shown(beside.reference)}"
    said = []
    if both:
        shown = [(gain, theirs) for gain, theirs in both if gain.established]
        alike = sum(gain.value * theirs > 0 for gain, theirs in shown)
        finding = f"{len(shown)} established, {alike} with the paper’s sign" if shown else "none established"
        held = f"intervals that hold the paper’s: {sum(gain.holds(theirs) for gain, theirs in both)}"
        said.append(f"{what} that both have: {len(both)}; {finding}; {held}.")
    if alone:
        found = sum(gain.established for gain in alone) or "none"
        said.append(f"{what} that ours alone has: {len(alone)}, {found} established.")
    return " ".join(said) or f"{what} that ours has with an interval: none."


def _ranks(beside: Beside, group: str) -> list[tuple[str, bool]]:
    """Whether ours order the labels as the paper does, a sentence for each curve, and whether that is resolved."""
    if beside.figure.numeric or len(beside.figure.order) < FEWEST:
        return []
    said = []
    for curve, partner in beside.partner.items():
        if partner is None or group not in beside.marks[curve]:
            continue
        shared, rho = ranks(beside, curve, group)
        where = f"{beside.figure.called(curve)}: " if len(beside.partner) > 1 else ""
        if rho is None:
            said.append((f"{where}Of {plural(shared, 'place')} that both have no rank agreement can be said.", False))
            continue
        clear = rho.excludes(0) and shared >= RESOLVED
        found = f"{rho.estimate:+.2f} [{rho.low:+.2f}, {rho.high:+.2f}]".replace("-", "−")
        words = f"{where}Rank agreement with the paper over {shared} places: Spearman’s ρ = {found}"
        said.append((f"{words}{'' if clear else ', not resolved'}.", clear))
    return said


def judged(gain: Gain | None, published: float | None) -> str:
    """Whether a difference of ours agrees with the published one, in words."""
    if gain is None:
        return ""
    if gain.limits is None:
        return "not compared here"
    holds = "" if published is None else f", {'holds' if gain.holds(published) else 'excludes'} the paper’s"
    if not gain.excludes:
        return f"not resolved{holds}"
    alone = "" if gain.seeds > 1 else "of these models only: "
    if not published:
        return f"{alone}established, the paper {'does not say' if published is None else 'has none'}"
    return f"{alone}{'same' if gain.value * published > 0 else 'opposite'} sign{holds}"


def _numbers(beside: Beside) -> str:
    """Every number of the figure: the paper's, ours, what either has over the reference, and whether they agree."""
    figure, rows = beside.figure, list[tuple[str, list[str]]]()
    for group in figure.groups:
        there = bool(beside.among(group))
        without = "" if there or not beside.marks else ", not measured here"
        rows.append(("task", [f"<b>{escape(_named(beside, group))}</b>{without}"]))
        for curve, partner in beside.pairs:
            name = figure.called(curve if curve is not None else partner or ()) if len(beside.pairs) > 1 else ""
            for at in beside.order(group):
                cells = _cells(beside, group, at, curve, partner)
                if any(cells):
                    dim = there and curve is not None and not beside.stands(curve, group, at)
                    rows.append(
                        ("open" if dim else "", [escape(join(filter(None, (name, figure.shown(at))))), *cells])
                    )
    less = escape(f" less {figure.shown(beside.reference)}")
    over = [] if figure.itself else [f"published{less}", f"ours{less}"]
    return table([escape(figure.x), "published", "ours", *over, "do they agree?"], rows)


def _cells(beside: Beside, group: str, at: str, curve: Key | None, partner: Key | None) -> list[str]:
    """A row of the table but for its name; all empty where neither has the place."""
    theirs = None if partner is None else beside.published(partner, group, at)
    mark = None if curve is None else beside.marks[curve].get(group, {}).get(at)
    gain = None if curve is None else beside.gain(curve, group, at)
    over = None if partner is None else beside.published_gain(partner, group, at)
    accuracy = mark is None or mark.accuracy
    digits = ".1f" if accuracy else ".3g"
    fine = theirs is not None and abs(theirs) < SMALL
    cells = [_number(theirs, ".4g"), _found(mark, digits, not beside.figure.itself or bool(gain and gain.established))]
    if not beside.figure.itself:
        cells += [_number(over, "+.3g" if fine else "+.2f")]
        cells += [_found(gain, "+.1f" if accuracy else "+.3g", bool(gain and gain.established))]
    at_reference = at == beside.reference and (theirs is not None or mark is not None)
    return [*cells, "reference" if at_reference else judged(gain, over)]


def _number(value: float | None, digits: str) -> str:
    return "" if value is None else f"{value:{digits}}".replace("-", "−")


def _found(found: Mark | Gain | None, digits: str, bold: bool) -> str:
    """A value of ours with its interval."""
    if found is None:
        return ""
    value = _number(found.value, digits)
    limits = f" [{', '.join(_number(each, digits) for each in found.limits)}]" if found.limits else ""
    return f"<b>{value}</b>{limits}" if bold else f"{value}{limits}"
