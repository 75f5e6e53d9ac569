mod processes;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::MemfdFlags;

use super::page::PAGE_BYTES;
use super::view::now_ns;
use super::*;
use crate::peer::Peer;

/// A board whose slots are all claimed, and a reader of it.
fn board_of(capacity: usize) -> (Board, View) {
    let board = Board::create(capacity).unwrap();
    for index in 0..capacity {
        assert!(board.claim(index, 7, 1000));
    }
    let view = View::attach(board.file()).unwrap();
    (board, view)
}

fn spare_slot(board: Board, index: usize, concurrency: u32) -> Slot {
    let slot = board.enter(index, concurrency).unwrap();
    slot.set_state(State::Spare);
    slot
}

fn growing(min_spare: u32) -> Header {
    Header {
        may_grow: true,
        min_spare,
        ..Header::default()
    }
}

/// How often workers woke the manager since the last call.
fn wakeups(wakeup: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(wakeup, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn a_slot_tells_what_its_worker_does() {
    let (board, view) = board_of(3);
    assert_eq!(view.read(1).unwrap().state, State::Starting);
    let mut slot = spare_slot(board, 1, 1);

    let entry = slot.begin(1, b"GET", b"/bar/one", &Peer::Unix, 5000);
    let counters = Counters {
        requests: 9,
        bytes_in: 8,
        bytes_out: 7,
        connections: 6,
        busy_ns: 5,
        handed_off: 4,
        adopted: 3,
        responses: 12,
        errors: 11,
        response_ns: 10,
        log_lost: 13,
        limited: [0, 0, 2, 0, 0, 0, 1, 0],
    };
    slot.count_limit(Limit::Queue);
    slot.count_limit(Limit::Body);
    slot.count_limit(Limit::Queue);
    slot.turn(6000, &counters);
    slot.set_lag(7);
    let request = Request {
        method: b"GET".to_vec(),
        path: b"/bar/one".to_vec(),
        client: Peer::Unix,
        phase: RequestPhase::Handling,
        started_ns: 5000,
    };
    let record = Record {
        state: State::Active,
        pid: std::process::id(),
        generation: 7,
        started_ns: 1000,
        turned_ns: 6000,
        beat_ns: 0,
        in_flight: 1,
        waiting: 0,
        lag_ns: 7,
        counters,
        figures: Figures::default(),
        is_garbled: false,
        request: Some(request),
    };
    assert_eq!(view.read(1), Some(record.clone()));

    slot.end(0, entry);
    let record = Record {
        in_flight: 0,
        request: None,
        ..record
    };
    assert_eq!(view.read(1), Some(record.clone()), "its turn goes on");
    slot.turn(7000, &counters);
    let record = Record {
        state: State::Spare,
        turned_ns: 7000,
        ..record
    };
    assert_eq!(view.read(1), Some(record));
    assert_eq!(
        view.states(),
        [State::Starting, State::Spare, State::Starting]
    );
    assert_eq!(view.read(3), None);
}

#[test]
fn the_times_of_responses_are_counted_until_the_slot_has_another_worker() {
    let (board, view) = board_of(2);
    let slot = spare_slot(board, 1, 1);
    for time_ns in [0, 5000, 5100, 1_000_000, 1 << 40] {
        let figures = slot.figures();
        slot.show_figures();
        figures.count_time(Time::Application, time_ns);
        figures.count_time(Time::Wait, 7);
    }
    let counted: Vec<_> = view
        .times(1)
        .unwrap()
        .into_iter()
        .zip(coarse_bounds_ns())
        .collect();
    let used: Vec<_> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .collect();
    assert_eq!(used, [(1, 1024), (2, 4096), (1, 917_504), (1, 7 << 33)]);
    assert_eq!(view.times(0), Some([0; COARSE]));
    assert_eq!(view.times(2), None);
    let figures = view.read(1).unwrap().figures;
    let application = figures.time(Time::Application);
    assert_eq!(
        (application.count(), figures.time(Time::Wait).sum_ns),
        (5, 35)
    );
    assert_eq!(application.sum_ns, 1_010_100 + (1 << 40));
    assert_eq!(figures.time(Time::LastByte), &Histogram::default());
    assert_eq!(view.totals(), figures);
}

#[test]
fn what_a_worker_has_counted_stays_when_it_has_ended_and_its_successor_begins_anew() {
    let board = Board::create(2).unwrap();
    for round in 1..=2 {
        assert!(board.claim(1, round, 0));
        let page = board.view().memory().slot(1).unwrap();
        page.counts_figures.set(true);
        let figures = board.view().memory().figures(1).unwrap();
        assert_eq!(figures.copy(), Figures::default());
        for (status, time_ns) in [
            (101, 2_000),
            (200, 3_000),
            (204, 50_000_000),
            (503, 9),
            (299, 9),
            (0, 9),
        ] {
            figures.count_status(status);
            figures.count_time(Time::LastByte, time_ns);
        }
        figures.count_handshake(true);
        figures.count_handshake(false);
        figures.count_http2_connection();
        figures.count_http2_stream();
        board.clear(1);
        let totals = board.view().totals();
        let times = u64::from(round);
        assert_eq!(totals.classes(), [times, 3 * times, 0, 0, times]);
        let counted: Vec<_> = totals.statuses().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [101, 200, 204, 503].map(|status| (status, times)));
        assert_eq!(totals.others(), [0, times, 0, 0, 0], "299");
        assert_eq!((totals.handshakes, totals.resumed), (2 * times, times));
        assert_eq!(
            (totals.http2_connections, totals.http2_streams),
            (times, times)
        );
        assert_eq!(totals.time(Time::LastByte).count(), 6 * times);
        assert_eq!(board.view().header().clears, 2 * times);
    }
}

#[test]
fn a_worker_that_writes_what_cannot_be_true_is_shown_as_such_and_counts_for_no_total() {
    type Write = fn(&super::page::SlotPage, &SharedFigures);
    let writes: [Write; 7] = [
        |page, _| page.generation.set(u32::MAX),
        |page, _| page.turned_ns.set(now_ns() + 3_600_000_000_000),
        |page, _| {
            page.set_counters(&Counters {
                bytes_in: u64::MAX,
                ..Counters::default()
            });
        },
        |page, _| page.limited[3].set(u64::MAX),
        |_, figures| figures.count_time(Time::Wait, 1 << 63),
        |_, figures| figures.count_time(Time::Application, u64::MAX),
        |page, _| page.in_flight.set(u32::MAX),
    ];
    for write in writes {
        let board = Board::create(2).unwrap();
        assert!(board.claim(0, 1, 0) && board.claim(1, 1, 0));
        for index in [0, 1] {
            let page = board.view().memory().slot(index).unwrap();
            page.counts_figures.set(true);
            page.set_counters(&Counters {
                requests: 3,
                ..Counters::default()
            });
            board
                .view()
                .memory()
                .figures(index)
                .unwrap()
                .count_status(200);
        }
        let page = board.view().memory().slot(0).unwrap();
        write(page, board.view().memory().figures(0).unwrap());
        let garbled = [0, 1].map(|index| board.view().read(index).unwrap().is_garbled);
        assert_eq!(garbled, [true, false]);
        for index in [0, 1] {
            let page = board.view().memory().slot(index).unwrap();
            page.asks_for_successor.set(true);
        }
        assert_eq!(board.view().asking_for_successors(), [1]);
        assert_eq!(board.view().totals().classes(), [0, 1, 0, 0, 0]);
        board.clear(0);
        board.clear(1);
        assert_eq!(board.view().header().retired_requests, 3);
        assert_eq!(board.view().totals().classes(), [0, 1, 0, 0, 0]);
        assert!(board.claim(0, 2, 0));
        assert!(!board.view().read(0).unwrap().is_garbled, "the next worker");
        assert_eq!(
            board.view().memory().figures(0).unwrap().copy(),
            Figures::default()
        );
    }
}

#[test]
fn no_garbage_of_a_worker_is_left_to_its_successor() {
    let board = Board::create(1).unwrap();
    assert!(board.claim(0, 1, 0));
    let words = board.view().memory().words(0);
    words.iter().for_each(|word| word.store(7, Relaxed));
    board
        .view()
        .memory()
        .slot(0)
        .unwrap()
        .counts_figures
        .set(false);
    board.clear(0);
    assert!(board.claim(0, 2, 0));
    assert_eq!(
        board.view().memory().figures(0).unwrap().copy(),
        Figures::default()
    );
}

#[test]
fn a_request_shows_its_client_and_its_phase() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 64);
    let inet = |ip: &str| Peer::Inet {
        ip: ip.parse().unwrap(),
        port: 0,
    };
    for client in [
        inet("192.0.2.7"),
        inet("2001:db8::7"),
        Peer::Unix,
        Peer::Unknown,
    ] {
        let entry = slot.begin(1, b"GET", b"/", &client, 1);
        let shown = || {
            let request = view.read(0).unwrap().request.unwrap();
            (request.client, request.phase)
        };
        assert_eq!(shown(), (client, RequestPhase::Handling));
        slot.set_phase(entry, RequestPhase::Streaming);
        assert_eq!(shown(), (client, RequestPhase::Streaming));
        slot.end(0, entry);
        slot.set_phase(EntryId::default(), RequestPhase::Open);
    }
    let entries: Vec<_> = (1..=10)
        .map(|at| slot.begin(at, b"GET", b"/", &Peer::Unix, u64::from(at)))
        .collect();
    slot.set_phase(entries[7], RequestPhase::Open); // it has lost the last entry
    assert_eq!(
        view.read(0).unwrap().request.unwrap().phase,
        RequestPhase::Handling
    );
    slot.set_phase(entries[9], RequestPhase::Open);
    assert_eq!(
        view.read(0).unwrap().request.unwrap().phase,
        RequestPhase::Open
    );
}

