//! Memory for the keys of connections.
//!
//! Owns: pages that no core dump has (madvise(2), `MADV_DONTDUMP`), and which places in
//! them are free. Always holds: a free place is zero, whatever was in it: also the keys
//! that a library does not zero itself. The pages are kept: as many as were needed at
//! one time.

use prefork_tls::Records;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroize;

const CHUNK_BYTES: usize = 64 * 1024;
const PLACES: usize = CHUNK_BYTES / size_of::<Records>();

// The words of a place cover it, and a chunk has many places.
const _: () = assert!(size_of::<Records>() % size_of::<u64>() == 0 && PLACES >= 32);

static FREE: Mutex<Free> = Mutex::new(Free(Vec::new()));

/// The places that are free.
struct Free(Vec<NonNull<Records>>);

// SAFETY: a place has one owner, the list or a `Kept`, and no tie to a thread.
unsafe impl Send for Free {}

impl Free {
    fn take(&mut self) -> Option<NonNull<Records>> {
        if self.0.is_empty() {
            self.map_chunk()?;
        }
        self.0.pop()
    }

    #[cold]
    fn map_chunk(&mut self) -> Option<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory at a place of the kernel's choice, which nothing else has.
        let chunk = unsafe {
            let chunk = mmap_anonymous(ptr::null_mut(), CHUNK_BYTES, access, MapFlags::PRIVATE);
            let chunk = chunk.ok()?;
            // An old kernel dumps them.
            let _ = madvise(chunk, CHUNK_BYTES, Advice::LinuxDontDump);
            NonNull::new(chunk.cast::<Records>())?
        };
        // SAFETY: all of these are in the chunk. It is aligned to a page.
        let places = (0..PLACES).map(|number| unsafe { chunk.add(number) });
        self.0.extend(places.rev());
        Some(())
    }
}

/// A record layer in that memory.
pub(crate) struct Kept(NonNull<Records>);

// SAFETY: it owns its record layer, which has no tie to a thread.
unsafe impl Send for Kept where Records: Send {}

impl Kept {
    /// `None`: the system has no memory.
    pub(crate) fn new(records: Records) -> Option<Self> {
        let place = FREE.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // SAFETY: the place is free, aligned and large enough.
        unsafe { place.write(records) };
        Some(Kept(place))
    }
}

impl Deref for Kept {
    type Target = Records;

    #[inline]
    fn deref(&self) -> &Records {
        // SAFETY: `new` has written it, and `drop` alone ends it.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for Kept {
    #[inline]
    fn deref_mut(&mut self) -> &mut Records {
        // SAFETY: as in `deref`; the borrow is unique.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it was written, and nothing uses it any more. Its bytes are a slice of words,
        // which need not be initialized.
        unsafe {
            self.0.drop_in_place();
            let words = size_of::<Records>() / size_of::<u64>();
            let mut bytes = NonNull::slice_from_raw_parts(self.0.cast(), words);
            let bytes: &mut [std::mem::MaybeUninit<u64>] = bytes.as_mut();
            bytes.zeroize();
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.0.push(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prefork_tls::Suite;

    fn records(byte: u8) -> Records {
        Records::new(Suite::Aes128Gcm, (&[byte; 32], 1), (&[!byte; 32], 2)).unwrap()
    }

    #[test]
    fn what_is_kept_is_the_record_layer() {
        let many: Vec<Kept> = (0..=255)
            .map(|byte| Kept::new(records(byte)).unwrap())
            .collect();
        for (byte, kept) in (0..=255).zip(&many) {
            assert_eq!(kept.export(), records(byte).export());
        }
    }

    #[test]
    fn a_place_that_is_free_is_zero() {
        let kept = Kept::new(records(7)).unwrap();
        let place = kept.0;
        drop(kept);
        let free = FREE.lock().unwrap();
        // Otherwise another test has taken it.
        if free.0.contains(&place) {
            // SAFETY: the place is free while the list is locked, and is memory in any case.
            let bytes = unsafe {
                NonNull::slice_from_raw_parts(place.cast::<u8>(), size_of::<Records>()).as_ref()
            };
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn its_pages_are_left_out_of_core_dumps() {
        let kept = Kept::new(records(9)).unwrap();
        let at = kept.0.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let mut flags = None;
        for line in maps.lines() {
            let range = line
                .split_once(' ')
                .and_then(|(range, _)| range.split_once('-'));
            let ends = range.map(|(from, to)| {
                (
                    usize::from_str_radix(from, 16),
                    usize::from_str_radix(to, 16),
                )
            });
            if let Some((Ok(from), Ok(to))) = ends {
                inside = (from..to).contains(&at);
            } else if inside && line.starts_with("VmFlags:") {
                flags = Some(line.to_owned());
            }
        }
        let flags = flags.unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
    }
}
