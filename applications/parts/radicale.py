"""radicale (calendars, CalDAV): several workers write one folder."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import httpx

from applications.report import holds, same
from applications.site import Site
from applications.trial import Part, Trial

EVENTS = 60
HOME = "/anna/work/"
MULTISTATUS = 207
CONFIG = """\
[auth]
type = htpasswd
htpasswd_filename = {place}/users
htpasswd_encryption = plain
[storage]
filesystem_folder = {place}/collections
[rights]
type = owner_only
[logging]
level = warning
"""

QUERY = (
    '<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop>'
    '<C:filter><C:comp-filter name="VCALENDAR">{filter}</C:comp-filter></C:filter></C:calendar-query>'
)


def _run(trial: Trial) -> None:
    (trial.place / "users").write_text("anna:secret\nbert:secret\n")
    config = trial.place / "config"
    config.write_text(CONFIG.format(place=trial.place))
    env = {"RADICALE_CONFIG": str(config)}
    with trial.serve("radicale:application", "--workers", "4", "--interface", "wsgi", env=env) as site:
        site.home = "/.web/"
        site.client.auth = ("anna", "secret")
        _rights(trial, site)
        _calendar(trial, site)
        with trial.check(
            "its own client library (caldav): a calendar, events, a search in time, a repetition"
        ):
            trial.client("talk_caldav.py", f"{site.url}/", "bert", "secret")


def _rights(trial: Trial, site: Site) -> None:
    with trial.check("401 without a password, 403 for another user's calendars"):
        with site.new_client() as client:
            response = client.request("PROPFIND", "/anna/")
            same(response.status_code, 401)
            holds(response.headers["www-authenticate"], "Basic")
            same(client.request("PROPFIND", "/anna/", auth=("bert", "secret")).status_code, 403)


def _calendar(trial: Trial, site: Site) -> None:
    def put(client: httpx.Client, number: int) -> int:
        auth = ("anna", "secret")
        new = {"If-None-Match": "*", "Content-Type": "text/calendar"}
        return client.put(f"{HOME}{number}.ics", content=_event(number), headers=new, auth=auth).status_code

    with trial.check("MKCALENDAR"):
        same(site.client.request("MKCALENDAR", HOME).status_code, 201)
    with trial.check(f"{EVENTS} events of 12 clients at once"):
        same(set(site.at_once(put, range(EVENTS), users=12)), {201})
    with trial.check("PROPFIND finds all of them, each with its ETag"):
        response = site.client.request("PROPFIND", HOME, headers={"Depth": "1"})
        same(response.status_code, MULTISTATUS)
        same({f"{number}.ics" for number in range(EVENTS)} <= _names(response.text), True)
    with trial.check("one that is there already is not overwritten, and a wrong ETag neither"):
        same(put(site.client, 7), 412)
        wrong = {"If-Match": '"other"', "Content-Type": "text/calendar"}
        same(site.client.put(f"{HOME}7.ics", content=_event(7), headers=wrong).status_code, 412)
    with trial.check("REPORT finds the events of a day"):
        day = '<C:time-range start="20260105T000000Z" end="20260106T000000Z"/>'
        query = QUERY.format(filter=f'<C:comp-filter name="VEVENT">{day}</C:comp-filter>')
        response = site.client.request("REPORT", HOME, content=query, headers={"Depth": "1"})
        same(_names(response.text), {f"{number}.ics" for number in range(EVENTS) if number % 28 + 1 == 5})
    with trial.check("a synchronization tells what has changed since the last one"):
        first = site.client.request("REPORT", HOME, content=_sync("")).text
        token = re.findall(r"<(?:\w+:)?sync-token>([^<]+)<", first)[0]
        same(site.client.delete(f"{HOME}3.ics").status_code, 200)
        second = site.client.request("REPORT", HOME, content=_sync(token)).text
        same(_names(second), {"3.ics"})


def _event(number: int) -> str:
    day = number % 28 + 1
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//checks//EN",
        "BEGIN:VEVENT",
        f"UID:{number}",
        "DTSTAMP:20260101T000000Z",
        f"DTSTART:202601{day:02}T100000Z",
        f"DTEND:202601{day:02}T110000Z",
        f"SUMMARY:Event {number} ü",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
    return "\r\n".join(lines)


def _sync(token: str) -> str:
    return (
        f'<D:sync-collection xmlns:D="DAV:"><D:sync-token>{token}</D:sync-token>'
        "<D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>"
    )


def _names(text: str) -> set[str]:
    """The last parts of the addresses in a multistatus response, but for that of the collection."""
    found = ElementTree.fromstring(text).iter("{DAV:}href")
    return {(one.text or "").rpartition("/")[2] for one in found} - {""}


RADICALE = Part(
    "radicale", "radicale, caldav", "WSGI: calendars over CalDAV, which several workers write", _run
)
