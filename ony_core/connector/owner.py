"""The owner's own settings of this connector: $ONY_HOME/connector.toml, optional.

[projects]
"/home/me/work/prod-api" = "prod-api"      # the name the phone says; without a line here a project leaves as "unlisted"

[payload]
attach = true                              # sends the raw call to the dashboard, where the server takes it (docs/operations.md)
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from ony_core.connector import home
from ony_core.errors import OnyError
from ony_core.model import UNLISTED

FILE = "connector.toml"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z", re.ASCII)


def attaches(folder: Path) -> bool:
    """Whether the owner wants the raw call beside a request. OnyError names the line's fault."""
    table = _read(folder).get("payload", {})
    if not isinstance(table, dict) or set(table) - {"attach"} or not isinstance(table.get("attach", False), bool):
        raise OnyError(f"{FILE}: [payload] knows attach = true or false", f"edit {folder / FILE}")
    return bool(table.get("attach", False))


def _read(folder: Path) -> dict[str, Any]:
    try:
        value = tomllib.loads(home.read(folder / FILE).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise OnyError(f"{FILE} is not TOML ({error})", f"edit {folder / FILE}") from None
    if set(value) - {"projects", "payload"}:
        raise OnyError(f"{FILE} knows two tables, [projects] and [payload]", f"edit {folder / FILE}")
    return value


def projects(folder: Path) -> dict[str, str]:
    """Folder -> label. OnyError names the line's fault."""
    table = _read(folder).get("projects", {})
    if not isinstance(table, dict):
        raise OnyError(f"{FILE}: [projects] is a table", f"edit {folder / FILE}")
    for path, label in table.items():
        if not path.startswith("/") or not isinstance(label, str) or not _LABEL.match(label):
            raise OnyError(f'{FILE}: a project is "/absolute/path" = "short-label"', f"edit {folder / FILE}")
    return table


def project_of(cwd: str, labels: dict[str, str]) -> str:
    """The label of the innermost listed folder around cwd."""
    around = [path for path in labels if cwd == path or cwd.startswith(path.rstrip("/") + "/")]
    return labels[max(around, key=len)] if around else UNLISTED
