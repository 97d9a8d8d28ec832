"""``python -m edge`` is ``affectd``."""

from edge.cli.app import main

if __name__ == "__main__":
    main()
