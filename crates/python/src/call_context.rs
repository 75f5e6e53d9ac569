//! The context of one call (PEP 567): what the call sets in context variables is seen by what
//! belongs to it, and by no other call. A call is that of a WSGI application with the parts of its
//! body and `close()`, that of a handler, or the delivery of an event.
//!
//! Always holds: a context is entered by one call at a time. One that a call has left as it was is
//! used again, because to make one costs more than all else here.

use pyo3::ffi;
use pyo3::prelude::*;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A context without variables, that no call uses, and a reference to it; or null.
static SPARE: AtomicPtr<ffi::PyObject> = AtomicPtr::new(null_mut());

/// A new process, or a new run, has a context of its own: what was kept is not a copy of it.
pub(crate) fn forget_spare(py: Python<'_>) {
    drop(take_spare(py));
}

#[inline]
fn take_spare(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let spare = SPARE.swap(null_mut(), Ordering::Relaxed);
    // SAFETY: its reference was given away by `end`, and is taken once.
    unsafe { Bound::from_owned_ptr_or_opt(py, spare) }
}

/// A context while it is the current one of its thread. Dropping it leaves it.
pub(crate) struct CallContext<'py>(Option<Bound<'py, PyAny>>);

impl<'py> CallContext<'py> {
    /// Raises MemoryError.
    #[inline]
    pub(crate) fn enter(py: Python<'py>) -> PyResult<Self> {
        let context = match take_spare(py) {
            Some(spare) => spare,
            None => Self::copy(py)?,
        };
        Self::enter_in(context)
    }

    /// Goes on in a context that was copied.
    #[inline]
    pub(crate) fn enter_in(context: Bound<'py, PyAny>) -> PyResult<Self> {
        // SAFETY: this is a context.
        match unsafe { ffi::PyContext_Enter(context.as_ptr()) } {
            0 => Ok(CallContext(Some(context))),
            _ => Err(PyErr::fetch(context.py())),
        }
    }

    /// A copy of the current context, for a call that goes on in it later. Raises MemoryError.
    pub(crate) fn copy(py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: it returns a new reference, or null with an exception.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
    }

    /// Leaves the context of a call that is over, and keeps it for the next one if nothing was set
    /// in it.
    #[inline]
    pub(crate) fn end(self) {
        let Some(context) = self.leave() else {
            return;
        };
        let py = context.py();
        if is_untouched(&context, 1) {
            let former = SPARE.swap(context.into_ptr(), Ordering::Relaxed);
            // SAFETY: as in `take_spare`.
            drop(unsafe { Bound::from_owned_ptr_or_opt(py, former) });
        }
    }

    /// Begins the next call after one that is over: in the same context if nothing was set in it.
    /// Raises MemoryError.
    #[inline]
    pub(crate) fn renew(self) -> PyResult<Self> {
        match &self.0 {
            // The thread has a reference to the context that it is in.
            Some(context) if !is_untouched(context, 2) => {
                let py = context.py();
                drop(self);
                Self::enter(py)
            }
            _ => Ok(self),
        }
    }

    /// Leaves the context of a call that goes on in it later.
    #[inline]
    pub(crate) fn leave(mut self) -> Option<Bound<'py, PyAny>> {
        let context = self.0.take()?;
        exit(&context);
        Some(context)
    }
}

/// Whether a context has no variables, and no other references than so many: a token of a variable
/// refers to its context.
#[inline]
fn is_untouched(context: &Bound<'_, PyAny>, references: ffi::Py_ssize_t) -> bool {
    let context = context.as_ptr();
    // SAFETY: both only read an object that lives; a context has a length.
    unsafe { ffi::Py_REFCNT(context) == references && ffi::PyMapping_Size(context) == 0 }
}

impl Drop for CallContext<'_> {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            exit(context);
        }
    }
}

#[inline]
fn exit(context: &Bound<'_, PyAny>) {
    // SAFETY: this is a context.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        // The application has left it in the middle of the call, by means of its own.
        PyErr::fetch(context.py()).write_unraisable(context.py(), None);
    }
}
