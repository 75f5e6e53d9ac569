"""Prefork in frameworks. Nothing else imports what is here: each part needs its framework."""
