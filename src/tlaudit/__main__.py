"""`python -m tlaudit`."""

from tlaudit.cli.app import main

if __name__ == "__main__":
    main()
