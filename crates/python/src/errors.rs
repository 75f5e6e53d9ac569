//! The exceptions of `prefork.errors` that the binding raises.

pyo3::import_exception!(prefork.errors, AlreadyAnswered);
pyo3::import_exception!(prefork.errors, ConnectionGone);
pyo3::import_exception!(prefork.errors, InvalidResponse);
