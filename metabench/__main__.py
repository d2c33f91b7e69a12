"""The entry point of `metabench` and of `python -m metabench`."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C is one line also while Python still imports it."""
    try:
        from metabench.cli import main as run_verb
    except KeyboardInterrupt:
        print("metabench: interrupted", file=sys.stderr)
        return 130
    return run_verb()


if __name__ == "__main__":
    sys.exit(main())
