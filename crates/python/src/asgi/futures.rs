//! Those who await the same thing: futures of the loop, the first first.

use pyo3::intern;
use pyo3::prelude::*;

/// Whoever settles them takes them out of where they are first: that runs
/// Python, which may come back for more.
#[derive(Default)]
pub(crate) struct Futures(Vec<Py<PyAny>>);

impl Futures {
    /// Without those who were cancelled, and with one more. (Who asks again
    /// and again with a timeout leaves a cancelled one each time.)
    pub(crate) fn and(mut self, future: &Bound<'_, PyAny>) -> Self {
        let py = future.py();
        self.0
            .retain(|future| is_waiting(future.bind(py)).unwrap_or(false));
        self.0.push(future.clone().unbind());
        self
    }

    /// The first who still waits.
    pub(crate) fn next(&mut self) -> Option<Py<PyAny>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.0.iter()
    }

    /// They get what `value` makes, each one of its own.
    pub(crate) fn settle<'py>(
        self,
        py: Python<'py>,
        value: impl Fn() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        for future in self.0 {
            settle(future.bind(py), &value)?;
        }
        Ok(())
    }

    /// They get what `error` makes, each one of its own.
    pub(crate) fn fail(self, py: Python<'_>, error: impl Fn() -> PyErr) -> PyResult<()> {
        for future in self.0 {
            if is_waiting(future.bind(py))? {
                let error = error().into_value(py);
                future.call_method1(py, intern!(py, "set_exception"), (error,))?;
            }
        }
        Ok(())
    }
}

/// Gives a future what `value` makes. False: nobody waits for it any more.
pub(crate) fn settle<'py>(
    future: &Bound<'py, PyAny>,
    value: impl Fn() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<bool> {
    let waits = is_waiting(future)?;
    if waits {
        future.call_method1(intern!(future.py(), "set_result"), (value()?,))?;
    }
    Ok(waits)
}

fn is_waiting(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    let done = future.call_method0(intern!(future.py(), "done"))?;
    Ok(!done.is_truthy()?)
}
