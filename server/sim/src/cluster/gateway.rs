//! A gateway's node: ticks it on frames and at least once a period, as the real node does, and shows what it sends
//! to the checkers.

use super::lane::{LANE, LaneNode, SPACE};
use super::wires::Item;
use super::{Cluster, Event};
use crate::check::crowd::Reader;
use crate::check::notes::{ViewNote, Way};
use crate::check::sent::{check_datagram, check_identities};
use crate::check::{Checked, demand};
use crate::coverage::Exercise;
use bytes::Bytes;
use myriad_gateway::{ClientOutput, ConnId, Gateway, GatewayConfig, LaneStatus, Outputs};
use myriad_wire::client::{ServerMessage, ViewUpdate};
use myriad_wire::codec::LENGTH_BYTES;
use myriad_wire::crowd::message::is_crowd;
use myriad_wire::fabric::Envelope;
use myriad_wire::{CloseReason, GatewayId, Incarnation, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// Unread bytes beyond which a client's view is frozen.
pub(super) const BACKLOG_BYTES_MAX: usize = 4200;
/// By how much a frozen client's backlog may grow: one view, and answers to its commands.
const BACKLOG_SLACK_BYTES: usize = 64 * 1024;

/// A link's streams are numbered from here up by its sender's incarnation.
const INCARNATION_SHIFT: u32 = 32;

/// One life of a gateway's node, or its absence.
#[derive(Debug)]
pub(super) struct GatewayNode {
    /// `None` while it is down.
    pub(super) core: Option<GatewayCore>,
    /// Nothing passes between it and the lane until then.
    pub(super) cut_until_us: u64,
}

/// The core, which has no words for itself.
pub(super) struct GatewayCore {
    pub(super) gateway: Gateway,
    pub(super) node: Incarnation,
    ticked_us: u64,
}

impl std::fmt::Debug for GatewayCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayCore")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl GatewayNode {
    /// A node that is not running.
    pub(super) fn down() -> Self {
        Self {
            core: None,
            cut_until_us: 0,
        }
    }

    /// Whether this is the running gateway `id`.
    pub(super) fn is(&self, id: GatewayId) -> bool {
        self.core.as_ref().is_some_and(|core| core.node.0 == id.0)
    }

    /// The life of the running node.
    pub(super) fn node(&self) -> Option<Incarnation> {
        self.core.as_ref().map(|core| core.node)
    }
}

impl Cluster {
    /// A gateway's node starts, as another gateway than any before.
    pub(super) fn gateway_starts(&mut self, gateway: usize) -> Checked {
        if self.gateways[gateway].core.is_some() {
            return Ok(());
        }
        let node = self.next_incarnation();
        let config = GatewayConfig {
            hz: self.clock.hz(),
            login_timeout_s: 3.0,
            near_target: self.settings.near_target,
            view_bytes_max: self.settings.view_bytes_max,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            crowd_from: self.settings.crowd_from,
            keyframe_bytes_max: self.settings.keyframe_bytes_max,
            event_bytes_per_tick: self.settings.event_bytes_per_tick,
            identity_bytes_per_tick: self.settings.identity_bytes_per_tick,
            slots_max: 4096,
            sessions_max: 64,
            ..GatewayConfig::new(GatewayId(node.0), node, SPACE, LANE)
        };
        self.gateways[gateway].core = Some(GatewayCore {
            gateway: Gateway::new(config),
            node,
            ticked_us: self.now_us,
        });
        self.note(format_args!("gateway {gateway} starts as {node}"));
        let at_us = self.now_us + self.clock.period_us();
        self.agenda.put(at_us, Event::GatewayPulse(gateway, node));
        Ok(())
    }

