//! The events of a kernel that are posted and not yet delivered.
//!
//! Native because every request may go through `post` or `call`. To a session
//! that is known by an alias both cost little more than the call of the handler:
//! what a target and an event mean is remembered until a session, an alias or a
//! handler changes. Whatever is less common is a method of the Python subclass,
//! `prefork.kernel.delivery`.
//!
//! Owns: the queue, and when it is drained. Always holds: an event that is
//! posted is delivered later, in the order of posting; an event that it posts in
//! its turn comes after those that were queued before. Knows no engine: the
//! engine drains the queue after each event of its own.

mod arguments;
mod methods;

use self::arguments::{Args, Arguments};
use crate::call_context::CallContext;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An event of a session.
struct Receiver {
    session: Py<PyAny>,
    event: Py<PyAny>,
    /// What runs on it, if the session is known by an alias. Of another session
    /// the subclass looks after each event whether it goes on.
    function: Option<Py<PyAny>>,
    /// The value of `EventQueue::changes` for which this is true.
    changes: u64,
}

/// A posted event.
struct Posted {
    receiver: Arc<Receiver>,
    args: Args,
}

/// A target and an event, and what they mean.
struct Known {
    target: Py<PyAny>,
    event: Py<PyAny>,
    receiver: Arc<Receiver>,
}

/// How many are remembered: more than a program has in its busiest handlers.
const KNOWN: usize = 64;

/// Posts and calls events of sessions, which are known by an alias, by their
/// id, or as they are.
#[pyclass(module = "prefork._engine", subclass, frozen)]
pub struct EventQueue {
    /// By alias: a session and its handlers by event.
    targets: Py<PyDict>,
    known: Mutex<Vec<Option<Known>>>,
    /// How often a session, an alias or a handler has changed.
    changes: AtomicU64,
    queue: Mutex<VecDeque<Posted>>,
    delivered: AtomicU64,
    /// There is a loop.
    attached: AtomicBool,
    /// A drain is scheduled on the loop.
    scheduled: AtomicBool,
    /// The engine drains after the event that it serves.
    serving: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of a target and an event in the table of those that are known: by
/// their addresses, because in a program they are constants.
fn place(target: &Bound<'_, PyAny>, event: &Bound<'_, PyAny>) -> usize {
    let (target, event) = (target.as_ptr() as usize, event.as_ptr() as usize);
    ((target >> 4) ^ (event >> 5)) % KNOWN
}

impl EventQueue {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Posted>> {
        locked(&self.queue)
    }

    fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// The receiver of an event, if its target is an alias and it has a handler.
    #[inline(always)] // this and what follows to `post` and `call` costs a program each request
    fn find(
        &self,
        target: &Bound<'_, PyAny>,
        event: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Arc<Receiver>>> {
        let place = place(target, event);
        if let Some(Some(known)) = locked(&self.known).get(place) {
            if known.target.is(target) && known.event.is(event) {
                return Ok(Some(Arc::clone(&known.receiver)));
            }
        }
        self.look_up(target, event)
    }

    #[cold]
    fn look_up(
        &self,
        target: &Bound<'_, PyAny>,
        event: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Arc<Receiver>>> {
        let Some((session, function)) = self.handler(target, event)? else {
            return Ok(None);
        };
        let receiver = Arc::new(Receiver {
            session: session.unbind(),
            event: event.clone().unbind(),
            function: Some(function.unbind()),
            changes: self.changes.load(Ordering::Relaxed),
        });
        let known = Known {
            target: target.clone().unbind(),
            event: event.clone().unbind(),
            receiver: Arc::clone(&receiver),
        };
        let former = locked(&self.known)
            .get_mut(place(target, event))
            .and_then(|place| place.replace(known));
        drop(former); // after the lock is released: freeing it may run Python
        Ok(Some(receiver))
    }

    /// The session that has an alias, and its handler of an event.
    fn handler<'py>(
        &self,
        target: &Bound<'py, PyAny>,
        event: &Bound<'py, PyAny>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        if !target.is_exact_instance_of::<PyString>() || !event.is_instance_of::<PyString>() {
            return Ok(None);
        }
        let Some(found) = self.targets.bind(target.py()).get_item(target)? else {
            return Ok(None);
        };
        let found = found.cast_into::<PyTuple>()?;
        let handlers = found.get_item(1)?.cast_into::<PyDict>()?;
        let session = found.get_item(0)?;
        Ok(handlers
            .get_item(event)?
            .map(|function| (session, function)))
    }

    #[inline(always)]
    fn push(slf: &Bound<'_, Self>, posted: Posted) -> PyResult<()> {
        slf.get().queue().push_back(posted);
        Self::schedule(slf)
    }

