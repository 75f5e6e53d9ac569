//! How this module was built: `build.rs` beside `src/` finds it out.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How this module was built: `version`, `commit`, `profile`, `target`, `rustc`, `features` (of prefork, with
/// commas) and `cryptography`. What was not known is empty.
#[pyfunction]
pub fn build_facts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let facts = PyDict::new(py);
    for (name, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("commit", env!("PREFORK_COMMIT")),
        ("profile", env!("PREFORK_PROFILE")),
        ("target", env!("PREFORK_TARGET")),
        ("rustc", env!("PREFORK_RUSTC")),
        ("features", FEATURES),
        ("cryptography", CRYPTOGRAPHY),
    ] {
        facts.set_item(name, value)?;
    }
    Ok(facts)
}

const FEATURES: &str = if cfg!(feature = "fips") {
    "aws-lc,fips"
} else if cfg!(feature = "aws-lc") {
    "aws-lc"
} else {
    ""
};

const CRYPTOGRAPHY: &str = if cfg!(feature = "fips") {
    "AWS-LC (FIPS)"
} else if cfg!(feature = "aws-lc") {
    "AWS-LC"
} else {
    "ring"
};
