//! What is left to a process, and what could not be taken.

use std::fmt;
use std::path::PathBuf;

/// What a process may still do. It may read each file that its user may read.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// Files and directories to which it may do what its user may. One that does not
    /// exist gives it nothing.
    pub write: Vec<PathBuf>,
    /// Directories in which it may make files and write to them, as a log needs it.
    pub append: Vec<PathBuf>,
    /// Ports to which it may connect over TCP. `None`: to all.
    pub connect: Option<Vec<u16>>,
}

/// Whom `enter` restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every thread of the process.
    Process,
    /// The calling thread, which ends soon: to learn what the kernel lacks.
    Thread,
}

/// What is not taken from the process, because the kernel cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    NewPrivileges,
    Files,
    Truncation,
    Devices,
    Connections,
    Signals,
    Calls,
}

/// What `enter` has not restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// What the kernel cannot take from the process.
    pub lacks: Vec<Lack>,
    /// How many threads were started before, and may do what Landlock refuses to the others.
    /// Linux before 7.0 restricts one thread only, and what that starts.
    pub threads: usize,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::NewPrivileges => write!(f, "set-user-ID programs (no_new_privs)"),
            Lack::Files => write!(f, "writes to files (Landlock, Linux 5.13)"),
            Lack::Truncation => write!(f, "truncation of files (Landlock, Linux 6.2)"),
            Lack::Devices => write!(f, "ioctl of devices (Landlock, Linux 6.10)"),
            Lack::Connections => write!(f, "connections (Landlock, Linux 6.7)"),
            Lack::Signals => write!(
                f,
                "signals and abstract sockets of other processes (Landlock, Linux 6.12)"
            ),
            Lack::Calls => write!(f, "system calls (seccomp)"),
        }
    }
}
