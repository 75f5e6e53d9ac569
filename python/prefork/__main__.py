"""`python -m prefork` is `prefork`."""

from prefork.cli.main import main

if __name__ == "__main__":
    main()
