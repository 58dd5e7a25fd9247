"""`make dist`: what is handed out. dist/ony (PyInstaller), dist/ony.pyz (zipapp), wheel, sdist, SHA256SUMS; prints the lowest glibc.

Dates inside the zipapp are fixed and its members sorted: two builds of one commit on one machine give the same bytes.
"""

import hashlib
import json
import os
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
BUILD = ROOT / "build" / "dist"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
NATIVE = (".so", ".dylib", ".pyd")
THEN = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    for folder in (DIST, BUILD):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    run("-m", "ony_core.taxonomy.compact")  # of these files, whatever lay there
    run("-m", "build", "--outdir", str(DIST), str(ROOT))
    wheel = next(DIST.glob("*.whl"))
    folders = (f"--distpath={DIST}", f"--workpath={BUILD / 'pyinstaller'}")
    run("-m", "PyInstaller", "--noconfirm", "--log-level=WARN", *folders, str(ROOT / "build.spec"))
    zipapp(wheel, DIST / "ony.pyz")
    made = sorted(path for path in DIST.iterdir() if path.is_file())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (DIST / "SHA256SUMS").write_text(sums)
    print(sums, end="")
    for name, natives in (("ony", frozen_natives(DIST / "ony")), ("ony.pyz", packed_natives(DIST / "ony.pyz"))):
        print(f"lowest glibc for dist/{name}: {lowest_glibc(natives)}")
    return 0


def run(*words: str) -> None:
    """A Python program with output shown; the build ends at the first failure."""
    environment = {**os.environ, "PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": "315532800"}
    subprocess.run([sys.executable, *words], check=True, cwd=ROOT, env=environment)


def zipapp(wheel: Path, target: Path) -> None:
    """Pure packages go in as they are, compiled ones as objects named by digest with a manifest for each Python."""
    installed = BUILD / "installed"
    install(installed, str(wheel))
    compiled = [entry for entry in sorted(installed.iterdir()) if holds_native(entry)]
    pure = [entry for entry in sorted(installed.iterdir()) if entry not in compiled and entry.name != "bin"]
    members = {name: path for entry in pure for name, path in files_of(entry, installed)}
    members |= bytecode(members, BUILD / "bytecode", beside=True)
    members |= {"__main__.py": ROOT / "scripts" / "pyz_main.py", "ony.py": ROOT / "ony.py"}
    manifest: dict[str, dict[str, object]] = {}
    for python in PYTHONS:
        parts = compiled_parts(python, installed, compiled)
        if not parts:
            print(f"ony.pyz will not run on Python {python}: no wheels for it here")
            continue
        files = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(parts.items())}
        members |= {f"compiled/objects/{digest}": parts[name] for name, digest in files.items()}
        manifest[python] = {"digest": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:32], "files": files}
    (BUILD / "manifest.json").write_text(json.dumps(manifest, sort_keys=True))
    members["compiled/manifest.json"] = BUILD / "manifest.json"
    write(target, members)


def compiled_parts(python: str, installed: Path, compiled: list[Path]) -> dict[str, Path]:
    """Name -> file of every compiled package for one Python; empty where the package index has no wheels for it."""
    if python == HERE:
        parts = {name: path for entry in compiled for name, path in files_of(entry, installed)}
        return parts | bytecode(parts, BUILD / "bytecode-compiled", beside=False)
    folder = BUILD / f"compiled-{python}"
    wanted = [f"{name}=={version}" for name, version in owners(installed, compiled)]
    try:
        install(folder, "--no-deps", "--only-binary=:all:", f"--python-version={python}", *wanted)
    except subprocess.CalledProcessError:
        return {}
    return {name: path for entry in sorted(folder.iterdir()) if holds_native(entry) for name, path in files_of(entry, folder)}


def owners(installed: Path, compiled: list[Path]) -> list[tuple[str, str]]:
    """(distribution, version) of each compiled package, as its RECORD says (packaging.python.org, recording installed projects)."""
    tops = {entry.name for entry in compiled}
    found = []
    for info in sorted(installed.glob("*.dist-info")):
        if any(line.split("/")[0].split(",")[0] in tops for line in (info / "RECORD").read_text("utf-8").splitlines()):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            found.append((name, version))
    return found


def install(folder: Path, *what: str) -> None:
    run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(folder), *what)


def holds_native(entry: Path) -> bool:
    return any(path.suffix in NATIVE for path in ([entry] if entry.is_file() else entry.rglob("*")))


def files_of(entry: Path, root: Path) -> list[tuple[str, Path]]:
    found = [entry] if entry.is_file() else sorted(path for path in entry.rglob("*") if path.is_file())
    return [(path.relative_to(root).as_posix(), path) for path in found if "__pycache__" not in path.parts]


def bytecode(members: dict[str, Path], scratch: Path, beside: bool) -> dict[str, Path]:
    """Compiled .py files of this Python. Other versions see a foreign magic number and read the source (PEP 552: no date to compare).

    beside: as name.pyc beside the source, where zipimport looks; else in __pycache__, where the file finder looks.
    """
    made = {}
    for name, path in members.items():
        if not name.endswith(".py"):
            continue
        folder, _, stem = name.removesuffix(".py").rpartition("/")
        inside = f"{folder}/".lstrip("/") + (f"{stem}.pyc" if beside else f"__pycache__/{stem}.{sys.implementation.cache_tag}.pyc")
        out = scratch / inside
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), cfile=str(out), dfile=name, doraise=True, invalidation_mode=mode)
        made[inside] = out
    return made


def write(target: Path, members: dict[str, Path]) -> None:
    """An executable archive (zipapp documentation: a shebang line, then an ordinary zip file)."""
    with open(target, "wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in sorted(members.items()):
                entry = zipfile.ZipInfo(name, THEN)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, path.read_bytes())
    target.chmod(0o755)


def frozen_natives(executable: Path) -> list[bytes]:
    """Every shared library inside the one-file executable, and the executable's own bootloader."""
    from PyInstaller.archive.readers import CArchiveReader

    archive = CArchiveReader(str(executable))
    return [executable.read_bytes(), *(archive.extract(name) for name, entry in archive.toc.items() if entry[4] == "b")]


def packed_natives(archive: Path) -> list[bytes]:
    with zipfile.ZipFile(archive) as packed:
        return [packed.read(name) for name in packed.namelist() if name.startswith("compiled/objects/")]


def lowest_glibc(natives: list[bytes]) -> str:
    """The newest symbol version that any of them asks for, which is the oldest glibc that has them all (ELF gABI, symbol versioning)."""
    asked = {(int(a), int(b)) for data in natives if data[:4] == b"\x7fELF" for a, b in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", data)}
    return "{}.{}".format(*max(asked)) if asked else "not a glibc build"


if __name__ == "__main__":
    sys.exit(main())
