"""The cleaning filters on the sample data: rates beside what datatrove does by itself, and what each profile keeps.

``python benchmarks/filters.py [MEGABYTES]`` takes so much text of each source (default 0.5). Times are of this
process's own work, so that a busy machine counts for both sides alike.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import TextNormConfig, ngrams, simplify_text
from datatrove.utils.word_tokenizers import load_word_tokenizer

from corpus.clean.leaks import GRAM, LeakIndex, Leaks, normalised
from corpus.clean.quality import DEFAULTS, PROFILES, filters
from corpus.clean.runs import runs
from corpus.clean.words import WORDS
from corpus.documents import INDEX, Sample, read_source

N = 12
ROUNDS = 8  # of parts, which the sides take by turns


def sample(megabytes: float) -> dict[str, list[str]]:
    """The sample's documents of each source."""
    with tempfile.TemporaryDirectory() as name:
        stage = Sample(megabytes=megabytes).settle(fetch=True)
        stage.run(Path(name), {})
        sources = json.loads((Path(name) / INDEX).read_text())["sources"]
        return {source: [each.text for each in read_source(Path(name) / source)] for source in sources}


def verdict(steps: Sequence[Any], text: str) -> str:
    """The first reason against a document, or nothing."""
    document = Document(text=text, id="")
    for step in steps:
        result = step.filter(document)
        if result is not True:
            return f"{type(step).__name__}:{result[1]}"
    return ""


def race(texts: Sequence[str], sides: dict[str, Callable[[str], Any]]) -> dict[str, tuple[float, list[Any]]]:
    """Documents a second and results of each side, which take turns on parts of the same text."""
    spent, results = dict.fromkeys(sides, 0.0), {name: [None] * len(texts) for name in sides}
    for part in range(ROUNDS):
        for name, side in sides.items():
            began = time.process_time()
            results[name][part::ROUNDS] = [side(text) for text in texts[part::ROUNDS]]
            spent[name] += time.process_time() - began
    return {name: (len(texts) / spent[name], results[name]) for name in sides}


def chain(texts: Sequence[str]) -> None:
    """Gopher and FineWeb: as the profile `prose` has them, and datatrove's own with our words and with spaCy's."""
    languages: dict[str, Any] = {"our words": WORDS}
    if importlib.util.find_spec("spacy"):
        languages["spaCy"] = "eng"
    else:
        print("spaCy is not installed (pip install spacy): no comparison with it.")
    words: dict[str, Callable[[str], Any]] = {}
    # all three filters on every document, whatever the first says: the same work for all sides
    sides: dict[str, Callable[[str], Any]] = {"profile prose": each_of(filters("prose"))}
    for name, language in languages.items():
        tokenizer = load_word_tokenizer(language)
        tokenizer.word_tokenize("warm up")
        words[name] = tokenizer.word_tokenize
        steps = (GopherQualityFilter, FineWebQualityFilter, GopherRepetitionFilter)
        sides[f"datatrove, {name}"] = each_of([step(language=language) for step in steps])
    for title, result in (("words alone", race(texts, words)), ("Gopher + FineWeb", race(texts, sides))):
        slowest = min(rate for rate, _ in result.values())
        print(title)
        for name, (rate, _) in result.items():
            print(f"  {name:<22}{rate:>8,.0f} docs/s {rate / slowest:>6.1f} times")
    verdicts = {name: found for name, (_, found) in result.items()}
    for what, one, other, column in (
        ("repetition: profile prose and datatrove agree", "profile prose", "datatrove, our words", 2),
        ("quality: our words and spaCy's agree", "datatrove, our words", "datatrove, spaCy", 0),
        ("repetition: our words and spaCy's agree", "datatrove, our words", "datatrove, spaCy", 2),
    ):
        if other in verdicts:
            pairs = zip(verdicts[one], verdicts[other], strict=True)
            same = np.mean([a[column].partition(":")[2] == b[column].partition(":")[2] for a, b in pairs])
            print(f"  {what} on {same:.1%} of documents")
    print()


