"""The smallest Django application; the parameter `debug` is its setting DEBUG."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path
from parameters import PARAMETERS

settings.configure(
    DEBUG=PARAMETERS["debug"], SECRET_KEY="for tests alone", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"]
)
django.setup()


def fails(request):
    raise LookupError("the bug")


urlpatterns = [path("fails", fails)]
app = get_wsgi_application()
