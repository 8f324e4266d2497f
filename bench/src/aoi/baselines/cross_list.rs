//! Cross-linked lists: on each axis one doubly linked list of all entities and of the edges of all their boxes,
//! ordered by coordinate. Who moves is carried along the lists node by node; an entity that passes an edge enters or
//! leaves that box's range on the axis, and is in the box when it is in range on both.
//!
//! The boxes have the leave radius; who of those in the box is in the circle is told by a pass over the boxes'
//! lists, which servers that are content with boxes do not need. It is timed apart.

use super::grid_vec::Grid;
use super::{Baseline, Reach, distance2};
use crate::aoi::world::World;
use crate::cpu;
use myriad_aoi::{Edge, Event, ObserverId, SubjectId};

/// What a node is: the lower edge of its entity's box, the entity, or the upper edge. In this order at equal
/// coordinates, so that an edge belongs to the box.
const LOWER: i64 = 0;
const ENTITY: i64 = 1;
const UPPER: i64 = 2;
const KINDS: u32 = 3;

/// The lists, and who is in which box.
#[derive(Debug)]
pub(super) struct CrossList {
    reach: Reach,
    axes: [Axis; 2],
    boxes: Boxes,
    /// CPU time of the part without circles, by tick.
    pub(super) boxes_ms: Vec<f64>,
}

/// One axis: node `3 e + kind` is of entity `e`; two more nodes are the ends.
#[derive(Debug)]
struct Axis {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Coordinate and kind, so that comparing keys orders nodes.
    key: i64,
    previous: u32,
    next: u32,
}

/// By entity: who is in its box, ascending by id.
#[derive(Debug)]
struct Boxes(Vec<Vec<Member>>);

/// An id, whether it is in view, and whether it has left the box since the last pass.
#[derive(Clone, Copy, Debug)]
struct Member {
    id: u32,
    in_view: bool,
    gone: bool,
}

impl CrossList {
    pub(super) fn new(world: &World) -> Self {
        assert!(!world.directed, "boxes are of one size and everybody has one");
        let reach = Reach::of(world.radii.first().copied().unwrap_or(1));
        let axis = |axis: usize| Axis::new(world.places.iter().map(|place| place[axis]), reach.leave());
        let mut new = Self {
            reach,
            axes: [axis(0), axis(2)],
            boxes: Boxes::new(world, reach.leave()),
            boxes_ms: Vec::new(),
        };
        new.tell(world, &mut Vec::new());
        new
    }

    /// Who is in the circle: one pass over all boxes.
    fn tell(&mut self, world: &World, events: &mut Vec<Event>) {
        for (o, members) in self.boxes.0.iter_mut().enumerate() {
            let (at, sees) = (world.places[o], world.layers[o]);
            members.retain_mut(|member| {
                let place = world.places[member.id as usize];
                let d2 = distance2(place[0] - at[0], place[2] - at[2]);
                let near = d2 <= self.reach.enter2 || member.in_view && d2 <= self.reach.leave2;
                let sees = !member.gone && near && world.layers[member.id as usize] & sees != 0;
                if sees != member.in_view {
                    member.in_view = sees;
                    events.push(Event {
                        observer: ObserverId(o as u32),
                        subject: SubjectId(member.id),
                        edge: if sees { Edge::Enter } else { Edge::Leave },
                    });
                }
                !member.gone
            });
        }
    }
}

impl Baseline for CrossList {
    fn tick(&mut self, world: &World, events: &mut Vec<Event>) {
        let before = cpu::thread_cpu_ns();
        let [x, z] = &mut self.axes;
        for &id in &world.movers {
            let place = world.places[id as usize];
            x.carry(id, place[0], self.reach.leave(), z, &mut self.boxes);
            z.carry(id, place[2], self.reach.leave(), x, &mut self.boxes);
        }
        self.boxes_ms.push((cpu::thread_cpu_ns() - before) as f64 / 1e6);
        self.tell(world, events);
    }
}

fn key(coordinate: i32, kind: i64) -> i64 {
    i64::from(coordinate) << 2 | kind
}

impl Axis {
    fn new(coordinates: impl Iterator<Item = i32>, reach: i32) -> Self {
        let node = |key| Node {
            key,
            previous: 0,
            next: 0,
        };
        let around = coordinates.flat_map(|at| {
            let keys = [key(at - reach, LOWER), key(at, ENTITY), key(at + reach, UPPER)];
            keys.map(node)
        });
        let mut nodes: Vec<Node> = around.collect();
        let (first, last) = (nodes.len() as u32, nodes.len() as u32 + 1);
        let mut order: Vec<u32> = (0..first).collect();
        order.sort_by_key(|&i| nodes[i as usize].key);
        nodes.extend([node(i64::MIN), node(i64::MAX)]);
        let ends = std::iter::once(first).chain(order).chain(std::iter::once(last));
        let mut axis = Self { nodes };
        ends.reduce(|a, b| {
            axis.link(a, b);
            b
        });
        axis
    }

