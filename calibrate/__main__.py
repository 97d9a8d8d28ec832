"""``python -m calibrate`` is ``affectd-calibrate``."""

from calibrate.cli.app import main

if __name__ == "__main__":
    main()
