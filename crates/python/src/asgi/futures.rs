//! Futures of the loop that wait for the same thing, the oldest first.
//!
//! Always holds: they are taken out of their owner before they get a result,
//! because that runs Python, which may add others.

use pyo3::intern;
use pyo3::prelude::*;

#[derive(Default)]
pub(crate) struct Futures(Vec<Py<PyAny>>);

impl Futures {
    /// Adds one, and removes those that were cancelled.
    pub(crate) fn and(self, future: &Bound<'_, PyAny>) -> Self {
        let mut futures = self.waiting(future.py());
        futures.0.push(future.clone().unbind());
        futures
    }

    /// Those that were not cancelled.
    pub(crate) fn waiting(mut self, py: Python<'_>) -> Self {
        self.0
            .retain(|future| is_waiting(future.bind(py)).unwrap_or(false));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.0.iter()
    }

    /// Wakes all: sets their result.
    pub(crate) fn wake(self, py: Python<'_>) -> PyResult<()> {
        for future in self.0 {
            let future = future.bind(py);
            if is_waiting(future)? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }

    /// Sets an exception made by `error` in each.
    pub(crate) fn fail(self, py: Python<'_>, error: impl Fn() -> PyErr) -> PyResult<()> {
        for future in self.0 {
            let future = future.bind(py);
            if is_waiting(future)? {
                let error = error().into_value(py);
                future.call_method1(intern!(py, "set_exception"), (error,))?;
            }
        }
        Ok(())
    }
}

fn is_waiting(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    let done = future.call_method0(intern!(future.py(), "done"))?;
    Ok(!done.is_truthy()?)
}
