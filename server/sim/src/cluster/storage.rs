//! Storage: one thread per lane's node that takes requests in their order, slowly at times, and fails at times.

use super::lane::LaneNode;
use super::{Cluster, Event};
use crate::check::Checked;
use crate::coverage::Exercise;
use myriad_storage::{SaveOutcome, StorageReply, StorageRequest, serve};
use myriad_wire::Incarnation;
use std::ops::RangeInclusive;

/// How long a request takes, in microseconds.
const USUAL_US: RangeInclusive<u64> = 500..=8_000;
/// How much longer a slow one takes.
const SLOW_US: RangeInclusive<u64> = 20_000..=900_000;

impl Cluster {
    /// A lane has asked for something: when its storage thread will come to it.
    pub(super) fn storage_due_us(&mut self, node: &LaneNode) -> u64 {
        let dice = &mut self.dice.storage;
        let mut takes_us = dice.within(USUAL_US);
        if dice.chance(self.strength.storage_slow) {
            takes_us += dice.within(SLOW_US);
            self.coverage.note(Exercise::StorageSlow);
        }
        self.now_us.max(node.storage_busy_until_us) + takes_us
    }

    /// A storage thread comes to a request. That of a node that has crashed does not.
    pub(super) fn storage_serves(&mut self, node: Incarnation, request: StorageRequest) -> Checked {
        if self.lane_node(node).is_none() {
            return Ok(());
        }
        let fails = self.now_us < self.storage_fails_until_us
            || self.dice.storage.chance(self.strength.storage_failed);
        let reply = if fails {
            self.coverage.note(Exercise::StorageFailed);
            refused(request)
        } else {
            serve(&mut self.storage, request)
        };
        if let StorageReply::Saved {
            result: Ok(outcomes), ..
        } = &reply
        {
            let fenced = outcomes.iter().filter(|outcome| **outcome == SaveOutcome::Fenced);
            self.coverage.add(Exercise::StorageFenced, fenced.count() as u64);
        }
        // The answer waits in the lane's inbox for its next tick; under way it takes no time.
        let now_us = self.now_us;
        self.agenda.put(now_us, Event::StorageAnswers(node, reply));
        Ok(())
    }

    /// A lane is answered.
    pub(super) fn storage_answers(&mut self, node: Incarnation, reply: StorageReply) -> Checked {
        if let Some(lane) = self.lane_node(node) {
            if let StorageReply::Avatar {
                account,
                result: Ok(saved),
                ..
            } = &reply
            {
                lane.authority.loaded(account, saved.as_ref());
            }
            lane.core.handle_storage(reply);
        }
        Ok(())
    }
}

fn refused(request: StorageRequest) -> StorageReply {
    let why = "the disk is full".to_owned();
    match request {
        StorageRequest::LoadAvatar { request, account } => StorageReply::Avatar {
            request,
            account,
            result: Err(why),
        },
        StorageRequest::Save { request, .. } => StorageReply::Saved {
            request,
            result: Err(why),
        },
    }
}
