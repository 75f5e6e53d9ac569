//! Fixes reference counts before a fork (PEP 683), so that children do not write
//! them.
//!
//! A page that processes share becomes a child's own as soon as the child counts
//! one reference in it. CPython 3.12 has objects that are not counted, such as
//! None and small integers: they live as long as the process does. This gives
//! other objects the same mark. Which ones is the caller's choice.
//!
//! It depends on the header of objects, which differs between versions of
//! CPython: there is one function for each that is known, and none for others.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};
use std::collections::HashSet;
use std::ffi::{c_int, c_void};

/// Marks one object as immortal. Returns whether it was not before.
type Fix = unsafe fn(*mut ffi::PyObject) -> bool;

/// Whether an object is immortal.
type IsFixed = unsafe fn(*mut ffi::PyObject) -> bool;

/// What this version of CPython has for it, or `None`. `is_usual`: the build is for 64 bits, with a
/// GIL, and does not check its own counts.
fn known(version: (u8, u8), is_usual: bool) -> Option<(Fix, IsFixed)> {
    match version {
        _ if !is_usual => None,
        (3, 12) => Some((fix_3_12, is_fixed_3_12)),
        (3, 13) => Some((fix_3_13, is_fixed_3_13)),
        _ => None, // 3.11 has no such mark; 3.14 has another
    }
}

/// CPython 3.12, Include/object.h: the low 32 bits of `ob_refcnt` are the count. All ones
/// (`_Py_IMMORTAL_REFCNT`) is the mark, and a count with the highest of them set is never changed
/// downwards.
///
/// # Safety
///
/// The object lives, and the GIL is held.
unsafe fn fix_3_12(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the object lives, its header begins with 64 bits of the count, and nothing else reads
    // or writes them while the GIL is held.
    unsafe {
        let count = object.cast::<u32>().add(LOW);
        let was_counted = count.read() <= HIGHEST_COUNT;
        if was_counted {
            count.write(u32::MAX);
        }
        was_counted
    }
}

/// As `fix_3_12`.
///
/// # Safety
///
/// As `fix_3_12`.
unsafe fn is_fixed_3_12(object: *mut ffi::PyObject) -> bool {
    // SAFETY: as in `fix_3_12`.
    unsafe { object.cast::<u32>().add(LOW).read() == u32::MAX }
}

/// CPython 3.13, Include/object.h: as 3.12, in a build with a GIL.
///
/// # Safety
///
/// As `fix_3_12`.
unsafe fn fix_3_13(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { fix_3_12(object) }
}

/// As `fix_3_13`.
///
/// # Safety
///
/// As `fix_3_12`.
unsafe fn is_fixed_3_13(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { is_fixed_3_12(object) }
}

/// What 32 bits with the highest of them unset can be at most.
const HIGHEST_COUNT: u32 = u32::MAX >> 1;

/// Which half of the 64 bits is the low one.
const LOW: usize = if cfg!(target_endian = "big") { 1 } else { 0 };

/// What is reached so far, and what is still to be looked into.
struct Walk {
    seen: HashSet<usize>,
    left: Vec<*mut ffi::PyObject>,
}

impl Walk {
    fn reach(&mut self, object: *mut ffi::PyObject) {
        if !object.is_null() && self.seen.insert(object.addr()) {
            self.left.push(object);
        }
    }
}

/// Called by `tp_traverse` for each object that another refers to.
extern "C" fn visit(object: *mut ffi::PyObject, walk: *mut c_void) -> c_int {
    // SAFETY: `walk` is the one that `immortalise` has passed, which nothing else uses meanwhile.
    unsafe { &mut *walk.cast::<Walk>() }.reach(object);
    0
}

/// Marks objects as immortal: those among `roots`, and all that they lead to, whose
/// type is one of `kinds`, and every type. Returns how many were marked.
///
/// What is marked is never freed, and no finalizer of it runs. The process keeps what
/// it refers to. To be called before a fork, where no C code on the stack still builds
/// an object.
///
/// `version` is that of the interpreter, and `is_usual` says that it is a build for 64
/// bits with a GIL that does not check its counts. Raises RuntimeError if the counts of
/// such an interpreter are not known, or not as expected.
#[pyfunction]
pub fn immortalise(
    roots: &Bound<'_, PyList>,
    kinds: Vec<Bound<'_, PyType>>,
    version: (u8, u8),
    is_usual: bool,
) -> PyResult<usize> {
    let py = roots.py();
    let (fix, is_fixed) = known(version, is_usual && size_of::<usize>() == 8)
        .ok_or_else(|| PyRuntimeError::new_err("its reference counts are not known"))?;
    // SAFETY: both objects live, and the GIL is held.
    let is_as_expected = unsafe { is_fixed(py.None().as_ptr()) && !is_fixed(roots.as_ptr()) };
    if !is_as_expected {
        return Err(PyRuntimeError::new_err(
            "its reference counts are not as expected",
        ));
    }
    let kinds: HashSet<usize> = kinds.iter().map(|kind| kind.as_ptr().addr()).collect();
    let mut walk = Walk {
        seen: HashSet::new(),
        left: Vec::new(),
    };
    for root in roots.iter() {
        walk.reach(root.as_ptr());
    }
    let mut marked = 0;
    while let Some(object) = walk.left.pop() {
        // SAFETY: no Python code runs and nothing is freed from the first root to the last object,
        // so what a living object refers to lives. `roots` itself is none of them, and `list` no kind.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if let Some(traverse) = (*kind).tp_traverse {
                if ffi::PyObject_IS_GC(object) != 0 {
                    traverse(object, visit, (&raw mut walk).cast());
                }
            }
            let is_kind = kinds.contains(&kind.addr()) || ffi::PyType_Check(object) != 0;
            marked += usize::from(is_kind && fix(object));
        }
    }
    Ok(marked)
}
