"""Django Channels: an echo over WebSockets."""

from __future__ import annotations

import asyncio

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")  # noqa: S106 - signs nothing
django.setup()


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data: str) -> None:
        await asyncio.sleep(0.005)
        await self.send(text_data)


urlpatterns: list[object] = []
sockets = URLRouter([path("echo", Echo.as_asgi())])
app = ProtocolTypeRouter({"http": ASGIHandler(), "websocket": sockets})
