//! A client and its connection: the real client core, driven as its skin would.

use super::gateway::BACKLOG_BYTES_MAX;
use super::wires::{Item, Pipe};
use super::{Cluster, Event};
use crate::book::Name;
use crate::check::Checked;
use crate::check::notes::{FrameNote, SentNotes, ViewNote};
use crate::check::told::Told;
use crate::coverage::Exercise;
use bytes::Bytes;
use myriad_client::{Client, ClientConfig, ClientEvent, CrowdEdges};
use myriad_gateway::{ClientInput, ConnId, LaneStatus};
use myriad_wire::client::ViewUpdate;
use myriad_wire::codec::Deframer;
use myriad_wire::limits::CLIENT_MESSAGE_BYTES_MAX;
use myriad_wire::{CloseReason, CommandSeq, Incarnation, LaneEpoch, SessionId};
use std::collections::BTreeMap;

/// Bytes that an enter takes at most, in the simulator's game.
const ENTER_BYTES_MAX: usize = 120;
/// Bytes that an enter takes at least.
const ENTER_BYTES_MIN: usize = 12;

/// About how many subjects of a crowd a client asks in a second: every tick a dozen or more.
const IDENTITIES_PER_S: u32 = 320;

/// One connection, as long as either side knows of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) account: String,
    pub(super) player: usize,
    pub(super) honest: bool,
    /// The life of the gateway at the other end.
    pub(super) node: Incarnation,
    pub(super) gateway: usize,
    pub(super) client: Client,
    /// By how much the client's clock is ahead of the server's, in microseconds.
    clock_ahead_us: u64,
    pub(super) to_client: Pipe,
    pub(super) to_gateway: Pipe,
    deframer: Deframer,
    /// The client reads nothing until then.
    pub(super) reads_from_us: u64,
    timer_us: Option<u64>,
    pub(super) began_us: u64,
    pub(super) client_over: bool,
    pub(super) gateway_over: bool,
    pub(super) session: Option<SessionId>,
    /// How many `Joined` the client has told.
    joins_told: u32,
    /// Of which lane the last `Joined` was that the gateway sent.
    pub(super) joined_epoch: Option<LaneEpoch>,
    /// Under which name of the avatar the client numbers its steps.
    pub(super) numbering: Option<Name>,
    /// The numbers in the book of the commands that have no answer.
    pub(super) numbers: BTreeMap<CommandSeq, i64>,
    pub(super) told: Told,
    pub(super) notes: SentNotes,
    /// The gateway has frozen the view, by the simulator's reckoning.
    pub(super) frozen: bool,
    /// It was frozen since the last view.
    pub(super) was_frozen: bool,
    was_crowded: bool,
}

impl Connection {
    /// Whether the session is in the world, as far as its client knows.
    pub(super) fn is_present(&self) -> bool {
        !self.client_over && self.client.joined().is_some() && self.client.closed().is_none()
    }

    /// Whether nothing explains a correction: an honest player whose avatar is the one that it knows. Where a lane was
    /// replaced, datagrams may bring the place of the new avatar before the stream brings its `Joined`.
    fn is_blameless(&self) -> bool {
        self.honest && self.joins_told == self.notes.joins
    }

    fn local_us(&self, now_us: u64) -> u64 {
        now_us + self.clock_ahead_us
    }

    /// So many bytes wait for the client as the gateway ticks.
    pub(super) fn note_backlog(&mut self, bytes: usize) {
        if self.frozen && bytes <= BACKLOG_BYTES_MAX / 2 {
            self.frozen = false;
        } else if !self.frozen && bytes > BACKLOG_BYTES_MAX {
            self.frozen = true;
        }
        self.was_frozen |= self.frozen;
    }

    /// The gateway took a frame. A client that is told no states of it has no avatar at the lane for the moment, and a
    /// view that stands still.
    pub(super) fn note_frame(&mut self, lane: &LaneStatus, told: bool) {
        self.was_frozen |= !told;
        self.notes.frames.push(FrameNote {
            epoch: lane.epoch,
            tick: lane.tick,
            told,
        });
    }

    /// What is to be known of a view that is sent now.
    pub(super) fn view_note(
        &mut self,
        lane: &LaneStatus,
        update: &ViewUpdate,
        view_bytes_max: usize,
    ) -> ViewNote {
        let room = view_bytes_max.saturating_sub(ENTER_BYTES_MAX) / ENTER_BYTES_MAX;
        let crowded = update.enters.len() >= room.min(view_bytes_max / ENTER_BYTES_MIN);
        let was_crowded = std::mem::replace(&mut self.was_crowded, crowded);
        ViewNote {
            epoch: lane.epoch,
            joined: self.joined_epoch == Some(lane.epoch),
            is_behind: lane.tick < update.tick,
            catches_up: std::mem::take(&mut self.was_frozen),
            crowded: crowded || was_crowded,
        }
    }
}

