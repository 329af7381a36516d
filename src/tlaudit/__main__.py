"""The command `tlaudit`, and `python -m tlaudit`: hears Ctrl-C before it imports anything that takes time."""

from tlaudit.cli import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.listen()
    from tlaudit.cli import app

    app.main()


if __name__ == "__main__":
    main()
