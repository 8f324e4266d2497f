//! How a client is told its view: subject by subject ([`crate::view`]), or as a crowd ([`crate::crowd`]).
//!
//! Which of the two is decided by how many it has in view, with a hysteresis, and only while it can be told: a client
//! that does not read, or whose lane knows nothing of it, stays as it is. Switching is no edge to the client: it carries
//! over whom it has in view, until the new way has told all of it.

use crate::assemble::{Assembler, Demand};
use crate::config::GatewayConfig;
use crate::crowd::Crowd;
use crate::crowd::seat::{CrowdDraft, CrowdSeat, Looker};
use crate::io::ClientOutput;
use crate::session::{Session, send_message};
use crate::view::{Observer, ViewTick};
use bytes::Bytes;
use myriad_wire::Tick;
use myriad_wire::client::{Listed, ServerMessage};
use myriad_wire::payload::{OwnRecord, PayloadHeader};

/// How a client is told its view.
#[derive(Debug)]
pub(crate) enum Telling {
    /// Subject by subject.
    Listed {
        /// All of the view has been told since it was told otherwise.
        complete: bool,
    },
    /// As a crowd.
    Crowd(Box<CrowdSeat>),
}

/// Fewer in view than this share of [`GatewayConfig::crowd_from`] are no crowd any more.
const LEAVE_SHARE: (u64, u64) = (5, 8);

/// What all clients are told from in one tick.
pub(crate) struct TellTick<'a> {
    /// The newest tick of the space.
    pub(crate) tick: Tick,
    /// States of this tick go out; else they would come too late.
    pub(crate) with_states: bool,
    pub(crate) config: &'a GatewayConfig,
    /// Bytes per client that the configuration's budget allows in a tick.
    pub(crate) budget_bytes: u32,
    pub(crate) view: ViewTick<'a>,
    pub(crate) crowd: &'a mut Crowd,
    pub(crate) crowd_draft: &'a mut CrowdDraft,
    pub(crate) assembler: &'a mut Assembler,
    pub(crate) out: &'a mut Vec<ClientOutput>,
}

impl Session {
    /// Whether its view can be told now.
    fn can_be_told(&self) -> bool {
        self.presence.avatar().is_some() && self.presence.told().is_some() && !self.view.is_frozen()
    }

    /// Tells the client its view of this tick, and its states. `own` is `None` if its lane said nothing of it.
    pub(crate) fn tell_view(
        &mut self,
        seat: &myriad_aoi::Observer,
        own: Option<OwnRecord>,
        at: &mut TellTick,
    ) {
        self.choose_telling(at);
        if let Telling::Crowd(_) = self.telling {
            self.tell_crowd(seat, own, at);
        } else {
            self.tell_listed(seat, own, at);
        }
    }

    fn choose_telling(&mut self, at: &mut TellTick) {
        if !self.can_be_told() {
            return;
        }
        let (count, from) = (u64::from(self.in_view_count), u64::from(at.config.crowd_from));
        match self.telling {
            // Without a track of its own avatar it would find itself in none: its lane is lost, or has no crowd tracks.
            Telling::Listed { .. } if count > from && self.own_track(at.crowd).is_some() => {
                self.telling = Telling::Crowd(Box::default());
                self.view.forget();
            }
            Telling::Crowd(_) if count * LEAVE_SHARE.1 < from * LEAVE_SHARE.0 => {
                self.telling = Telling::Listed { complete: false };
                self.tell_how(false, at);
                at.view.counters.crowds_left += 1;
            }
            Telling::Listed { .. } | Telling::Crowd(_) => {}
        }
    }

    fn tell_how(&self, complete: bool, at: &mut TellTick) {
        let listed = Listed {
            tick: at.tick,
            complete,
        };
        send_message(
            self.conn,
            &ServerMessage::Listed(listed),
            at.out,
            at.view.counters,
        );
    }

    fn own_track(&self, crowd: &Crowd) -> Option<u32> {
        crowd.track_of(self.presence.told()?)
    }

    fn tell_listed(&mut self, seat: &myriad_aoi::Observer, own: Option<OwnRecord>, at: &mut TellTick) {
        let who = Observer {
            words: self.in_view.as_words(),
            avatar: self
                .presence
                .told()
                .and_then(|name| at.view.mirror.named(name))
                .map(|(id, _)| id),
            sees: seat.sees,
            attached: self.presence.avatar().is_some(),
        };
        if let Some(view) = self.view.update(&who, &mut at.view) {
            self.put_message(view, at);
        }
        if let Telling::Listed { complete } = &mut self.telling
            && !*complete
            && who.attached
            && !self.view.is_frozen()
            && !at.view.draft.has_deferred_enters()
        {
            *complete = true;
            self.tell_how(true, at);
        }
        let Some(header) = self.payload_header(own, at) else {
            return;
        };
        let demand = Demand {
            last_only: self.view.is_frozen(),
            own_only: self.view.is_misled(),
            ..demand(seat, at)
        };
        let conn = self.conn;
        let emit = |datagram| at.out.push(ClientOutput::Datagram(conn, datagram));
        at.assembler
            .assemble(at.view.mirror, &demand, header, at.view.counters, emit);
    }

