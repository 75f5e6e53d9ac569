"""Uses a calendar server by the library caldav: talk_caldav.py URL USER PASSWORD."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import caldav


def at(day, hour):
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def main(url, user, password):
    with caldav.DAVClient(url=url, username=user, password=password) as client:
        calendar = client.principal().make_calendar(name="Büro")
        for day in range(1, 11):
            calendar.save_event(dtstart=at(day, 9), dtend=at(day, 10), summary=f"Day {day} ü")
        calendar.save_event(
            dtstart=at(1, 12), dtend=at(1, 13), summary="Each day", rrule={"FREQ": "DAILY", "COUNT": 5}
        )
        assert len(calendar.events()) == 11, len(calendar.events())
        found = calendar.search(start=at(3, 0), end=at(6, 0), event=True, expand=True)
        names = sorted(str(event.icalendar_component["summary"]) for event in found)
        assert names == ["Day 3 ü", "Day 4 ü", "Day 5 ü", "Each day", "Each day", "Each day"], names
        for event in calendar.events():
            event.delete()
        assert calendar.events() == []
        assert "Büro" in [one.get_display_name() for one in client.principal().calendars()]
        calendar.delete()


if __name__ == "__main__":
    main(*sys.argv[1:])
