//! The arguments of an event, kept and as CPython gives them.

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The arguments of an event. One is the most common number.
pub(super) enum Args {
    One(Py<PyAny>),
    Many(Py<PyTuple>),
}

impl Args {
    pub(super) fn new(args: Arguments<'_, '_>) -> PyResult<Self> {
        Ok(match args.only() {
            Some(one) => Args::One(one.to_owned().unbind()),
            None => Args::Many(args.tuple()?.unbind()),
        })
    }

    pub(super) fn tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match self {
            Args::One(one) => PyTuple::new(py, [one]),
            Args::Many(many) => Ok(many.bind(py).clone()),
        }
    }
}

/// Arguments of a call, as CPython has them.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a, 'py> {
    pub(super) py: Python<'py>,
    /// Of objects that live as long as the call.
    pub(super) pointers: &'a [*mut ffi::PyObject],
}

impl<'a, 'py> Arguments<'a, 'py> {
    pub(super) fn all(self) -> impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>> {
        let Arguments { py, pointers } = self;
        // SAFETY: `pointers` are of objects that live.
        let borrow = move |&pointer| unsafe { Borrowed::from_ptr(py, pointer) };
        pointers.iter().map(borrow)
    }

    /// The first one, and the others.
    pub(super) fn split(self) -> Option<(Borrowed<'a, 'py, PyAny>, Self)> {
        let first = self.all().next()?;
        let pointers = self.pointers.get(1..)?;
        Some((first, Arguments { pointers, ..self }))
    }

    /// The argument, if it is one.
    pub(super) fn only(self) -> Option<Borrowed<'a, 'py, PyAny>> {
        self.all().next().filter(|_| self.pointers.len() == 1)
    }

    pub(super) fn tuple(self) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(self.py, self.all())
    }
}
