//! Header fields as Python sees them: case-insensitive, in order, with repeats.

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyList, PyString, PyTuple};

/// Text that came over the wire: RFC 9110, section 5.5 leaves bytes above
/// ASCII opaque, and Latin-1 maps each to one character and back.
pub(crate) fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(
            py,
            &bytes.iter().map(|&byte| byte as char).collect::<String>(),
        ),
    }
}

/// A value on its way out: Latin-1 where it fits, else UTF-8.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Name and value.
type Field = (Vec<u8>, Vec<u8>);

/// Header fields (RFC 9110, section 5): in order, with repeats, their names
/// without case. `[]` and `get` give the first field of a name; setting one
/// replaces every field of that name. A value that does not fit Latin-1 is
/// sent as UTF-8.
#[pyclass(module = "understudy._engine")]
#[derive(Clone, Default)]
pub struct Headers {
    fields: Vec<Field>,
}

impl Headers {
    pub(crate) fn from_fields(fields: Vec<Field>) -> Self {
        Headers { fields }
    }

    /// From an iterable of `(name, value)`, both str.
    pub(crate) fn from_pairs(pairs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut headers = Headers::default();
        for pair in pairs.try_iter()? {
            let (name, value): (PyBackedStr, PyBackedStr) = pair?.extract()?;
            headers.append(&name, &value);
        }
        Ok(headers)
    }

    /// From an iterable of `(name, value)`, both bytes. Raises TypeError.
    pub(crate) fn from_bytes(pairs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut headers = Headers::default();
        for pair in pairs.try_iter()? {
            let pair = pair?;
            let Ok((name, value)) = pair.extract::<(PyBackedBytes, PyBackedBytes)>() else {
                return Err(PyTypeError::new_err(format!(
                    "header {}: expected two byte strings, name and value",
                    pair.repr()?
                )));
            };
            headers.fields.push((name.to_vec(), value.to_vec()));
        }
        Ok(headers)
    }

    pub(crate) fn extend(&mut self, more: Headers) {
        self.fields.extend(more.fields);
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
    }

    pub(crate) fn replace(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &str, value: &str) {
        self.fields.push((name.as_bytes().to_vec(), latin1(value)));
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name.as_bytes()));
        self.fields.len() < before
    }
}

#[pymethods]
impl Headers {
    #[new]
    #[pyo3(signature = (fields=None))]
    pub(crate) fn new(fields: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(fields) = fields else {
            return Ok(Headers::default());
        };
        match fields.getattr("items") {
            Ok(items) => Self::from_pairs(&items.call0()?),
            Err(_) => Self::from_pairs(fields),
        }
    }

    /// The first value of that name, or `default`.
    #[pyo3(signature = (name, default=None))]
    pub(crate) fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        match self.named(name).next() {
            Some(value) => Some(decode(py, value).into_any()),
            None => default,
        }
    }

    /// Every value of that name, in order.
    fn get_all<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        PyList::new(
            py,
            self.named(name)
                .map(|value| decode(py, value))
                .collect::<Vec<_>>(),
        )
    }

    /// One more field of that name.
    fn add(&mut self, name: &str, value: &str) {
        self.append(name, value);
    }

    /// `(name, value)` of every field, in order, repeats included.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self
            .fields
            .iter()
            .map(|(name, value)| PyTuple::new(py, [decode(py, name), decode(py, value)]))
            .collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, pairs)
    }

    /// The name of every field, in order, repeats included.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names = self.fields.iter().map(|(name, _)| decode(py, name));
        PyList::new(py, names.collect::<Vec<_>>())
    }

    /// The value of every field, in order.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let values = self.fields.iter().map(|(_, value)| decode(py, value));
        PyList::new(py, values.collect::<Vec<_>>())
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyString>> {
        match self.named(name).next() {
            Some(value) => Ok(decode(py, value)),
            None => Err(PyKeyError::new_err(name.to_owned())),
        }
    }

    /// Replaces every field of that name.
    fn __setitem__(&mut self, name: &str, value: &str) {
        self.replace(name, value);
    }

    fn __delitem__(&mut self, name: &str) -> PyResult<()> {
        match self.remove(name) {
            true => Ok(()),
            false => Err(PyKeyError::new_err(name.to_owned())),
        }
    }

    fn __contains__(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.try_iter()?.into_any())
    }

    fn __len__(&self) -> usize {
        self.fields.len()
    }

    fn __eq__(&self, other: &Headers) -> bool {
        let same = |((name, value), (other_name, other_value)): (&Field, &Field)| {
            name.eq_ignore_ascii_case(other_name) && value == other_value
        };
        self.fields.len() == other.fields.len() && self.fields.iter().zip(&other.fields).all(same)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Headers({})", self.items(py)?.repr()?))
    }
}
