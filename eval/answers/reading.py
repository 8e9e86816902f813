"""Which option a reply chooses, in three tiers: an explicit letter, an option's text, an option named in the reply.

The tiers are those of *Learning to See Before Seeing* (arXiv 2509.26625, appendix D), with three differences. Letters
and texts have boundaries and case, so that "a cabinet" does not choose A. A reply that states two options, denies the
one it names, or declines to answer chooses none. And where several options are named, the longest counts only if it
contains the others; else the reply is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.answers import wording
from eval.answers.mentions import Mention, Mentions, Options, Reply, core_of
from eval.answers.wording import cleaned, folded

PARSER = "1"
Tier = Literal["letter", "text", "contained", "abstained", "ambiguous", "none"]

_REACH = 40  # characters between "the answer" and its letter
_SENTENCE = 200  # characters of a sentence that are read
_END = re.compile(r"[!?;\n。！？]|\.(?=\s|$)")
_LEAD = re.compile(r"[ :=>\n\"'-]{0,4}")
_BEGINNING = re.compile(r"(?:^|\n)[-*# ]{0,3}$")
_DELIMITER = re.compile(r"[).:,\]]| ?[-–—]{1,2} |$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reading:
    """The option that a reply chooses, or None, and the tier that says so, or why not."""

    choice: int | None
    tier: Tier


_AMBIGUOUS = Reading(None, "ambiguous")


def parse_choice(reply: str, options: Sequence[str]) -> int | None:
    """Index of the option that a reply chooses; None where it chooses none, or more than one."""
    return read_choice(reply, options).choice


def read_choice(reply: str, options: Sequence[str]) -> Reading:
    r"""The option that a reply chooses, and how it says so. Work is linear in the reply's length.

    In this order: the whole reply is an option's text; an explicit statement, the last of them ("answer: B", "the
    answer is curtain", ``\boxed{B}``, a line of only a letter, "B is correct", "not A but B"); a line that begins with
    a letter ("B. television"); "option B"; a refusal to answer; a clause that is just an option's text; the one option
    that is named and not denied. Options that are single letters themselves are meant by those.

    Args:
        reply: any text.
        options: texts, in the order of the letters A, B, C, …
    """
    known = Options.of(options)
    said = Reply(cleaned(reply), known)
    found = _whole(reply, known) or _stated(said) or _labelled(said) or _offered(said) or _declined(said)
    return found or _clauses(said) or _named(said)


def _chosen(said: Reply, mention: Mention, mentions: Mentions, tier: Tier) -> Reading:
    """What a mention chooses; nothing, where another option is stated together with it."""
    for other in mentions.within(mention.end, mention.end + 15):
        between = said.text[mention.end : other.start]
        if other.choice != mention.choice and not other.denied and wording.JOINT.fullmatch(between):
            return _AMBIGUOUS
    return Reading(mention.choice, tier)


def _whole(reply: str, known: Options) -> Reading | None:
    """The whole reply is an option: as it stands, or but for case and marks, or but for an article and a full stop."""
    plain = folded(cleaned(reply))
    for said, texts in ((reply.strip(), known.raw), (plain, known.plain), (core_of(plain), known.cores)):
        if said and (same := [place for place, text in enumerate(texts) if text == said]):
            return Reading(same[0], "text") if len(same) == 1 else _AMBIGUOUS
    return None


def _stated(said: Reply) -> Reading | None:
    """The last explicit statement that says anything; an option that is taken back later is no answer."""
    taken_back: set[int] = set()
    for place, kind in sorted(_cues(said), reverse=True):
        start = _LEAD.match(said.text, place).end()  # type: ignore[union-attr]
        ended = _END.search(said.text, start, start + _SENTENCE)
        stop = ended.start() if ended else start + _SENTENCE
        letters = said.letters.within(place, min(stop, start + (_REACH if kind == "answer" else 3)))
        texts = said.texts.within(start, stop)
        found = _claim(said, kind, start, letters, texts)
        if found:
            return found if found.choice not in taken_back else Reading(None, "none")
        if kind == "answer":
            taken_back |= {each.choice for each in letters + texts if each.denied}
    return None


def _claim(said: Reply, kind: str, start: int, letters: Sequence[Mention], texts: Sequence[Mention]) -> Reading | None:
    """What the rest of a sentence states: its first letter, or the text it begins with or the one it names."""
    letter = next((each for each in letters if not each.denied), None)
    text = next((each for each in texts if not each.denied), None)
    if letter and not (text and text.start < letter.start):
        return _chosen(said, letter, said.letters, "letter")
    if text is None or kind == "letter":
        return None
    lead = said.text[start : text.start].split()
    if len(lead) <= (2 if kind == "answer" else 1) and (kind == "answer" or core_of(" ".join([*lead, "x"])) == "x"):
        return _chosen(said, text, said.texts, "text")
    one = len({each.choice for each in texts if not each.denied}) == 1
    return Reading(text.choice, "contained") if kind == "answer" and one else None


def _cues(said: Reply) -> Iterator[tuple[int, str]]:
    """Places after which an answer may be stated, and what may state it: a sentence, a text or letter, or a letter."""
    text = said.text
    yield from ((found.end(), "answer") for found in wording.ANSWER_CUE.finditer(text))
    yield from ((found.start(1) - 1, "answer") for found in wording.BOXED.finditer(text))
    yield from ((found.end(), "answer") for found in re.finditer(r"^A: ?(?=.)", text, re.MULTILINE))
    for cue in (wording.VERB_CUE, wording.DENIED_CUE):
        yield from ((found.end(), "text") for found in cue.finditer(text))
    yield from ((found.end(), "letter") for found in wording.COPULA_CUE.finditer(text))
    alone = []
    for each in said.letters:
        if wording.ENDORSED.match(text, each.end):
            yield each.start, "letter"
        before, after = text[max(0, each.start - 3) : each.start], text[each.end : each.end + 4]
        if re.fullmatch(r"(?:.{0,2}\n)?[^\w\n]{0,3}", before) and re.fullmatch(r"[^\w\n]{0,3}(?:\n.{0,3})?", after):
            alone.append(each)
    if len({each.choice for each in alone}) == 1:
        yield alone[-1].start, "letter"


def _labelled(said: Reply) -> Reading | None:
    """The letter that lines begin with; none, where they begin with several or a line lists several."""
    found: list[Reading] = []
    for each in said.letters:
        if each.denied or not _BEGINNING.search(said.text[max(0, each.start - 4) : each.start]):
            continue
        rest = said.text[each.end : each.end + _SENTENCE].partition("\n")[0]
        if rest.startswith(":") and rest.strip(": ") and said.text[each.start : each.end] == "A":
            continue  # as in "Q: … A: …"
        own = [text for text in said.texts.within(each.end, each.end + 4) if text.choice == each.choice]
        bracketed = each.end - each.start > 1
        if own or bracketed or _DELIMITER.match(said.text, each.end) or wording.AFTER_LETTER.match(rest):
            listed = [
                other
                for other in said.letters.within(each.end, each.end + len(rest))
                if other.choice != each.choice and not other.denied and _listed(said.text, other)
            ]
            found.append(_AMBIGUOUS if listed else _chosen(said, each, said.letters, "letter"))
    return _one(found)


def _listed(text: str, letter: Mention) -> bool:
    return letter.end - letter.start > 1 or text[letter.end : letter.end + 1] in (")", ".", ":")


def _offered(said: Reply) -> Reading | None:
    """The letter that follows "option"."""
    found = []
    for cue in wording.OPTION_CUE.finditer(said.text):
        letters = said.letters.within(cue.end(), cue.end() + 3)
        found += [_chosen(said, each, said.letters, "letter") for each in letters[:1] if not each.denied]
    return _one(found)


def _one(found: Sequence[Reading]) -> Reading | None:
    """The reading that all agree on."""
    return found[0] if len(set(found)) == 1 else _AMBIGUOUS if found else None


def _declined(said: Reply) -> Reading | None:
    """A refusal, unless it is itself an option or an option is named behind a "but"; a doubt, unless one is named."""
    parts, place = [], 0
    for each in said.texts:
        parts += [said.text[place : each.start], "\x00" * (each.end - max(place, each.start))]
        place = max(place, each.end)
    masked = "".join(parts) + said.text[place:]
    refusal = wording.REFUSAL.search(masked)
    if refusal is None and wording.DOUBT.search(masked) is None:
        return None
    start = 0
    if refusal:
        turn = wording.TURN.search(masked, refusal.end())
        start = turn.end() if turn else len(masked)
    named = {each.choice for each in said.texts.within(start, len(masked)) if not each.denied}
    return Reading(named.pop(), "contained") if len(named) == 1 else Reading(None, "abstained")


def _clauses(said: Reply) -> Reading | None:
    """The reply begins with a clause that is an option's text, and no other clause is another's: "No, it's red"."""
    clauses = [core_of(each) for each in re.split(r"[.;:,!?\n](?=\s|$)", folded(said.text))]
    whole = [choice for each in clauses for choice, core in enumerate(said.known.cores) if each and each == core]
    if len(set(whole)) != 1 or clauses[0] != said.known.cores[whole[0]]:
        return None
    return Reading(whole[0], "text")


def _named(said: Reply) -> Reading:
    """The one option named and not denied, or the longest, if it contains the others."""
    choices = {each.choice for each in said.texts if not each.denied}
    if not choices:
        return Reading(None, "none")
    longest = max(choices, key=lambda choice: len(said.known.cores[choice]))
    within = all(said.known.cores[choice] in said.known.cores[longest] for choice in choices)
    twins = len({said.known.cores[choice] for choice in choices}) < len(choices)
    return Reading(longest, "contained") if within and not twins else _AMBIGUOUS
