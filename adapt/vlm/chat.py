"""A tokenizer's own chat template, parted into what it writes around the turns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

from adapt.vlm.template import PICTURE, Segment
from presight.errors import PresightError

# What templates ask the clock or the caller for, held still: a date in the prompt would change with the day.
SETTLED: dict[str, Any] = {"date_string": "26 Jul 2024", "enable_thinking": False}


class Chat:
    """The text of a chat template between the turns, found by writing marks for what is said.

    Args:
        tokenizer: with a chat template.

    Attributes:
        lead: spaces that the template writes before an answer, but not where it asks for one.
        end: what it writes behind an answer, up to a special token that ends it; the tokenizer's end of text where
            it writes none.

    Raises:
        PresightError: there is no template, or it does not write every turn once, in order and unchanged, or begins
            an answer otherwise than it shows one.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise PresightError("template", "the tokenizer has no chat template", "give template: plain")
        self._tokenizer = tokenizer
        self._between = cache(self._part)
        self.lead = self._lead()
        special = {str(each) for each in tokenizer.all_special_tokens}
        special |= {each.content for each in tokenizer.added_tokens_decoder.values() if each.special}
        tail = self._between(2)[-1]
        stops = [(tail.index(each), -len(each), each) for each in special if each and each in tail]
        self._own_end = bool(stops)
        self.end = tail[: min(stops)[0] + len(min(stops)[2])] if stops else str(tokenizer.eos_token)

    def segments(self, said: Sequence[str], picture: bool) -> list[Segment]:
        """The segments of turns, the user's first; of an odd number, up to where the answer begins.

        Raises:
            PresightError: the template writes so many turns otherwise than two.
        """
        open_ended = len(said) % 2 == 1
        between = self._between(len(said) + open_ended)
        found: list[Segment] = []
        for place, turn in enumerate(said):
            if place % 2:
                found += [self._before(between[place]), Segment(self.lead + turn, learnt=True)]
                continue
            found.append(Segment(self._after(between[place], found) if place else between[place], marked=True))
            found += [PICTURE] if picture and not place else []
            found.append(Segment(turn))
        last = between[len(said)]
        found.append(self._before(last) if open_ended else Segment(self._after(last, found), marked=True))
        return [each for each in found if each.text or each.picture]

    def _before(self, between: str) -> Segment:
        """What the template writes before an answer, without the spaces that are the answer's."""
        if not between.endswith(self.lead):
            raise self._refusal(f"begins one answer after {self.lead!r}, and another after {between[-40:]!r}")
        return Segment(between.removesuffix(self.lead), marked=True)

    def _after(self, between: str, found: list[Segment]) -> str:
        """Take what ends an answer off the text behind it, and put it among what is learnt."""
        found.append(Segment(self.end, learnt=True, marked=True))
        if not self._own_end:
            return between
        if not between.startswith(self.end):
            raise self._refusal(f"ends one answer with {self.end!r}, and another with {between[:40]!r}")
        return between[len(self.end) :]

    def _part(self, turns: int) -> tuple[str, ...]:
        """What is written before each of an even number of turns, and after the last: ``turns + 1`` texts."""
        marks = [f"q{place}zx{place * 7919 + 104729}xz" for place in range(turns)]
        said = [{"role": ("user", "assistant")[place % 2], "content": mark} for place, mark in enumerate(marks)]
        whole = self._render(said, begun=False)
        places = [whole.find(mark) for mark in marks]
        if -1 in places or places != sorted(places) or any(whole.count(mark) != 1 for mark in marks):
            raise self._refusal("does not write every turn once and in order")
        edges = [0, *itertools.chain(*((at, at + len(mark)) for at, mark in zip(places, marks, strict=True))), None]
        return tuple(whole[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))

    def _lead(self) -> str:
        """How an answer that the template shows begins, beyond where it asks for one."""
        mark = "q0zx104729xz"
        asked = [{"role": "user", "content": mark}]
        before, between, _ = self._between(2)
        opened = self._render(asked, begun=True)
        shown = before + mark + between
        lead = shown.removeprefix(opened)
        if lead == shown or lead.strip():
            raise self._refusal(f"begins an answer with {opened[-40:]!r}, but shows one after {shown[-40:]!r}")
        return lead

    def _render(self, said: list[dict[str, str]], begun: bool) -> str:
        import jinja2

        try:
            found = self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=begun, **SETTLED)
        except (jinja2.TemplateError, ValueError, TypeError, KeyError) as error:
            raise self._refusal(f"cannot be filled in ({' '.join(str(error).split())[:120]})") from error
        return str(found)

    def _refusal(self, problem: str) -> PresightError:
        return PresightError("template", f"the tokenizer's chat template {problem}", "give template: plain")
