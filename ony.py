"""The one entry of the checkout, the executable and the zipapp.

`ony hook` goes first, before anything of ours is imported: an agent waits for it on every tool call. All other words go through
ony_core.cli.
"""

import sys


def main() -> int:
    if sys.argv[1:2] in (["hook"], ["hooks"]) and not {"-h", "--help"} & set(sys.argv[2:]):
        from ony_core import hook

        return hook.by_hand(sys.argv[2:])
    from ony_core.cli import main as dispatch

    return dispatch()


if __name__ == "__main__":
    sys.exit(main())
