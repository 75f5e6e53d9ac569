//! Where the lines go: a file, a pipe, a socket or a terminal.
//!
//! Always holds: a write waits for no reader. A file is opened for appending and gets whole lines in one
//! write, which no other can come between; a pipe and a socket get at most `PIPE_BUF` of them at once,
//! which is the same promise (pipe(7)).

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open, stat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{self, SendFlags};
use rustix::time::Timespec;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How much a pipe takes whole, or not at all.
pub(super) const PIPE_BUF: usize = 4096;
/// How often it is looked whether the path still names the file. A rotation needs no signal then.
pub(super) const LOOK_MS: u64 = 100;

/// The first descriptor that no standard stream has.
const FIRST: i32 = 3;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, which is made if it is not there, or a named pipe.
    Path(PathBuf),
    /// A descriptor that the process has, such as that of standard output.
    Descriptor(i32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Socket,
    /// A pipe, a terminal, or another device.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

pub(super) struct Destination {
    fd: OwnedFd,
    kind: Kind,
    identity: Identity,
    /// A write might wait.
    waits: bool,
}

impl Destination {
    /// # Errors
    /// Those of open(2).
    pub(super) fn open(place: &Place) -> Result<Self, Errno> {
        match place {
            Place::Path(path) => Self::of(open_path(path)?, false),
            Place::Descriptor(number) => {
                if *number < 0 {
                    return Err(Errno::BADF);
                }
                // SAFETY: it is only duplicated, which fails if it is not open.
                let given = unsafe { BorrowedFd::borrow_raw(*number) };
                Self::of_descriptor(given, *number)
            }
        }
    }

    /// `O_NONBLOCK` is not set on the descriptor itself: it is a property of the open file, which other
    /// programs share, such as the shell that started the server.
    fn of_descriptor(given: BorrowedFd<'_>, number: i32) -> Result<Self, Errno> {
        let kind = FileType::from_raw_mode(fstat(given)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Socket) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(own) = open(format!("/proc/self/fd/{number}"), flags, Mode::empty()) {
                return Self::of(own, false);
            }
            return Self::of(fcntl_dupfd_cloexec(given, FIRST)?, true); // another user's, or no /proc
        }
        Self::of(fcntl_dupfd_cloexec(given, FIRST)?, false)
    }

    fn of(fd: OwnedFd, waits: bool) -> Result<Self, Errno> {
        let status = fstat(&fd)?;
        Ok(Destination {
            fd,
            kind: match FileType::from_raw_mode(status.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Socket => Kind::Socket,
                _ => Kind::Other,
            },
            identity: Identity(status.st_dev, status.st_ino),
            waits,
        })
    }

    /// Its descriptor, if it is no file.
    pub(super) fn into_pipe(self) -> Option<OwnedFd> {
        (self.kind != Kind::File).then_some(self.fd)
    }

    #[cfg(test)]
    pub(super) fn number(&self) -> i32 {
        use std::os::fd::AsRawFd;
        self.fd.as_raw_fd()
    }

    /// Whether its descriptor is still that of the file.
    pub(super) fn is_its(&self) -> bool {
        let status = fstat(&self.fd);
        status.is_ok_and(|status| Identity(status.st_dev, status.st_ino) == self.identity)
    }

    /// Whether the place names the file. If it cannot be seen, it does.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        let Place::Path(path) = place else {
            return true;
        };
        match stat(path) {
            Ok(status) => Identity(status.st_dev, status.st_ino) == self.identity,
            Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// Whether the file can be found under any name.
    pub(super) fn has_name(&self) -> bool {
        fstat(&self.fd).is_ok_and(|status| status.st_nlink > 0)
    }

    pub(super) fn takes_long_lines(&self) -> bool {
        self.kind == Kind::File
    }

    /// Writes some of these lines. Returns how many bytes.
    ///
    /// # Errors
    /// `AGAIN` if the reader is slow; those of write(2).
    pub(super) fn write(&self, lines: &[u8]) -> Result<usize, Errno> {
        let written = match self.kind {
            Kind::File => rustix::io::write(&self.fd, lines),
            Kind::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                net::send(&self.fd, first_lines(lines), flags)
            }
            Kind::Other if self.waits && !self.is_ready() => Err(Errno::AGAIN),
            Kind::Other => rustix::io::write(&self.fd, first_lines(lines)),
        };
        match written {
            Ok(0) => Err(Errno::IO),
            written => written,
        }
    }

    fn is_ready(&self) -> bool {
        let mut ready = [PollFd::new(&self.fd, PollFlags::OUT)];
        poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// As many whole lines as a pipe takes at once.
fn first_lines(lines: &[u8]) -> &[u8] {
    let most = lines.get(..PIPE_BUF).unwrap_or(lines);
    let end = most.iter().rposition(|&byte| byte == b'\n');
    match end {
        Some(end) => most.get(..=end).unwrap_or(most),
        None => most, // the rest of a line that a terminal took in part
    }
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    let common = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if stat(path).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Fifo) {
        // To open a named pipe for writing fails without a reader; for both it does not (fifo(7)).
        return open(path, OFlags::RDWR | common, Mode::empty());
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | common;
    open(path, flags, Mode::from_raw_mode(0o644))
}
