"""``presight corpus``: the commands that make labels — annotate, agreement, classifier, label."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Taxonomy = Annotated[str, typer.Option("--taxonomy", help="A shipped taxonomy, or a YAML file of your own.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(annotate)
    app.command()(agreement)
    app.command("train-classifier")(train_classifier)
    app.command("evaluate-classifier")(evaluate_classifier)
    app.command()(label)


def annotate(
    documents: Annotated[Path, typer.Argument(help="A documents artifact, or jsonl or parquet with text and source.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of answers and annotations; run again to go on.")],
    endpoint: Annotated[str, typer.Option(help="Address of an OpenAI-compatible server, with or without /v1.")],
    model: Annotated[str, typer.Option(help="The model, as the server knows it.")],
    per_source: Annotated[int, typer.Option(min=1, help="Windows of 2,000 characters drawn from each source.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw; a smaller draw is part of a larger one.")] = 0,
    taxonomy: Taxonomy = "priors",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 8,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Stop before the folder has taken more.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="The same in money; needs --price.")] = None,
    price: Annotated[tuple[float, float] | None, typer.Option(help="Of a million prompt and answer tokens.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest answer.")] = 0.0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until an answer must be there.")] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first, with growing pauses.")] = 6,
    again: Annotated[bool, typer.Option("--again", help="Ask once more about segments that failed.")] = False,
    json_mode: Annotated[bool, typer.Option("--json-mode", help="Ask the server for a JSON object.")] = False,
    body: Annotated[str | None, typer.Option(help="Further fields of each request, as JSON.")] = None,
    json_output: Json = False,
) -> None:
    """Let an LLM label windows of text.

    Over any server that speaks OpenAI's chat protocol. Every answer is kept as it came; a run that was killed goes
    on without asking again. The key is read from PRESIGHT_API_KEY or OPENAI_API_KEY.
    """
    from dataclasses import asdict

    from corpus.labels import annotator, excerpts
    from corpus.labels.taxonomy import Taxonomy as Labels
    from presight.console import foreground
    from presight.errors import PresightError

    try:
        more = json.loads(body) if body else None
    except ValueError as error:
        raise PresightError("--body", f"is no JSON ({error})", 'write {"name": value}') from None
    with foreground("annotating"):
        summary = annotator.annotate(
            excerpts.windows(documents, per_source, seed),
            out,
            taxonomy=Labels.read(taxonomy),
            endpoint=endpoint,
            model=model,
            concurrency=concurrency,
            max_tokens=max_tokens,
            max_cost=max_cost,
            price=price,
            temperature=temperature,
            timeout=timeout,
            retries=retries,
            again=again,
            json_mode=json_mode,
            body=more,
        )
    if json_output:
        print(json.dumps(asdict(summary), indent=1))
    else:
        print(out / "annotations.jsonl")


def agreement(
    annotators: Annotated[
        list[Path], typer.Argument(help="A folder of annotate, or a jsonl file, for each annotator.")
    ],
    merge: Annotated[Path | None, typer.Option(help="Write the labels that most annotators give, as jsonl.")] = None,
    taxonomy: Taxonomy = "priors",
    json_output: Json = False,
) -> None:
    """Show how far several annotators agree.

    On the windows that they share, label by label: the ceiling of any classifier.
    """
    from dataclasses import asdict

    from corpus.labels import agreement as agreeing
    from corpus.labels.taxonomy import Taxonomy as Labels
    from presight.console import say, table

    labels = Labels.read(taxonomy)
    found = agreeing.agreement(annotators, labels)
    if json_output:
        text = json.dumps([asdict(each) for each in found])
        print(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=1))  # NaN is no JSON
    else:
        rows = [
            [
                each.name,
                each.positive,
                *(
                    text.replace("nan–nan", "").replace("nan", "–")
                    for text in (
                        f"{each.f1:.2f} {each.f1_interval[0]:.2f}–{each.f1_interval[1]:.2f}",
                        *(f"{value:.2f}" for value in (each.agreement, each.kappa, each.alpha)),
                    )
                ),
            ]
            for each in found
        ]
        table(
            f"{found[0].segments} segments", ["label", "positive", "pairwise F1", "agreement", "kappa", "alpha"], rows
        )
    if merge:
        say(f"{agreeing.merge(annotators, merge, labels):,} segments in {merge}")


def train_classifier(
    out: Annotated[Path, typer.Option("--out", help="Folder of the classifier.")],
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help="jsonl: id, source, labels, text; default: the sample's.")
    ] = None,
    taxonomy: Taxonomy = "priors",
    seed: Annotated[int, typer.Option(help="Of the folds that are held out.")] = 0,
    json_output: Json = False,
) -> None:
    """Train a classifier on annotated text.

    A fastText model of every label; its thresholds are chosen on text it has not seen.
    """
    from presight.executor import THREAD_VARIABLES

    for name in THREAD_VARIABLES:  # before numpy is imported: the last digits of the weights depend on it
        os.environ[name] = "1"
    from corpus.labels import annotations as published
    from corpus.labels import classifier
    from corpus.labels.taxonomy import Taxonomy as Labels
    from presight.console import foreground

    labels = Labels.read(taxonomy)
    with foreground("training"):
        found = published.read(annotations, labels) if annotations else published.load_sample(taxonomy=labels)
        classifier.train(found, labels, out, seed)
    about = classifier.Classifier.load(out).about
    if json_output:
        print(json.dumps({key: about[key] for key in ("annotations", "thresholds", "settings", "model")}, indent=1))
    else:
        print(out)


def evaluate_classifier(
    classifier: Annotated[Path, typer.Argument(help="Folder of a classifier.")],
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help="jsonl: id, source, labels, text; default: the sample's.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Measure a classifier on annotated text.

    Beside somebody who knows only the source; text it was trained on is scored out of fold.
    """
    import shutil

    from corpus.labels import annotations as published
    from corpus.labels import evaluation
    from corpus.labels.classifier import Classifier

    taxonomy = Classifier.load(classifier).taxonomy
    found = published.read(annotations, taxonomy) if annotations else published.load_sample(taxonomy=taxonomy)
    report = evaluation.evaluate(classifier, found)
    width = shutil.get_terminal_size(fallback=(140, 24)).columns  # a pipe has no width to fit into
    print(json.dumps(report, indent=1) if json_output else evaluation.render(report, width))


def label(
    place: Annotated[Path, typer.Argument(help="A tokens or documents artifact; or jsonl, parquet or text files.")],
    classifier: Annotated[Path, typer.Option("--classifier", help="Folder of a classifier.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write, whole or not at all; run again to go on.")],
    segment: Annotated[int, typer.Option(min=16, help="Tokens of a segment at most.")] = 1024,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    text_key: Annotated[str, typer.Option(help="Key of a record's text, in files.")] = "text",
) -> None:
    """Write the probability of every label.

    For every segment of token shards, or for every document of files.
    """
    from corpus.labels import passes

    with_progress = passes.label(place, classifier, out, segment=segment, jobs=jobs, text_key=text_key)
    print(with_progress)
