//! The table of sessions, by connection, by id and by number.

use crate::config::GatewayConfig;
use crate::io::ConnId;
use crate::session::Session;
use myriad_aoi::{Edge, Event, ObserverId};
use myriad_wire::SessionId;
use std::collections::BTreeMap;

/// All sessions. A session's number is dense, and another's after its end; as an observer it has the same number.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    by_conn: BTreeMap<ConnId, u32>,
    by_id: BTreeMap<SessionId, u32>,
    opened: u64,
}

impl Sessions {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// Begins the session of a connection that has none.
    pub(crate) fn open(&mut self, conn: ConnId, now: u64, config: &GatewayConfig) {
        self.opened += 1;
        let id = SessionId::new(config.incarnation, self.opened);
        let session = Some(Box::new(Session::new(conn, id, now, config)));
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        if number as usize == self.slots.len() {
            self.slots.push(session);
        } else {
            self.slots[number as usize] = session;
        }
        let before = self.by_conn.insert(conn, number);
        assert!(before.is_none(), "a connection has one session");
        self.by_id.insert(id, number);
    }

    /// Forgets the session with this number.
    pub(crate) fn remove(&mut self, observer: ObserverId) {
        let session = self.slots[observer.0 as usize]
            .take()
            .expect("a session is removed once");
        self.by_conn.remove(&session.conn);
        self.by_id.remove(&session.id);
        self.free.push(observer.0);
    }

    /// The session of a connection.
    pub(crate) fn of_conn(&mut self, conn: ConnId) -> Option<&mut Session> {
        let number = *self.by_conn.get(&conn)?;
        self.slots[number as usize].as_deref_mut()
    }

    /// The session with this id.
    pub(crate) fn of_id(&mut self, id: SessionId) -> Option<&mut Session> {
        let number = *self.by_id.get(&id)?;
        self.slots[number as usize].as_deref_mut()
    }

    /// Brings everybody's view up to the edges of an update of the interest engine, in the engine's order.
    pub(crate) fn take_edges(&mut self, edges: impl Iterator<Item = Event>) {
        for event in edges {
            let session = self.slots[event.observer.0 as usize]
                .as_deref_mut()
                .expect("only sessions observe");
            let changed = match event.edge {
                Edge::Enter => session.in_view.insert(event.subject),
                Edge::Leave => session.in_view.remove(event.subject),
            };
            assert!(changed, "{event:?} is an edge of a view that has it already");
            match event.edge {
                Edge::Enter => session.in_view_count += 1,
                Edge::Leave => session.in_view_count -= 1,
            }
        }
    }

    /// All of them with their numbers, ascending.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ObserverId, &mut Session)> {
        let numbered = self.slots.iter_mut().zip(0..);
        numbered.filter_map(|(slot, number)| Some((ObserverId(number), slot.as_deref_mut()?)))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(Option::as_deref)
    }
}
