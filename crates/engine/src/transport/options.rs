//! Options of a socket that no library has.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};

/// Sets an option whose value is a `c_int`, where the socket has it.
pub(super) fn set_option(socket: &OwnedFd, level: c_int, name: c_int, value: c_int) {
    // SAFETY: the kernel reads the c_int.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        );
    }
}