#[test]
fn a_pool_may_hide_what_is_asked_for() {
    let (board, view) = board_of(1);
    board.publish(&Header {
        hides_paths: true,
        ..growing(1)
    });
    let mut slot = spare_slot(board, 0, 1);
    slot.begin(1, b"GET", b"/secret", &Peer::Unix, 1);
    let request = view.read(0).unwrap().request.unwrap();
    assert_eq!(
        (request.method, request.path),
        (b"GET".to_vec(), Vec::new())
    );
}

#[test]
fn long_texts_are_cut_and_short_ones_leave_nothing_behind() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 1);
    let long = [b'x'; 1000];
    for length in [0, 1, 7, 8, 9, 16, 17, 255, 256, 257, 1000, 3] {
        let entry = slot.begin(1, &long[..length], &long[..length], &Peer::Unix, 1);
        let request = view.read(0).unwrap().request.unwrap();
        assert_eq!(request.method, &long[..length.min(16)]);
        assert_eq!(request.path, &long[..length.min(256)]);
        slot.end(0, entry);
    }
}

#[test]
fn what_is_shown_is_in_flight_and_the_last_that_began() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 64);
    let shown = || {
        let request = view.read(0).unwrap().request?;
        Some((String::from_utf8(request.path).unwrap(), request.started_ns))
    };
    let slow = slot.begin(1, b"GET", b"/slow", &Peer::Unix, 5);
    let quick = slot.begin(2, b"GET", b"/quick", &Peer::Unix, 6);
    let other = slot.begin(3, b"GET", b"/other", &Peer::Unix, 7);
    assert_eq!(shown(), Some(("/other".into(), 7)));
    slot.end(2, quick);
    assert_eq!(shown(), Some(("/other".into(), 7)));
    slot.end(1, other);
    assert_eq!(shown(), Some(("/slow".into(), 5)));
    let last = slot.begin(2, b"GET", b"/last", &Peer::Unix, 8);
    slot.end(1, slow);
    assert_eq!(shown(), Some(("/last".into(), 8)));
    slot.end(0, last);
    assert_eq!(shown(), None);
}

