//! The access log of one process: a line for each response.
//!
//! Owns: the lines that are not written yet, and where they go (`destination.rs`). What a line has is
//! in `entry.rs`, how it looks in `format.rs` and `json.rs`, what is escaped in `escape.rs`. Always
//! holds: a call returns at once. Lines are kept up to a limit, and beyond it lost and counted: no
//! response waits for its line, and none fails for it. What is written ends with a line, so that those
//! of several processes do not mix. Knows no Python, no connection and no epoll set.

mod destination;
mod entry;
mod escape;
mod format;
mod json;
mod moment;
#[cfg(test)]
mod tests;
mod trouble;
mod values;

pub use destination::Place;
pub use entry::{Asked, Entry, Fields, NoFields};
pub use format::{Format, FormatError};
pub use trouble::LogNews;

use destination::{Destination, PIPE_BUF};
use entry::Here;
use moment::Moments;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use trouble::Trouble;

/// What is kept at most, in each process.
const KEPT_BYTES: usize = 1 << 20;
/// What may wait for the end of a turn. More is written at once.
const TURN_BYTES: usize = 16 * 1024;
/// The room for lines that is kept while there are none: it was made for what waited in a turn.
const IDLE_BYTES: usize = 2 * TURN_BYTES;
/// How often a reader that is slow is tried again.
const AGAIN_MS: u64 = 20;
/// Of each text of a client, in a line that would be longer than a pipe takes whole.
const SHORT_BYTES: usize = 256;

/// The options of an access log. Workers share them.
#[derive(Debug)]
pub struct AccessLogSettings {
    pub place: Place,
    pub format: Format,
    /// Paths of requests that have no line. One that ends in `*` is the prefix of several.
    pub skip: Vec<Vec<u8>>,
}

impl AccessLogSettings {
    /// Whether requests of this path have no line.
    #[inline]
    pub fn skips(&self, path: &[u8]) -> bool {
        self.skip.iter().any(|known| match known.as_slice() {
            [prefix @ .., b'*'] => path.starts_with(prefix),
            known => known == path,
        })
    }

    /// Makes the file if it is not there, and sees whether it can be written. Returns the descriptor of a
    /// named pipe: while it is open, the reader of the pipe does not see its end.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn probe(&self) -> Result<Option<OwnedFd>, Errno> {
        match self.place {
            Place::Path(_) => Destination::open(&self.place).map(Destination::into_pipe),
            Place::Descriptor(_) => Ok(None),
        }
    }
}

/// The log, in the process that writes it.
pub(crate) struct AccessLog {
    settings: Arc<AccessLogSettings>,
    destination: Option<Destination>,
    /// When it is looked again whether the path still names the file.
    look_ms: u64,
    /// Whole lines, of which the first bytes may be written.
    lines: Vec<u8>,
    written: usize,
    /// When what a reader did not take is tried again.
    again_ms: Option<u64>,
    /// A part of a line is in the file, and its rest is lost.
    is_torn: bool,
    moments: Moments,
    pid: u32,
    trouble: Trouble,
}

impl AccessLog {
    pub(crate) fn new(settings: &Arc<AccessLogSettings>) -> Self {
        AccessLog {
            settings: Arc::clone(settings),
            destination: None,
            look_ms: 0,
            lines: Vec::new(),
            written: 0,
            again_ms: None,
            is_torn: false,
            moments: Moments::default(),
            pid: std::process::id(),
            trouble: Trouble::default(),
        }
    }

