"""`python -m runtimeimg` is the command line."""

from runtimeimg.cli.start import main

if __name__ == "__main__":
    main()