#[test]
fn of_very_many_requests_none_is_shown_that_is_over() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 1000);
    let mut in_flight = Vec::new();
    let mut shown = 0;
    // More and more at first, then fewer; which one ends is never the same.
    for round in 1..=3000_usize {
        if in_flight.is_empty() || round < 2000 && round % 5 < 3 {
            let path = round.to_string();
            let entry = slot.begin(
                in_flight.len() as u32 + 1,
                b"GET",
                path.as_bytes(),
                &Peer::Unix,
                round as u64,
            );
            in_flight.push((path, entry));
            let request = view.read(0).unwrap().request.unwrap();
            assert_eq!(request.started_ns, round as u64);
        } else {
            let (_, entry) = in_flight.swap_remove(round * 7 % in_flight.len());
            slot.end(in_flight.len() as u32, entry);
        }
        if let Some(request) = view.read(0).unwrap().request {
            let is_its = |(path, _): &(String, _)| path.as_bytes() == request.path;
            assert!(in_flight.iter().any(is_its), "{round}");
            shown += 1;
        }
    }
    assert!(shown > 2000, "{shown}");
}

#[test]
fn a_request_without_an_entry_is_counted_and_not_shown() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 1);
    let entry = slot.begin(2, b"GET", b"/", &Peer::Unix, 1);
    slot.end(1, entry);
    let record = view.read(0).unwrap();
    assert_eq!((record.in_flight, record.request), (1, None));
    slot.end(0, EntryId::default());
    assert_eq!(view.read(0).unwrap().in_flight, 0);
}