    /// A gateway ticks if no frame has made it tick for a period.
    pub(super) fn gateway_pulse(&mut self, gateway: usize, node: Incarnation) -> Checked {
        let period_us = self.clock.period_us();
        let Some(core) = self.gateways[gateway]
            .core
            .as_ref()
            .filter(|core| core.node == node)
        else {
            return Ok(());
        };
        let mut next_us = core.ticked_us + period_us;
        if next_us <= self.now_us {
            next_us = self.now_us + period_us;
            self.gateway_tick(gateway)?;
        }
        self.agenda.put(next_us, Event::GatewayPulse(gateway, node));
        Ok(())
    }

    /// A message of the lane arrives.
    pub(super) fn gateway_hears(&mut self, gateway: usize, envelope: &Envelope, body: Bytes) -> Checked {
        if let Some(core) = &mut self.gateways[gateway].core {
            let stream = envelope.link.stream;
            let is_of = |lane: &LaneNode| stream >> INCARNATION_SHIFT == u64::from(lane.node.0);
            let is_replaced = core.gateway.status().lanes[0].epoch.0 == self.epochs;
            if is_replaced && self.lingerer.as_ref().is_some_and(is_of) {
                self.coverage.note(Exercise::DeadOwnerHeard);
            }
            core.gateway.handle_fabric(envelope, body);
        }
        while self.gateways[gateway]
            .core
            .as_ref()
            .is_some_and(|core| core.gateway.frames_ready())
        {
            self.gateway_tick(gateway)?;
        }
        Ok(())
    }

