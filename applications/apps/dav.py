"""WsgiDAV with the directory SHARED, and a user with a password."""

from __future__ import annotations

import os

from wsgidav.wsgidav_app import WsgiDAVApp

application = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["SHARED"]},
        "simple_dc": {"user_mapping": {"*": {"anna": {"password": "secret"}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": True, "default_to_digest": True},
        "verbose": 0,
        "logging": {"enable": False},
        "lock_storage": True,
        "property_manager": True,
    }
)