    /// What must be told is told; of the rest as much as the budget leaves room for: first fewer near states, then no
    /// events.
    fn tell_crowd(&mut self, seat: &myriad_aoi::Observer, own: Option<OwnRecord>, at: &mut TellTick) {
        let can_be_told = self.can_be_told();
        let looker = Looker {
            position: seat.position,
            radius: seat.radius,
            sees: seat.sees,
            own: self.own_track(at.crowd),
        };
        let mut header = self.payload_header(own, at);
        let demand = Demand {
            own_only: !can_be_told,
            ..demand(seat, at)
        };
        let Telling::Crowd(place) = &mut self.telling else {
            return;
        };
        let (mirror, counters) = (at.view.mirror, &mut *at.view.counters);
        let mut near_bytes = 0;
        if header.is_some() {
            near_bytes = at.assembler.pick_near(mirror, &demand);
        }
        if can_be_told {
            let draft = &mut *at.crowd_draft;
            place.update(at.crowd, &looker, at.config.keyframe_bytes_max, draft, counters);
            let left = (at.budget_bytes as usize).saturating_sub(draft.steady_bytes());
            let mut is_degraded = false;
            for share in [2, 4] {
                if near_bytes > left {
                    is_degraded = true;
                    near_bytes = at
                        .assembler
                        .trim_near(mirror, (demand.near_target / share).max(1));
                }
            }
            let left = left.saturating_sub(near_bytes);
            let event_bytes_max = at.config.event_bytes_per_tick.min(left);
            is_degraded |= event_bytes_max < at.config.event_bytes_per_tick;
            counters.crowds_degraded += u64::from(is_degraded);
            let message = place.finish(at.crowd, &looker, event_bytes_max, draft, counters);
            let begins = at.crowd_draft.begins();
            if let Some(message) = message {
                if begins {
                    self.view.count_begin();
                }
                self.put_message(message, at);
            }
        }
        if let Some(header) = &mut header {
            header.view_seq = self.view.sent();
        }
        if let Some(header) = header {
            let conn = self.conn;
            let emit = |datagram| at.out.push(ClientOutput::Datagram(conn, datagram));
            at.assembler.assemble_near(mirror, header, at.view.counters, emit);
        }
    }

    fn put_message(&self, message: Bytes, at: &mut TellTick) {
        at.view.counters.stream_bytes_sent += message.len() as u64;
        at.out.push(ClientOutput::Message(self.conn, message));
    }

    /// The header of this tick's payload, if there is to be one.
    fn payload_header(&self, own: Option<OwnRecord>, at: &TellTick) -> Option<PayloadHeader> {
        if !at.with_states || self.presence.told().is_none() {
            return None;
        }
        Some(PayloadHeader {
            tick: at.tick,
            part: 0,
            parts: 1,
            view_seq: self.view.sent(),
            own: own?,
        })
    }

    /// Answers the client's questions, as far as it has those in view that it asks about.
    pub(crate) fn tell_identities(&mut self, sees: u32, at: &mut TellTick) {
        let asked = std::mem::take(&mut self.asked);
        if !self.can_be_told() {
            return;
        }
        let (counters, records) = (&mut *at.view.counters, &mut *at.view.records);
        at.view.draft.begin_identities();
        for name in &asked {
            let Some((id, subject)) = at.view.mirror.named(*name) else {
                continue;
            };
            if subject.layers & sees == 0 || !self.in_view.contains(id) {
                continue;
            }
            let record = records.identity(id, subject);
            if !at
                .view
                .draft
                .put_identity(record, at.config.identity_bytes_per_tick)
            {
                break;
            }
            counters.identities_sent += 1;
        }
        if let Some(message) = at.view.draft.identities(at.tick) {
            self.put_message(message, at);
        }
    }
}

fn demand(seat: &myriad_aoi::Observer, at: &TellTick) -> Demand {
    Demand {
        position: seat.position,
        radius: seat.radius,
        sees: seat.sees,
        near_target: at.config.near_target,
        budget_bytes: at.budget_bytes,
        last_only: false,
        own_only: false,
    }
}
