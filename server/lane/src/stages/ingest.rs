//! Ingest: what arrived since the last tick takes effect, in the order in which it came.

use crate::lane::{Arrived, Lane};
use crate::stages::handoff;
use myriad_storage::{SaveOutcome, StorageReply};
use myriad_wire::codec;
use myriad_wire::fabric::{Attach, Detach, Report, RoleId};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::{GatewayId, SessionId, Tick};
use std::collections::BTreeSet;

/// What this tick's handoff stage will do about sessions, in the order in which it was asked for.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A gateway's session wants its avatar.
    Attach(GatewayId, Attach),
    /// A session is over.
    Detach(Detach),
    /// Storage has answered about an avatar.
    Loaded(StorageReply),
}

pub(crate) fn ingest(lane: &mut Lane, now: Tick) {
    let from_lane = |arrived: &Arrived| {
        matches!(
            arrived,
            Arrived::Message {
                from: RoleId::Lane(_),
                ..
            }
        )
    };
    let inbox = std::mem::take(&mut lane.inbox);
    let (from_lanes, others): (Vec<Arrived>, Vec<Arrived>) = inbox.into_iter().partition(from_lane);
    for arrived in from_lanes {
        if let Arrived::Message {
            from: RoleId::Lane(from),
            header,
            body,
        } = arrived
        {
            handoff::take_message(lane, from, header, &body);
        }
    }
    handoff::take_parcels(lane, now);
    for arrived in others {
        match arrived {
            Arrived::Message {
                from: RoleId::Lane(_),
                ..
            } => unreachable!("taken above"),
            Arrived::Message {
                from: RoleId::Directory | RoleId::Store | RoleId::Caller(_),
                ..
            } => unreachable!("refused at the door"),
            Arrived::Message {
                from: RoleId::Gateway(from),
                header,
                body,
            } => {
                let reader = lane.readers.heard(from, lane.config.incarnation, now);
                let verdict = reader.link.handle(header);
                if verdict.resync {
                    reader.wants_full = true;
                    lane.counters.resyncs += 1;
                }
                if verdict.deliver {
                    handle_report(lane, from, &body);
                }
            }
            Arrived::Storage(reply @ StorageReply::Avatar { .. }) => lane.wishes.push(Wish::Loaded(reply)),
            Arrived::Storage(StorageReply::Saved { request, result }) => handle_saved(lane, request, result),
        }
    }
    for gateway in lane.readers.remove_silent(now, lane.gateway_silence_ticks) {
        lane.counters.gateways_lost += 1;
        detach_all(lane, gateway, |_| true);
    }
}

fn handle_report(lane: &mut Lane, from: GatewayId, body: &[u8]) {
    let Ok(report) = codec::decode::<Report>(body, NODE_MESSAGE_BYTES_MAX) else {
        lane.counters.malformed += 1;
        return;
    };
    if report.full {
        let named: BTreeSet<SessionId> = report.attach.iter().map(|attach| attach.session).collect();
        detach_all(lane, from, |session| !named.contains(&session));
        lane.waiting
            .retain(|session, (gateway, _)| *gateway != from || named.contains(session));
    }
    lane.wishes
        .extend(report.attach.into_iter().map(|attach| Wish::Attach(from, attach)));
    lane.wishes.extend(report.detach.into_iter().map(Wish::Detach));
    if report.epoch != lane.config.epoch {
        // The gateway speaks to a lane of another life; its sessions' epochs mean nothing here.
        return;
    }
    for intents in &report.intents {
        match lane.avatars.steered_by(intents.session, intents.epoch) {
            Some(session) => session.queue_intents(intents, &mut lane.counters),
            None => match lane.avatars.steered_before(intents.session, intents.epoch) {
                Some(session) => session.queue_early_intents(intents, &mut lane.counters),
                None => lane.counters.repeated += intents.steps.len() as u64,
            },
        }
    }
    for command in report.commands {
        match lane.avatars.steered_by(command.session, command.epoch) {
            Some(session) => session.queue_command(command, &mut lane.counters),
            None => lane.counters.repeated += 1,
        }
    }
}

fn detach_all(lane: &mut Lane, gateway: GatewayId, which: impl Fn(SessionId) -> bool) {
    let sessions = lane.avatars.sessions_of(gateway);
    let gone = sessions.into_iter().filter(|session| which(*session));
    lane.wishes
        .extend(gone.map(|session| Wish::Detach(Detach { session, left: false })));
}

fn handle_saved(lane: &mut Lane, request: u64, result: Result<Vec<SaveOutcome>, String>) {
    let Some(accounts) = lane.saves_in_flight.remove(&request) else {
        return;
    };
    match result {
        Ok(outcomes) => {
            assert_eq!(
                outcomes.len(),
                accounts.len(),
                "storage answers for each entity of a request"
            );
            for (account, outcome) in accounts.iter().zip(outcomes) {
                match outcome {
                    SaveOutcome::Saved => lane.counters.entities_saved += 1,
                    SaveOutcome::Fenced => lane.counters.entities_fenced += 1,
                }
                lane.forget_departed(account, request);
            }
        }
        Err(_) => {
            lane.counters.storage_errors += 1;
            for account in &accounts {
                lane.save_again(account, request);
            }
        }
    }
}
