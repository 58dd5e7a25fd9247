"""The command line: one table of words, one error boundary.

A command is a module in ony_core/commands with HELP, EXAMPLE, arguments(parser) and run(args) -> exit code; it is imported only
when its word is typed. Whatever goes wrong ends as one line `ony: what is wrong: what to do` and the exit code of the contract:
0 done, 1 failure, 2 usage, 70 bug.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from ony_core import __version__
from ony_core.errors import EXIT_BUG, EXIT_FAILURE, EXIT_OK, EXIT_USAGE, OnyError

COMMANDS = {
    "demo": "show one gated call from the agent to a key press and back; needs no account and no internet",
    "serve": "run the server: handoffs, phone calls, signed verdicts, the audit log",
    "admin": "set up and look after a server: organisation, phones, enrolment codes, devices",
    "config": "show the effective configuration and where each value came from",
    "enroll": "connect this machine to a server with a one-time code",
    "install": "put the gate into an agent's settings",
    "uninstall": "take the gate out of an agent's settings again",
    "daemon": "start, stop or look at the connector on this machine",
    "hook": "answer one tool call of an agent (event on stdin, reply on stdout)",
    "hooks": "the same as hook",
    "mode": "say how this machine or one session is gated: on, away, here or off",
    "freeze": "deny everything at once with your password",
    "approve": "answer waiting requests on this terminal (mode here)",
    "status": "show mode, waiting requests and what kind of protection is in place",
    "doctor": "check this installation line by line",
    "explain": "show what a command does, its risk, and what would be said on the phone",
    "audit": "verify, list, show or export the audit log, offline",
}
ALIASES = {"hooks": "hook"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the value is the process exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except OnyError as error:
        return _say(str(error), error.code)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader left; the interpreter's own flush must not fail too
        return EXIT_FAILURE
    except Exception as error:  # noqa: BLE001 the last boundary: a traceback may quote a secret
        return _say(f"unexpected {type(error).__name__} in {_where(error)}: please report this with `ony doctor`", EXIT_BUG)


def parser_of(word: str) -> argparse.ArgumentParser:
    """The parser of one command, for running it and for the tests that read every --help."""
    module = importlib.import_module(f"ony_core.commands.{ALIASES.get(word, word)}")
    parser = _Parser(
        prog=f"ony {word}",
        description=module.HELP,
        epilog=f"example:\n{_indented(module.EXAMPLE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    parser.set_defaults(run_command=module.run)  # a name that no argument takes
    return parser


class _Parser(argparse.ArgumentParser):
    """Usage errors in our one-line form. Sub-verbs inherit it."""

    def error(self, message: str) -> "None":  # type: ignore[override]
        raise OnyError(message, f"see `{self.prog} --help`", EXIT_USAGE)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return EXIT_OK if words else EXIT_USAGE
    if words[0] in ("-V", "--version"):
        print(f"ony {__version__}")
        return EXIT_OK
    if words[0] not in COMMANDS:
        raise OnyError(f"there is no command {words[0][:40]!r}", "`ony --help` lists them", EXIT_USAGE)
    args = parser_of(words[0]).parse_args(words[1:])
    return int(args.run_command(args))


def _overview() -> str:
    rows = "\n".join(f"  {word:10} {text}" for word, text in COMMANDS.items())
    return (
        "usage: ony COMMAND [ARGS]\n\n"
        "Ony holds a coding agent's irreversible tool calls until their owner has said yes on the phone.\n\n"
        f"{rows}\n\n"
        "`ony COMMAND --help` explains one of them with an example. Start with `ony demo`."
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _say(line: str, code: int) -> int:
    print(f"ony: {line}", file=sys.stderr)
    return code


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


if __name__ == "__main__":
    sys.exit(main())
