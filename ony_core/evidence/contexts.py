"""Which cluster, workspace or account a call would act on, from the files that say so. Starts nothing."""

import json
import re
from collections.abc import Callable

from ony_core.facts.place import Unknown

Read = Callable[[str], "bytes | Unknown"]


def context(kind: str, cwd: str, environment: dict[str, str], read: Read) -> str | None:
    """kube_context (with its server), workspace (terraform, with its backend), account (cloud profile); None = not known."""
    if kind == "kube_context":
        return _kube(read(environment.get("KUBECONFIG") or "~/.kube/config"))
    if kind == "workspace":
        return _workspace(cwd, environment, read)
    if kind == "account":
        return environment.get("AWS_PROFILE") or environment.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or environment.get("AZURE_CONFIG_DIR")
    return None


def _kube(data: "bytes | Unknown") -> str | None:
    """The current context and its cluster's server. Line by line: the few keys wanted stand on lines of their own."""
    if isinstance(data, Unknown):
        return None
    text = data.decode("utf-8", "replace")
    current = re.search(r"^current-context:\s*[\"']?([^\"'\s]+)", text, re.MULTILINE)
    servers = sorted(set(re.findall(r"^\s*server:\s*(\S+)", text, re.MULTILINE)))
    return f"{current[1]} {' '.join(servers)}" if current else None


def _workspace(cwd: str, environment: dict[str, str], read: Read) -> str | None:
    chosen = environment.get("TF_WORKSPACE")
    named = read(f"{cwd}/.terraform/environment")
    backend = read(f"{cwd}/.terraform/terraform.tfstate")
    name = chosen or (named.decode("utf-8", "replace").strip() if isinstance(named, bytes) else "default")
    if isinstance(backend, Unknown):
        return None
    try:
        found = json.loads(backend)["backend"]
        return f"{name} {found['type']} {found.get('hash', '')}"
    except (ValueError, KeyError, TypeError):
        return None