#[test]
fn the_next_worker_of_a_slot_shows_no_request_of_the_last_one() {
    let board = Board::create(1).unwrap();
    assert!(board.claim(0, 1, 0));
    let page = board.view().memory().slot(0).unwrap();
    page.entry(3).unwrap().set(b"GET", b"/", &Peer::Unix, 1);
    assert!(board.view().read(0).unwrap().request.is_some());
    board.clear(0);
    assert!(board.claim(0, 2, 0));
    assert_eq!(board.view().read(0).unwrap().request, None);
}

#[test]
fn a_worker_is_spare_while_it_could_start_one_more_request() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 2);
    let state = || view.states()[0];
    slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(state(), State::Spare);
    let second = slot.begin(2, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(state(), State::Active);
    slot.turn(1, &Counters::default());
    assert_eq!(state(), State::Active);
    slot.end(1, second);
    assert_eq!(
        state(),
        State::Active,
        "the next request may follow in this turn"
    );
    slot.turn(2, &Counters::default());
    assert_eq!(state(), State::Spare);
}

#[test]
fn a_draining_worker_stays_draining() {
    let (board, view) = board_of(1);
    let mut slot = spare_slot(board, 0, 1);
    slot.set_state(State::Draining);
    let entry = slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(view.states(), [State::Draining]);
    slot.end(0, entry);
    assert_eq!(view.states(), [State::Draining]);
}

#[test]
fn a_slot_is_claimed_once_and_leaves_its_totals_when_cleared() {
    let board = Board::create(2).unwrap();
    assert!(!board.claim(2, 0, 0));
    assert!(board.claim(1, 4, 0));
    assert!(!board.claim(1, 5, 0));
    let page = board.view().memory().slot(1).unwrap();
    let counters = Counters {
        requests: 3,
        bytes_in: 4,
        bytes_out: 1 << 50,
        connections: 1,
        busy_ns: 1,
        handed_off: 2,
        adopted: 5,
        ..Counters::default()
    };
    page.set_counters(&counters);
    Limit::ALL.iter().for_each(|limit| page.count_limit(*limit));
    page.count_limit(Limit::Rate);
    board.clear(1);
    assert_eq!(board.view().read(1), None);
    assert!(board.claim(1, 5, 0));
    assert_eq!(board.view().read(1).unwrap().counters, Counters::default());
    page.set_counters(&counters);
    board.clear(1);
    let header = board.view().header();
    assert_eq!((header.retired_requests, header.retired_bytes_in), (6, 8));
    assert_eq!((header.retired_handed_off, header.retired_adopted), (4, 10));
    assert_eq!(header.retired_bytes_out, 1 << 51);
    let limited = |name| {
        let (_, value) = header.fields().find(|(field, _)| *field == name).unwrap();
        value
    };
    assert_eq!(limited("retired_limited_address"), Value::Number(1));
    assert_eq!(limited("retired_limited_rate"), Value::Number(2));
}

