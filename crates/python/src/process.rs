//! What a process asks of the kernel that Python has no call for.

use pyo3::prelude::*;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Has this process killed when its parent dies (prctl(2), PR_SET_PDEATHSIG).
/// `parent` is who that should be; False: it is gone already.
///
/// Raises OSError.
#[pyfunction]
pub fn die_with_parent(parent: i32) -> PyResult<bool> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // It may have died before the call: then somebody else adopted us.
    Ok(Pid::as_raw(getppid()) == parent)
}
