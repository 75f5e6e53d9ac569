//! The awaitable that `receive` and `send` of an ASGI application return. Most
//! often it has its value at once, without a frame or a future.

use pyo3::PyClass;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// The result of [`Source::next`].
pub(crate) enum Next<'py> {
    Value(Bound<'py, PyAny>),
    /// Nothing yet: call again when this future is done.
    Future(Bound<'py, PyAny>),
}

/// A class whose objects give one value after the other. A value stays in the
/// source until its reader runs, so that no value is lost if the reader is
/// cancelled.
pub(crate) trait Source: PyClass {
    fn next<'py>(this: &Bound<'py, Self>) -> PyResult<Next<'py>>;

    /// A reader that waited was cancelled.
    fn forget_reader(this: &Bound<'_, Self>);
}

/// The functions of a [`Source`], whatever its class.
#[derive(Clone, Copy)]
struct SourceFunctions {
    next: for<'py> fn(&Bound<'py, PyAny>) -> PyResult<Next<'py>>,
    forget_reader: fn(&Bound<'_, PyAny>),
}

enum State {
    /// It returns None, as often as it is awaited.
    Nothing,
    /// The value is that of a future. This is its iterator.
    Future(Py<PyAny>),
    /// The value comes from a source. It is called first when this is awaited:
    /// a task that is cancelled before it runs has taken nothing. It is called
    /// again when the future is done.
    Source {
        waiter: Option<Py<PyAny>>,
        source: Py<PyAny>,
        functions: SourceFunctions,
    },
    Spent,
}

impl State {
    /// The iterator of the awaited future.
    fn waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match self {
            State::Future(waiter) => Some(waiter.bind(py).clone()),
            State::Source { waiter, .. } => waiter.as_ref().map(|waiter| waiter.bind(py).clone()),
            State::Nothing | State::Spent => None,
        }
    }
}

/// An awaitable that is also a coroutine: `create_task()` takes it, as it takes
/// the coroutine of an `async def`.
#[pyclass(module = "prefork._engine")]
pub struct Awaitable(State);

static DONE: PyOnceLock<Py<Awaitable>> = PyOnceLock::new();

impl Awaitable {
    /// There is nothing to wait for.
    pub(crate) fn done(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        let made = DONE.get_or_try_init(py, || Py::new(py, Awaitable(State::Nothing)))?;
        Ok(made.bind(py).clone())
    }

    /// The value is that of `future`.
    pub(crate) fn of<'py>(future: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let waiter = iterator(future)?;
        Bound::new(future.py(), Awaitable(State::Future(waiter)))
    }

    /// The value is the next one of `source`.
    pub(crate) fn next_of<'py, T: Source>(source: &Bound<'py, T>) -> PyResult<Bound<'py, Self>> {
        let state = State::Source {
            waiter: None,
            source: source.clone().into_any().unbind(),
            functions: SourceFunctions {
                next: |source| T::next(source.cast()?),
                forget_reader: |source| {
                    if let Ok(source) = source.cast() {
                        T::forget_reader(source);
                    }
                },
            },
        };
        Bound::new(source.py(), Awaitable(state))
    }

    /// Calls the source. A value ends the coroutine: it is raised in
    /// StopIteration.
    fn ask<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (source, functions) = match &slf.borrow().0 {
            State::Source {
                source, functions, ..
            } => (source.bind(py).clone(), *functions),
            _ => return Err(spent()),
        };
        match (functions.next)(&source)? {
            Next::Value(value) => {
                Self::spend(slf);
                Err(PyStopIteration::new_err((value.unbind(),)))
            }
            Next::Future(future) => {
                let again = iterator(&future)?;
                let former = match &mut slf.borrow_mut().0 {
                    State::Source { waiter, .. } => waiter.replace(again.clone_ref(py)),
                    _ => None,
                };
                drop(former); // once this is not borrowed
                Ok(again.into_bound(py))
            }
        }
    }

    /// It is over. What it held is freed once this is not borrowed.
    fn spend(slf: &Bound<'_, Self>) -> State {
        match &mut slf.borrow_mut().0 {
            State::Nothing => State::Nothing, // this one is shared
            state => std::mem::replace(state, State::Spent),
        }
    }

    /// It ends with an exception. The source forgets its reader, if that waited.
    fn cancel(slf: &Bound<'_, Self>) {
        if let State::Source {
            waiter: Some(_),
            source,
            functions,
        } = Self::spend(slf)
        {
            (functions.forget_reader)(source.bind(slf.py()));
        }
    }
}

fn spent() -> PyErr {
    PyRuntimeError::new_err("this was awaited before; call again for the next")
}

fn iterator(future: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let waiter = future.call_method0(intern!(future.py(), "__await__"))?;
    Ok(waiter.unbind())
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let (mut waiter, is_source) = match &slf.borrow().0 {
            State::Nothing => return Ok(None),
            State::Spent => return Err(spent()),
            state => (state.waiter(py), matches!(state, State::Source { .. })),
        };
        loop {
            let waits_for = match waiter {
                Some(waiter) => waiter,
                None => Self::ask(slf)?,
            };
            match waits_for.call_method1(intern!(py, "send"), (py.None(),)) {
                Ok(yielded) => return Ok(Some(yielded)),
                Err(done) if is_source && done.is_instance_of::<PyStopIteration>(py) => {
                    waiter = None;
                }
                Err(error) => {
                    Self::cancel(slf);
                    return Err(error);
                }
            }
        }
    }

    /// As for a coroutine (PEP 492).
    fn send<'py>(
        slf: &Bound<'py, Self>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Self::__next__(slf)? {
            Some(waits_for) => Ok(waits_for),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    /// As for a coroutine (PEP 492).
    #[pyo3(signature = (*error))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        error: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let waiter = slf.borrow().0.waiter(py);
        match waiter {
            Some(waiter) => {
                let thrown = waiter.call_method1(intern!(py, "throw"), error.clone());
                if thrown.is_err() {
                    Self::cancel(slf);
                }
                thrown
            }
            None => {
                Self::cancel(slf);
                Err(PyErr::from_value(match error.len() {
                    1 => error.get_item(0)?,
                    _ => error.get_item(1)?,
                }))
            }
        }
    }

    /// As for a coroutine (PEP 492).
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let waiter = slf.borrow().0.waiter(py);
        Self::cancel(slf);
        match waiter {
            Some(waiter) => waiter.call_method0(intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }
}
