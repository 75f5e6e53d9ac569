//! The call of a service for a request.
//!
//! Owns: `MountCaller`, the directories in front of a service. Always holds: what the
//! engine can call itself is called without Python between.

use crate::asgi::call::AsgiCaller;
use crate::call_context::CallContext;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::wsgi::call::WsgiCaller;
use prefork_wire::TargetForm;
use pyo3::prelude::*;

/// Calls `service(request, response)` for each request, but for one at or below a mounted
/// path `files(request, response, name)`, in a context of its own (PEP 567). `mounts` has
/// pairs of a path without a slash at its end and `files`; the first that fits counts. With
/// None the path is the service's. `name` is what follows the slash, percent-decoded; None
/// without one.
#[pyclass(name = "MountCaller", module = "prefork._engine", frozen)]
pub struct MountCaller {
    mounts: Vec<(String, Option<Py<PyAny>>)>,
    service: Py<PyAny>,
}

#[pymethods]
impl MountCaller {
    #[new]
    fn new(mounts: Vec<(String, Option<Py<PyAny>>)>, service: Py<PyAny>) -> Self {
        MountCaller { mounts, service }
    }

    /// Calls what the request is for. Returns whether that returned true.
    #[pyo3(name = "__call__")]
    fn call(&self, request: &Bound<'_, Request>, response: &Bound<'_, Response>) -> PyResult<bool> {
        let py = request.py();
        let found = self.find(&request.borrow());
        match found {
            None => call(self.service.bind(py), request, response),
            Some((files, name)) => {
                let context = CallContext::enter(py)?;
                let called = files.bind(py).call1((request, response, name))?;
                context.end();
                called.is_truthy()
            }
        }
    }
}

impl MountCaller {
    /// The files that a request is for, and the name.
    fn find(&self, request: &Request) -> Option<(&Py<PyAny>, Option<String>)> {
        let view = &request.view;
        // A proxy: other forms of a target name another server.
        if request.service.settings.proxy_mode && view.target_form() != TargetForm::Origin {
            return None;
        }
        let path = view.path();
        let mut fitting = self.mounts.iter().filter_map(|(prefix, files)| {
            let name = match path.strip_prefix(prefix.as_bytes())? {
                [] => None,
                [b'/', name @ ..] => Some(name),
                _ => return None,
            };
            Some((files, name))
        });
        let (files, name) = fitting.next()?;
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
        Some((files.as_ref()?, name))
    }
}

/// Whether a method of a service calls its application natively, in a context of its own.
pub(crate) fn is_native(method: &Bound<'_, PyAny>) -> bool {
    if let Ok(mounted) = method.cast_exact::<MountCaller>() {
        return is_native(mounted.get().service.bind(method.py()));
    }
    method.is_exact_instance_of::<WsgiCaller>() || method.is_exact_instance_of::<AsgiCaller>()
}

/// Calls a method of a service. Returns whether it returned true.
pub(crate) fn call(
    method: &Bound<'_, PyAny>,
    request: &Bound<'_, Request>,
    response: &Bound<'_, Response>,
) -> PyResult<bool> {
    // The native callers are called directly. They have no subclasses, and an exact type is
    // compared faster.
    if let Ok(caller) = method.cast_exact::<WsgiCaller>() {
        return caller.get().call(request, response).map(|()| true);
    }
    if let Ok(caller) = method.cast_exact::<AsgiCaller>() {
        return caller.get().call(request, response).map(|()| true);
    }
    if let Ok(caller) = method.cast_exact::<MountCaller>() {
        return caller.get().call(request, response);
    }
    method.call1((request, response))?.is_truthy()
}
