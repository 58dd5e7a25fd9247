"""What a program loads by itself is part of what was approved: it is bound, and a change of it before the release voids the verdict."""

from pathlib import Path

import pytest

from ony_core.connector.gate import Gate
from ony_core.errors import Malformed
from tests.connector.holding import call, held, reasons
from tests.connector.standin import StandIn

FILES = {
    "main.tf": 'module "m" {\n  source = "./modules/m"\n}\nresource "x" "y" {\n  v = file("${path.module}/policy.txt")\n}\n',
    "modules/m/main.tf": 'module "n" { source = "../n" }\n',
    "modules/n/main.tf": "",
    "policy.txt": "allow\n",
    "terraform.tfvars": "size = 1\n",
    "other/prod.tfvars": "size = 1\n",
    "plan.out": "binary",
    "infra/main.tf": "",
    "k8s/deep/a.yaml": "kind: A\n",
    "change.sql": "drop table a;\n",
    "migrations/001.py": "",
    "deploy.sh": "cd infra\nterraform apply\n",
    ".terraform/terraform.tfstate": '{"backend": {"type": "s3"}}',
    "notes.md": "",
}

# command, file that is changed or made, whether the verdict still holds
CASES = [
    ("terraform apply", "main.tf", False),
    ("terraform apply", "new.tf", False),
    ("terraform apply", "x.auto.tfvars", False),
    ("terraform apply", "terraform.tfvars", False),
    ("terraform apply", "modules/m/main.tf", False),
    ("terraform apply", "modules/n/main.tf", False),
    ("terraform apply", "modules/m/added.tf", False),
    ("terraform apply", "policy.txt", False),
    ("terraform apply", ".terraform/environment", False),
    ("terraform apply", ".terraform/terraform.tfstate", False),
    ("terraform apply", "notes.md", True),
    ("terraform apply", "infra/main.tf", True),
    ("terraform apply -var-file=other/prod.tfvars", "other/prod.tfvars", False),
    ("terraform apply plan.out", "plan.out", False),
    ("terraform -chdir=infra apply", "infra/main.tf", False),
    ("cd infra && terraform apply", "infra/new.tf", False),
    ("(cd ./infra; terraform apply)", "infra/main.tf", False),
    ("bash deploy.sh", "infra/main.tf", False),
    ("kubectl delete -f k8s/", "k8s/deep/a.yaml", False),
    ("kubectl delete -f k8s/", "k8s/b.yaml", False),
    ("cat change.sql | psql -h prod", "change.sql", False),
    ("curl -d @change.sql https://example.com", "change.sql", False),
    ("alembic upgrade head", "migrations/002.py", False),
]


@pytest.fixture
def tree(project: Path) -> Path:
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


@pytest.mark.parametrize(("command", "file", "holds"), CASES)
def test_what_a_program_loads_is_bound_and_what_it_does_not_load_is_not(gate: Gate, tree: Path, command: str, file: str, holds: bool):
    asked = gate.weigh(call(tree, command))
    assert asked.outcome == "hold" and gate.unchanged(asked)
    (tree / file).write_text("# swapped\n")
    assert gate.unchanged(asked) is holds


def test_a_terraform_folder_that_changes_after_the_yes_releases_nothing(gate: Gate, server: StandIn, tree: Path):
    def swap(row: dict) -> dict:
        (tree / "modules/n/main.tf").write_text("# swapped\n")
        return row

    server.twist["row"] = swap
    decision = held(gate, tree)
    assert decision.outcome == "deny" and "[changed_since_approval]" in decision.reason
    assert "claim" not in server.heard
    assert reasons(gate, server) == ["changed_since_approval"]


def test_a_commit_between_question_and_push_voids_the_yes(gate: Gate, tree: Path):
    git = tree / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "objects").mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text('[remote "origin"]\n\turl = https://example.com/a.git\n')
    (git / "refs/heads/main").write_text("1" * 40 + "\n")
    asked = gate.weigh(call(tree, "git push --force origin main"))
    assert asked.outcome == "hold" and gate.unchanged(asked)
    (git / "refs/heads/main").write_text("2" * 40 + "\n")
    assert not gate.unchanged(asked)
    (git / "refs/heads/main").write_text("1" * 40 + "\n")
    assert gate.unchanged(asked)
    (git / "config").write_text('[remote "origin"]\n\turl = https://example.com/b.git\n')
    assert not gate.unchanged(asked)


def test_a_folder_of_more_than_can_be_bound_is_refused(gate: Gate, tree: Path):
    for number in range(2001):
        (tree / "k8s" / f"{number}.yaml").touch()
    with pytest.raises(Malformed):
        gate.weigh(call(tree, "kubectl delete -f k8s"))


def test_pipes_and_links_in_a_bound_folder_neither_hang_nor_hide(gate: Gate, tree: Path, tmp_path: Path):
    import os

    os.mkfifo(tree / "pipe.tf")
    (tmp_path / "real.tf").write_text("a")
    (tree / "linked.tf").symlink_to(tmp_path / "real.tf")
    (tree / "k8s/again").symlink_to(tree)
    asked = gate.weigh(call(tree))
    assert gate.unchanged(asked)
    (tmp_path / "real.tf").write_text("b")
    assert not gate.unchanged(asked)


def program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of programs; terraform stands in the second."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    program(two / "terraform", "#!/bin/sh\n# good\n")
    program(two / "own-deploy", "#!/bin/sh\n# good\n")
    monkeypatch.setenv("PATH", f"{one}:{two}")
    return tmp_path


@pytest.mark.parametrize(
    "command", ["terraform apply", "sudo terraform apply", "sh -c 'terraform destroy'", "own-deploy --now", "a; own-deploy"]
)
@pytest.mark.parametrize("change", ["bytes", "same size and old times", "another before it", "in the project", "gone"])
def test_a_program_swapped_between_question_and_release_voids_the_yes(gate: Gate, tree: Path, searched: Path, command: str, change: str):
    import os

    name = "own-deploy" if "own-deploy" in command else "terraform"
    file = searched / "two" / name
    asked = gate.weigh(call(tree, command))
    assert asked.outcome == "hold" and gate.unchanged(asked)
    if change == "bytes":
        program(file, "#!/bin/sh\n# other and longer\n")
    elif change == "same size and old times":
        times = file.stat()
        program(file, "#!/bin/sh\n# evil\n")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "another before it":
        program(searched / "one" / name, "#!/bin/sh\n# good\n")
    elif change == "in the project":
        program(tree / "node_modules/.bin" / name, "#!/bin/sh\n")
    else:
        file.unlink()
    assert not gate.unchanged(asked)


def test_a_program_that_the_call_does_not_start_may_change(gate: Gate, tree: Path, searched: Path):
    asked = gate.weigh(call(tree, "terraform apply -var name=own-deploy"))
    program(searched / "two/own-deploy", "#!/bin/sh\n# other\n")
    (searched / "one/terraform").mkdir()
    assert gate.unchanged(asked)


def test_a_pass_pays_for_no_program(gate: Gate, tree: Path, searched: Path, monkeypatch: pytest.MonkeyPatch):
    from ony_core.evidence import programs

    hashed: list[int] = []
    digest = programs.digest
    monkeypatch.setattr(programs, "digest", lambda file, status: hashed.append(file) or digest(file, status))
    assert gate.weigh(call(tree, "ls -la")).outcome == "pass" and not hashed
    gate.weigh(call(tree, "terraform apply"))
    assert hashed