def each_of(steps: Sequence[Any]) -> Callable[[str], list[str]]:
    """What each of some filters says of a text."""
    return lambda text: [verdict([step], text) for step in steps]


def decontamination(texts: Sequence[str], items: Sequence[str]) -> None:
    """Our index and datatrove's filter, both with our words, on the same text and the same n-grams."""
    norm = TextNormConfig(norm_numbers=False)
    config = NGramsDecontConfig(n_grams=N, norm_config=norm)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = NGramsDecontFilter(name, config, language=WORDS)
        grams = {g for item in items for g in ngrams(WORDS.word_tokenize(simplify_text(item, norm)), N)}
        np.array([theirs.hash_func(" ".join(g)) for g in grams], "<u8").tofile(folder / "items.index.hashes")
        index = LeakIndex()
        rows = []
        for number, item in enumerate(items):
            *_, (length, hashes) = runs(index.hasher.words(normalised(item)), N)
            rows.append(np.zeros(len(hashes) if length == N else 0, GRAM))
            rows[-1]["hash"], rows[-1]["item"] = hashes[: len(rows[-1])], number
        np.save(folder / f"ngrams-{N}.npy", np.concatenate(rows))
        (folder / "benchmark.json").write_text('{"fields": ["question"]}')
        (folder / "items.jsonl").write_text('{"benchmark": "items", "item": ""}\n' * len(items))
        ours = Leaks(LeakIndex([folder]))
        planted = [*texts, *items[:50]]
        result = race(planted, {"ours": lambda t: verdict([ours], t), "datatrove": lambda t: verdict([theirs], t)})
    (ours_rate, first), (rate, second) = result["ours"], result["datatrove"]
    rate_mb = ours_rate * sum(map(len, planted)) / len(planted) / 1e6
    print(
        f"decontamination against {len(grams):,} {N}-grams: ours {ours_rate:,.0f} docs/s ({rate_mb:.1f} MB/s), "
        f"datatrove {rate:,.0f}, {ours_rate / rate:.1f} times; dropped {sum(map(bool, first))} and "
        f"{sum(map(bool, second))} (50 were planted)\n"
    )


def survival(text: dict[str, list[str]]) -> None:
    """Per cent of documents each profile keeps of each source, and why the usual profile drops the rest."""
    profiles = [name for name in PROFILES if name != "none"]
    print(f"{'documents kept, %':<18}{'n':>5}" + "".join(f"{name:>11}" for name in profiles))
    reasons = {}
    for source, texts in text.items():
        cells = []
        for name in profiles:
            steps = filters(name)
            found = Counter(verdict(steps, each) for each in texts)
            usual = DEFAULTS.get(source) == name
            cells.append(f"{100 * found.pop('', 0) / len(texts):.1f}{'*' if usual else ' '}")
            if usual:
                reasons[source] = ", ".join(f"{why} {count}" for why, count in found.most_common(4))
        print(f"{source:<18}{len(texts):>5}" + "".join(f"{cell:>11}" for cell in cells))
    print("* the source's usual profile; it drops for")
    for source, why in reasons.items():
        print(f"  {source}: {why or 'nothing'}")


def main() -> None:
    """Print everything."""
    text = sample(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5)
    mixed = [each for texts in text.values() for each in texts]
    print(f"{len(mixed):,} documents of {sum(map(len, mixed)) / len(mixed) / 1e3:.1f} kB on average")
    chain(mixed)
    sentences = [each for novel in text.get("literature", []) for each in WORDS.sent_tokenize(novel)]
    rest = [each for source, texts in text.items() if source != "literature" for each in texts]
    decontamination(rest, [each for each in sentences if len(normalised(each)) >= N])
    survival(text)


if __name__ == "__main__":
    main()