    /// Schedules a drain on the loop, unless the engine drains.
    #[inline(always)]
    fn schedule(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.serving.load(Ordering::Relaxed)
            || !this.attached.load(Ordering::Relaxed)
            || this.scheduled.swap(true, Ordering::Relaxed)
        {
            return Ok(());
        }
        slf.call_method0("_drain_soon").map(drop)
    }

    /// The engine begins to serve what is ready, or has served it.
    pub(crate) fn set_serving(slf: &Bound<'_, Self>, serving: bool) -> PyResult<()> {
        let this = slf.get();
        this.serving.store(serving, Ordering::Relaxed);
        match serving || this.is_empty() {
            true => Ok(()),
            false => Self::schedule(slf),
        }
    }

    /// Delivers what is queued now, not what these events post: events that post
    /// each other must not starve the sockets. `context` is that of a call that is
    /// over.
    pub(crate) fn deliver<'py>(
        slf: &Bound<'py, Self>,
        mut context: Option<CallContext<'py>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let (mut next, mut left) = {
            let mut queue = this.queue();
            (queue.pop_front(), queue.len())
        };
        // It ends early if the session of the next one was removed.
        while let Some(posted) = next {
            this.delivered.fetch_add(1, Ordering::Relaxed);
            let entered = match context {
                Some(context) => context.renew()?,
                None => CallContext::enter(slf.py())?,
            };
            Self::deliver_one(slf, &posted)?;
            drop(posted);
            context = Some(entered);
            if left == 0 {
                break;
            }
            left -= 1;
            next = this.queue().pop_front();
        }
        if let Some(context) = context {
            context.end();
        }
        Ok(())
    }

    #[inline]
    fn deliver_one(slf: &Bound<'_, Self>, posted: &Posted) -> PyResult<()> {
        let py = slf.py();
        let Posted { receiver, args } = posted;
        let is_current = receiver.changes == slf.get().changes.load(Ordering::Relaxed);
        let function = receiver.function.as_ref().filter(|_| is_current);
        let Some(function) = function else {
            let parts = (&receiver.session, &receiver.event, args.tuple(py)?);
            return slf.call_method1("_deliver", parts).map(drop);
        };
        let function = function.bind(py);
        let result = match args {
            Args::One(one) => function.call1((one,)),
            Args::Many(many) => function.call1(many.bind(py)),
        };
        let (method, outcome) = match result {
            Ok(result) if is_plain(&result) => return Ok(()),
            Ok(result) => ("_returned", result),
            Err(error)
                if error.is_instance_of::<PySystemExit>(py)
                    || error.is_instance_of::<PyKeyboardInterrupt>(py) =>
            {
                return Err(error);
            }
            Err(error) => ("report", error.into_bound_py_any(py)?),
        };
        let parts = (&receiver.session, &receiver.event, args.tuple(py)?, outcome);
        slf.call_method1(method, parts).map(drop)
    }
}

// ---- post and call -------------------------------------------------------------------

impl EventQueue {
    #[inline(always)]
    fn post(
        slf: &Bound<'_, Self>,
        target: &Bound<'_, PyAny>,
        event: &Bound<'_, PyAny>,
        args: Arguments<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if let Some(receiver) = slf.get().find(target, event)? {
            let args = Args::new(args)?;
            Self::push(slf, Posted { receiver, args })?;
            return Ok(PyBool::new(py, true).to_owned().into_any().unbind());
        }
        slf.call_method1("_post", (target, event, args.tuple()?))
            .map(Bound::unbind)
    }

    #[inline(always)]
    fn call(
        slf: &Bound<'_, Self>,
        target: &Bound<'_, PyAny>,
        event: &Bound<'_, PyAny>,
        args: Arguments<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let receiver = slf.get().find(target, event)?;
        let known = receiver
            .as_ref()
            .and_then(|receiver| Some((receiver, receiver.function.as_ref()?)));
        let Some((receiver, function)) = known else {
            return slf
                .call_method1("_call", (target, event, args.tuple()?))
                .map(Bound::unbind);
        };
        let function = function.bind(py);
        let called = match args.only() {
            Some(one) => function.call1((one,)),
            None => function.call1(args.tuple()?),
        };
        let result = match called {
            Ok(result) => result,
            Err(error) => {
                let error = error.into_value(py);
                let parts = (&receiver.session, event, args.tuple()?, error);
                let error = slf.call_method1("_explained", parts)?;
                return Err(PyErr::from_value(error));
            }
        };
        if is_plain(&result) {
            return Ok(result.unbind());
        }
        let parts = (&receiver.session, event, args.tuple()?, result);
        slf.call_method1("_called", parts).map(Bound::unbind)
    }
}

/// Whether a result is certainly no coroutine.
fn is_plain(result: &Bound<'_, PyAny>) -> bool {
    result.is_none() || result.is_exact_instance_of::<PyBool>()
}

