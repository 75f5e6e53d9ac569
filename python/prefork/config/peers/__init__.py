"""The settings of gunicorn, uvicorn and uWSGI: what each becomes here, or why there is none.

One table for each of them. The hints for wrong flags, `prefork import-config` and the pages `docs/from-*.md`
follow from it. Only what needs a table imports it: it must not be in the memory of workers.
"""
