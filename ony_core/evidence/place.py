"""Places for `facts`: the disk as the connector sees it, and a dictionary for tests and replay.

MUST: start no program; open regular files only, without following a link at the last step, without blocking, at most 1 MiB each.
MUST: stop answering when the deadline of the call has passed; unknown is never harmless.
MUST: remember every file and place that an answer was built on, so that the digest of the request binds it.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ony_core.errors import Malformed
from ony_core.evidence import programs
from ony_core.facts.place import Place, Unknown
from ony_core.model import Evidence

if TYPE_CHECKING:
    from ony_core.evidence.git import Repository

__all__ = ["DictPlace", "DiskPlace", "Place", "Unknown"]

LIMIT = 1 << 20
MOST_PROGRAMS = 400  # command words of one call


class DictPlace:
    """A place that knows exactly what it is told. files: path -> content, paths absolute or under `~/`."""

    def __init__(
        self,
        files: dict[str, bytes] | None = None,
        cwd: str = "/project",
        contexts: dict[str, str] | None = None,
        names: Iterable[tuple[str, str]] = (),
        tracked: Iterable[str] = (),
        made: Iterable[str] = (),
        changed: Iterable[str] = (),
    ) -> None:
        self.cwd = cwd
        self._changed = tuple(changed)
        self._files = files or {}
        self._contexts = contexts or {}
        self._names = frozenset(names)
        self._tracked = frozenset(tracked)
        self._made = frozenset(made)

    def read(self, path: str, limit: int) -> bytes | Unknown:
        folder = path not in self._files and any(file.startswith(path.rstrip("/") + "/") for file in self._files)
        data = self._files.get(path, Unknown.NOT_REGULAR if folder else Unknown.MISSING)
        return Unknown.TOO_BIG if isinstance(data, bytes) and len(data) > limit else data

    def real(self, path: str) -> str | Unknown:
        return path

    def tracked(self, path: str) -> bool | Unknown:
        return path in self._tracked if self._tracked else Unknown.UNTOLD

    def made_by_session(self, path: str) -> bool | Unknown:
        return path in self._made if self._made else Unknown.UNTOLD

    def changed(self) -> tuple[str, ...]:
        return self._changed

    def context(self, kind: str) -> str | Unknown:
        return self._contexts.get(kind, Unknown.UNTOLD)

    def known(self, kind: str, name: str) -> bool:
        return (kind, name) in self._names

    def starts(self, word: str, cwd: str) -> None:
        """A dictionary holds no programs."""


class NoPlace(DictPlace):
    """A folder that is not on this machine: every answer is unknown."""

    def __init__(self, cwd: str) -> None:
        super().__init__(cwd=cwd)

    def read(self, path: str, limit: int) -> bytes | Unknown:
        return Unknown.NO_FOLDER


class DiskPlace:
    """The machine the call would run on.

    session_started: wall time in seconds, None if it is not known (then nothing counts as the session's own).
    deadline, boot: `boot()` seconds after which every answer is `Unknown.LATE`.
    names: what the owner listed as known, (kind, name). environment: the agent's, as far as the connector knows it.
    recipes: program -> digests ("sha256:<hex>") of the files that the owner's own rules were given for.
    """

    def __init__(
        self,
        cwd: str,
        session_started: float | None,
        deadline: float,
        boot: Callable[[], float],
        names: Iterable[tuple[str, str]] = (),
        environment: dict[str, str] | None = None,
        recipes: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.cwd = cwd
        self._recipes = recipes or {}
        self._started = session_started
        self._deadline = deadline
        self._boot = boot
        self._names = frozenset(names)
        self._environment = environment or {}
        self._files: dict[str, tuple[str, int, int, str]] = {}
        self._read: dict[str, bytes] = {}
        self._started_words: dict[tuple[str, str], None] = {}
        self._places: dict[str, str] = {}

    # ---- the port that facts ask

    def read(self, path: str, limit: int) -> bytes | Unknown:
        if self._late():
            return Unknown.LATE
        try:
            return self._open(self._disk(path), min(limit, LIMIT))
        except (FileNotFoundError, NotADirectoryError):
            return Unknown.MISSING if os.path.isdir(self.cwd) else Unknown.NO_FOLDER
        except (OSError, ValueError):
            return Unknown.UNREADABLE

    def real(self, path: str) -> str | Unknown:
        if self._late():
            return Unknown.LATE
        try:
            return os.path.realpath(self._disk(path))
        except (OSError, ValueError):
            return Unknown.UNREADABLE

    def tracked(self, path: str) -> bool | Unknown:
        repository = self._repository
        return Unknown.UNTOLD if repository is None or self._late() else repository.holds(self._disk(path))

    def made_by_session(self, path: str) -> bool | Unknown:
        if self._started is None or self._late():
            return Unknown.UNTOLD
        try:
            born = _birth(self._disk(path))
        except (OSError, ValueError):
            return Unknown.UNTOLD
        return Unknown.UNTOLD if born is None else born >= self._started

    def changed(self) -> tuple[str, ...]:
        if self._started is None:
            return ()
        from ony_core.evidence.changed import changed

        root = self.context("project_root")
        return changed(root if isinstance(root, str) else self.cwd, self._started, self._late)

    def context(self, kind: str) -> str | Unknown:
        if self._late():
            return Unknown.LATE
        answer = self._context(kind)
        if answer is None:
            return Unknown.UNTOLD
        if ":" not in kind:
            self._places[kind] = answer
        return answer

    def known(self, kind: str, name: str) -> bool:
        if (kind, name) in self._names:
            return True
        repository = self._repository
        return kind == "branch" and repository is not None and name in repository.remote_branches(self._started)

    def starts(self, word: str, cwd: str) -> None:
        self._started_words[self._disk(cwd), word] = None

    # ---- what was relied on

    def texts(self) -> tuple[str, ...]:
        """What was read to understand the call, as text."""
        return tuple(self.texts_by_path().values())

    def texts_by_path(self) -> dict[str, str]:
        return {path: data.decode("utf-8", "replace") for path, data in self._read.items()}

    def evidence(self) -> Evidence:
        """Every file read and every place asked for, to be bound into the request digest."""
        files = tuple(sorted(self._files.values()))
        environment = tuple(
            sorted((n, hashlib.sha256(v.encode("utf-8", "surrogateescape")).hexdigest()) for n, v in self._environment.items())
        )
        return Evidence(files, tuple(sorted(self._places.items())), environment)

    def remember(self, path: str) -> None:
        """Binds a file that need not be understood by the digest of all its bytes, however many; one that cannot be read by that."""
        try:
            real = os.path.realpath(path)
            with open(real, "rb", opener=_careful) as file:
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode):
                    self._files[real] = (real, status.st_dev, status.st_ino, programs.digest(file.fileno(), status))
        except (OSError, ValueError):
            self._places["unreadable:" + path] = "yes"

    def bind_programs(self) -> None:
        """Binds the files that the call's command words stand for. Malformed: more words than can be bound."""
        if len(self._started_words) > MOST_PROGRAMS:
            raise Malformed(f"the call starts more than {MOST_PROGRAMS} programs, too many to bind", "split it into several")
        for file in self._programs(self._started_words):
            self.remember(file)

    def recipe(self, word: str) -> frozenset[str]:
        """The digests of every file that a command word could start here; none where one of them cannot be read."""
        found = [os.path.realpath(file) for file in self._programs([(self.cwd, word)])]
        for file in found:
            self.remember(file)
        return frozenset("sha256:" + self._files[file][3] for file in found) if self._files.keys() >= set(found) else frozenset()

    def _programs(self, words: Iterable[tuple[str, str]]) -> Iterable[str]:
        project = self.context("project_root")
        path = self._environment.get("PATH") or os.environ.get("PATH") or programs.USUAL
        return programs.files(words, path, project if isinstance(project, str) else self.cwd)

    # ---- the disk

    def _late(self) -> bool:
        return self._boot() >= self._deadline

    def _disk(self, path: str) -> str:
        if path == "~" or path.startswith("~/"):
            path = os.path.expanduser("~") + path[1:]
        return os.path.join(self.cwd, path)

    def _open(self, path: str, limit: int) -> bytes | Unknown:
        descriptor = os.open(os.path.realpath(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Unknown.NOT_REGULAR
            if status.st_size > limit:
                return Unknown.TOO_BIG
            data = b"".join(iter(lambda: os.read(descriptor, limit + 1), b""))
        finally:
            os.close(descriptor)
        if len(data) > limit:
            return Unknown.TOO_BIG
        real = os.path.realpath(path)
        self._files[real] = (real, status.st_dev, status.st_ino, hashlib.sha256(data).hexdigest())
        self._read[real] = data
        return data

    @cached_property
    def _repository(self) -> "Repository | None":
        from ony_core.evidence.git import repository

        return repository(self.cwd, self._files, self._places)

    def _context(self, kind: str) -> str | None:
        if kind == "home":
            return os.path.expanduser("~")
        if kind == "project_root":
            return self._repository.root if self._repository else self.cwd
        if kind == "gate:process":
            return str(os.getpid())
        if kind.startswith("ignored:"):
            return "yes" if self._repository and self._repository.ignores(self._disk(kind[8:])) else None
        if kind.startswith("changed:"):
            return "session" if self._repository and self._repository.holds(self._disk(kind[8:])) is True else None
        if kind.startswith("recipe:"):
            return self._taught(kind.partition(":")[2])
        if kind.startswith("workspace:"):
            return self._workspace(kind.partition(":")[2])
        if kind in ("git_default_branch", "git_branch", "git_head", "git_remote"):
            return self._repository.context(kind) if self._repository else None
        from ony_core.evidence.contexts import context

        return context(kind, self.cwd, self._environment, lambda path: self.read(path, LIMIT))

    def _taught(self, word: str) -> str | None:
        named = self._recipes.get(word.rpartition("/")[2], frozenset())
        found = self.recipe(word) if named else frozenset()
        return "kept" if found and found <= named else None

    def _workspace(self, folder: str) -> str | None:
        """The workspace a folder is set to, from a file that nothing has touched since before the session."""
        file = self._disk(folder + "/.terraform/environment")
        data = self.read(file, LIMIT)
        try:
            old = self._started is not None and max(os.stat(file).st_ctime, os.stat(os.path.dirname(file)).st_ctime) < self._started
        except OSError:
            return None
        return data.decode("utf-8", "replace").strip() if old and isinstance(data, bytes) else None


def _careful(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def _birth(path: str) -> float | None:
    """When the file began to exist (seconds): statx on Linux, st_birthtime elsewhere; None where the system does not tell."""
    status = os.lstat(path)
    told = getattr(status, "st_birthtime", None)
    if told is not None:
        return float(told)
    from ony_core.evidence.birth import birth

    return birth(path)
