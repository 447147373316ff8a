"""`python -m polysense`, which torchrun needs."""

from polysense.cli.app import main

if __name__ == "__main__":
    main()
