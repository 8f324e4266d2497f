//! Counts allocations, so that a report can say that a steady tick makes none.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

/// Allocations and reallocations so far, of all threads.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The server's allocator, counting. To be installed by the binary with `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// How many allocations there were; `None` if [`Counting`] is not installed.
pub(super) fn count() -> Option<u64> {
    let count = COUNT.load(Ordering::Relaxed);
    // Rust's runtime allocates before `main`.
    (count > 0).then_some(count)
}

// SAFETY: every call is handed to mimalloc unchanged; counting touches only an atomic and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are mimalloc's.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are mimalloc's.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the pointer came from mimalloc with this layout, because nobody else is asked.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from mimalloc with this layout, because nobody else is asked.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}
