"""A Django application with one form, which its protection against forged requests guards."""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests alone",
)


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse(f"{request.build_absolute_uri()} {request.META['REMOTE_ADDR']}")
    return HttpResponse(get_token(request))


urlpatterns = [path("form", form)]
application = get_wsgi_application()