#[pymethods]
impl EventQueue {
    #[new]
    #[pyo3(signature = (*_args, **_options))]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> Self {
        EventQueue {
            targets: PyDict::new(py).unbind(),
            known: Mutex::new((0..KNOWN).map(|_| None).collect()),
            changes: AtomicU64::new(0),
            queue: Mutex::default(),
            delivered: AtomicU64::new(0),
            attached: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            serving: AtomicBool::new(false),
        }
    }

    /// A session, and what runs on that event.
    ///
    /// Raises UnknownSession and UnknownEvent.
    fn resolve<'py>(
        slf: &Bound<'py, Self>,
        target: &Bound<'py, PyAny>,
        event: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some((session, function)) = slf.get().handler(target, event)? {
            return PyTuple::new(slf.py(), [session, function]).map(Bound::into_any);
        }
        slf.call_method1("_resolve", (target, event))
    }

    /// The sessions that have an alias, for the registry to fill: each is a
    /// session and its handlers by event.
    #[getter]
    fn _targets<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.targets.bind(py).clone()
    }

    /// A session, an alias or a handler has changed: nothing is known any more.
    fn _changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let former = std::mem::replace(
            &mut *locked(&self.known),
            (0..KNOWN).map(|_| None).collect(),
        );
        drop(former); // after the lock is released: freeing it may run Python
    }

    /// Queues an event of a session that was not named by an alias.
    fn _put(
        slf: &Bound<'_, Self>,
        session: Py<PyAny>,
        event: Py<PyAny>,
        args: Py<PyTuple>,
    ) -> PyResult<()> {
        let receiver = Arc::new(Receiver {
            session,
            event,
            function: None,
            changes: 0,
        });
        let args = Args::Many(args);
        Self::push(slf, Posted { receiver, args })
    }

    /// There is a loop, on which what is queued is delivered.
    fn _begin_delivery(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.attached.store(true, Ordering::Relaxed);
        this.scheduled.store(false, Ordering::Relaxed);
        match this.is_empty() {
            true => Ok(()),
            false => Self::schedule(slf),
        }
    }

    /// There is no loop any more. Returns what is queued, which is forgotten.
    fn _end_delivery<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.attached.store(false, Ordering::Relaxed);
        self.serving.store(false, Ordering::Relaxed);
        let queue = std::mem::take(&mut *self.queue());
        let parts = queue.into_iter().map(|Posted { receiver, args }| {
            let (session, event) = (&receiver.session, &receiver.event);
            Ok((session.clone_ref(py), event.clone_ref(py), args.tuple(py)?))
        });
        PyList::new(py, parts.collect::<PyResult<Vec<_>>>()?)
    }

    /// Delivers what is queued now.
    fn _drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().scheduled.store(false, Ordering::Relaxed);
        let delivered = Self::deliver(slf, None);
        match slf.get().is_empty() {
            true => delivered,
            false => delivered.and(Self::schedule(slf)),
        }
    }

    /// Forgets what is queued for a session.
    fn _drop_events(&self, py: Python<'_>, session: &Bound<'_, PyAny>) {
        let mut dropped = Vec::new();
        {
            let mut queue = self.queue();
            let all = std::mem::take(&mut *queue);
            for posted in all {
                match posted.receiver.session.bind(py).is(session) {
                    true => dropped.push(posted),
                    false => queue.push_back(posted),
                }
            }
        }
        let count = dropped.len() as u64;
        self.delivered.fetch_add(count, Ordering::Relaxed);
        drop(dropped); // after the lock is released: freeing these may run Python
    }

    /// The sessions that have an event queued, with repeats.
    fn _queued(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let queue = self.queue();
        queue
            .iter()
            .map(|posted| posted.receiver.session.clone_ref(py))
            .collect()
    }

    /// How many events were delivered, and how many are queued.
    fn _counts(&self) -> (u64, usize) {
        (self.delivered.load(Ordering::Relaxed), self.queue().len())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.targets)?;
        if let Ok(known) = self.known.try_lock() {
            for known in known.iter().flatten() {
                visit.call(&known.receiver.session)?;
                visit.call(&known.receiver.function)?;
            }
        }
        if let Ok(queue) = self.queue.try_lock() {
            for Posted { receiver, args } in &*queue {
                // One that is shared is known, and visited there.
                if Arc::strong_count(receiver) == 1 {
                    visit.call(&receiver.session)?;
                    visit.call(&receiver.function)?;
                }
                match args {
                    Args::One(one) => visit.call(one)?,
                    Args::Many(many) => visit.call(many)?,
                }
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        drop(std::mem::take(&mut *self.queue()));
        self._changed();
    }
}
