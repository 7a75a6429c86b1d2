"""Where the command begins: an interrupt while it is still being loaded ends it at once and without a traceback."""

from runtimeimg.cli.interrupts import watch


def main() -> None:
    """Load the command line and run it."""
    watch()
    from runtimeimg.cli.main import main as run

    run()
