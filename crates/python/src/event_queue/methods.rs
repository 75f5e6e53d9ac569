//! `post` and `call` as methods of CPython's own calling convention: PyO3 would make a
//! tuple of the arguments at each call.

use super::EventQueue;
use super::arguments::Arguments;
use pyo3::Borrowed;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl EventQueue {
    /// Adds `post` and `call` to the class.
    pub(crate) fn add_methods(py: Python<'_>) -> PyResult<()> {
        let class = py.get_type::<EventQueue>();
        for (name, function, doc) in [
            (c"post", post as ffi::PyCFunctionFast, POST),
            (c"call", call as ffi::PyCFunctionFast, CALL),
        ] {
            // A method lives as long as its class: for ever.
            let method = Box::leak(Box::new(ffi::PyMethodDef {
                ml_name: name.as_ptr(),
                ml_meth: ffi::PyMethodDefPointer {
                    PyCFunctionFast: function,
                },
                ml_flags: ffi::METH_FASTCALL,
                ml_doc: doc.as_ptr(),
            }));
            // SAFETY: the class is a type, and the definition is never freed. What is
            // returned is a new reference, or null with an exception.
            let descriptor = unsafe {
                let new = ffi::PyDescr_NewMethod(class.as_type_ptr(), method);
                Bound::from_owned_ptr_or_err(py, new)?
            };
            class.setattr(name.to_string_lossy().as_ref(), descriptor)?;
        }
        Ok(())
    }
}

const POST: &CStr = c"post($self, target, event, /, *args)\n--\n\n\
Queues an event, in order of posting. Returns False if there is no such session or event.";
const CALL: &CStr = c"call($self, target, event, /, *args)\n--\n\n\
Runs an event now and returns its value; that of an asynchronous event is its task.\n\n\
Raises UnknownSession, UnknownEvent and what the event raises; the caller handles it, so nothing is logged.";

/// What a method does with its arguments: queue, target, event, and the rest.
type Body = fn(
    &Bound<'_, EventQueue>,
    &Bound<'_, PyAny>,
    &Bound<'_, PyAny>,
    Arguments<'_, '_>,
) -> PyResult<Py<PyAny>>;

unsafe extern "C" fn post(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls it as a method of the class.
    unsafe { method(slf, args, count, EventQueue::post) }
}

unsafe extern "C" fn call(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls it as a method of the class.
    unsafe { method(slf, args, count, EventQueue::call) }
}

/// Runs a method whose arguments come in an array.
///
/// # Safety
/// The caller is CPython: it holds the GIL, `slf` is an `EventQueue`, and `args`
/// has `count` objects, which live during the call.
#[inline(always)]
unsafe fn method(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    body: Body,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let called = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: as above. A descriptor of the class checks the type of `slf`.
            let slf = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<EventQueue>() };
            let pointers = match usize::try_from(count) {
                // SAFETY: as above.
                Ok(count) if count > 0 => unsafe { std::slice::from_raw_parts(args, count) },
                _ => &[],
            };
            let target = Arguments { py, pointers }.split();
            let event = target.and_then(|(target, rest)| Some((target, rest.split()?)));
            let Some((target, (event, rest))) = event else {
                return Err(PyTypeError::new_err("a target and an event are needed"));
            };
            body(&slf, &target, &event, rest)
        }));
        let result =
            called.unwrap_or_else(|_| Err(PanicException::new_err("the event queue panicked")));
        match result {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}
