"""Every option once: its name, group, default, type and meaning.

An option is one entry in the class of what takes it: a server, a pool, the host of an application, or
`prefork serve` itself. `checked.py` reads the classes: with that it is in code, on the command line, in the
environment and in TOML. `make generate` writes `docs/options.md` and the settings of the native module.

Always: an options object is complete and valid, and never changes. `changed()` makes another one.

No file of this package may know servers, processes or where a value was given.
"""

from prefork.config.options.application import AppOptions
from prefork.config.options.pool import PreForkOptions, ShortForms
from prefork.config.options.serve import ServeOptions
from prefork.config.options.server import ServerOptions

__all__ = ["AppOptions", "PreForkOptions", "ServeOptions", "ServerOptions", "ShortForms"]