    /// Puts the three nodes of an entity where it is now. Its box goes ahead of it, so that it stays inside.
    fn carry(&mut self, id: u32, to: i32, reach: i32, other: &Self, boxes: &mut Boxes) {
        let new = [key(to - reach, LOWER), key(to, ENTITY), key(to + reach, UPPER)];
        let upwards = new[1] > self.nodes[(id * KINDS + 1) as usize].key;
        let order = if upwards { [2, 1, 0] } else { [0, 1, 2] };
        for kind in order {
            self.carry_node(id * KINDS + kind, new[kind as usize], other, boxes);
        }
    }

    fn carry_node(&mut self, moved: u32, key: i64, other: &Self, boxes: &mut Boxes) {
        let Node {
            key: old,
            previous,
            next,
        } = self.nodes[moved as usize];
        self.nodes[moved as usize].key = key;
        if key > old {
            let mut at = next;
            while self.nodes[at as usize].key < key {
                pass(
                    moved,
                    at,
                    key & 3,
                    self.nodes[at as usize].key & 3,
                    true,
                    other,
                    boxes,
                );
                at = self.nodes[at as usize].next;
            }
            if at != next {
                self.link(previous, next);
                self.link(self.nodes[at as usize].previous, moved);
                self.link(moved, at);
            }
        } else {
            let mut at = previous;
            while self.nodes[at as usize].key > key {
                pass(
                    moved,
                    at,
                    key & 3,
                    self.nodes[at as usize].key & 3,
                    false,
                    other,
                    boxes,
                );
                at = self.nodes[at as usize].previous;
            }
            if at != previous {
                self.link(previous, next);
                self.link(moved, self.nodes[at as usize].next);
                self.link(at, moved);
            }
        }
    }

    fn link(&mut self, before: u32, behind: u32) {
        self.nodes[before as usize].next = behind;
        self.nodes[behind as usize].previous = before;
    }

    /// Whether an entity is in range of a box on this axis.
    fn is_in_range(&self, owner: u32, id: u32) -> bool {
        let key = |entity: u32, kind: i64| self.nodes[(entity * KINDS + kind as u32) as usize].key;
        (key(owner, LOWER)..key(owner, UPPER)).contains(&key(id, ENTITY))
    }
}

/// A node passes another, upwards or downwards: if one is an entity and the other an edge of a box, then it enters or
/// leaves the box's range, and with that the box if it is in range on the other axis.
fn pass(
    moved: u32,
    passed: u32,
    kind: i64,
    passed_kind: i64,
    upwards: bool,
    other: &Axis,
    boxes: &mut Boxes,
) {
    let (owner, id, edge, entity_goes_up) = match (kind, passed_kind) {
        (ENTITY, LOWER | UPPER) => (passed / KINDS, moved / KINDS, passed_kind, upwards),
        (LOWER | UPPER, ENTITY) => (moved / KINDS, passed / KINDS, kind, !upwards),
        _ => return,
    };
    if !other.is_in_range(owner, id) {
        return;
    }
    if entity_goes_up == (edge == LOWER) {
        boxes.enter(owner, id);
    } else {
        boxes.leave(owner, id);
    }
}

impl Boxes {
    fn new(world: &World, reach: i32) -> Self {
        let mut grid = Grid::new(reach);
        grid.rebuild(world);
        let members = world.places.iter().map(|&[x, _, z]| {
            let near = grid.around(x, z, reach).flatten();
            let inside = near.filter(|slot| (slot.x - x).abs() <= reach && (slot.z - z).abs() <= reach);
            let mut members: Vec<Member> = inside.map(|slot| Member::new(slot.id)).collect();
            members.sort_unstable_by_key(|member| member.id);
            members
        });
        Self(members.collect())
    }

    fn enter(&mut self, owner: u32, id: u32) {
        let members = &mut self.0[owner as usize];
        match members.binary_search_by_key(&id, |member| member.id) {
            Ok(at) => members[at].gone = false,
            Err(at) => members.insert(at, Member::new(id)),
        }
    }

    fn leave(&mut self, owner: u32, id: u32) {
        let members = &mut self.0[owner as usize];
        let at = members.binary_search_by_key(&id, |member| member.id);
        members[at.expect("who leaves a box was in it")].gone = true;
    }
}

impl Member {
    fn new(id: u32) -> Self {
        Self {
            id,
            in_view: false,
            gone: false,
        }
    }
}
