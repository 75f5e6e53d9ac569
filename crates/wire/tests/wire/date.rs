//! IMF-fixdate against known instants.

use prefork_wire::imf_fixdate;

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
        (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(std::str::from_utf8(&imf_fixdate(seconds)).unwrap(), text);
    }
}

#[test]
fn every_day_follows_the_one_before() {
    const MONTHS: [(&str, u32); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let mut count = 0;
    for year in 1970..2500 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (month, (name, length)) in MONTHS.iter().enumerate() {
            for day in 1..=length + u32::from(leap && month == 1) {
                let text = format!("{}, {day:02} {name} {year} 23:59:59 GMT", DAYS[count % 7]);
                assert_eq!(imf_fixdate(count as u64 * 86_400 + 86_399), text.as_bytes());
                count += 1;
            }
        }
    }
}
