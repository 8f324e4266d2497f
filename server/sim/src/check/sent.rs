//! Watches what a gateway sends in datagrams: nobody is told of whom it must not see, every state is the truth as
//! exact as its grid, and the own record is the authority's.

use super::{Checked, demand};
use crate::truth::{History, Life, Snapshot};
use myriad_wire::client::Identity;
use myriad_wire::grid::{CROWD_SHIFT, centre};
use myriad_wire::payload::decode_payload;
use myriad_wire::track::{Level, State, decode_chunk};
use myriad_wire::{LaneEpoch, LaneHandle, Pos};
use std::collections::BTreeMap;

/// Where a state of `level` says that `position` is: the middle of its cell.
pub(crate) fn decoded(position: Pos, level: Level) -> Pos {
    if level == Level::NEAR {
        return position.to_wire().centre();
    }
    let axis = |v: i32| centre(v >> CROWD_SHIFT, CROWD_SHIFT);
    Pos {
        x: axis(position.x),
        y: axis(position.y),
        z: axis(position.z),
    }
}

/// Checks one datagram to the client of `account`, which knows lanes by these handles.
pub(crate) fn check_datagram(
    datagram: &[u8],
    account: &str,
    lanes: &BTreeMap<LaneHandle, LaneEpoch>,
    epoch: LaneEpoch,
    history: &History,
) -> Checked {
    let mut chunks = Vec::new();
    let header = decode_payload(datagram, |_, lane, chunk| chunks.push((lane, chunk)))
        .map_err(|fault| format!("{account} is sent a datagram that is no payload: {fault}"))?;
    let truth = history.demand(epoch, header.tick)?;
    let own = truth.avatar_of(account);
    demand!(
        own.is_some_and(|own| own.position == header.own.position),
        "{account} is told in tick {} that it is at {:?}, it is at {:?}",
        header.tick,
        header.own.position,
        own.map(|own| own.position)
    );
    for (lane, chunk) in chunks {
        let of = lanes.get(&lane);
        demand!(
            of == Some(&epoch),
            "{account} is sent states of lane {lane}, which is none it knows"
        );
        let mut wrong = Ok(());
        let mut states = Vec::new();
        let level = decode_chunk(chunk, |state| states.push(state))
            .map_err(|fault| format!("{account} is sent a chunk that is none: {fault}"))?;
        for state in states {
            wrong = wrong.and_then(|()| check_state(state, level, account, truth));
        }
        wrong?;
    }
    Ok(())
}

/// Checks an answer to the client of `account` to who somebody is, told of the world `truth`.
pub(crate) fn check_identities(identity: &Identity, account: &str, truth: &Snapshot) -> Checked {
    let tick = truth.tick;
    let own = truth.avatar_of(account);
    for record in &identity.records {
        let name = record.subject;
        let life = truth
            .lives
            .get(&name.slot)
            .filter(|life| life.generation == name.generation);
        let is_it = |life: &&Life| {
            (life.entity, life.kind) == (record.entity, record.kind)
                && life.version.is_none_or(|version| version == record.version)
                && life.properties == record.properties
        };
        demand!(
            life.filter(is_it).is_some(),
            "{account} is answered in tick {tick} {record:?}, it is {life:?}"
        );
        demand!(
            own.zip(life).is_some_and(|(own, life)| own.meets(life)),
            "{account} is answered in tick {tick} who entity {} is, whose layers it does not meet",
            record.entity
        );
    }
    Ok(())
}

fn check_state(state: State, level: Level, account: &str, truth: &Snapshot) -> Checked {
    let tick = truth.tick;
    let Some(life) = truth.lives.get(&state.slot) else {
        return Err(format!(
            "{account} is sent a state of slot {} in tick {tick}, in which nobody lives",
            state.slot
        ));
    };
    let own = truth.avatar_of(account).expect("the caller found it");
    demand!(
        own.sees & life.layers != 0,
        "{account} is sent where entity {} is in tick {tick}, whose layers {:#b} its {:#b} does not meet",
        life.entity,
        life.layers,
        own.sees
    );
    demand!(
        state
            .version
            .is_none_or(|version| life.version.is_none_or(|life| version == life)),
        "{account} is sent in tick {tick} version {:?} of entity {}, it is {:?}",
        state.version,
        life.entity,
        life.version
    );
    let expected = decoded(life.position, level);
    demand!(
        state.position == expected,
        "{account} is sent that entity {} is at {:?} in tick {tick}, it is at {:?}",
        life.entity,
        state.position,
        life.position
    );
    Ok(())
}
