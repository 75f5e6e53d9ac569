from __future__ import annotations

import os
from collections.abc import Iterator

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def hello(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"Hello from Django in {os.getpid()}")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": sum(map(len, file.chunks()))})


def users(_request: HttpRequest) -> HttpResponse:
    def rows() -> Iterator[str]:
        for user in User.objects.order_by("username").iterator():
            yield f"{user.username}\n"

    return StreamingHttpResponse(rows(), content_type="text/plain")


def source(_request: HttpRequest) -> HttpResponse:
    return FileResponse(open(__file__, "rb"))  # closed with the response


def about(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"uri": request.build_absolute_uri(), "remote": request.META["REMOTE_ADDR"]})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("hello/", hello),
    path("upload/", upload),
    path("users/", users),
    path("source/", source),
    path("about/", about),
]
