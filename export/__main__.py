"""``python -m export`` is ``affectd-export``."""

from export.cli.app import main

if __name__ == "__main__":
    main()
