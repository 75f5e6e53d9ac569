//! A thread of each test is restricted, as the system has it: what is refused and what
//! is not. On a kernel without a part of Landlock, a test of that part tests nothing.

use super::*;
use crate::calls::program;
use rustix::io::Errno;
use seccompiler::apply_filter;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

/// Runs the test in a thread that has entered the sandbox.
fn within<T: Send>(permissions: &Permissions, test: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let run = || {
            let rest = enter(permissions, Extent::Thread);
            (rest == Rest::default()).then(test)
        };
        scope.spawn(run).join().unwrap()
    })
}

fn refused<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn writes(path: &Path) -> std::io::Result<()> {
    fs::write(path, b"changed")
}

#[test]
fn only_what_is_named_can_be_written() {
    let (named, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("file");
    fs::write(&file, b"as it was").unwrap();
    let permissions = Permissions {
        write: vec![named.path().into(), "/is/not/there".into()],
        ..Permissions::default()
    };
    within(&permissions, || {
        let own = named.path().join("new");
        writes(&own).unwrap();
        fs::rename(&own, named.path().join("renamed")).unwrap();
        fs::create_dir(named.path().join("directory")).unwrap();
        assert!(refused(writes(&file)));
        assert!(refused(writes(&other.path().join("new"))));
        assert!(refused(fs::remove_file(&file)));
        assert!(refused(fs::create_dir(other.path().join("directory"))));
        assert!(refused(OpenOptions::new().append(true).open(&file)));
        assert_eq!(fs::read(&file).unwrap(), b"as it was");
    });
}

#[test]
fn a_log_can_be_made_and_appended_to_and_not_be_cut_or_removed() {
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("access.log");
    fs::write(&log, b"a line").unwrap();
    let permissions = Permissions {
        append: vec![logs.path().into()],
        ..Permissions::default()
    };
    within(&permissions, || {
        let append = |path: &Path| OpenOptions::new().append(true).create(true).open(path);
        append(&log).unwrap();
        append(&logs.path().join("rotated.log")).unwrap();
        assert!(refused(writes(&log)));
        assert!(refused(fs::remove_file(&log)));
    });
}

#[test]
fn connections_are_made_to_named_ports_only() {
    let (named, other) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let connect = |listener: &TcpListener| TcpStream::connect(listener.local_addr().unwrap());
    let port = named.local_addr().unwrap().port();
    let permissions = |ports: Option<Vec<u16>>| Permissions {
        connect: ports,
        ..Permissions::default()
    };
    within(&permissions(Some(vec![port])), || {
        connect(&named).unwrap();
        assert!(refused(connect(&other)));
        let socket = |domain, protocol| {
            // SAFETY: it takes three numbers.
            let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM, protocol) };
            (fd, Errno::from_io_error(&std::io::Error::last_os_error()))
        };
        for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_SCTP] {
            assert_eq!(socket(libc::AF_INET, protocol), (-1, Some(Errno::PERM)));
        }
        assert_eq!(socket(43, 0), (-1, Some(Errno::PERM)));
        let (fast_open, _) = socket(libc::AF_INET, 0);
        // SAFETY: the data and the address are of the length that is given.
        let sent = unsafe {
            let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
            libc::sendto(
                fast_open,
                [0_u8; 1].as_ptr().cast(),
                1,
                flags,
                std::ptr::null(),
                0,
            )
        };
        let error = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((sent, error), (-1, Some(libc::EPERM)));
    });
    within(&permissions(None), || {
        connect(&named).unwrap();
        connect(&other).unwrap();
    });
}

#[test]
fn no_process_outside_gets_a_signal() {
    within(&Permissions::default(), || {
        let parent = rustix::process::getppid().unwrap();
        assert_eq!(rustix::process::test_kill_process(parent), Err(Errno::PERM));
        let myself = rustix::process::getpid();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Cpu);
        let set = |pid| rustix::process::prlimit(pid, rustix::process::Resource::Cpu, limit);
        assert_eq!(set(Some(parent)).err(), Some(Errno::PERM));
        assert_eq!(set(Some(myself)).err(), Some(Errno::PERM));
        set(None).unwrap();
    });
}

#[test]
fn calls_are_refused_and_programs_and_threads_start() {
    within(&Permissions::default(), || {
        for call in [
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_unshare,
            libc::SYS_keyctl,
            libc::SYS_mount,
            #[cfg(target_arch = "x86_64")]
            (0x4000_0000 + 521),
        ] {
            // SAFETY: with these arguments none of them does anything, or names memory.
            let result = unsafe { libc::syscall(call, 0, 0, 0, 0, 0) };
            let error = std::io::Error::last_os_error();
            assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EPERM)));
        }
        // SAFETY: it is refused; a child would end at once.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER, 0, 0, 0, 0) };
        if child == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(1) };
        }
        assert_eq!(child, -1);
        let output = std::process::Command::new("true").output().unwrap();
        assert!(output.status.success());
        thread::spawn(|| ()).join().unwrap();
    });
}

#[test]
fn what_an_older_kernel_lacks_is_returned() {
    let limited = Permissions {
        connect: Some(Vec::new()),
        ..Permissions::default()
    };
    let with = |abi, permissions: &Permissions| {
        thread::scope(|scope| {
            let run = || enter_at_most(permissions, Extent::Thread, abi).lacks;
            scope.spawn(run).join().unwrap()
        })
    };
    let (truncation, devices) = (Lack::Truncation, Lack::Devices);
    let (connections, signals) = (Lack::Connections, Lack::Signals);
    let all = with(files::WANTED, &limited);
    if !all.is_empty() {
        return;
    }
    for (abi, expected) in [
        (ABI::V1, vec![truncation, devices, connections, signals]),
        (ABI::V2, vec![truncation, devices, connections, signals]),
        (ABI::V3, vec![devices, connections, signals]),
        (ABI::V4, vec![devices, signals]),
        (ABI::V5, vec![signals]),
        (ABI::V6, vec![]),
    ] {
        assert_eq!(with(abi, &limited), expected, "{abi:?}");
    }
    assert_eq!(with(ABI::V3, &Permissions::default()), [devices, signals]);
}

/// As in a container whose own filter refuses these calls.
fn where_calls_fail(calls: &[i64], errno: i32) -> Vec<Lack> {
    thread::scope(|scope| {
        let run = || {
            let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
            apply_filter(&program(rules, errno).unwrap()).unwrap();
            let limited = Permissions {
                connect: Some(Vec::new()),
                ..Permissions::default()
            };
            enter(&limited, Extent::Thread).lacks
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn a_container_that_refuses_the_calls_is_a_kernel_without_them() {
    let landlock = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ];
    let nothing = [Lack::Files, Lack::Connections, Lack::Signals];
    for errno in [libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP] {
        assert_eq!(where_calls_fail(&landlock, errno), nothing);
        assert_eq!(where_calls_fail(&landlock[2..], errno), nothing);
        assert!(where_calls_fail(&[libc::SYS_seccomp], errno).contains(&Lack::Calls));
    }
}

#[test]
fn a_lack_is_one_line() {
    for lack in [Lack::Files, Lack::Calls, Lack::Signals] {
        assert!(!lack.to_string().contains('\n'));
    }
}
