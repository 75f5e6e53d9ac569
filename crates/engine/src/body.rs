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

    pub(crate) fn push(&mut self, data: &[u8], spool: &Spool) -> io::Result<()> {
        match self {
            Body::Memory(bytes) if bytes.len() + data.len() <= spool.above_bytes => {
                bytes.extend_from_slice(data);
            }
            Body::Memory(bytes) => {
                let mut file = spool.open()?;
                file.write_all(bytes)?;
                file.write_all(data)?;
                let len = (bytes.len() + data.len()) as u64;
                *self = Body::File { file, len };
            }
            Body::File { file, len } => {
                file.write_all(data)?;
                *len += data.len() as u64;
            }
        }
        Ok(())
    }

    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        match self {
            Body::Memory(_) => Ok(()),
            Body::File { file, .. } => file.seek(SeekFrom::Start(0)).map(drop),
        }
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

    #[test]
    fn a_body_moves_to_a_file_when_it_outgrows_memory() {
        let spool = Spool {
            above_bytes: 10,
            directory: None,
        };
        let mut body = Body::Memory(Vec::new());
        body.push(b"12345", &spool).unwrap();
        body.push(b"67890", &spool).unwrap();
        assert!(matches!(body, Body::Memory(_)));
        body.push(b"abc", &spool).unwrap();
        body.push(b"def", &spool).unwrap();
        body.rewind().unwrap();
        assert_eq!(body.len(), 16);
        let Body::File { mut file, .. } = body else {
            panic!("still in memory");
        };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "1234567890abcdef");
    }

    #[test]
    fn a_missing_directory_is_an_error_not_a_panic() {
        let spool = Spool {
            above_bytes: 0,
            directory: Some("/nowhere/at/all".into()),
        };
        assert!(Body::Memory(Vec::new()).push(b"x", &spool).is_err());
    }
}
