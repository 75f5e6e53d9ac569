"""Basic authentication (RFC 7617) for every page.

    prefork serve examples/basic_auth.py
    curl -u guest:secret http://127.0.0.1:8000/

Over plain HTTP the password can be read on the way: use a proxy with TLS.
"""

import hmac

from prefork import HTTPServer, Kernel, Session, event

USERS = {"guest": "secret"}


class Private(Session):
    alias = "PRIVATE"

    @event
    def got_page(self, request, response, _pattern):
        user, password = request.authorization_basic or ("", "")
        # The comparison takes the same time wherever the first difference is.
        if user in USERS and hmac.compare_digest(USERS[user].encode(), password.encode()):
            response.content = f"Welcome, {user}\n"
        else:
            response.code = 401
            response.header("WWW-Authenticate", 'Basic realm="prefork", charset="UTF-8"')
            response.content = "Who are you?\n"
        response.done()


kernel = Kernel()
kernel.add(Private())
server = HTTPServer(kernel, handlers=[{"dir": "", "session": "PRIVATE", "event": "got_page"}])
