//! Header fields for Python: in order, with repeats, names without case.
//!
//! Always holds: all fields are in one allocation, however many there are.

use crate::text::{bytes_of, decode, latin1};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// Room for the fields of most responses.
const USUAL_BYTES: usize = 192;

/// Header fields (RFC 9110, section 5): in order, with repeats, names without
/// case. Made of a mapping or an iterable of (name, value). `[]` and `get()`
/// give the first value of a name; setting one replaces every field of that
/// name. `len()`, iteration, `keys()`, `values()` and `items()` have every
/// field, repeats included. A value that does not fit Latin-1 is sent as UTF-8.
///
/// Raises TypeError for names or values that are not str.
#[pyclass(module = "prefork._engine")]
#[derive(Clone, Default)]
pub struct Headers {
    /// For each field: the lengths of name and value, then name and value.
    bytes: Vec<u8>,
}

/// Name and value of each field, in order.
#[derive(Clone)]
pub(crate) struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (lengths, rest) = self.0.split_first_chunk()?;
        let lengths = u128::from_ne_bytes(*lengths);
        let (name, rest) = rest.split_at_checked(lengths as usize)?;
        let (value, rest) = rest.split_at_checked((lengths >> 64) as usize)?;
        self.0 = rest;
        Some((name, value))
    }
}

type BytePair<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// `None` for anything but a pair of byte strings.
fn byte_pair<'py>(pair: &Bound<'py, PyAny>) -> Option<BytePair<'py>> {
    if let Ok(pair) = pair.extract() {
        return Some(pair); // nearly always a tuple
    }
    let mut items = pair.try_iter().ok()?;
    let mut next = || bytes_of(&items.next()?.ok()?).ok()?;
    let pair = (next()?, next()?);
    items.next().is_none().then_some(pair)
}

impl Headers {
    pub(crate) fn from_fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut headers = Headers::default();
        headers.extend(fields);
        headers
    }

    /// From an iterable of `(name, value)`, both str. Raises TypeError.
    pub(crate) fn from_pairs(pairs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut headers = Headers::default();
        let mut append = |pair: Bound<'_, PyAny>| -> PyResult<()> {
            let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = pair.extract()?;
            headers.append(name.to_str()?, value.to_str()?);
            Ok(())
        };
        match pairs.cast::<PyList>() {
            Ok(pairs) => pairs.iter().try_for_each(append)?,
            Err(_) => pairs.try_iter()?.try_for_each(|pair| append(pair?))?,
        }
        Ok(headers)
    }

    /// From an iterable of pairs of name and value, both bytes: ASGI has
    /// "two-item iterables" of "byte strings". Raises TypeError.
    pub(crate) fn from_bytes(pairs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut headers = Headers::default();
        let mut push = |pair: Bound<'_, PyAny>| -> PyResult<()> {
            let Some((name, value)) = byte_pair(&pair) else {
                return Err(PyTypeError::new_err(format!(
                    "header {}: expected two byte strings, name and value",
                    pair.repr()?
                )));
            };
            headers.push(name.as_bytes(), value.as_bytes());
            Ok(())
        };
        match pairs.cast_exact::<PyList>() {
            Ok(pairs) => pairs.iter().try_for_each(push)?,
            Err(_) => pairs.try_iter()?.try_for_each(|pair| push(pair?))?,
        }
        Ok(headers)
    }

    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.fields()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub(crate) fn extend<'a>(&mut self, more: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        for (name, value) in more {
            self.push(name, value);
        }
    }

    pub(crate) fn fields(&self) -> Pairs<'_> {
        Pairs(&self.bytes)
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field of that name.
    pub(crate) fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        self.named(name).next().map(|value| decode(py, value))
    }

    pub(crate) fn replace(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &str, value: &str) {
        if value.is_ascii() {
            self.push(name.as_bytes(), value.as_bytes());
        } else {
            self.push(name.as_bytes(), &latin1(value));
        }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(USUAL_BYTES);
        }
        let lengths = name.len() as u128 | (value.len() as u128) << 64;
        self.bytes.extend_from_slice(&lengths.to_ne_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
    }

    fn remove(&mut self, name: &str) -> bool {
        if self.named(name).next().is_none() {
            return false;
        }
        let others = self.fields();
        let others = others.filter(|(known, _)| !known.eq_ignore_ascii_case(name.as_bytes()));
        *self = Self::from_fields(others);
        true
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

    /// The first value of that name, or `default` without one.
    #[pyo3(signature = (name, default=None))]
    pub(crate) fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        match self.first(py, name) {
            Some(value) => Some(value.into_any()),
            None => default,
        }
    }

    /// Every value of that name, in order; an empty list without one.
    fn get_all<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        PyList::new(
            py,
            self.named(name)
                .map(|value| decode(py, value))
                .collect::<Vec<_>>(),
        )
    }

    /// Adds a field, and keeps those of the same name.
    fn add(&mut self, name: &str, value: &str) {
        self.append(name, value);
    }

    /// (name, value) of every field, in order, repeats included.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self
            .fields()
            .map(|(name, value)| PyTuple::new(py, [decode(py, name), decode(py, value)]))
            .collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, pairs)
    }

    /// The name of every field, in order, repeats included.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names = self.fields().map(|(name, _)| decode(py, name));
        PyList::new(py, names.collect::<Vec<_>>())
    }

    /// The value of every field, in order.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let values = self.fields().map(|(_, value)| decode(py, value));
        PyList::new(py, values.collect::<Vec<_>>())
    }

    /// The first value of that name. Raises KeyError without one.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyString>> {
        self.first(py, name)
            .ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    /// Replaces every field of that name by one.
    fn __setitem__(&mut self, name: &str, value: &str) {
        self.replace(name, value);
    }

    /// Removes every field of that name. Raises KeyError without one.
    fn __delitem__(&mut self, name: &str) -> PyResult<()> {
        match self.remove(name) {
            true => Ok(()),
            false => Err(PyKeyError::new_err(name.to_owned())),
        }
    }

    fn __contains__(&self, name: &str) -> bool {
        self.has(name.as_bytes())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.try_iter()?.into_any())
    }

    fn __len__(&self) -> usize {
        self.fields().count()
    }

    fn __eq__(&self, other: &Headers) -> bool {
        let mut both = self.fields().zip(other.fields());
        self.__len__() == other.__len__()
            && both.all(|((name, value), (other_name, other_value))| {
                name.eq_ignore_ascii_case(other_name) && value == other_value
            })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Headers({})", self.items(py)?.repr()?))
    }
}
