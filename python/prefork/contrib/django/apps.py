"""The application as Django's registry knows it."""

from __future__ import annotations

from django.apps import AppConfig


class PreforkConfig(AppConfig):
    """It has no models."""

    name = "prefork.contrib.django"
    label = "prefork"
    verbose_name = "prefork"