    pub(crate) fn is_of(&self, settings: &Arc<AccessLogSettings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    pub(crate) fn settings(&self) -> &AccessLogSettings {
        &self.settings
    }

    /// Lines that are lost, since the process began.
    pub(crate) fn lost(&self) -> u64 {
        self.trouble.lost_in_all()
    }

    /// Adds the line of a response. `worker` is the slot of this process in its pool.
    pub(crate) fn add(&mut self, entry: &Entry<'_>, worker: Option<u32>) {
        let now_ms = entry.ended_ns / 1_000_000;
        if self.lines.len() >= KEPT_BYTES {
            self.trouble.lose(1, now_ms);
            return;
        }
        if std::mem::take(&mut self.is_torn) {
            self.lines.push(b'\n');
        }
        let begin = self.lines.len();
        self.write(entry, worker, usize::MAX);
        if self.lines.len() - begin > PIPE_BUF {
            self.shorten(entry, worker, begin);
        }
        if self.lines.len() - self.written >= TURN_BYTES && self.again_ms.is_none() {
            self.send(now_ms);
        }
    }

    #[inline]
    fn write(&mut self, entry: &Entry<'_>, worker: Option<u32>, most: usize) {
        let here = Here {
            moment: self.moments.at(entry.ended_ns),
            pid: self.pid,
            worker,
        };
        let format = &self.settings.format;
        format.write(entry, &here, most, &mut self.lines);
    }

    /// Writes the last line anew, with texts so short that a pipe takes it whole.
    #[cold]
    fn shorten(&mut self, entry: &Entry<'_>, worker: Option<u32>, begin: usize) {
        let now_ms = entry.ended_ns / 1_000_000;
        if self.destination.is_none() {
            self.follow(now_ms);
        }
        let destination = self.destination.as_ref();
        if destination.is_some_and(Destination::takes_long_lines) {
            return;
        }
        let mut most = SHORT_BYTES;
        while self.lines.len() - begin > PIPE_BUF {
            self.lines.truncate(begin);
            self.write(entry, worker, most);
            if most == 0 {
                break;
            }
            most /= 2;
        }
        if self.lines.len() - begin > PIPE_BUF {
            self.lines.truncate(begin);
            self.trouble.lose(1, now_ms);
        }
    }

    /// Writes what there is, as far as it is taken. Returns what there is to tell.
    pub(crate) fn flush(&mut self, now_ms: u64) -> Option<LogNews> {
        self.moments.read_again();
        if !self.lines.is_empty() && self.again_ms.is_none_or(|again_ms| again_ms <= now_ms) {
            self.send(now_ms);
        }
        self.trouble.news(now_ms, self.lines.is_empty())
    }

    /// When [`AccessLog::flush`] has something to do again.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        match self.lines.is_empty() {
            false => self.again_ms,
            true => self.trouble.due_ms(),
        }
    }

    /// Whether there are lines to write, or something to tell.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.lines.is_empty() || self.trouble.is_open()
    }

    /// Opens the file again, because it was renamed.
    pub(crate) fn reopen(&mut self, now_ms: u64) -> Option<LogNews> {
        let news = self.flush(now_ms);
        if let Place::Path(_) = self.settings.place {
            self.open(now_ms);
        }
        news.or_else(|| self.trouble.news(now_ms, self.lines.is_empty()))
    }

    /// In a forked child: the lines are its parent's.
    pub(crate) fn forget(&mut self) {
        self.lines = Vec::new();
        self.written = 0;
        self.moments.read_again();
    }

    fn send(&mut self, now_ms: u64) {
        self.follow(now_ms);
        self.again_ms = None;
        let Some(destination) = &self.destination else {
            self.lose(now_ms);
            return;
        };
        let mut end = Ok(());
        while let Some(rest @ [_, ..]) = self.lines.get(self.written..) {
            match destination.write(rest) {
                Ok(written) => self.written += written,
                Err(Errno::INTR) => {}
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        match end {
            Ok(()) => {
                self.trouble.is_written();
                self.clear();
            }
            Err(Errno::AGAIN) => {
                self.again_ms = Some(now_ms + AGAIN_MS);
                self.drop_written();
            }
            Err(error) => {
                if error == Errno::BADF {
                    self.forget_destination();
                }
                self.trouble.fail(error, false);
                self.lose(now_ms);
            }
        }
    }

    /// The lines that are written are of no use any more. One that is written in part stays whole.
    fn drop_written(&mut self) {
        let done = self.lines.get(..self.written).unwrap_or_default();
        let whole = done.iter().rposition(|&byte| byte == b'\n');
        let whole = whole.map_or(0, |at| at + 1);
        self.lines.drain(..whole);
        self.written -= whole;
    }

    fn lose(&mut self, now_ms: u64) {
        self.drop_written();
        // It ends what is in the file of a line that is counted already.
        let ends_torn = self.lines.first() == Some(&b'\n');
        self.is_torn |= self.written > 0 || ends_torn;
        let lines = self.lines.iter().filter(|&&byte| byte == b'\n').count();
        self.trouble
            .lose(lines as u64 - u64::from(ends_torn), now_ms);
        self.clear();
    }

    fn clear(&mut self) {
        self.written = 0;
        self.moments.read_again();
        match self.lines.capacity() > IDLE_BYTES {
            true => self.lines = Vec::new(),
            false => self.lines.clear(),
        }
    }

    // ---- rotation ------------------------------------------------------------------

    /// Opens the file if that is to be done: at first, and when the path names it no more.
    #[inline]
    fn follow(&mut self, now_ms: u64) {
        if now_ms >= self.look_ms {
            self.look(now_ms);
        }
    }

    #[cold]
    fn look(&mut self, now_ms: u64) {
        self.look_ms = now_ms + destination::LOOK_MS;
        match &self.destination {
            None => self.open(now_ms),
            Some(destination) if !destination.is_its() => {
                // The program has closed the number, and it is another file's.
                self.forget_destination();
                self.open(now_ms);
            }
            Some(destination) if destination.is_at(&self.settings.place) => self.trouble.works(),
            Some(_) => self.open(now_ms),
        }
    }

    fn forget_destination(&mut self) {
        std::mem::forget(self.destination.take());
        self.look_ms = 0;
    }

    fn open(&mut self, now_ms: u64) {
        self.look_ms = now_ms + destination::LOOK_MS;
        match Destination::open(&self.settings.place) {
            Ok(destination) => {
                self.destination = Some(destination);
                self.is_torn = false;
                self.trouble.works();
            }
            Err(error) => {
                // A file that was only renamed takes lines still.
                self.destination = self.destination.take().filter(Destination::has_name);
                self.trouble.fail(error, self.destination.is_some());
            }
        }
    }
}
