//! Tasks of a loop that take their first step at once: in the engine's turn, while no
//! other task runs. A request whose response is complete in that step needs no further
//! turn.

use crate::call_context::CallContext;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// asyncio numbers tasks without a name, which costs time for each request.
const NAME: &str = "request";

/// How the first step of a task is run.
enum First {
    /// By the task itself (`eager_start`, CPython 3.12).
    Eager,
    /// A new task passes the step to the loop's `call_soon`. `call_soon` is replaced for
    /// that moment by `keep`, which stores the step.
    Kept {
        step: Py<FirstStep>,
        keep: Py<PyAny>,
    },
}

/// Makes the tasks of one loop.
pub(crate) struct Tasks {
    task: Py<PyType>,
    event_loop: Py<PyAny>,
    arguments: Py<PyDict>,
    first: First,
    /// Methods of the class, which are called without looking them up in each task.
    done: Py<PyAny>,
    exception: Py<PyAny>,
}

impl Tasks {
    pub(crate) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let task = py.import("asyncio")?.getattr("Task")?;
        let arguments = PyDict::new(py);
        arguments.set_item("loop", event_loop)?;
        arguments.set_item("name", NAME)?;
        let first = if py.version_info() >= (3, 12) {
            arguments.set_item("eager_start", true)?;
            First::Eager
        } else {
            let step = Bound::new(py, FirstStep(None))?;
            First::Kept {
                keep: step.getattr("keep")?.unbind(),
                step: step.unbind(),
            }
        };
        Ok(Tasks {
            done: task.getattr("done")?.unbind(),
            exception: task.getattr("exception")?.unbind(),
            task: task.cast_into::<PyType>()?.unbind(),
            event_loop: event_loop.clone().unbind(),
            arguments: arguments.unbind(),
            first,
        })
    }

    /// Runs a coroutine as a task until it first waits.
    ///
    /// Raises TypeError if it is not a coroutine; and SystemExit or KeyboardInterrupt if
    /// the coroutine raises it and CPython is 3.12 or newer. With 3.11 it is the task's.
    pub(crate) fn start<'py>(&self, coroutine: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = coroutine.py();
        let make = || {
            let task = self.task.bind(py);
            task.call((coroutine,), Some(self.arguments.bind(py)))
        };
        let First::Kept { step, keep } = &self.first else {
            return make();
        };
        let event_loop = self.event_loop.bind(py);
        event_loop.setattr(intern!(py, "call_soon"), keep)?;
        let task = make();
        event_loop.delattr(intern!(py, "call_soon"))?;
        let task = task?;
        let kept = step.borrow_mut(py).0.take();
        if let Some((step, context)) = kept {
            // A task that raises SystemExit or KeyboardInterrupt keeps it, and raises it.
            let entered = CallContext::enter_in(context.into_bound(py))?;
            let ran = step.call0(py);
            drop(entered);
            if let Err(error) = ran {
                if !self.is_done(&task)? {
                    return Err(error);
                }
            }
        }
        Ok(task)
    }

    pub(crate) fn is_done(&self, task: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.done.bind(task.py()).call1((task,))?.is_truthy()
    }

    /// Whether a task that is done has raised or was cancelled. For a cancelled one,
    /// `exception()` raises.
    pub(crate) fn has_failed(&self, task: &Bound<'_, PyAny>) -> bool {
        let exception = self.exception.bind(task.py()).call1((task,));
        !exception.is_ok_and(|exception| exception.is_none())
    }
}

/// What a new task passes to `call_soon`: its step, and the context to run it in.
#[pyclass(module = "prefork._engine")]
struct FirstStep(Option<(Py<PyAny>, Py<PyAny>)>);

#[pymethods]
impl FirstStep {
    #[pyo3(signature = (step, *, context))]
    fn keep(&mut self, step: Py<PyAny>, context: Py<PyAny>) {
        self.0 = Some((step, context));
    }
}
