"""An application of Django, for INSTALLED_APPS: it has the command `manage.py serve`."""
