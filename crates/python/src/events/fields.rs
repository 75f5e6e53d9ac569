//! The header fields of a response. They become a Python object when Python
//! reads them first.

use crate::events::headers::Headers;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

pub(crate) enum Fields {
    Native(Headers),
    Shared(Py<Headers>),
}

impl Default for Fields {
    fn default() -> Self {
        Fields::Native(Headers::default())
    }
}

impl Fields {
    pub(crate) fn read<R>(&self, py: Python<'_>, reader: impl FnOnce(&Headers) -> R) -> R {
        match self {
            Fields::Native(headers) => reader(headers),
            Fields::Shared(headers) => reader(&headers.borrow(py)),
        }
    }

    pub(crate) fn replace(&mut self, py: Python<'_>, name: &str, value: &str) {
        match self {
            Fields::Native(headers) => headers.replace(name, value),
            Fields::Shared(headers) => headers.borrow_mut(py).replace(name, value),
        }
    }

    /// The fields as a Python object. Changing it changes the response.
    pub(crate) fn share<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, Headers>> {
        match self {
            Fields::Shared(headers) => Ok(headers.bind(py).clone()),
            Fields::Native(headers) => {
                let headers = Bound::new(py, std::mem::take(headers))?;
                *self = Fields::Shared(headers.clone().unbind());
                Ok(headers)
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Fields::Native(_) => Ok(()),
            Fields::Shared(headers) => visit.call(headers),
        }
    }
}
