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
}

enum State {
    /// It returns None, as often as it is awaited.
    Nothing,
    Value(Py<PyAny>),
    /// The value is that of a future. This is its iterator.
    Future(Py<PyAny>),
    /// The value comes from a source, which is called again when the future is
    /// done.
    Source {
        waiter: Py<PyAny>,
        source: Py<PyAny>,
        next: for<'py> fn(&Bound<'py, PyAny>) -> PyResult<Next<'py>>,
    },
    Spent,
}

impl State {
    /// The iterator of the awaited future.
    fn waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match self {
            State::Future(waiter) | State::Source { waiter, .. } => Some(waiter.bind(py).clone()),
            State::Nothing | State::Value(_) | State::Spent => None,
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
        let state = match T::next(source)? {
            Next::Value(value) => State::Value(value.unbind()),
            Next::Future(future) => State::Source {
                waiter: iterator(&future)?,
                source: source.clone().into_any().unbind(),
                next: |source| T::next(source.cast()?),
            },
        };
        Bound::new(source.py(), Awaitable(state))
    }

    /// Calls the source again. A value ends the coroutine: it is raised in
    /// StopIteration.
    fn ask_again(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (source, next) = match &slf.borrow().0 {
            State::Source { source, next, .. } => (source.bind(py).clone(), *next),
            _ => return Ok(()),
        };
        match next(&source)? {
            Next::Value(value) => {
                let former = std::mem::replace(&mut slf.borrow_mut().0, State::Spent);
                drop(former);
                Err(PyStopIteration::new_err((value.unbind(),)))
            }
            Next::Future(future) => {
                let mut again = iterator(&future)?;
                if let State::Source { waiter, .. } = &mut slf.borrow_mut().0 {
                    std::mem::swap(waiter, &mut again);
                }
                Ok(()) // the former one is freed once this is not borrowed
            }
        }
    }
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
        loop {
            let waiter = {
                let state = &mut slf.borrow_mut().0;
                match state.waiter(py) {
                    Some(waiter) => waiter,
                    None if matches!(state, State::Nothing) => return Ok(None),
                    None => {
                        let State::Value(value) = std::mem::replace(state, State::Spent) else {
                            return Err(PyRuntimeError::new_err(
                                "this was awaited before; call again for the next",
                            ));
                        };
                        return Err(PyStopIteration::new_err((value,)));
                    }
                }
            };
            match waiter.call_method1(intern!(py, "send"), (py.None(),)) {
                Ok(yielded) => return Ok(Some(yielded)),
                Err(done)
                    if matches!(slf.borrow().0, State::Source { .. })
                        && done.is_instance_of::<PyStopIteration>(py) =>
                {
                    Self::ask_again(slf)?;
                }
                Err(error) => return Err(error),
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
            Some(waiter) => waiter.call_method1(intern!(py, "throw"), error.clone()),
            None => Err(PyErr::from_value(match error.len() {
                1 => error.get_item(0)?,
                _ => error.get_item(1)?,
            })),
        }
    }

    /// As for a coroutine (PEP 492).
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = match &mut slf.borrow_mut().0 {
            State::Nothing => return Ok(()),
            state => std::mem::replace(state, State::Spent),
        };
        match state.waiter(py) {
            Some(waiter) => waiter.call_method0(intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }
}