#[test]
fn the_connections_of_an_address_are_those_of_all_workers() {
    let board = Board::create(3).unwrap();
    let claimed = (0..3).all(|index| board.claim(index, 1, 0));
    assert!(claimed);
    let address = "192.0.2.1".parse().unwrap();
    let key = AddressKey::new(address, board.view().memory().manager().seed.get());
    // What another worker has written, in its own table.
    let other = board.view().memory().addresses(2).unwrap();
    board
        .view()
        .memory()
        .slot(2)
        .unwrap()
        .counts_addresses
        .set(true);
    other.add(key);
    let slot = spare_slot(board, 0, 1);
    assert_eq!(slot.address_key(address), key);
    slot.add_address(key);
    slot.add_address(key);
    assert!(slot.has_connections(key, 3) && !slot.has_connections(key, 4));
    slot.remove_address(key);
    assert!(slot.has_connections(key, 2) && !slot.has_connections(key, 3));
}

#[test]
fn a_worker_that_has_ended_has_no_connections() {
    let board = Board::create(1).unwrap();
    let address = "192.0.2.1".parse().unwrap();
    let key = AddressKey::new(address, board.view().memory().manager().seed.get());
    for _ in 0..2 {
        assert!(board.claim(0, 1, 0));
        let memory = board.view().memory();
        assert_eq!(memory.addresses(0).unwrap().count(key), 0);
        memory.slot(0).unwrap().counts_addresses.set(true);
        memory.addresses(0).unwrap().add(key);
        board.clear(0);
    }
}

#[test]
fn the_sequence_survives_a_change_of_worker() {
    let board = Board::create(1).unwrap();
    let page = board.view().memory().slot(0).unwrap();
    let read_across_workers = page.sequence.read(|| {
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        if ATTEMPTS.fetch_add(1, Relaxed) == 0 {
            board.clear(0);
            board.claim(0, 0, 0);
            page.sequence.write(|| ());
        }
        ATTEMPTS.load(Relaxed)
    });
    assert_eq!(read_across_workers, Some(2));
}

#[test]
fn unused_slots_take_no_memory() {
    let board = Board::create(1000).unwrap();
    assert!(board.claim(1, 0, 0));
    let view = View::attach(board.file()).unwrap();
    assert_eq!(view.states().len(), 1000);
    assert!((2..1000).all(|index| view.read(index).is_none()));
    let pages = rustix::fs::fstat(board.file()).unwrap().st_blocks * 512 / PAGE_BYTES as i64;
    assert!(pages <= 3, "{pages} pages");
}

#[test]
fn the_header_is_told_whole_and_its_fields_are_set_by_name() {
    let (board, view) = board_of(1);
    let mut header = Header {
        pid: 12,
        may_grow: true,
        ..view.header()
    };
    assert!(header.set("min_spare", 5));
    assert!(header.set("stopping", 1));
    assert!(!header.set("min_spare", 1 << 32));
    assert!(!header.set("stopping", 2));
    assert!(!header.set("spare_parts", 5));
    board.publish(&header);
    assert_eq!(view.header(), header);
    assert!(
        header
            .fields()
            .any(|field| field == ("pid", Value::Number(12)))
    );
    assert!(
        header
            .fields()
            .any(|field| field == ("may_grow", Value::Flag(true)))
    );
}

