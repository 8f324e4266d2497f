//! Watches the crowd messages that a gateway sends: reads them as a client would, with none of a client's code, and
//! holds all that is known by then against the truth.

use super::notes::SentNotes;
use super::{Checked, demand};
use crate::truth::{History, Life, Snapshot};
use myriad_wire::crowd::message::{CrowdHead, Form, Happening, Record, take_head, take_record};
use myriad_wire::crowd::{Name, Track, TrackId, cell_of};
use myriad_wire::{LaneEpoch, LaneHandle, Tick};
use std::collections::BTreeMap;

/// What a client knows of the crowd that has read all it was sent.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tracks: BTreeMap<(LaneHandle, TrackId), Track>,
    complete: bool,
    tick: Tick,
}

/// What was in a message, for the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub(crate) begins: bool,
    /// It was in a crowd already, of another lane.
    pub(crate) other_lane: bool,
    pub(crate) completes: bool,
    pub(crate) keyframes: u64,
    pub(crate) deltas: u64,
    pub(crate) drops: u64,
    pub(crate) events: u64,
    pub(crate) moves: u64,
}

/// A message while it is read.
#[derive(Default)]
struct Reading {
    read: Read,
    touched: Vec<(LaneHandle, TrackId)>,
    left: Vec<Name>,
    joined: Vec<Name>,
}

impl Reader {
    /// The view is told otherwise from now on.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether all tracks in reach have been told.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// A crowd message is sent to the client of `account`, of the lane of `epoch` as it is after its `tick`.
    pub(crate) fn take(
        notes: &mut SentNotes,
        message: &[u8],
        account: &str,
        (epoch, tick): (LaneEpoch, Tick),
        history: &History,
    ) -> Result<(CrowdHead, Read), String> {
        let mut rest = message;
        let unreadable = |fault| format!("{account} is sent a crowd message that can't be read: {fault}");
        let head = take_head(&mut rest).map_err(unreadable)?;
        let truth = history.demand(epoch, head.tick)?;
        let own = truth.avatar_of(account);
        let own = own.ok_or_else(|| format!("{account} is told a crowd in tick {tick} without an avatar"))?;
        let (reader, lanes) = (&mut notes.reader, &notes.lanes);
        demand!(
            head.tick == tick && (tick > reader.tick || head.begins && tick >= reader.tick),
            "{account} is told the crowd of tick {} in tick {tick}, after that of tick {}",
            head.tick,
            reader.tick
        );
        reader.tick = tick;
        let mut reading = Reading::default();
        if head.begins {
            let was = reader.tracks.keys().next().and_then(|(lane, _)| lanes.get(lane));
            reading.read.other_lane = was.is_some_and(|was| *was != epoch);
            reader.tracks.clear();
            reader.complete = false;
        }
        while let Some(record) = take_record(&mut rest).map_err(unreadable)? {
            demand!(
                lanes.get(&record.lane) == Some(&epoch),
                "{account} is told of a track of lane {}, which is none it knows",
                record.lane
            );
            reader
                .take_record(tick, &record, (own, truth), &mut reading)
                .map_err(|wrong| format!("{account}: in tick {tick} track {:?}: {wrong}", record.track))?;
        }
        for key in &reading.touched {
            if let Some(track) = reader.tracks.get(key) {
                check_cells(track, epoch, tick, history)
                    .map_err(|wrong| format!("{account}: in tick {tick} track {:?}: {wrong}", key.1))?;
            }
        }
        reader.check_members(account, truth)?;
        demand!(
            !head.complete || !reader.complete,
            "{account} is told twice that its crowd is complete"
        );
        reader.complete |= head.complete;
        let mut read = reading.read;
        (read.begins, read.completes) = (head.begins, head.complete);
        read.moves = reading
            .left
            .iter()
            .filter(|name| reading.joined.contains(name))
            .count() as u64;
        Ok((head, read))
    }

