//! A request's body, collected before the application sees it.
//!
//! Owns: the bytes received so far, in memory up to a limit, and beyond it in
//! an unnamed temporary file: an upload costs disk, not memory, and no file is
//! left, however the process ends.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// A whole body.
pub enum Body {
    Memory(Vec<u8>),
    /// Rewound to its start.
    File {
        file: File,
        len: u64,
    },
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::File { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A body while it is received: what is in its file, and what follows that in
/// memory.
#[derive(Default)]
pub(crate) struct Growing {
    file: Option<File>,
    /// The length of the file.
    stored: u64,
    rest: Vec<u8>,
}

impl Growing {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.rest.extend_from_slice(data);
    }

    /// What is to be written to the file before more is received, or before the
    /// body is complete (`last`): that is everything, once it exceeds the memory
    /// that a body may take. `None`: nothing.
    pub(crate) fn store(&mut self, spool: &Spool, last: bool) -> Option<Store> {
        let fits = self.file.is_none() && self.rest.len() <= spool.above_bytes;
        (!fits && (last || !self.rest.is_empty())).then(|| Store {
            file: self.file.take(),
            spool: spool.clone(),
            bytes: std::mem::take(&mut self.rest),
            last,
            error: None,
        })
    }

    /// The bytes of `store` are written.
    ///
    /// # Errors
    /// Why they are not.
    pub(crate) fn stored(&mut self, store: Store) -> io::Result<()> {
        if let Some(error) = store.error {
            return Err(error);
        }
        self.file = store.file;
        self.stored += store.bytes.len() as u64;
        self.rest = store.bytes; // its memory is used again
        self.rest.clear();
        Ok(())
    }

    /// Frees the memory. The body is not used any more.
    pub(crate) fn free_memory(&mut self) {
        self.rest = Vec::new();
    }

    /// Takes the file. The body is not used any more.
    pub(crate) fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }

    /// The whole body.
    pub(crate) fn finish(&mut self) -> Body {
        let len = std::mem::take(&mut self.stored);
        match self.file.take() {
            Some(file) => Body::File { file, len },
            None => Body::Memory(std::mem::take(&mut self.rest)),
        }
    }
}

/// Bytes of a body that go to its file, which is made for the first ones.
pub(crate) struct Store {
    file: Option<File>,
    spool: Spool,
    bytes: Vec<u8>,
    /// The body ends with them: the file is rewound.
    pub(crate) last: bool,
    error: Option<io::Error>,
}

impl Store {
    pub(crate) fn run(&mut self) {
        self.error = self.write().err();
    }

    fn write(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.spool.open()?,
        };
        file.write_all(&self.bytes)?;
        if self.last {
            file.seek(SeekFrom::Start(0))?;
        }
        self.file = Some(file);
        Ok(())
    }
}

/// Where large bodies are stored.
#[derive(Clone, Debug)]
pub struct Spool {
    pub above_bytes: usize,
    /// `None`: the system's directory for temporary files.
    pub directory: Option<PathBuf>,
}

impl Spool {
    fn open(&self) -> io::Result<File> {
        match &self.directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn store(body: &mut Growing, spool: &Spool, last: bool) -> io::Result<()> {
        let mut store = body.store(spool, last).unwrap();
        store.run();
        body.stored(store)
    }

    #[test]
    fn a_body_moves_to_a_file_when_it_outgrows_memory() {
        let spool = Spool {
            above_bytes: 10,
            directory: None,
        };
        let mut body = Growing::default();
        body.push(b"12345");
        assert!(body.store(&spool, false).is_none());
        body.push(b"67890");
        assert!(body.store(&spool, true).is_none(), "it fits");
        body.push(b"abc");
        store(&mut body, &spool, false).unwrap();
        assert!(body.store(&spool, false).is_none(), "nothing new");
        body.push(b"def");
        store(&mut body, &spool, true).unwrap();
        let Body::File { mut file, len } = body.finish() else {
            panic!("still in memory");
        };
        assert_eq!(len, 16);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "1234567890abcdef");
    }

    #[test]
    fn a_small_body_stays_in_memory() {
        let spool = Spool {
            above_bytes: 10,
            directory: None,
        };
        let mut body = Growing::default();
        body.push(b"12345");
        assert!(body.store(&spool, true).is_none());
        let Body::Memory(bytes) = body.finish() else {
            panic!("in a file");
        };
        assert_eq!(bytes, b"12345");
    }

    #[test]
    fn a_missing_directory_is_an_error_not_a_panic() {
        let spool = Spool {
            above_bytes: 0,
            directory: Some("/nowhere/at/all".into()),
        };
        let mut body = Growing::default();
        body.push(b"x");
        assert!(store(&mut body, &spool, false).is_err());
    }
}