impl Cluster {
    /// A player connects to a gateway; to one that is down it can't.
    pub(super) fn connect(&mut self, player: usize, gateway: usize) -> Option<ConnId> {
        let node = self.gateways[gateway].node()?;
        self.connections_made += 1;
        let conn = ConnId(self.connections_made);
        let account = self.players[player].account.clone();
        let config = ClientConfig {
            account: account.clone(),
            key: String::new(),
            space: super::lane::SPACE,
            agent: "sim".to_owned(),
            identities_per_s: IDENTITIES_PER_S,
            crowd_edges: CrowdEdges::OneByOne,
        };
        let connection = Connection {
            told: Told::new(&account),
            player,
            honest: self.players[player].honest,
            node,
            gateway,
            client: Client::new(config),
            clock_ahead_us: self.dice.wires.below(10_000_000_000),
            to_client: Pipe::default(),
            to_gateway: Pipe::default(),
            deframer: Deframer::new(CLIENT_MESSAGE_BYTES_MAX),
            reads_from_us: 0,
            timer_us: None,
            began_us: self.now_us,
            client_over: false,
            gateway_over: false,
            session: None,
            joins_told: 0,
            joined_epoch: None,
            numbering: None,
            numbers: BTreeMap::new(),
            notes: SentNotes::default(),
            frozen: false,
            was_frozen: false,
            was_crowded: false,
            account,
        };
        self.note(format_args!(
            "{} connects to gateway {gateway} as {conn:?}",
            connection.account
        ));
        self.connections.insert(conn, connection);
        self.send_to_gateway(conn, Item::Open);
        Some(conn)
    }

    /// What is ready on the stream to the client is read, unless the client does not read.
    pub(super) fn stream_to_client(&mut self, conn: ConnId) -> Checked {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        if now_us < connection.reads_from_us {
            return Ok(());
        }
        let local_us = connection.local_us(now_us);
        while let Some(item) = connection.to_client.take(now_us) {
            match item {
                Item::Open => {}
                Item::Bytes(bytes) => {
                    // A stream does not keep the borders of what was written.
                    let half = self.dice.wires.below(bytes.len() as u64 + 1) as usize;
                    connection.client.handle_stream(&bytes[..half], local_us);
                    connection.client.handle_stream(&bytes[half..], local_us);
                }
                Item::Close(reason) => connection.client.handle_closed(reason),
            }
        }
        self.drive(conn)
    }

    /// A datagram arrives at the client.
    pub(super) fn datagram_to_client(&mut self, conn: ConnId, datagram: Bytes) -> Checked {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(&conn).filter(|one| !one.client_over) else {
            return Ok(());
        };
        let local_us = connection.local_us(now_us);
        connection.client.handle_datagram(datagram, local_us);
        self.drive(conn)
    }

    pub(super) fn client_timer(&mut self, conn: ConnId) -> Checked {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        if connection.timer_us.take_if(|at_us| *at_us <= now_us).is_none() {
            return Ok(());
        }
        let local_us = connection.local_us(now_us);
        connection.client.advance(local_us);
        self.drive(conn)
    }

