"""What a program loads by itself, beside what was read to understand the call: its folder's configuration, the files named to it, the place
it acts on. All of it is bound into the request digest, so that what runs is what was asked about.

MUST: bind names as well as bytes: a file that is added, removed or linked elsewhere is a change. MUST: follow local modules and files that
a configuration, a makefile or a script names. MUST: refuse a call that loads more than can be bound, rather than bind a part of it.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator

from ony_core.errors import Malformed
from ony_core.evidence import imports
from ony_core.evidence.place import LIMIT, DiskPlace
from ony_core.model import Fact

MOST = 2000  # files of one call
_TERRAFORM = (".tf", ".tf.json", ".tfvars", ".tfvars.json", ".hcl")
_MANIFESTS = (".yaml", ".yml", ".json", ".toml", ".tpl", ".j2", ".ini", ".cfg")
_CODE = (".yaml", ".yml", ".json", ".toml", ".ts", ".js", ".py")
_MIGRATIONS = (".sql", ".py", ".rb", ".xml", ".prisma", ".ts", ".js", ".ini", ".toml")
_LOADS: dict[str, tuple[str, ...]] = (
    dict.fromkeys(("terraform", "terragrunt"), _TERRAFORM)
    | dict.fromkeys(("kubectl", "helm", "helmfile", "kustomize", "skaffold", "ansible", "ansible-playbook", "docker-compose"), _MANIFESTS)
    | dict.fromkeys(("pulumi", "cdk", "serverless", "sam", "wrangler"), _CODE)
    | dict.fromkeys(("alembic", "flyway", "liquibase", "dbmate", "goose", "prisma", "knex", "rails", "rake", "django-admin", "sqlx",
                     "diesel", "migrate", "drizzle-kit", "typeorm", "sequelize", "atlas"), _MIGRATIONS)
    | dict.fromkeys(("psql", "mysql", "mongosh", "mongo", "bq", "curl", "wget", "docker", "aws", "gcloud", "az"), ())
)  # fmt: skip
_HIDDEN = (".terraform/environment", ".terraform/terraform.tfstate", ".terraform/modules/modules.json", ".terraform.lock.hcl")
_MIGRATION_FOLDERS = ("migrations", "alembic", "db", "prisma", "sql")
_PLACES = {"git": ("git_head", "git_branch", "git_remote"), "kubectl": ("kube_context",), "helm": ("kube_context",),
           "terraform": ("workspace",)}  # fmt: skip
_APART = re.compile(r"[\s'\"`=,;:<>|&(){}@+]+")
_QUOTED = re.compile(r"\"([^\"\n]{1,400})\"|'([^'\n]{1,400})'")
_SKIPPED = frozenset({"node_modules", "venv", "__pycache__"})


def bind(texts: Iterable[str], facts: tuple[Fact, ...], place: DiskPlace) -> None:
    """Binds what the programs of these facts load. texts: the command, and each file read to understand it. Malformed: more than MOST."""
    programs = {fact.program for fact in facts}
    for kind in sorted({kind for program in programs for kind in _PLACES.get(program, ())}):
        place.context(kind)
    texts = tuple(texts)
    words = [word for text in texts for word in _words(text)]
    if "git" in programs:
        _bind_git(words, place)
    bound: set[str] = set()
    imports.bind(place, lambda path: _one(path, bound, place))
    if programs.isdisjoint(_LOADS):
        return
    suffixes = tuple({suffix for program in programs for suffix in _LOADS.get(program, ())})
    for path in _named(words, place.cwd):
        _one(path, bound, place) if os.path.isfile(path) else _tree(path, suffixes, bound, place)
    _folder(place.cwd, suffixes, bound, place)
    if suffixes and set(_MIGRATIONS) <= set(suffixes):
        for name in _MIGRATION_FOLDERS:
            _tree(os.path.join(place.cwd, name), suffixes, bound, place)


def _words(text: str) -> Iterator[str]:
    yield from (word for word in _APART.split(text) if 0 < len(word) <= 400)
    yield from (one or two for one, two in _QUOTED.findall(text))


def _named(words: Iterable[str], cwd: str) -> Iterator[str]:
    """The files and folders among the words, patterns followed."""
    for word in dict.fromkeys(words):
        path = os.path.join(cwd, os.path.expanduser(word))
        if "\0" not in path:
            yield from (found for found in (glob.iglob(path) if glob.has_magic(word) else (path,)) if os.path.exists(found))


def _tree(root: str, suffixes: tuple[str, ...], bound: set[str], place: DiskPlace) -> None:
    if not suffixes:
        return
    for folder, below, _ in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name not in _SKIPPED]
        _folder(folder, suffixes, bound, place)


def _folder(folder: str, suffixes: tuple[str, ...], bound: set[str], place: DiskPlace) -> None:
    """The configuration files of one folder, and what they name."""
    if not suffixes:
        return
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(suffixes))
    except OSError:
        return
    for name in (*names, *(_HIDDEN if ".tf" in suffixes else ())):
        path = os.path.join(folder, name)
        if not _one(path, bound, place) or not name.endswith((".tf", ".hcl")):
            continue
        for named in _local(path, folder, place):
            _one(named, bound, place) if os.path.isfile(named) else _folder(named, suffixes, bound, place)


def _local(file: str, folder: str, place: DiskPlace) -> Iterator[str]:
    """Local modules and files that a terraform file names in quotes."""
    data = place.read(file, LIMIT)
    for one, two in _QUOTED.findall(data.decode("utf-8", "replace")) if isinstance(data, bytes) else ():
        name = (one or two).replace("${path.module}/", "").replace("${path.root}/", "")
        path = os.path.normpath(os.path.join(folder, name))
        if "\0" not in name and (os.path.isfile(path) or (name.startswith(("./", "../")) and os.path.isdir(path))):
            yield path


def _one(path: str, bound: set[str], place: DiskPlace) -> bool:
    """False: bound before, or not there."""
    if path in bound or not os.path.lexists(path):
        return False
    if len(bound) >= MOST:
        raise Malformed(f"the call loads more than {MOST} files, too many to bind", "name a smaller folder")
    bound.add(path)
    place.remember(path)
    return True


def _bind_git(words: Iterable[str], place: DiskPlace) -> None:
    """Where pushes go, and what each named branch holds."""
    root = place.context("project_root")
    if not isinstance(root, str):
        return
    for name in ("config", *(f"refs/heads/{word}" for word in dict.fromkeys(words) if ".." not in word)):
        path = os.path.join(root, ".git", name)
        if os.path.isfile(path):
            place.remember(path)
