"""The command line. Modules of a command are imported when it runs: ``--help`` stays quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from presight.cli import corpus, data, evaluate, pretrain, runs, slurm, store
from presight.errors import EXIT_USER, PresightError

app = typer.Typer(
    help="""What does a text mixture teach a model to see and hear?

    Start with: presight run quickstart — then open runs/quickstart/report.html.""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # drawing boxes around the help takes as long as all the rest
    pretty_exceptions_enable=False,
)
runs.register(app)
store.register(app)
app.add_typer(corpus.app, name="corpus", help="Label text, mix it, check what a mixture promises.")
app.add_typer(pretrain.app, name="pretrain", help="What pretraining takes: memory, tokens a second, GPU-hours.")
app.add_typer(evaluate.app, name="eval", help="Measure a checkpoint; compare results item by item.")
app.add_typer(slurm.app, name="slurm", help="The same recipe on a cluster: submit, watch, try again.")
app.add_typer(data.app, name="data", help="Real text, images and sounds from ordinary packages.")


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""


@app.command()
def doctor(json_output: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Check the installation and this machine.

    Packages, torch, DeepSpeed, threads, matmul peak, registry clients, cache.
    """
    from presight import doctor

    raise typer.Exit(doctor.report(json_output))


@app.command()
def schema(
    stage: Annotated[str | None, typer.Argument(help="One stage, as package.Name; default: the whole recipe.")] = None,
) -> None:
    """Print the JSON schema of recipes, or of one stage."""
    import json

    from presight import schema

    print(json.dumps(schema.of_stage(stage) if stage else schema.of_recipe(), indent=1))


@app.command(hidden=True)
def worker() -> None:
    """Serve stages over a pipe; spawned by `run`."""
    from presight.worker import main

    main()


def main() -> None:
    """Run the command line; a user's fault is one sentence and an exit code, not a traceback."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        app(args=[each for each in arguments if each != "--debug"], prog_name="presight")
    except PresightError as error:
        if debug:
            raise
        print(f"presight: {error}", file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        if debug or not error.filename:
            raise
        mend = "check the path, its permissions and the space left"
        print(f"presight: {error.filename}: {error.strerror}; {mend}.", file=sys.stderr)
        sys.exit(EXIT_USER)
