"""`prefork serve`, with a live page that is drawn 200 times a second, and that waits less for a client that
does not read: what takes minutes otherwise takes seconds.
"""

from __future__ import annotations

from prefork.admin import events, listener
from prefork.cli.main import main

events.FRAME_S = 0.005
listener.LIMITS["send_timeout"] = 1.0

if __name__ == "__main__":
    main()
