"""The command line: `bmtas COMMAND`. What commands there are, and how each of them ends.

Only click and plain files are imported at the top, so that help answers at once; each command imports what it needs.
Mistakes end in one sentence on stderr and exit code 2, a stopped run in exit code 130.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from search.errors import RunCancelledError
from service.commands.cli_jobs import JOB_COMMANDS
from service.commands.cli_local import LOCAL_COMMANDS
from service.commands.cli_serve import SERVE_COMMANDS
from service.commands.datasets.cli import dataset as dataset_group
from service.commands.failures import EXIT_REFUSED, EXIT_STOPPED, find_sentence
from service.commands.shell import Shell, load_pipeline
from service.settings import load_settings, prepare_process


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bmtas", prog_name="bmtas", message="%(prog)s %(version)s")
def bmtas() -> None:
    """Search for tree-shaped multi-task networks that keep a budget of multiply-adds."""


for _command in (*LOCAL_COMMANDS, *SERVE_COMMANDS, *JOB_COMMANDS, dataset_group):
    bmtas.add_command(_command)


def main(arguments: Sequence[str] | None = None, shell: Shell | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a request that must change, 130 for a stopped run.

    Args:
        arguments: The command line without the program's name; this process's own when None.
        shell: The surroundings; the real ones when None.
    """
    prepare_process()
    try:
        chosen = shell or Shell(load_settings(), load_pipeline)
        words = None if arguments is None else list(arguments)
        exit_code = bmtas.main(words, "bmtas", standalone_mode=False, obj=chosen)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_REFUSED
    except BrokenPipeError:
        # The reader of our output, such as `head`, has seen enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        sentence, exit_code = _explain(error)
        if sentence is None:
            raise
        with contextlib.suppress(OSError):
            click.echo(f"bmtas: {sentence}", err=True)
        return exit_code
    return exit_code if isinstance(exit_code, int) else 0  # what a command ended with by itself


def _explain(error: BaseException) -> tuple[str | None, int]:
    """Return the sentence and the exit code for what ended a command; no sentence for a fault of ours."""
    match error:
        case click.UsageError(ctx=click.Context() as context):
            return f"{_one_line(error.format_message())} See '{context.command_path} --help'.", EXIT_REFUSED
        case click.ClickException():
            return _one_line(error.format_message()), EXIT_REFUSED
        case click.Abort() | KeyboardInterrupt():
            return "Stopped at once; a run that had saved its state goes on with --resume.", EXIT_STOPPED
        case RunCancelledError():
            return str(error), EXIT_STOPPED
        case _:
            return find_sentence(error), EXIT_REFUSED


def _one_line(text: str) -> str:
    """Return a text with all white space as single spaces."""
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
