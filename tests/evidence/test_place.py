"""The disk as the connector reads it: carefully, in time, and remembered."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from ony_core.errors import Malformed
from ony_core.evidence.place import LIMIT, DiskPlace, Unknown


class Boot:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def place(folder: Path, started: float | None = None) -> DiskPlace:
    return DiskPlace(str(folder), started, 10.0, Boot())


def test_a_regular_file_is_read_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_bytes(b"ls\n")
    here = place(tmp_path)
    assert here.read(str(tmp_path / "a.sh"), 100) == b"ls\n"
    [(path, device, inode, digest)] = here.evidence().files
    assert (path, inode) == (str(tmp_path / "a.sh"), os.stat(tmp_path / "a.sh").st_ino)
    assert len(digest) == 64 and device


def test_what_is_no_readable_regular_file_is_unknown_with_its_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"x" * (LIMIT + 1))
    (tmp_path / "small").write_bytes(b"xyz")
    here = place(tmp_path)
    assert here.read(str(tmp_path / "pipe"), 100) is Unknown.NOT_REGULAR
    assert here.read(str(tmp_path / "big"), 1 << 30) is Unknown.TOO_BIG
    assert here.read(str(tmp_path / "small"), 2) is Unknown.TOO_BIG
    assert here.read(str(tmp_path), 100) is Unknown.NOT_REGULAR
    assert here.read(str(tmp_path / "none"), 100) is Unknown.MISSING
    assert here.read("\0", 100) is Unknown.UNREADABLE
    assert place(tmp_path / "gone").read(str(tmp_path / "gone" / "x"), 100) is Unknown.NO_FOLDER


def test_after_the_deadline_every_answer_is_late(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    boot = Boot()
    here = DiskPlace(str(tmp_path), None, 1.0, boot)
    boot.now = 1.0
    assert here.read(str(tmp_path / "a"), 10) is Unknown.LATE
    assert here.context("git_head") is Unknown.LATE
    assert here.tracked(str(tmp_path / "a")) in (Unknown.LATE, Unknown.UNTOLD)


def test_a_file_is_the_sessions_own_by_birth_and_not_by_its_dates(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x")
    born = os.stat(tmp_path / "old").st_ctime
    os.utime(tmp_path / "old", (4e9, 4e9))
    assert place(tmp_path, born + 60).made_by_session(str(tmp_path / "old")) is not True
    assert place(tmp_path, born - 60).made_by_session(str(tmp_path / "old")) in (True, Unknown.UNTOLD)
    assert place(tmp_path, None).made_by_session(str(tmp_path / "old")) is Unknown.UNTOLD


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words], cwd=tmp_path, env=env, check=True, capture_output=True
        )

    git("init", "-b", "main")
    (tmp_path / "kept").write_text("one")
    (tmp_path / ".gitignore").write_text("dist/\n")
    git("add", ".")
    git("commit", "-m", "x")
    git("remote", "add", "origin", "https://example.org/r.git")
    git("update-ref", "refs/remotes/origin/topic", "HEAD")
    git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    (tmp_path / "dist").mkdir()
    return tmp_path


def test_git_is_read_as_files(repository: Path) -> None:
    (repository / "new").write_text("x")
    here = place(repository)
    assert here.tracked(str(repository / "kept")) is True
    assert here.tracked(str(repository / "new")) is False
    (repository / "kept").write_text("changed")
    assert place(repository).tracked(str(repository / "kept")) is False
    assert here.context("git_branch") == "main"
    assert here.context("git_default_branch") == "main"
    assert here.context("git_remote") == "https://example.org/r.git"
    assert here.context("ignored:" + str(repository / "dist")) == "yes"
    assert here.context("ignored:" + str(repository / "kept")) is Unknown.UNTOLD
    assert dict(here.evidence().places)["git_branch"] == "main"


def test_only_branches_older_than_the_session_are_known(repository: Path) -> None:
    assert place(repository, time.time() + 60).known("branch", "topic")
    assert not place(repository, time.time() - 3600).known("branch", "topic")
    assert not place(repository, None).known("branch", "topic")


def test_no_program_of_the_repository_runs(repository: Path) -> None:
    mark = repository / "ran"
    hook = repository / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    config = repository / ".git" / "config"
    config.write_text(config.read_text() + f'[core]\n\tfsmonitor = {hook}\n\tpager = {hook}\n[filter "x"]\n\tclean = {hook}\n')
    (repository / ".gitattributes").write_text("* filter=x\n")
    here = place(repository)
    here.tracked(str(repository / "kept"))
    here.context("git_head")
    assert not mark.exists()


def test_a_damaged_repository_speaks_for_nothing(repository: Path) -> None:
    (repository / ".git" / "index").write_bytes(b"garbage")
    assert place(repository).tracked(str(repository / "kept")) is not True


def test_the_cluster_is_named_with_its_server(tmp_path: Path) -> None:
    kube = tmp_path / "kube"
    kube.write_text("apiVersion: v1\nclusters:\n- cluster:\n    server: https://10.0.0.1:6443\n  name: p\ncurrent-context: prod\n")
    here = DiskPlace(str(tmp_path), None, 10.0, Boot(), environment={"KUBECONFIG": str(kube)})
    assert here.context("kube_context") == "prod https://10.0.0.1:6443"
    assert here.evidence().environment[0][0] == "KUBECONFIG"


def test_the_digest_of_a_program_is_kept_only_while_its_times_can_tell(tmp_path: Path, monkeypatch) -> None:
    import hashlib
    import time

    from ony_core.evidence import programs

    read: list[int] = []
    real = hashlib.file_digest
    monkeypatch.setattr(programs.hashlib, "file_digest", lambda *given: read.append(1) or real(*given))
    file = tmp_path / "tool"
    file.write_bytes(b"one")

    def of() -> str:
        with open(file, "rb") as opened:
            return programs.digest(opened.fileno(), os.fstat(opened.fileno()))

    assert of() == of() == hashlib.sha256(b"one").hexdigest() and len(read) == 2
    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(programs.time, "time_ns", lambda: later)
    assert of() == of() and len(read) == 3
    file.write_bytes(b"two")
    assert of() == hashlib.sha256(b"two").hexdigest() and len(read) == 4


def test_more_programs_than_can_be_bound_are_refused(tmp_path: Path) -> None:
    here = place(tmp_path)
    for number in range(401):
        here.starts(f"tool{number}", str(tmp_path))
    with pytest.raises(Malformed):
        here.bind_programs()


def test_a_workspace_counts_only_where_nothing_touched_it_since_before_the_session(tmp_path: Path) -> None:
    file = tmp_path / ".terraform/environment"
    file.parent.mkdir()
    file.write_text("dev")
    now = file.stat().st_ctime
    asked = f"workspace:{tmp_path}"
    assert place(tmp_path, now + 5).context(asked) == "dev"
    assert place(tmp_path, now - 5).context(asked) is Unknown.UNTOLD
    assert place(tmp_path, None).context(asked) is Unknown.UNTOLD
    os.utime(file, (1, 1))
    assert place(tmp_path, now - 5).context(asked) is Unknown.UNTOLD
    file.unlink()
    assert place(tmp_path, now + 5).context(asked) is Unknown.UNTOLD
