//! What `receive` and `send` of an ASGI application return: awaited, it gives
//! its value, most often at once and without a frame or a future.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

enum State {
    /// None, as often as it is asked for.
    Nothing,
    Value(Py<PyAny>),
    /// What the value is waited for with: the iterator of a future.
    Future(Py<PyAny>),
    Spent,
}

/// An awaitable that is also a coroutine to whoever asks: `create_task()` of
/// it works, as of the `async def` that it stands for.
#[pyclass(module = "prefork._engine", name = "Awaitable")]
pub struct Awaitable(State);

static DONE: PyOnceLock<Py<Awaitable>> = PyOnceLock::new();

impl Awaitable {
    /// Nothing is to be waited for.
    pub(crate) fn done(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        let made = DONE.get_or_try_init(py, || Py::new(py, Awaitable(State::Nothing)))?;
        Ok(made.bind(py).clone())
    }

    /// The value is there.
    pub(crate) fn kept<'py>(value: Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = value.py();
        Bound::new(py, Awaitable(State::Value(value.unbind())))
    }

    /// The value is what `future` will have.
    pub(crate) fn of<'py>(future: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = future.py();
        let waiter = future.call_method0(intern!(py, "__await__"))?;
        Bound::new(py, Awaitable(State::Future(waiter.unbind())))
    }
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
        let waiter = match &mut slf.borrow_mut().0 {
            State::Nothing => return Ok(None),
            State::Future(waiter) => waiter.bind(py).clone(),
            state => match std::mem::replace(state, State::Spent) {
                State::Value(value) => return Err(PyStopIteration::new_err((value,))),
                _ => {
                    return Err(PyRuntimeError::new_err(
                        "this was awaited before; call again for the next",
                    ));
                }
            },
        };
        waiter
            .call_method1(intern!(py, "send"), (py.None(),))
            .map(Some)
    }

    /// As of a coroutine.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Self::__next__(slf)? {
            Some(waits_for) => Ok(waits_for),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    /// As of a coroutine.
    #[pyo3(signature = (*error))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        error: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let state = match &slf.borrow().0 {
            State::Future(waiter) => Some(waiter.bind(py).clone()),
            _ => None,
        };
        match state {
            Some(waiter) => waiter.call_method1(intern!(py, "throw"), error.clone()),
            None => Err(PyErr::from_value(match error.len() {
                1 => error.get_item(0)?,
                _ => error.get_item(1)?,
            })),
        }
    }

    /// As of a coroutine.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = match &mut slf.borrow_mut().0 {
            State::Nothing => return Ok(()),
            state => std::mem::replace(state, State::Spent),
        };
        match state {
            State::Future(waiter) => waiter.call_method0(py, intern!(py, "close")).map(drop),
            _ => Ok(()),
        }
    }
}
