//! Watches the largest piece of memory that a thread asks for, so that tests can show that hostile bytes do not
//! make a decoder ask for much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watching;

// SAFETY: All is handed on to the system's allocator as it came; a thread-local number is noted beside it, whose
// access allocates nothing, since it is constant at first and needs no destructor.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: The caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: The caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: The caller keeps the contract.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: The caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

fn note(bytes: usize) {
    LARGEST.set(LARGEST.get().max(bytes));
}

/// The largest piece, in bytes, that `action` asks for on this thread.
pub(crate) fn largest_in(action: impl FnOnce()) -> usize {
    LARGEST.set(0);
    action();
    LARGEST.get()
}