#[test]
fn taking_the_last_but_minimum_spare_wakes_the_manager() {
    let (board, _) = board_of(4);
    let wakeup = board.wakeup().try_clone_to_owned().unwrap();
    board.publish(&growing(3));
    let mut slot = spare_slot(board, 2, 1);
    slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(wakeups(&wakeup), 0, "three others are starting");
    slot.begin(2, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(wakeups(&wakeup), 0, "no spare was taken");

    let (board, _) = board_of(4);
    let wakeup = board.wakeup().try_clone_to_owned().unwrap();
    board.publish(&growing(3));
    board.clear(0);
    let mut slot = spare_slot(board, 2, 1);
    let entry = slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(wakeups(&wakeup), 1);
    slot.turn(0, &Counters::default());
    slot.end(0, entry);
    let entry = slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(wakeups(&wakeup), 0, "it was not spare between them");
    slot.end(0, entry);
    slot.turn(0, &Counters::default());
    assert_eq!(wakeups(&wakeup), 0);
    slot.set_state(State::Draining);
    assert_eq!(
        wakeups(&wakeup),
        1,
        "a worker that leaves by itself is missed too"
    );
}

#[test]
fn a_full_pool_knows_when_its_last_spare_is_gone() {
    let full = Header {
        may_grow: false,
        ..growing(3)
    };
    let (board, _) = board_of(2);
    board.publish(&full);
    let mut slot = spare_slot(board, 0, 1);
    slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert!(!slot.was_last_spare(), "another one is starting");

    let (board, _) = board_of(1);
    let wakeup = board.wakeup().try_clone_to_owned().unwrap();
    board.publish(&full);
    let mut slot = spare_slot(board, 0, 1);
    slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert!(slot.was_last_spare());
    // A handler that returns at once must not cost a system call each time.
    assert_eq!(wakeups(&wakeup), 0);
}

#[test]
fn a_pool_that_knows_it_is_full_is_not_woken() {
    let (board, _) = board_of(1);
    let wakeup = board.wakeup().try_clone_to_owned().unwrap();
    board.publish(&Header {
        may_grow: false,
        overcommit: true,
        stopping: true,
        log_level: 10,
        ..growing(3)
    });
    let mut slot = spare_slot(board, 0, 1);
    slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
    assert_eq!(wakeups(&wakeup), 0);
    assert!(slot.overcommit() && slot.stopping());
    assert_eq!(slot.log_level(), 10);
}

#[test]
fn only_sealed_memory_of_a_scoreboard_is_read() {
    let kind = |file: &OwnedFd| View::attach(file.as_fd()).err().map(|error| error.kind());
    let file = rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&file, 2 * PAGE_BYTES as u64).unwrap();
    assert_eq!(kind(&file), Some(io::ErrorKind::InvalidData), "not sealed");
    rustix::fs::fcntl_add_seals(&file, memory::seals()).unwrap();
    assert_eq!(
        kind(&file),
        Some(io::ErrorKind::InvalidData),
        "no magic number"
    );
    assert!(View::attach(io::stdin().as_fd()).is_err());
    assert!(Board::create(0).is_err());
    assert!(Board::create(usize::MAX).is_err());
}

#[test]
fn hostile_words_break_no_reader() {
    let (board, view) = board_of(4);
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed ^ (seed >> 29)
    };
    for round in 0..2000 {
        for index in 0..4 {
            for word in board.view().memory().words(index) {
                word.store(
                    if round % 2 == 0 {
                        random()
                    } else {
                        random() & 7
                    },
                    Relaxed,
                );
            }
            if let Some(request) = view.read(index).and_then(|record| record.request) {
                assert!(request.method.len() <= 16 && request.path.len() <= 256);
            }
        }
        assert_eq!(view.states().len(), 4);
    }
    for word in board.view().memory().words(0) {
        word.store(u64::MAX - 1, Relaxed);
    }
    assert_eq!(view.states()[0], State::Active);
    board.clear(0);
    assert!(board.claim(0, 0, 0));
}

#[test]
fn a_worker_that_stopped_amid_a_write_shows_its_numbers() {
    let (board, view) = board_of(1);
    let page = board.view().memory().slot(0).unwrap();
    page.in_flight.set(3);
    page.entry(0).unwrap().set(b"GET", b"/", &Peer::Unix, 1);
    assert!(view.read(0).unwrap().request.is_some());
    board.view().memory().words(0)[0].fetch_or(1, Relaxed); // the sequence
    let record = view.read(0).unwrap();
    assert_eq!((record.in_flight, record.request), (3, None));
    board.clear(0);
    assert!(board.claim(0, 0, 0));
    page.entry(0).unwrap().set(b"GET", b"/", &Peer::Unix, 1);
    assert!(
        view.read(0).unwrap().request.is_some(),
        "the next worker can be read whole"
    );
}
