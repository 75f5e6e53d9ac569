//! `enter_sandbox`: what a worker gives up before the application runs in it.

use crate::process::start_without_signals;
use prefork_sandbox::{Extent, Lack, Permissions, enter};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::thread::Builder;

/// Worker: takes from this process, for good, what `--sandbox` is about. `write`
/// are files and directories that it may change, `append` directories of logs,
/// `connect` ports to which it may connect; None: all. Returns what the kernel
/// cannot take, as texts, and the number of threads that were started before and
/// keep what Landlock takes.
#[pyfunction]
#[pyo3(signature = (*, write, append, connect))]
pub fn enter_sandbox(
    write: Vec<PathBuf>,
    append: Vec<PathBuf>,
    connect: Option<Vec<u16>>,
) -> (Vec<String>, usize) {
    let permissions = Permissions {
        write,
        append,
        connect,
    };
    let rest = enter(&permissions, Extent::Process);
    (texts(&rest.lacks), rest.threads)
}

/// Manager: what the kernel could not take, found out by a thread of its own, which
/// enters the sandbox and ends. This process is not restricted.
///
/// Raises OSError if there is no thread.
#[pyfunction]
#[pyo3(signature = (*, write, append, connect))]
pub fn try_sandbox(
    py: Python<'_>,
    write: Vec<PathBuf>,
    append: Vec<PathBuf>,
    connect: Option<Vec<u16>>,
) -> PyResult<Vec<String>> {
    let permissions = Permissions {
        write,
        append,
        connect,
    };
    let enter = move || enter(&permissions, Extent::Thread);
    let thread = start_without_signals(|| Builder::new().name("sandbox".into()).spawn(enter))?;
    let rest = py.detach(|| thread.join());
    let rest = rest.map_err(|_| PyOSError::new_err("the trial of the sandbox failed"))?;
    Ok(texts(&rest.lacks))
}

fn texts(lacks: &[Lack]) -> Vec<String> {
    lacks.iter().map(Lack::to_string).collect()
}
