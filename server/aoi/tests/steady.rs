//! A steady tick allocates nothing: everybody moves, views change, and every buffer is already there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use myriad_aoi::{Config, Engine, Observer, ObserverId, Shape, Subject, SubjectId, TrapId};

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
/// Several rounds of the walk: what an engine does little by little, it has done in each of its states by then.
const WARM_TICKS: u32 = 120;

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

fn tick(engine: &mut Engine, shape: Shape, tick: u32) -> usize {
    for id in 0..SUBJECTS {
        engine.move_subject(SubjectId(id), place(id, tick));
    }
    if shape == Shape::Directed {
        for id in 0..OBSERVERS {
            engine.move_observer(ObserverId(id), place(id * 7, tick));
        }
    }
    engine.update();
    engine.events_len() + engine.trap_events().len() + engine.watched_changes().len()
}

/// A crowd of which some have an appeal, and traps among them.
fn crowd(shape: Shape) -> Engine {
    let mut engine = Engine::new(Config {
        shape,
        ..Config::default()
    });
    for id in 0..SUBJECTS {
        let appeal = if id % 50 == 0 { 900 } else { 0 };
        let subject = Subject {
            position: place(id, 0),
            layers: 1,
            appeal,
        };
        engine.insert_subject(SubjectId(id), subject);
    }
    for id in 0..OBSERVERS {
        let observer = match shape {
            Shape::Directed => Observer {
                position: place(id * 7, 0),
                radius: if id % 2 == 0 { 300 } else { 1_500 },
                sees: 1,
                avatar: None,
            },
            Shape::Mutual { radius } => Observer {
                position: place(id, 0),
                radius,
                sees: 1,
                avatar: Some(SubjectId(id)),
            },
        };
        engine.insert_observer(ObserverId(id), observer);
        engine.insert_trap(TrapId(id), place(id * 3, 0), 120, 1);
    }
    engine
}

/// Everybody walks, and after a while nothing is allocated any more.
fn check(shape: Shape) {
    let mut engine = crowd(shape);
    // One thread, and inside its pool: nothing is handed over through rayon's queues, whose blocks are its own.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread can be started");
    let (edges, allocations) = pool.install(|| {
        let warm: usize = (0..WARM_TICKS).map(|now| tick(&mut engine, shape, now)).sum();
        assert!(warm > 0);
        let before = ALLOCATIONS.get();
        let ticks = WARM_TICKS..WARM_TICKS + 60;
        let edges: usize = ticks.map(|now| tick(&mut engine, shape, now)).sum();
        (edges, ALLOCATIONS.get() - before)
    });
    assert!(edges > 1_000, "only {edges} edges: not a busy tick");
    assert_eq!(allocations, 0, "in {edges} edges, {shape:?}");
}

#[test]
fn a_steady_tick_of_a_directed_engine_allocates_nothing() {
    check(Shape::Directed);
}

#[test]
fn a_steady_tick_of_a_mutual_engine_allocates_nothing() {
    for radius in [300, 1_500] {
        check(Shape::Mutual { radius });
    }
}
