"""The commands that ask a server: options are parsed here, `service.commands.jobs` does what they ask."""

# ruff: noqa: PLC0415 - imports inside commands keep httpx, pydantic and rich out of `bmtas --help`

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.commands.shell import Shell

if TYPE_CHECKING:
    from service.client import FileFormat
    from service.client_parts.records import SearchRequest
    from service.commands.jobs import Action


def _take_name(context: click.Context, parameter: click.Parameter, word: str | None) -> str | None:
    """Return the name of a dataset; a server never takes a path."""
    del context, parameter
    from service.commands.datasets.choice import is_path

    if word is not None and is_path(word):
        raise click.BadParameter(
            f"a server knows datasets by their names, and {word!r} is a path. Put the dataset into a folder below the "
            "server's BMTAS_DATASETS, and into that of its workers, then name it."
        )
    return word


_dataset = click.option(
    "--dataset",
    required=True,
    metavar="NAME",
    callback=_take_name,
    help="Dataset of the server; of your own those in its BMTAS_DATASETS.",
)
_preset = click.option(
    "--preset",
    type=click.Choice(["smoke", "quick", "paper"]),
    default="quick",
    show_default=True,
    help="How long to train: to see that it runs, for a result in minutes, or as in the paper.",
)
_job = click.argument("job_id", metavar="JOB")
_KEY_VALUE = "KEY=VALUE"


def asks_server(*, follow: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of every question to a server, as one `Asking`.

    Args:
        follow: Whether the command can watch the job.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        """Return the command with its options."""

        @functools.wraps(command)
        def call(*positional: Any, server: str | None, token_file: Path | None, as_json: bool, **words: Any) -> None:
            """Put the common options together; the others are the command's own."""
            from service.client_access import ServerAccess
            from service.commands.jobs import Asking

            watching = {"follow": words.pop("follow"), "with_logs": words.pop("with_logs")} if follow else {}
            asking = Asking(ServerAccess(server, token_file), as_json=as_json, **watching)
            command(*positional, asking=asking, **words)

        for option in reversed(_FOLLOW_OPTIONS + _SERVER_OPTIONS if follow else _SERVER_OPTIONS):
            call = option(call)
        return call

    return decorate


_weights = click.option(
    "--weights",
    metavar="imagenet|none|NAME",
    help="Where encoders start: ImageNet weights, at random, or a file in the server's weights folder.",
)
_SERVER_OPTIONS = [
    click.option("--server", metavar="URL", help="Server to ask; BMTAS_SERVER, or this machine's, without it."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File that holds the access token; BMTAS_TOKEN or BMTAS_TOKEN_FILE without it.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else there."),
]
_FOLLOW_OPTIONS = [
    click.option("--follow", is_flag=True, help="Watch the job until it has ended."),
    click.option("--logs", "with_logs", is_flag=True, help="While watching, show the lines that its trials write."),
]


@click.command(short_help="Submit a search to a server.")
@_dataset
@click.option("--backbone", required=True, metavar="NAME", help="Backbone; `bmtas backbones` lists them.")
@click.option("--tasks", metavar="A,B", help="Tasks, separated by commas; all of the dataset without it.")
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    required=True,
    metavar="9.1G|550M|60%",
    help="Most MAdds of the network, as a number or as a share of the single-task total; may be repeated.",
)
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0, 2**31 - 1), help="May be repeated; 0 without.")
@_preset
@click.option("--objective", type=click.Choice(["exact", "paper", "sampled"]), help="As of `bmtas search`.")
@click.option("--size", metavar="HxW", help="Input height and width in pixels; the dataset's own without it.")
@click.option("--no-retrain", is_flag=True, help="Stop after the search: no training, no baselines, no metrics.")
@_weights
@click.option("--name", help="What to call the job.")
@click.option("--label", "labels", multiple=True, metavar=_KEY_VALUE, help="A label of your own; may be repeated.")
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first.")
@click.option("--deadline", type=click.FloatRange(min=1), metavar="SECONDS", help="Give up so long after now.")
@click.option("--cpus", type=click.FloatRange(min=0, min_open=True), help="CPU cores of each trial; 1 without it.")
@click.option("--gpus", type=click.FloatRange(min=0), help="GPUs of each trial, also a fraction; 0 without it.")
@click.option("--idempotency-key", metavar="KEY", help="The same key and request give the same job.")
@click.option("--check", is_flag=True, help="Submit nothing; say what the search would need, as JSON.")
@asks_server(follow=True)
@click.pass_obj
def submit(shell: Shell, /, asking: Any, idempotency_key: str | None, check: bool, **words: Any) -> None:
    """Submit a search to a server. Once the id is printed, the job is not lost."""
    from service.commands.jobs import submit_search, validate_search

    search = _read_search(words)
    if check:
        validate_search(search, asking, shell)
    else:
        submit_search(search, asking, shell, idempotency_key=idempotency_key)


