//! A steady tick allocates nothing: everybody moves, views change, and every buffer is already there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use myriad_aoi::{Config, Engine, Observer, ObserverId, Subject, SubjectId, TrapId};

/// The system's allocator, counting per thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches only a thread-local cell
// that needs neither allocation nor destruction.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout, because `alloc` asks nobody else.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SUBJECTS: u32 = 500;
const OBSERVERS: u32 = 40;

/// Everybody walks in circles that bring the same views back every 20 ticks.
fn place(id: u32, tick: u32) -> [i32; 3] {
    let step = ((tick + id) % 20) as i32;
    let (column, row) = ((id % 25) as i32, (id / 25) as i32);
    [
        column * 100 + (step - 10).abs() * 9,
        0,
        row * 100 - (step - 10).abs() * 7,
    ]
}

fn tick(engine: &mut Engine, tick: u32) -> usize {
    for id in 0..SUBJECTS {
        engine.move_subject(SubjectId(id), place(id, tick));
    }
    for id in 0..OBSERVERS {
        engine.move_observer(ObserverId(id), place(id * 7, tick));
    }
    engine.update();
    engine.events().len() + engine.trap_events().len() + engine.watched_changes().len()
}

#[test]
fn a_steady_tick_allocates_nothing() {
    let mut engine = Engine::new(Config {
        cell_size: 100,
        ..Config::default()
    });
    for id in 0..SUBJECTS {
        let appeal = if id % 50 == 0 { 900 } else { 0 };
        engine.insert_subject(
            SubjectId(id),
            Subject {
                position: place(id, 0),
                layers: 1,
                appeal,
            },
        );
    }
    for id in 0..OBSERVERS {
        let radius = if id % 2 == 0 { 300 } else { 1_500 };
        engine.insert_observer(
            ObserverId(id),
            Observer {
                position: place(id * 7, 0),
                radius,
                sees: 1,
                avatar: None,
            },
        );
        engine.insert_trap(TrapId(id), place(id * 3, 0), 120, 1);
    }
    // One thread, and inside its pool: nothing is handed over through rayon's queues, whose blocks are its own.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread can be started");
    let (edges, allocations) = pool.install(|| {
        let warm: usize = (0..40).map(|now| tick(&mut engine, now)).sum();
        assert!(warm > 0);
        let before = ALLOCATIONS.get();
        let edges: usize = (40..80).map(|now| tick(&mut engine, now)).sum();
        (edges, ALLOCATIONS.get() - before)
    });
    assert!(edges > 1_000, "only {edges} edges: not a busy tick");
    assert_eq!(allocations, 0);
}
