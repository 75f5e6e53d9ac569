//! What goes with a connection and does not fit into a message of the queue: several strings of
//! bytes, in a file without a name whose descriptor is sent along.
//!
//! Owns: the format of the file. Always holds: a received file is not trusted: it is read only if it
//! cannot change any more, and only so much of it. Knows nothing of what the bytes mean.

use crate::scoreboard::create_file;
use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::OwnedFd;

/// More than the input of a connection that may move, and the certificates of a client.
const MOST_BYTES: usize = 256 * 1024;

const FIXED: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW);

/// # Errors
/// If there is no descriptor or no memory for the file, or too much for it.
pub(crate) fn write<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Result<OwnedFd, Errno> {
    let mut content = Vec::new();
    for part in parts {
        let length = u32::try_from(part.len()).map_err(|_| Errno::FBIG)?;
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(part);
    }
    if content.len() > MOST_BYTES {
        return Err(Errno::FBIG);
    }
    let file = create_file("prefork-attachment")?;
    if pwrite(&file, &content, 0)? < content.len() {
        return Err(Errno::NOMEM);
    }
    fcntl_add_seals(&file, FIXED)?;
    Ok(file)
}

/// `None`: no worker sends such a file.
pub(crate) fn read(file: &OwnedFd) -> Option<Vec<Vec<u8>>> {
    // Only a file in memory has seals: to read it does not block.
    if !fcntl_get_seals(file).ok()?.contains(FIXED) {
        return None;
    }
    let size = usize::try_from(fstat(file).ok()?.st_size).ok()?;
    if size > MOST_BYTES {
        return None;
    }
    let mut content = vec![0; size];
    if pread(file, content.as_mut_slice(), 0) != Ok(size) {
        return None;
    }
    let mut parts = Vec::new();
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, behind) = behind.split_at_checked(length)?;
        parts.push(part.to_vec());
        rest = behind;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn sealed(content: &[u8]) -> OwnedFd {
        let file = create_file("test").unwrap();
        pwrite(&file, content, 0).unwrap();
        fcntl_add_seals(&file, FIXED).unwrap();
        file
    }

    #[test]
    fn it_comes_out_as_it_went_in() {
        for parts in [
            vec![],
            vec![vec![]],
            vec![vec![1; 16_640], vec![], vec![2; 100_000]],
        ] {
            let file = write(parts.iter().map(Vec::as_slice)).unwrap();
            assert_eq!(pwrite(&file, b"x", 0), Err(Errno::PERM));
            assert_eq!(read(&file), Some(parts));
        }
    }

    #[test]
    fn too_much_is_not_sent() {
        let parts = [vec![0; MOST_BYTES]];
        let written = write(parts.iter().map(Vec::as_slice));
        assert_eq!(written.unwrap_err(), Errno::FBIG);
    }

    #[test]
    fn what_no_worker_sends_is_refused() {
        let open = create_file("test").unwrap();
        pwrite(&open, &[0; 8], 0).unwrap();
        assert_eq!(read(&open), None, "it can change");
        let (socket, _other) = UnixStream::pair().unwrap();
        assert_eq!(read(&socket.into()), None, "it is no file");
        for content in [&[0; 3][..], &[1, 0, 0, 0], &[0xff; 8], &[0; 9]] {
            assert_eq!(read(&sealed(content)), None, "{content:?}");
        }
        assert_eq!(read(&sealed(&[0; MOST_BYTES + 4])), None);
        assert!(read(&sealed(&[0; 8])).is_some());
    }
}
