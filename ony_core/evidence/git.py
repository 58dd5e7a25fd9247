"""A git folder, read as files through dulwich's object, index and ref classes.

MUST: never start git: a repository's own config can name programs to run.
MUST: count as known only what is older than the session.
"""

import hashlib
import os
import stat
import struct
import zlib
from functools import cached_property
from typing import Any

from dulwich.errors import FileFormatException, NotGitRepository
from dulwich.ignore import IgnoreFilterManager
from dulwich.index import Index
from dulwich.objects import Blob
from dulwich.refs import Ref
from dulwich.repo import Repo

LIMIT = 1 << 20
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AssertionError,
    EOFError,
    struct.error,
    zlib.error,
    NotGitRepository,
    FileFormatException,
)
# what dulwich raises for a folder that is damaged or not git's at all: such a repository speaks for nothing


def repository(cwd: str, files: dict[str, tuple[str, int, int, str]], places: dict[str, str]) -> "Repository | None":
    """The repository that holds the folder; None if there is none that can be read."""
    folder = os.path.realpath(cwd)
    for _ in range(64):
        if os.path.isdir(os.path.join(folder, ".git")):
            try:
                return Repository(folder, files, places)
            except DAMAGE:
                return None
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return None


class Repository:
    def __init__(self, root: str, files: dict[str, tuple[str, int, int, str]], places: dict[str, str]) -> None:
        self.root = root
        self._repo = Repo(root)
        self._files = files
        self._places = places

    @cached_property
    def _index(self) -> Any:
        try:
            return Index(os.path.join(self.root, ".git", "index"))
        except DAMAGE:
            return {}

    def holds(self, path: str) -> bool:
        """Whether the index holds exactly the bytes that stand in the file (or no file is there to lose)."""
        name = os.path.relpath(os.path.realpath(path), self.root)
        key = os.fsencode(name)
        entry = self._index[key] if key in self._index else None  # noqa: SIM401  dulwich's Index has no get
        sha = getattr(entry, "sha", None)
        if sha is None:
            return False
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LIMIT:
                return False
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(LIMIT + 1)
        self._files[path] = (path, status.st_dev, status.st_ino, hashlib.sha256(data).hexdigest())
        return bool(Blob.from_string(data).id == sha)

    def ignores(self, path: str) -> bool:
        name = os.path.relpath(os.path.realpath(path), self.root)
        if name.startswith(".."):
            return False
        try:
            manager = IgnoreFilterManager.from_repo(self._repo)
            return bool(manager.is_ignored(name)) or bool(manager.is_ignored(name + "/"))
        except DAMAGE:
            return False

    def remote_branches(self, before: float | None) -> frozenset[str]:
        """Branches of remotes whose tracking refs are older than the session; none where its start is not known."""
        if before is None:
            return frozenset()
        found = set()
        try:
            refs = self._repo.refs.keys()
        except DAMAGE:
            return frozenset()
        for ref in refs:
            if ref.startswith(b"refs/remotes/") and self._older(ref, before):
                found.add(ref.decode("utf-8", "replace").split("/", 3)[-1])
        return frozenset(found)

    def _older(self, ref: bytes, before: float) -> bool:
        loose = os.path.join(self.root, ".git", os.fsdecode(ref))
        packed = os.path.join(self.root, ".git", "packed-refs")
        try:
            return os.stat(loose if os.path.exists(loose) else packed).st_mtime < before
        except OSError:
            return False

    def context(self, kind: str) -> str | None:
        """git_head, git_branch, git_default_branch or git_remote; None where the repository does not say."""
        try:
            return self._context(kind)
        except DAMAGE:
            return None

    def _context(self, kind: str) -> str | None:
        if kind == "git_head":
            return self._told(kind, self._repo.refs.follow(Ref(b"HEAD"))[1])
        if kind == "git_branch":
            chain, _ = self._repo.refs.follow(Ref(b"HEAD"))
            name = chain[-1] if chain else b""
            return self._told(kind, name.removeprefix(b"refs/heads/") if name.startswith(b"refs/heads/") else None)
        if kind == "git_default_branch":
            chain, _ = self._repo.refs.follow(Ref(b"refs/remotes/origin/HEAD"))
            name = chain[-1] if len(chain) > 1 else b""
            return self._told(kind, name.removeprefix(b"refs/remotes/origin/") or None)
        return self._told(kind, self._repo.get_config().get((b"remote", b"origin"), b"url"))

    def _told(self, kind: str, value: bytes | None) -> str | None:
        if value is None:
            return None
        text = value.decode("utf-8", "replace")
        self._places[kind] = text
        return text
