"""What facts may ask about the world: a read-only port. Every answer may be `Unknown`, and unknown never means harmless.

The connector's adapter reads the disk (`ony_core.evidence.place`); tests and replay use a dictionary.
"""

from enum import Enum
from typing import Protocol


class Unknown(Enum):
    """Why an answer is not there."""

    NO_FOLDER = "the working folder is not on this machine"
    MISSING = "no such file"
    UNREADABLE = "there, but it cannot be read"
    NOT_REGULAR = "not a regular file"
    TOO_BIG = "above the size limit"
    LATE = "the deadline of this call has passed"
    UNTOLD = "nobody knows"


class Place(Protocol):
    """Where a call would run. Paths are absolute, or start with `~/`."""

    cwd: str

    def read(self, path: str, limit: int) -> bytes | Unknown:
        """Content of a regular file of at most `limit` bytes."""
        ...

    def real(self, path: str) -> str | Unknown:
        """The path with symbolic links followed."""
        ...

    def tracked(self, path: str) -> bool | Unknown:
        """Whether version control holds this very content, so that losing the file loses nothing."""
        ...

    def made_by_session(self, path: str) -> bool | Unknown:
        """Whether the file began to exist after this session did."""
        ...

    def changed(self) -> tuple[str, ...]:
        """Files of the project that changed since the session began, as far as that is known."""
        ...

    def context(self, kind: str) -> str | Unknown:
        """A place the call would act on: "project_root", "home", "git_default_branch", "git_branch", "kube_context", "workspace", …

        "ignored:PATH", "changed:PATH", "workspace:FOLDER" ask about one path; "recipe:WORD" answers "kept" where every file that the
        command word could start is one the owner has named by its digest.
        """
        ...

    def known(self, kind: str, name: str) -> bool:
        """Whether a name of this kind ("branch", "workspace", "host", …) was known before the session."""
        ...

    def starts(self, word: str, cwd: str) -> None:
        """Told, not asked: the call would run this command word in this folder, so that the place can bind the program."""
        ...
