//! The service of one listener: the Python object that gets its requests, and
//! the options for its responses.
//!
//! The interface is documented in `python/prefork/_engine.pyi` (`_Service`);
//! the table here is what `listen()` looks up. Knows no requests and responses:
//! they are above it.

use crate::access_log::PyAccessLog;
use crate::core::Core;
use crate::settings::{ServiceSettings, service_settings};
use prefork_engine::Peer;
use prefork_engine::access_log::AccessLogSettings;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// Declares `Interface`: the attributes of a service and their types.
macro_rules! interface {
    ($($name:ident: $kind:ty,)*) => {
        /// The attributes of a service, as `_Service` in the stub documents them.
        pub(crate) struct Interface {
            $(pub(crate) $name: $kind,)*
        }

        impl Interface {
            fn of(service: &Bound<'_, PyAny>) -> PyResult<Self> {
                Ok(Interface {
                    $($name: Attribute::of(service.getattr(stringify!($name))?)?,)*
                })
            }
        }
    };
}

interface! {
    request: Py<PyAny>,
    head: Py<PyAny>,
    body: Py<PyAny>,
    malformed: Py<PyAny>,
    request_ended: Option<Py<PyAny>>,
    access_log: Option<Arc<AccessLogSettings>>,
    unanswered: Py<PyAny>,
    timed_out: Py<PyAny>,
    client_error: Py<PyAny>,
    server_warning: Py<PyAny>,
    pulls_bodies: bool,
    uses_start_response: bool,
    takes_websockets: bool,
    adds_content_type: bool,
}

/// How an attribute of a service is converted.
trait Attribute: Sized {
    fn of(found: Bound<'_, PyAny>) -> PyResult<Self>;
}

impl Attribute for bool {
    fn of(found: Bound<'_, PyAny>) -> PyResult<Self> {
        found.is_truthy()
    }
}

impl Attribute for Py<PyAny> {
    fn of(found: Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(found.unbind())
    }
}

impl Attribute for Option<Py<PyAny>> {
    fn of(found: Bound<'_, PyAny>) -> PyResult<Self> {
        Ok((!found.is_none()).then(|| found.unbind()))
    }
}

impl Attribute for Option<Arc<AccessLogSettings>> {
    fn of(found: Bound<'_, PyAny>) -> PyResult<Self> {
        if found.is_none() {
            return Ok(None);
        }
        let log = found.cast::<PyAccessLog>()?;
        Ok(Some(Arc::clone(&log.get().settings)))
    }
}

/// The Python object that a listener was opened for, and the options that its
/// requests and responses need.
pub(crate) struct Service {
    /// That of the engine that listens.
    pub(crate) core: Arc<Core>,
    pub(crate) interface: Interface,
    pub(crate) settings: ServiceSettings,
    /// What the environ or the scope of its requests has instead of the values
    /// of the base; `None` if the base is right.
    pub(crate) own: Option<Py<PyDict>>,
}

impl Service {
    pub(crate) fn new(
        core: &Arc<Core>,
        object: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        own: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        Ok(Service {
            core: Arc::clone(core),
            interface: Interface::of(object)?,
            settings: service_settings(options)?,
            own,
        })
    }

    /// A copy of `base` with what this listener has instead.
    #[inline]
    pub(crate) fn copy_of<'py>(&self, base: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let copy = base.copy()?;
        if let Some(own) = &self.own {
            copy.update(own.bind(base.py()).as_mapping())?;
        }
        Ok(copy)
    }

    /// Reports an error of one client. `request_id` is that of its request, if it is known.
    pub(crate) fn client_error(
        &self,
        py: Python<'_>,
        text: &str,
        client: Peer,
        request_id: Option<&str>,
    ) -> PyResult<()> {
        let arguments = (text, client.to_string(), request_id);
        self.interface.client_error.call1(py, arguments).map(drop)
    }

    /// Reports a problem of the listener, or its end.
    pub(crate) fn server_warning(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.interface.server_warning.call1(py, (text,)).map(drop)
    }
}
