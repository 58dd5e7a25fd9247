"""The errors people see, and the exits that scripts rely on.

Raise `OnyError` where something is wrong that a person can mend: one line says what is wrong, one what to do. The CLI prints
`ony: what is wrong: what to do` and never a traceback. Text put into an error must not hold a secret, a code or a raw command.
"""

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BLOCK = 2  # `ony hook`: the agent's call must not run
EXIT_BUG = 70


class OnyError(Exception):
    """Something a person can mend.

    what: what is wrong, lower case, no full stop.  hint: what to do about it, may be empty.  code: process exit code.
    """

    code = EXIT_FAILURE

    def __init__(self, what: str, hint: str = "", code: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.what}: {self.hint}" if self.hint else self.what


class UsageError(OnyError):
    """The command line or the configuration is off."""

    code = EXIT_USAGE


class Malformed(OnyError):
    """Bytes from outside that are not what they must be (JSON, frame, handoff, verdict)."""


class Refused(OnyError):
    """A verdict, claim or transition that must not take effect. `reason` is a closed word for logs, events and tests."""

    def __init__(self, reason: str, what: str = "", hint: str = "") -> None:
        super().__init__(what or reason.replace("_", " "), hint)
        self.reason = reason
