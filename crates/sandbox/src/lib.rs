//! Takes from a process what serving requests does not need.
//!
//! Layout: `files.rs` has what Landlock refuses (landlock(7)): writes to files,
//! connections, signals. `calls.rs` has the system calls that seccomp(2) refuses.
//! `permissions.rs` has what is left, and what could not be taken.
//! Under `no_new_privs` no program that the process starts has more rights than it.
//!
//! Always holds: what is taken cannot be had back, and what the process forks or
//! executes has no more. What the kernel cannot take is returned: the caller
//! decides whether to go on without.

#![cfg_attr(not(test), forbid(unsafe_code))]

mod calls;
mod files;
mod permissions;
#[cfg(test)]
mod tests;

use landlock::ABI;
pub use permissions::{Extent, Lack, Permissions, Rest};

/// Restricts the process to these permissions. Returns what stays unrestricted.
pub fn enter(permissions: &Permissions, extent: Extent) -> Rest {
    enter_at_most(permissions, extent, files::WANTED)
}

/// As on a kernel that has no more of Landlock than `abi`.
fn enter_at_most(permissions: &Permissions, extent: Extent, abi: ABI) -> Rest {
    let new_privileges = rustix::thread::set_no_new_privs(true).err();
    let mut rest = files::restrict(permissions, extent, abi);
    // Behind Landlock: what remains is checked by it too.
    let calls = calls::restrict(permissions, extent).err();
    let more = [
        new_privileges.map(|_| Lack::NewPrivileges),
        calls.map(|_| Lack::Calls),
    ];
    rest.lacks.extend(more.into_iter().flatten());
    rest
}
