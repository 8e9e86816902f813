"""A row of a benchmark's table as a question, by what is known of its columns."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.vision.metrics import CIRCLE, PAIR
from eval.vision.suite import PART, Case, Entry

FIELD = re.compile(r"\{(\w+)\}")
LETTERED = re.compile(r"^\(?([A-Z])[.):]\s+(.*\S)\s*$")
INSTRUCTION = re.compile(r"(?i)^please answer directly\b")  # how RealWorldQA ends its questions
SEVERAL = "is about several pictures"  # what no model here is shown
NUMBERED = re.compile(r"\s*<image (\d+)>\s*")  # where MMMU sets a picture into its text
LONGEST = 10_000  # characters of a list written as text


@dataclass(frozen=True, slots=True)
class Draft:
    """A question whose picture is not read yet; fields as of `eval.vision.items.Item`."""

    item: str
    task: str
    prompt: str
    options: tuple[str, ...]
    answer: int | tuple[str, ...]
    metric: str
    cluster: str
    facts: Mapping[str, Any]


def wanted(entry: Entry, row: Mapping[str, Any]) -> bool:
    """Whether a row is one of the benchmark's."""
    return all(_text(row.get(column)) in values for column, values in entry.where.items())


def text_columns(entry: Entry) -> set[str]:
    """The columns that are needed to make a question, but for its picture."""
    columns = entry.columns
    named = [columns.item, columns.answer, columns.part, columns.pair, columns.circle, columns.cluster]
    options = (columns.options,) if isinstance(columns.options, str) else columns.options or ()
    lines = [*entry.prompt, *(line for case in entry.cases for line in case.prompt or ())]
    fields = [field for line in lines for field in FIELD.findall(line)]
    values = [*entry.where, *(column for case in entry.cases for column in case.when)]
    return {each for each in (*named, *options, *fields, *values) if each} - set(image_columns(entry))


def image_columns(entry: Entry) -> tuple[str, ...]:
    """The columns in which pictures may be, or their names."""
    image = entry.columns.image
    return (image,) if isinstance(image, str) else image


def draft(name: str, entry: Entry, row: Mapping[str, Any], number: int) -> Draft:
    """The question of a row.

    Args:
        name: of the benchmark.
        entry: what is known of it.
        row: by column.
        number: of the row, from nought.

    Raises:
        ValueError: the row is no question; says why.
    """
    columns, case = entry.columns, _case(entry, row)
    lines, options = _prompt(case.prompt or entry.prompt, row), () if case.open else _options(entry, row)
    if entry.inline and not case.open:
        lines, options = _inline(lines)
    facts: dict[str, Any] = {}
    if columns.pair:
        facts[PAIR] = f"{name}/{_needed(row, columns.pair)}"
    if columns.circle:
        turn = _needed(row, columns.circle)
        facts[CIRCLE] = f"{name}/{int(turn) % columns.modulo if columns.modulo else turn}"
    part = _needed(row, columns.part) if columns.part else ""
    return Draft(
        item=f"{name}/{_needed(row, columns.item) if columns.item else f'{number:06d}'}",
        task=name + (PART + part if part else ""),
        prompt="\n".join(lines).strip(),
        options=options,
        answer=_chosen(entry, row, options) if options else _free(row.get(columns.answer)),
        metric=(case.metric or entry.metric) if not options else "accuracy",
        cluster=f"{name}/{_needed(row, columns.cluster)}" if columns.cluster else "",
        facts=facts,
    )


def _case(entry: Entry, row: Mapping[str, Any]) -> Case:
    for case in entry.cases:
        if all(_text(row.get(column)) in values for column, values in case.when.items()):
            return case
    return Case.model_construct(when={}, open=False, prompt=None, metric=None)


def _text(value: Any) -> str:
    """A value as text; what tables write for nothing is nothing."""
    plain = "" if value is None else str(value).strip()
    return "" if plain == "nan" else plain


def _needed(row: Mapping[str, Any], column: str) -> str:
    found = _text(row.get(column))
    if not found:
        raise ValueError(f"has no {column}")
    return found


def _prompt(lines: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    """The lines of the question that have something to say."""
    found = []
    for line in lines:
        fields = FIELD.findall(line)
        values = {field: _text(row.get(field)) for field in fields}
        if not fields or any(values.values()):
            said = FIELD.sub(lambda match, values=values: values[match[1]], line)  # type: ignore[misc]
            found += NUMBERED.sub(" ", said).strip().split("\n")
    if not any(FIELD.search(line) and any(_text(row.get(field)) for field in FIELD.findall(line)) for line in lines):
        raise ValueError("has no question")
    return found


def _options(entry: Entry, row: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts to choose from; none where the row has none."""
    column = entry.columns.options
    if column is None:
        return ()
    if isinstance(column, tuple):
        return tuple(text for text in (_text(row.get(each)) for each in column) if text)
    value = row.get(column)
    if isinstance(value, str):
        value = _listed(value)
    found = tuple(_text(each) for each in value or ())
    if not found:
        raise ValueError("has no options")
    if any(NUMBERED.search(each) for each in found):
        raise ValueError(SEVERAL)  # the question's own and the options'
    return found


def _listed(text: str) -> Any:
    """A list that a table holds as text, in Python's or in JSON's spelling."""
    try:
        found = ast.literal_eval(text) if len(text) <= LONGEST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list | tuple):
        raise ValueError(f"has options that are no list: {text[:60]!r}")
    return found


def _inline(lines: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Options that are lettered lines at the end of the question, taken out of it, and how to answer with them."""
    kept: list[str] = []
    options: list[str] = []
    for line in lines:
        found = LETTERED.match(line)
        if found and found[1] == string.ascii_uppercase[len(options) : len(options) + 1]:
            options.append(found[2])
        elif not options or not INSTRUCTION.match(line):
            kept.append(line)
    return (kept, tuple(options)) if len(options) > 1 else (list(lines), ())


def _chosen(entry: Entry, row: Mapping[str, Any], options: Sequence[str]) -> int:
    """The index of the right option."""
    answer = _needed(row, entry.columns.answer)
    match entry.answer:
        case "letter":
            letter = answer.strip("() .").upper()
            place = string.ascii_uppercase.find(letter) if len(letter) == 1 else -1
        case "index":
            place = int(answer) if answer.isdigit() else -1
        case _:
            places = [place for place, option in enumerate(options) if option == answer]
            folded = [place for place, option in enumerate(options) if option.casefold() == answer.casefold()]
            place = (places or folded or [-1])[0]
    if not 0 <= place < len(options):
        raise ValueError(f"has the answer {answer!r}, which is no option of {list(options)}")
    return place


def _free(value: Any) -> tuple[str, ...]:
    """All texts that count as the answer."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            listed = ast.literal_eval(value) if len(value) <= LONGEST else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = None
        # a list of texts are several answers; a list of numbers is the answer itself
        value = listed if isinstance(listed, list) and all(isinstance(each, str) for each in listed) else value
    values = value if isinstance(value, list | tuple) else [value]
    found = tuple(text for text in map(_text, values) if text)
    if not found:
        raise ValueError("has no answer")
    return found
