"""First code of dist/ony.pyz. It makes the archive's compiled parts importable, then hands over to ony.py.

Python cannot load a compiled extension from inside an archive, so those parts are unpacked once into the user's cache folder.
MUST: create that folder 0700 and atomically; refuse one that belongs to somebody else or that others may write to; check the digest of
every file in it at each start, and refuse on a difference, because what is imported from there runs as the owner.
`ony hook` needs none of it and comes first. The syntax stays that of Python 3.6, so that an old Python can say what is missing.
"""

import sys


def main():
    if sys.version_info < (3, 11):  # noqa: UP036 a zipapp is started with whatever is there
        return _say(f"this is Python {sys.version_info[0]}.{sys.version_info[1]}: start ony.pyz with Python 3.11 or newer")
    if sys.argv[1:2] not in (["hook"], ["hooks"]):
        sys.dont_write_bytecode = True  # nothing may stand in that folder but what was packed
        try:
            sys.path.insert(1, _unpacked())
        except _Unusable as problem:
            return _say(str(problem))
    import ony

    return ony.main()


class _Unusable(Exception):
    """One line: what is wrong, and what to do."""


def _unpacked():
    """The folder that holds the compiled parts for this Python, made if it is not there."""
    import json
    import os

    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    manifest = json.loads(_read("compiled/manifest.json"))
    if wanted not in manifest:
        raise _Unusable(f"this ony.pyz holds compiled parts for Python {', '.join(manifest)}, not for {wanted}: use one of those")
    files = manifest[wanted]["files"]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(os.path.abspath(home), "ony", manifest[wanted]["digest"])
    try:
        if not os.path.isdir(folder):
            _unpack(files, folder)
        _check(files, folder)
    except OSError as error:
        raise _Unusable(f"cannot use the cache folder {folder} ({error.strerror}): make it writable or set XDG_CACHE_HOME") from None
    return folder


def _unpack(files, folder):
    import os
    import shutil
    import tempfile

    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=os.path.dirname(folder))  # 0700 by mkdtemp's own promise
    try:
        for name, digest in files.items():
            path = os.path.join(scratch, *name.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(_read("compiled/objects/" + digest))
        try:
            os.rename(scratch, folder)
        except OSError:
            if not os.path.isdir(folder):  # else another start was faster, and its folder is checked like ours
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(files, folder):
    """Every file as packed, and no further one that an import could find."""
    import hashlib
    import os
    import stat

    for place in (os.path.dirname(folder), folder):
        seen = os.lstat(place)
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o022:
            raise _Unusable(f"{place} is not a folder that only you can write to: remove it and start again")
    found = {os.path.join(top, name) for top, _, names in os.walk(folder) for name in names}
    if found != {os.path.join(folder, *name.split("/")) for name in files}:
        raise _Unusable(f"the unpacked parts in {folder} are not complete: remove that folder and start again")
    for name, digest in files.items():
        with open(os.path.join(folder, *name.split("/")), "rb") as packed:
            if hashlib.sha256(packed.read()).hexdigest() != digest:
                raise _Unusable(f"the unpacked parts in {folder} were changed: remove that folder and start again")


def _read(name):
    """Bytes of one member of the archive that this module was loaded from."""
    return __loader__.get_data(__loader__.archive + "/" + name)  # zipimport.zipimporter sets __loader__


def _say(line):
    sys.stderr.write(f"ony: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
