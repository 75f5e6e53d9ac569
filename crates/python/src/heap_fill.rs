//! Fills the gaps in this process's heap before a fork, so that a child puts
//! its objects into fresh pages.
//!
//! A page that parent and child share becomes the child's own as soon as the
//! child writes one object into it. Freed objects leave gaps all over the pages
//! of the parent, and an allocator uses those first: a few thousand small
//! objects make some hundred pages private that way. With the gaps filled, the
//! child's objects lie side by side.
//!
//! It depends on where the two allocators place blocks, and on none of their
//! internal structures: it follows no address that they did not return. With
//! other allocators (`PYTHONMALLOC`, a preloaded malloc) it allocates a MiB or
//! two and gains nothing.

use pyo3::ffi::{PyObject_Free, PyObject_Malloc};
use pyo3::prelude::*;

/// Allocates the free memory between the objects of this process, and keeps it.
/// Returns its size in bytes. To be called before a fork, on the thread that
/// forks: the child's objects then lie in pages of their own, and fewer shared
/// pages are copied.
#[pyfunction]
pub fn fill_heap(_held: Python<'_>) -> usize {
    let in_pools = (ALIGNMENT..=LARGEST_SMALL)
        .step_by(ALIGNMENT)
        .map_while(fill_pools);
    in_pools.sum::<usize>() + fill_chunks()
}

/// Of CPython's allocator (Objects/obmalloc.c, 3.10 and newer): requests up to
/// `LARGEST_SMALL` bytes come from pools, one size each.
const ALIGNMENT: usize = 16;
const LARGEST_SMALL: usize = 512;
const POOL_BYTES: usize = 1 << 14;
const POOL_HEADER_BYTES: usize = 48;

/// The most that is allocated for one size. An allocator that has more free is not the
/// expected one.
const MAX_BYTES: usize = 1 << 20;

/// How many of the smallest blocks a pool has.
const MOST_BLOCKS: usize = (POOL_BYTES - POOL_HEADER_BYTES) / ALIGNMENT;

/// Allocates blocks of one size until all blocks of a pool come in order: that
/// pool was empty, and is freed again. `None`: there is no empty pool, for this
/// size or any other.
fn fill_pools(size: usize) -> Option<usize> {
    let whole = (POOL_BYTES - POOL_HEADER_BYTES) / size;
    // The blocks that came in order. Each is freed by the pointer that it came with. The array is on
    // the stack: memory of its own would be taken from the heap that is looked at.
    let mut pool = [std::ptr::null_mut(); MOST_BLOCKS];
    let mut in_a_row = 0;
    for taken in (0..MAX_BYTES).step_by(size) {
        // SAFETY: the GIL is held, and blocks are freed or kept, never read or written.
        let block = unsafe { PyObject_Malloc(size) };
        if block.is_null() {
            return None;
        }
        if block.addr() % POOL_BYTES == POOL_HEADER_BYTES {
            (pool[0], in_a_row) = (block, 0);
        }
        let is_next = block.addr() == pool[0].addr() + in_a_row * size;
        if let (true, Some(place)) = (is_next, pool.get_mut(in_a_row)) {
            *place = block;
            in_a_row += 1;
        } else {
            in_a_row = 0;
        }
        if in_a_row == whole {
            for &block in pool.iter().take(whole).rev() {
                // SAFETY: the allocator returned this pointer above, and it is freed once.
                unsafe { PyObject_Free(block) };
            }
            return Some((taken + size).saturating_sub(whole * size));
        }
    }
    None
}

/// Sizes to allocate with malloc, from one that is never a mapping of its own
/// down to the smallest.
#[cfg(target_env = "gnu")]
fn heap_sizes() -> impl Iterator<Item = usize> {
    const FROM: usize = 1 << 16;
    const FINE: usize = 1 << 10;
    const SMALLEST: usize = 24;
    std::iter::successors(Some(FROM), |size| match *size {
        FINE.. => Some(size - size / 8),
        size => size.checked_sub(ALIGNMENT),
    })
    .map(|size| size / ALIGNMENT * ALIGNMENT + 8) // a chunk has a header of 8
    .take_while(|size| *size >= SMALLEST)
}

/// Allocates chunks with malloc until they come from the top of the heap, which
/// was never used before.
#[cfg(target_env = "gnu")]
fn fill_chunks() -> usize {
    unsafe extern "C" {
        fn sbrk(increment: libc::intptr_t) -> *mut libc::c_void;
    }
    // SAFETY: both only return where the heap ends, and how much of its end is
    // free.
    let (end, free) = unsafe { (sbrk(0).addr(), libc::mallinfo().keepcost) };
    // `keepcost` is an int. If it overflows in a very large heap, nothing is allocated.
    let top = end.saturating_sub(usize::try_from(free).unwrap_or(end));
    heap_sizes().map(|size| fill_below(top, size)).sum()
}

#[cfg(not(target_env = "gnu"))]
fn fill_chunks() -> usize {
    0
}

/// Allocates chunks of one size until none is below `top`.
#[cfg(target_env = "gnu")]
fn fill_below(top: usize, size: usize) -> usize {
    for taken in (0..MAX_BYTES).step_by(size) {
        // SAFETY: the chunk is freed or kept, never read or written.
        unsafe {
            let chunk = libc::malloc(size);
            if chunk.is_null() || chunk.addr() >= top {
                libc::free(chunk);
                return taken;
            }
        }
    }
    MAX_BYTES
}
