"""What `django-admin startproject` makes, without a database, and a view whose response names its process."""

from __future__ import annotations

import gc
import os
import time

import django.conf
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

APPS = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
COLLECT = "collect"
"""At this path the view runs a full garbage collection, as each worker does some day."""
HOLD_S = 0.01
"""Long enough for requests that come together to reach different workers."""

django.conf.settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[f"django.contrib.{name}" for name in APPS],
    MIDDLEWARE=list(MIDDLEWARE),
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a bench",
    STATIC_URL="static/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)


def hello(_request: HttpRequest, place: str) -> HttpResponse:
    if place == COLLECT:
        gc.collect()
    time.sleep(HOLD_S)
    return HttpResponse(f"pid {os.getpid()}", content_type="text/plain")


urlpatterns = [path("<path:place>", hello)]
application = get_wsgi_application()