    fn take_record(
        &mut self,
        tick: Tick,
        record: &Record<'_>,
        (own, truth): (&Life, &Snapshot),
        reading: &mut Reading,
    ) -> Checked {
        let key = (record.lane, record.track);
        let known = self.tracks.get_mut(&key);
        let is_known = known.is_some();
        match (record.form, known) {
            (Form::Keyframe, None) => {
                let track = Track::from_keyframe(tick, record.bytes).map_err(|fault| fault.to_string())?;
                reading.joined.extend(track.names());
                self.tracks.insert(key, track);
                reading.touched.push(key);
                reading.read.keyframes += 1;
            }
            (Form::Delta, Some(track)) => {
                let applied = track
                    .apply(tick, record.bytes)
                    .map_err(|fault| fault.to_string())?;
                reading.left.extend(applied.left);
                reading.joined.extend(applied.joined);
                reading.touched.push(key);
                reading.read.deltas += 1;
            }
            (Form::Drop, Some(track)) => {
                demand!(record.bytes.is_empty(), "it is dropped with words");
                reading.left.extend(track.names());
                self.tracks.remove(&key);
                reading.read.drops += 1;
            }
            (Form::Events, Some(_)) => {
                let list = Happening::list_from_bytes(record.bytes).map_err(|fault| fault.to_string())?;
                reading.read.events += list.len() as u64;
                for happening in &list {
                    check_happening(happening, own, truth)?;
                }
            }
            (form, _) => {
                return Err(format!(
                    "the record is a {form:?}, and the track is known: {is_known}"
                ));
            }
        }
        Ok(())
    }

    /// Whoever is told of is alive after this tick, and is seen by the avatar of `account`; nobody twice.
    pub(crate) fn check_members(&self, account: &str, truth: &Snapshot) -> Checked {
        let tick = truth.tick;
        let own = truth.avatar_of(account);
        let own = own.ok_or_else(|| format!("{account} is told in tick {tick} without an avatar"))?;
        let mut names = BTreeMap::new();
        for ((_, id), track) in &self.tracks {
            for name in track.names() {
                let life = truth.lives.get(&name.slot);
                let life = life.filter(|life| life.generation == name.generation && life.kind == name.kind);
                let Some(life) = life else {
                    return Err(format!(
                        "{account} is told in tick {tick} that {name:?} is in track {id:?}, who is not alive"
                    ));
                };
                demand!(
                    own.meets(life),
                    "{account} is told by track {id:?} in tick {tick} of entity {}, whose layers {:#b} its {:#b} does not meet",
                    life.entity,
                    life.layers,
                    own.sees
                );
                let twice = names.insert(name.slot, id);
                demand!(
                    twice.is_none(),
                    "{account} is told in tick {tick} that {name:?} is in tracks {id:?} and {twice:?}"
                );
            }
        }
        Ok(())
    }

    /// Whoever is near to the avatar of `account`, and is seen by it, is in one of the tracks.
    pub(crate) fn check_reach(&self, account: &str, truth: &Snapshot) -> Checked {
        let Some(own) = truth.avatar_of(account) else {
            return Ok(());
        };
        let near = truth
            .lives
            .values()
            .filter(|life| own.meets(life) && own.is_near(life, false));
        for life in near {
            let has = |track: &Track| {
                let place = track.place(life.slot);
                place.is_some_and(|place| track.names()[place].generation == life.generation)
            };
            demand!(
                self.tracks.values().any(has),
                "{account} is told in tick {} by no track of entity {}, which is {:.3} m away",
                truth.tick,
                life.entity,
                own.distance(life)
            );
        }
        Ok(())
    }
}

/// Every member's newest cell is the one that it was in when it was told.
fn check_cells(track: &Track, epoch: LaneEpoch, tick: Tick, history: &History) -> Checked {
    for (place, name) in track.names().iter().enumerate() {
        let told = tick - u64::from(track.age(place, 0, tick));
        let truth = history.demand(epoch, told)?;
        let life = truth.lives.get(&name.slot);
        let life = life.filter(|life| life.generation == name.generation);
        demand!(
            life.is_some_and(|life| cell_of(life.position) == track.cell(place, 0)),
            "{name:?} was in cell {:?} in tick {told}, it was at {:?}",
            track.cell(place, 0),
            life.map(|life| life.position)
        );
    }
    Ok(())
}

fn check_happening(happening: &Happening, own: &Life, truth: &Snapshot) -> Checked {
    let life = truth.named(happening.slot, happening.generation);
    let is_true = truth.happened.iter().any(|one| {
        one.slot == happening.slot && one.name == happening.name && one.arguments == happening.arguments
    });
    demand!(
        is_true && life.is_some(),
        "slot {} did '{}' {:?}, which it did not",
        happening.slot,
        happening.name,
        happening.arguments
    );
    demand!(
        life.is_some_and(|life| own.meets(life)),
        "it tells an event of slot {}, whose layers {:?} its {:#b} does not meet",
        happening.slot,
        life.map(|life| life.layers),
        own.sees
    );
    Ok(())
}
