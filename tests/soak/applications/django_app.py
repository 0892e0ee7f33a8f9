"""Django with its sessions, in a database, and its admin; for ASGI and for WSGI."""

from __future__ import annotations

import asyncio
import os
import time

import django
from django.conf import settings
from django.contrib import admin
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path

MIDDLEWARE = [
    "sessions.middleware.Session",
    "auth.middleware.Authentication",
    "messages.middleware.Message",
]

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "OPTIONS": {"timeout": 20},
        }
    },
    INSTALLED_APPS=[
        f"django.contrib.{name}"
        for name in ("admin", "auth", "contenttypes", "sessions", "messages")
    ],
    MIDDLEWARE=[f"django.contrib.{name}Middleware" for name in MIDDLEWARE],
    ROOT_URLCONF=__name__,
    SECRET_KEY="none",  # noqa: S106 - of a database that is deleted
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
    USE_TZ=True,
)
django.setup()


async def later(_: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.02)
    return HttpResponse("later")


def blocking(request: HttpRequest) -> HttpResponse:
    time.sleep(0.02)
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visits: {request.session['visits']}")


urlpatterns = [path("later", later), path("blocking", blocking), path("admin/", admin.site.urls)]
app = ASGIHandler()
wsgi = WSGIHandler()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