    /// The client notices that nobody is there any more.
    pub(super) fn client_notices(&mut self, conn: ConnId) -> Checked {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.client.handle_closed(CloseReason::Lost);
        }
        self.drive(conn)
    }

    /// Hears what the client tells and sends what it wants sent.
    pub(super) fn drive(&mut self, conn: ConnId) -> Checked {
        let Some(mut connection) = self.connections.remove(&conn) else {
            return Ok(());
        };
        let over = connection.client_over;
        let heard = if over { Ok(()) } else { self.hear(&mut connection) };
        self.count_told(&mut connection);
        if over || connection.client_over {
            let reason = connection.client.closed().unwrap_or(CloseReason::Lost);
            let told_gateway = over || connection.gateway_over;
            let forgotten = connection.gateway_over;
            let (player, account) = (connection.player, connection.account.clone());
            if !forgotten {
                self.connections.insert(conn, connection);
            }
            if !told_gateway {
                self.send_to_gateway(conn, Item::Close(reason));
            }
            if !over {
                self.note(format_args!("{account} is closed at {conn:?} as {reason:?}"));
                self.player_is_closed(player, conn, reason)?;
            }
            return heard;
        }
        let local_us = connection.local_us(self.now_us);
        let ahead_us = connection.clock_ahead_us;
        connection.client.advance(local_us);
        let stream = connection.client.poll_stream();
        let mut datagrams = Vec::new();
        while let Some(datagram) = connection.client.poll_datagram() {
            datagrams.push(Bytes::from(datagram));
        }
        if let Some(at_us) = connection.client.next_timeout_us() {
            let at_us = at_us.saturating_sub(ahead_us).max(self.now_us + 1);
            if connection.timer_us.is_none_or(|timer_us| at_us < timer_us) {
                connection.timer_us = Some(at_us);
                self.agenda.put(at_us, Event::ClientTimer(conn));
            }
        }
        self.connections.insert(conn, connection);
        if let Some(bytes) = stream {
            self.send_to_gateway(conn, Item::Bytes(bytes.into()));
        }
        for datagram in datagrams {
            self.send_datagram(datagram, |datagram| Event::DatagramToGateway(conn, datagram));
        }
        heard
    }

    /// Takes all events of the client and shows them to the checkers.
    fn hear(&mut self, connection: &mut Connection) -> Checked {
        while let Some(event) = connection.client.poll_event() {
            let (client, notes) = (&connection.client, &connection.notes);
            connection.told.hear(&event, client, notes, &self.history)?;
            match event {
                ClientEvent::CommandResult { seq, refused } => {
                    let number = connection.numbers.remove(&seq);
                    let number = number.ok_or_else(|| {
                        format!("{} is answered twice for command {seq}", connection.account)
                    })?;
                    if refused.is_none() {
                        self.book.accepted(number)?;
                    }
                }
                ClientEvent::Corrected {
                    tick,
                    predicted,
                    actual,
                } if connection.is_blameless() => {
                    return Err(format!(
                        "{} is honest, and corrected in tick {tick} from {predicted:?} to {actual:?}",
                        connection.account
                    ));
                }
                ClientEvent::Closed(_) => connection.client_over = true,
                ClientEvent::Joined => connection.joins_told += 1,
                ClientEvent::Enter { .. }
                | ClientEvent::Change { .. }
                | ClientEvent::Event { .. }
                | ClientEvent::Leave { .. }
                | ClientEvent::Identity { .. }
                | ClientEvent::Owner { .. }
                | ClientEvent::Corrected { .. } => {}
                ClientEvent::EnterTogether { .. } | ClientEvent::EventOf { .. } => {
                    unreachable!("its clients are told one by one")
                }
            }
        }
        let (client, notes) = (&connection.client, &connection.notes);
        connection.told.settle(client, notes, &self.history)
    }

    fn count_told(&mut self, connection: &mut Connection) {
        let counts = std::mem::take(&mut connection.told.counts);
        for (exercise, count) in [
            (Exercise::Entered, counts.enters),
            (Exercise::Changed, counts.changes),
            (Exercise::Happened, counts.events),
            (Exercise::Vanished, counts.leaves),
            (Exercise::State, counts.states),
            (Exercise::ViewChecked, counts.views),
            (Exercise::Identified, counts.identities),
            (Exercise::BandChecked, counts.bands),
        ] {
            self.coverage.add(exercise, count);
        }
    }

    /// What is ready on the stream to the gateway arrives there, as the edge hands it over.
    pub(super) fn stream_to_gateway(&mut self, conn: ConnId) -> Checked {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        let core = self.gateways[connection.gateway].core.as_mut();
        let Some(core) = core.filter(|core| core.node == connection.node && !connection.gateway_over) else {
            return Ok(());
        };
        while let Some(item) = connection.to_gateway.take(now_us) {
            match item {
                Item::Open => core.gateway.handle_client(conn, ClientInput::Connected),
                Item::Bytes(bytes) => {
                    connection.deframer.handle_bytes(&bytes);
                    while let Some(message) = connection
                        .deframer
                        .poll_message()
                        .map_err(|fault| format!("{} sends nonsense: {fault}", connection.account))?
                    {
                        core.gateway.handle_client(conn, ClientInput::Message(message));
                    }
                }
                Item::Close(reason) => {
                    core.gateway.handle_client(conn, ClientInput::Closed(reason));
                    connection.gateway_over = true;
                    if connection.client_over {
                        self.connections.remove(&conn);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// A datagram arrives at the gateway.
    pub(super) fn datagram_to_gateway(&mut self, conn: ConnId, datagram: Bytes) -> Checked {
        if let Some(connection) = self.connections.get(&conn).filter(|one| !one.gateway_over)
            && let Some(core) = &mut self.gateways[connection.gateway].core
            && core.node == connection.node
        {
            core.gateway.handle_client(conn, ClientInput::Datagram(datagram));
        }
        Ok(())
    }

    /// A connection is cut without a word: both ends notice later, each at its own time.
    pub(super) fn connection_is_lost(&mut self, conn: ConnId) {
        let client_us = self.now_us + self.dice.mishaps.within(10_000..=1_500_000);
        let gateway_us = self.now_us + self.dice.mishaps.within(10_000..=1_500_000);
        self.agenda.put(client_us, Event::ClientNotices(conn));
        if let Some(connection) = self.connections.get_mut(&conn) {
            // Nothing that is under way arrives before the end does.
            let at_us = connection
                .to_gateway
                .put(gateway_us, Item::Close(CloseReason::Lost));
            self.agenda.put(at_us, Event::StreamToGateway(conn));
        }
        self.coverage.note(Exercise::ConnectionLost);
        self.note(format_args!("{conn:?} is lost"));
    }
}
