"""datasette with one database, which the variable DATABASE names."""

from __future__ import annotations

import os

from datasette.app import Datasette

application = Datasette([os.environ["DATABASE"]], settings={"max_csv_mb": 0}).app()