@click.command(short_help="List the searches of a server.")
@click.option("--state", metavar="A,B", help="Only those in these states, e.g. RUNNING,QUEUED.")
@click.option("--dataset", metavar="NAME", help="Only those on this dataset.")
@click.option("--owner", metavar="NAME", help="Only those of this owner.")
@click.option("--label", metavar=_KEY_VALUE, help="Only those with this label.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@asks_server()
@click.pass_obj
def jobs(shell: Shell, /, asking: Any, limit: int, **filters: str | None) -> None:
    """List searches, the newest first."""
    from service.commands.jobs import show_jobs

    asked = {name: value for name, value in filters.items() if value}
    if "label" in asked:
        asked["label"] = ":".join(_split_label(asked["label"]))
    show_jobs(asked, limit, asking, shell)


@click.command(short_help="Show a job of a server, or watch it.")
@_job
@asks_server(follow=True)
@click.pass_obj
def job(shell: Shell, asking: Any, job_id: str) -> None:
    """Show a job with its trials; with --follow watch it until it has ended, then show what it found."""
    from service.commands.jobs import show_job

    show_job(job_id, asking, shell)


def _build_change(action: Action, *, short_help: str, text: str, follow: bool = False) -> click.Command:
    """Return the command that asks for one action on a job.

    Args:
        action: What the server is asked to do.
        short_help: In the list of commands.
        text: Of the command's own help.
        follow: Whether the command can watch the job afterwards.
    """

    @click.command(action, short_help=short_help, help=text)
    @_job
    @asks_server(follow=follow)
    @click.pass_obj
    def change(shell: Shell, asking: Any, job_id: str) -> None:
        """Ask for the action."""
        from service.commands.jobs import change_job

        change_job(job_id, action, asking, shell)

    return change


cancel = _build_change(
    "cancel",
    short_help="Stop a job and keep what it has done.",
    text="Ask a job to stop at its next step and to keep its checkpoints.",
)
kill = _build_change(
    "kill", short_help="Stop a job now.", text="Stop a job now; resumed, it goes on from its last checkpoints."
)
resume = _build_change(
    "resume",
    short_help="Go on with a failed or cancelled job.",
    text="Go on with a failed or cancelled job from its checkpoints.",
    follow=True,
)


@click.command(short_help="Submit once more what a job asked.")
@_job
@asks_server(follow=True)
@click.pass_obj
def retry(shell: Shell, asking: Any, job_id: str) -> None:
    """Submit once more, as a new job, what an ended job asked."""
    from service.commands.jobs import retry_job

    retry_job(job_id, asking, shell)


@click.command(short_help="Show what a search found.")
@_job
@asks_server()
@click.pass_obj
def front(shell: Shell, asking: Any, job_id: str) -> None:
    """Show the networks that a search found; a star marks those that none beats."""
    from service.commands.jobs import show_front

    show_front(job_id, asking, shell)


@click.command(short_help="Take a network from a server.")
@click.argument("architecture_id", metavar="ARCHITECTURE")
@click.option("--format", "file_format", required=True, type=click.Choice(["json", "onnx", "pt2"]), help="File format.")
@click.option(
    "--out", "target", type=click.Path(path_type=Path), metavar="FILE", help="ARCHITECTURE.FORMAT without it."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@asks_server()
@click.pass_obj
def fetch(
    shell: Shell, asking: Any, architecture_id: str, file_format: FileFormat, target: Path | None, force: bool
) -> None:
    """Write a network that a search found to a file, checked against its SHA-256."""
    from service.commands.jobs import FetchRequest, fetch_architecture

    path = target or Path(f"{architecture_id}.{file_format}")
    fetch_architecture(FetchRequest(architecture_id, file_format, path, force), asking, shell)


@click.command(short_help="Have a server train a network anew.")
@click.argument("architecture_id", metavar="ARCHITECTURE")
@click.option("--dataset", metavar="NAME", callback=_take_name, help="The one that it was found on without it.")
@_preset
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed.")
@_weights
@asks_server(follow=True)
@click.pass_obj
def submit_retrain(shell: Shell, /, asking: Any, architecture_id: str, **options: Any) -> None:
    """Submit the training of a network that a search found."""
    from service.commands.jobs import submit_retraining

    asked = {name: value for name, value in options.items() if value is not None}
    submit_retraining(architecture_id, asked, asking, shell)


@click.group(short_help="Make, list and revoke access tokens.")
def tokens() -> None:
    """Make, list and revoke access tokens of a server."""


@tokens.command("list")
@asks_server()
@click.pass_obj
def list_tokens(shell: Shell, asking: Any) -> None:
    """List the access tokens, without their secrets."""
    from service.commands.jobs import show_tokens

    show_tokens(asking, shell)


@tokens.command("create")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(["viewer", "operator", "admin", "worker"]), help="What for.")
@click.option("--owner", metavar="NAME", help="Whose jobs are the token's own; yours without it.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="How long it is good; for ever without it.")
@asks_server()
@click.pass_obj
def create_token(shell: Shell, asking: Any, name: str, role: str, owner: str | None, days: float | None) -> None:
    """Make an access token; it is shown this once."""
    from service.client_parts.records import TokenRequest
    from service.commands.jobs import make_token

    make_token(TokenRequest(name, role, owner, days), asking, shell)


@tokens.command("revoke")
@click.argument("token_id", metavar="ID")
@asks_server()
@click.pass_obj
def revoke_token(shell: Shell, asking: Any, token_id: str) -> None:
    """Make an access token worthless, from now on."""
    from service.commands.jobs import revoke_token as revoke

    revoke(token_id, asking, shell)


JOB_COMMANDS: tuple[click.Command, ...] = (
    submit,
    jobs,
    job,
    cancel,
    kill,
    resume,
    retry,
    front,
    fetch,
    submit_retrain,
    tokens,
)


def _read_search(words: dict[str, Any]) -> SearchRequest:
    """Return the search that the options of `bmtas submit` describe."""
    from search.spec import parse_budget, parse_size
    from service.client_parts.records import SearchRequest

    resources = {name: words[name] for name in ("cpus", "gpus") if words[name] is not None}
    return SearchRequest(
        dataset=words["dataset"],
        backbone=words["backbone"],
        budgets=tuple(dict.fromkeys(parse_budget(budget) for budget in words["budgets"])),
        tasks=None if words["tasks"] is None else [name.strip() for name in words["tasks"].split(",")],
        seeds=list(dict.fromkeys(words["seeds"])) or None,
        preset=words["preset"],
        objective=words["objective"],
        input_size=None if words["size"] is None else parse_size(words["size"]),
        retrain=False if words["no_retrain"] else None,
        weights=words["weights"],
        name=words["name"],
        priority=words["priority"],
        deadline_seconds=words["deadline"],
        resources=resources or None,
        labels=dict(_split_label(label) for label in words["labels"]) or None,
    )


def _split_label(text: str) -> tuple[str, str]:
    """Return key and value of a label.

    Raises:
        click.UsageError: It has no equals sign.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.UsageError(f"A label is KEY=VALUE, got {text[:40]!r}.")
    return key, value