    fn gateway_tick(&mut self, gateway: usize) -> Checked {
        let now_us = self.now_us;
        let Some(core) = &mut self.gateways[gateway].core else {
            return Ok(());
        };
        let at_gateway = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| connection.node == core.node && !connection.gateway_over);
        for (conn, connection) in at_gateway {
            let backlog = connection.to_client.bytes();
            core.gateway.set_backlog(*conn, backlog);
            connection.note_backlog(backlog);
            demand!(
                backlog <= BACKLOG_BYTES_MAX + BACKLOG_SLACK_BYTES,
                "{} bytes wait for {}, who does not read",
                backlog,
                connection.account
            );
        }
        core.ticked_us = now_us;
        let mut output = Outputs::default();
        let counters = core.gateway.counters();
        let (frames, deferred) = (counters.frames_applied, counters.crowd_keyframes_deferred);
        core.gateway.tick(&mut output);
        let node = core.node;
        let has_news = core.gateway.counters().frames_applied > frames;
        let has_deferred = core.gateway.counters().crowd_keyframes_deferred > deferred;
        let lane = core.gateway.status().lanes[0];
        let told: BTreeSet<ConnId> = output.clients.iter().filter_map(told_states).collect();
        for (envelope, body) in output.fabric {
            self.fabric_send(envelope, body);
        }
        if has_deferred {
            let here = self.connections.values_mut().filter(|one| one.node == node);
            here.for_each(|connection| connection.notes.deferred = lane.tick);
        }
        for output in output.clients {
            self.gateway_sends(output, &lane)?;
        }
        self.check_crowds(node, &lane, &told)?;
        for (conn, connection) in self.connections.iter_mut().filter(|_| has_news) {
            if connection.node == node {
                connection.note_frame(&lane, told.contains(conn));
            }
        }
        Ok(())
    }

    fn gateway_sends(&mut self, output: ClientOutput, lane: &LaneStatus) -> Checked {
        match output {
            ClientOutput::Message(conn, message) => {
                self.digest.put(self.now_us, &message);
                self.note_message(conn, &message, lane)?;
                self.send_to_client(conn, Item::Bytes(message));
            }
            ClientOutput::Datagram(conn, datagram) => {
                if let Some(connection) = self.connections.get(&conn) {
                    let lanes = &connection.notes.lanes;
                    check_datagram(&datagram, &connection.account, lanes, lane.epoch, &self.history)?;
                }
                self.send_datagram(datagram, |datagram| Event::DatagramToClient(conn, datagram));
            }
            ClientOutput::Close(conn, reason) => {
                self.send_to_client(conn, Item::Close(reason));
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.gateway_over = true;
                }
            }
        }
        Ok(())
    }

    /// Notes what a message says of lanes and ticks, for the checkers.
    fn note_message(&mut self, conn: ConnId, message: &[u8], lane: &LaneStatus) -> Checked {
        let epoch = lane.epoch;
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        if is_crowd(&message[LENGTH_BYTES..]) {
            return self.note_crowd(conn, &message[LENGTH_BYTES..], lane);
        }
        let message = ServerMessage::from_bytes(&message[LENGTH_BYTES..])
            .map_err(|fault| format!("{} is sent what can't be read: {fault}", connection.account))?;
        match message {
            ServerMessage::LoggedIn(logged_in) => {
                connection.session = Some(logged_in.session);
                self.book.open_session(logged_in.session, connection.honest);
            }
            ServerMessage::Joined(joined) => {
                connection.notes.lanes.insert(joined.avatar.lane, epoch);
                connection.joined_epoch = Some(epoch);
                connection.notes.joins += 1;
                let exercise = if connection.notes.joins > 1 {
                    Exercise::JoinedAgain
                } else {
                    Exercise::Joined
                };
                self.coverage.note(exercise);
            }
            ServerMessage::View(update) => {
                for enter in &update.enters {
                    connection.notes.lanes.entry(enter.subject.lane).or_insert(epoch);
                }
                demand!(
                    !matches!(connection.notes.way_now(), Way::Crowd { .. }),
                    "{} is told a view of tick {} while it is in a crowd",
                    connection.account,
                    update.tick
                );
                let note = connection.view_note(lane, &update, self.settings.view_bytes_max);
                if note.is_behind {
                    connection.notes.behind.insert(update.tick);
                }
                put_note(&mut connection.notes.views, &update, note);
            }
            ServerMessage::Listed(listed) => {
                let notes = &mut connection.notes;
                let way = if listed.complete {
                    Way::Listed
                } else {
                    Way::Listing
                };
                if matches!(notes.way_now(), Way::Crowd { .. }) {
                    self.coverage.note(Exercise::CrowdLeft);
                }
                notes.set_way(listed.tick, way);
                notes.reader.clear();
                if lane.tick < listed.tick {
                    notes.behind.insert(listed.tick);
                }
                if let Some(note) = notes.views.get_mut(&listed.tick) {
                    // Who is in view was found by other means before.
                    note.catches_up = true;
                }
            }
            ServerMessage::Identity(identity) => {
                let notes = &mut connection.notes;
                if lane.tick < identity.tick {
                    notes.behind.insert(identity.tick);
                }
                self.coverage
                    .add(Exercise::IdentitySent, identity.records.len() as u64);
                let truth = self.history.demand(epoch, lane.tick)?;
                check_identities(&identity, &connection.account, truth)?;
            }
            ServerMessage::Welcome(_) | ServerMessage::Owner(_) | ServerMessage::CommandResult(_) => {}
        }
        Ok(())
    }

    /// A crowd message is sent: a reader of the simulator's own reads it.
    fn note_crowd(&mut self, conn: ConnId, message: &[u8], lane: &LaneStatus) -> Checked {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Ok(());
        };
        let (notes, account) = (&mut connection.notes, &connection.account);
        let was_crowd = matches!(notes.way_now(), Way::Crowd { .. });
        let (head, read) = Reader::take(notes, message, account, (lane.epoch, lane.tick), &self.history)?;
        demand!(
            was_crowd || read.begins,
            "{account} is in a crowd in tick {} that never began",
            head.tick
        );
        let complete = notes.reader.is_complete();
        if read.completes {
            notes
                .reader
                .check_reach(account, self.history.demand(lane.epoch, lane.tick)?)?;
        }
        notes.set_way(
            head.tick,
            Way::Crowd {
                epoch: lane.epoch,
                complete,
            },
        );
        let thawed = was_crowd && read.begins && std::mem::take(&mut connection.was_frozen);
        for (exercise, count) in [
            (Exercise::CrowdMessage, 1),
            (Exercise::CrowdEntered, u64::from(!was_crowd)),
            (Exercise::CrowdBegun, u64::from(read.begins)),
            (Exercise::CrowdCompleted, u64::from(read.completes)),
            (Exercise::CrowdThawed, u64::from(thawed)),
            (Exercise::CrowdOtherLane, u64::from(read.other_lane)),
            (Exercise::CrowdKeyframe, read.keyframes),
            (Exercise::CrowdDelta, read.deltas),
            (Exercise::CrowdDrop, read.drops),
            (Exercise::CrowdMove, read.moves),
            (Exercise::CrowdEvent, read.events),
        ] {
            self.coverage.add(exercise, count);
        }
        Ok(())
    }

    /// Looks at what the clients of a crowd know that were told in this tick, or had nothing to be told.
    fn check_crowds(&self, node: Incarnation, lane: &LaneStatus, told: &BTreeSet<ConnId>) -> Checked {
        for conn in told {
            let Some(connection) = self
                .connections
                .get(conn)
                .filter(|one| one.node == node && !one.frozen)
            else {
                continue;
            };
            let notes = &connection.notes;
            if !matches!(notes.way_now(), Way::Crowd { epoch, .. } if epoch == lane.epoch) {
                continue;
            }
            let truth = self.history.demand(lane.epoch, lane.tick)?;
            notes.reader.check_members(&connection.account, truth)?;
            if notes.reader.is_complete() && notes.deferred < lane.tick {
                notes.reader.check_reach(&connection.account, truth)?;
            }
        }
        Ok(())
    }

    /// A gateway's node crashes: its connections are cut, and it is gone until it starts again.
    pub(super) fn gateway_crashes(&mut self, gateway: usize) {
        let Some(node) = self.gateways[gateway].node() else {
            return;
        };
        self.count_gateway(gateway);
        self.gateways[gateway].core = None;
        self.coverage.note(Exercise::GatewayCrashed);
        self.note(format_args!("gateway {gateway} crashes"));
        let now_us = self.now_us;
        for (conn, connection) in &mut self.connections {
            if connection.node == node {
                connection.gateway_over = true;
                let notices_us = now_us + self.dice.nodes.within(10_000..=1_500_000);
                self.agenda.put(notices_us, Event::ClientNotices(*conn));
            }
        }
        let at_us = now_us + self.dice.nodes.within(100_000..=4_000_000);
        self.agenda.put(at_us, Event::GatewayStarts(gateway));
    }

    /// Adds a life's counters to the table, at its end.
    pub(super) fn count_gateway(&mut self, gateway: usize) {
        let Some(core) = &self.gateways[gateway].core else {
            return;
        };
        let counters = core.gateway.counters();
        for (exercise, count) in [
            (Exercise::ViewFrozen, counters.freezes),
            (Exercise::CaughtUp, counters.catch_ups),
            (Exercise::IdentityAsked, counters.identities_asked),
            (Exercise::KeyframesDeferred, counters.crowd_keyframes_deferred),
            (Exercise::CrowdEventsDropped, counters.events_dropped),
            (Exercise::Replaced, counters.closed(CloseReason::Replaced)),
            (Exercise::Left, counters.closed(CloseReason::Left)),
        ] {
            self.coverage.add(exercise, count);
        }
    }
}

fn told_states(output: &ClientOutput) -> Option<ConnId> {
    match output {
        ClientOutput::Datagram(conn, _) => Some(*conn),
        ClientOutput::Message(..) | ClientOutput::Close(..) => None,
    }
}

fn put_note(views: &mut BTreeMap<Tick, ViewNote>, update: &ViewUpdate, note: ViewNote) {
    let before = views.insert(update.tick, note);
    if let (Some(before), Some(now)) = (before, views.get_mut(&update.tick)) {
        now.catches_up |= before.catches_up;
        now.crowded |= before.crowded;
        now.is_behind |= before.is_behind;
    }
}
