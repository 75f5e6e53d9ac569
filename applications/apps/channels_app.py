"""Django with Channels: pages, a chat of groups, a consumer that is no coroutine. REDIS is a port."""

from __future__ import annotations

import os

import django
from django.conf import settings

PORT = os.environ.get("REDIS")
WAITS_S = 30
"""The layer asks Redis to wait for 5 s, and redis-py waits no longer than that for the answer by default."""
LAYER = (
    {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"host": "127.0.0.1", "port": int(PORT), "socket_timeout": WAITS_S}]},
    }
    if PORT
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
)
settings.configure(
    SECRET_KEY="a secret of the checks",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": LAYER},
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Chat(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        await self.send_json({"worker": os.getpid()})

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.room, {"type": "chat.said", "text": content["text"]})

    async def chat_said(self, event):
        await self.send_json({"text": event["text"]})

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)


class Upper(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data.upper())


def page(request):
    return JsonResponse({"pid": os.getpid()})


def announce(request, room):
    """A view that is no coroutine sends to a group."""
    message = {"type": "chat.said", "text": f"announced {request.GET['text']}"}
    async_to_sync(get_channel_layer().group_send)(room, message)
    return JsonResponse({})


urlpatterns = [path("", page), path("announce/<room>", announce)]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("chat/<room>", Chat.as_asgi()), path("upper", Upper.as_asgi())]),
    }
)
