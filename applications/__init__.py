"""Real applications, served by `prefork serve` and used by real clients: `make applications`.

The results are in docs/applications.md. Each application gets a virtual environment of its own under
`target/applications`, with the versions of `pins/`. What is served is in `apps/`. Clients that need the
packages of that environment are in `clients/`. Another application is a file in `parts/`, and a line in
`__main__.py`.
"""
