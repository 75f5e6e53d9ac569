//! A process that runs in the memory of this one (vfork(2)), as far as a processor is known
//! here. On others it has a copy (fork(2)). It does not know what the process does.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::run_in_other;

/// Runs `task(argument)` in another process, which it ends, or returns from in a fork of that. Returns in this
/// process when the other has ended: its pid, or a negative errno. In a fork it returns what `task` returns.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run_in_other<T>(
    task: extern "C" fn(*mut T) -> libc::c_int,
    argument: *mut T,
) -> libc::c_int {
    // SAFETY: the thread that forks is the only one of the other process, which forks again or ends.
    match unsafe { libc::fork() } {
        0 => task(argument),
        -1 => -std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EAGAIN),
        pid => pid,
    }
}
