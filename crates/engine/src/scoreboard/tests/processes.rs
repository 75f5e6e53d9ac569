//! The board between processes. A worker is a child between `fork` and `exec` here, so that a
//! signal kills only that child.

use std::hint::spin_loop;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, yield_now};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mm::MprotectFlags;

use super::*;

const SIGSEGV: i32 = 11;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs `work` as the worker of a slot in a forked process, which ends by becoming `true`.
fn fork_worker(
    board: &Arc<Mutex<Option<Board>>>,
    index: usize,
    work: impl Fn(&mut Slot) -> io::Result<()> + Send + Sync + 'static,
) -> JoinHandle<io::Result<ExitStatus>> {
    let board = Arc::clone(board);
    let mut command = Command::new("true");
    // SAFETY: the child allocates, which libc makes safe after its fork, and the mutex is locked in
    // children only.
    unsafe {
        command.pre_exec(move || {
            let board = board.lock().unwrap().take().unwrap();
            work(&mut board.enter(index, 1)?)
        });
    }
    std::thread::spawn(move || command.status())
}

fn wait_until(mut reached: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let mut spins = 0;
    while !reached() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        spins += 1;
        if spins % 1000 == 0 {
            yield_now()
        } else {
            spin_loop()
        }
    }
    Ok(())
}

#[test]
fn another_process_is_never_seen_amid_a_write() {
    let (board, view) = board_of(2);
    let board = Arc::new(Mutex::new(Some(board)));
    let (told, mut tell) = UnixStream::pair().unwrap();
    told.set_nonblocking(true).unwrap();
    let worker = fork_worker(&board, 1, move |slot| {
        wait_until(|| {
            for letter in b'a'..=b'z' {
                let in_flight = letter.into();
                let entry = slot.begin(
                    in_flight,
                    &[letter; 16],
                    &[letter; 256],
                    &Peer::Unix,
                    letter.into(),
                );
                for _ in 0..100 {
                    spin_loop(); // time in which a reader can succeed
                }
                slot.end(in_flight, entry);
            }
            (&told).read(&mut [0]).is_ok()
        })
    });
    let (mut whole, mut changes, mut last) = (0, 0, 0);
    let seen = wait_until(|| {
        let record = view.read(1).unwrap();
        let Some(request) = record.request else {
            return false;
        };
        let letter = record.in_flight as u8;
        assert_eq!(request.started_ns, letter.into());
        assert!(request.method == [letter; 16] && request.path == [letter; 256]);
        whole += 1;
        changes += u32::from(letter != last);
        last = letter;
        whole > 1000 && changes > 100
    });
    tell.write_all(b"!").unwrap();
    assert!(worker.join().unwrap().unwrap().success());
    seen.unwrap();
}

#[test]
fn of_two_workers_that_turn_active_at_once_one_sees_both() {
    let (board, _) = board_of(2);
    board.publish(&growing(1));
    let wakeup = Arc::new(board.wakeup().try_clone_to_owned().unwrap());
    let board = Arc::new(Mutex::new(Some(board)));
    let race = |index: usize| {
        let wakeup = Arc::clone(&wakeup);
        fork_worker(&board, index, move |slot| {
            // `turned_ns` is the step of a worker; both take each step together.
            let step = |slot: &Slot, number| {
                slot.turn(number, &Counters::default());
                let other = slot.memory.slot(1 - index).unwrap();
                wait_until(|| other.turned_ns.get() >= number)
            };
            let skew = |round| (0..round % 64).for_each(|_| spin_loop());
            for round in 0..20_000 {
                slot.set_state(State::Spare);
                step(slot, 2000 + 2 * round)?;
                skew(round * index as u64);
                slot.begin(1, b"GET", b"/", &Peer::Unix, 1);
                step(slot, 2001 + 2 * round)?;
                if index == 0 && wakeups(&wakeup) == 0 {
                    return Err(io::ErrorKind::NotFound.into());
                }
            }
            Ok(())
        })
    };
    let workers = [race(0), race(1)];
    for worker in workers {
        assert!(worker.join().unwrap().unwrap().success());
    }
}

#[test]
fn a_worker_that_has_begun_a_request_of_late_is_not_stuck() {
    for (state, moving) in [(State::Starting, 0), (State::Spare, 1), (State::Active, 1)] {
        let (board, view) = board_of(3);
        let board = Arc::new(Mutex::new(Some(board)));
        let worker = fork_worker(&board, 1, move |slot| {
            match state {
                State::Active => _ = slot.begin(1, b"GET", b"/", &Peer::Unix, 7),
                state => slot.set_state(state),
            }
            Ok(())
        });
        assert!(worker.join().unwrap().unwrap().success());
        assert_eq!(view.states()[1], state);
        let slot = board.lock().unwrap().take().unwrap().enter(0, 1).unwrap();
        assert_eq!(slot.moving_elsewhere(6), moving, "{state:?}");
        assert_eq!(slot.moving_elsewhere(7), slot.spares_elsewhere());
    }
}

#[test]
fn a_worker_that_writes_any_other_page_dies_of_it() {
    let writes: [fn(&Slot); 3] = [
        |slot| slot.memory.slot(0).unwrap().state.set(State::Draining),
        |slot| slot.memory.slot(2).unwrap().state.set(State::Draining),
        |slot| slot.memory.manager().header.stopping.set(true),
    ];
    let (board, view) = board_of(3);
    let board = Arc::new(Mutex::new(Some(board)));
    for write in writes {
        let worker = fork_worker(&board, 1, move |slot| {
            slot.set_state(State::Spare);
            write(slot);
            Ok(())
        });
        assert_eq!(worker.join().unwrap().unwrap().signal(), Some(SIGSEGV));
    }
    assert_eq!(
        view.states(),
        [State::Starting, State::Spare, State::Starting]
    );
    assert!(!view.header().stopping);
}

#[test]
fn a_worker_cannot_make_another_page_writable_again() {
    let (board, _) = board_of(2);
    let slot = board.enter(0, 1).unwrap();
    let protect = |index: usize| {
        let page = std::ptr::from_ref(slot.memory.slot(index).unwrap());
        // SAFETY: the page is mapped, and only its protection is asked to change.
        unsafe {
            let flags = MprotectFlags::READ | MprotectFlags::WRITE;
            rustix::mm::mprotect(page.cast_mut().cast(), PAGE_BYTES, flags)
        }
    };
    assert_eq!(protect(0), Ok(()));
    assert_eq!(protect(1), Err(Errno::ACCESS));
}

#[test]
fn what_a_worker_keeps_makes_workers_when_it_is_opened() {
    let (board, view) = board_of(2);
    let kept = board.keep().unwrap();
    let former = board.enter(0, 1).unwrap();
    former.set_state(State::Draining);
    let board = kept.open().unwrap();
    let next = board.keep().unwrap();
    let worker = spare_slot(board, 1, 1);
    assert_eq!(view.states(), [State::Draining, State::Spare]);
    drop((worker, former));
    spare_slot(next.open().unwrap(), 0, 1);
    assert_eq!(view.states(), [State::Spare, State::Spare]);
}
